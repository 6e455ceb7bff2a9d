//! Runs one program with text on its standard input and a time it may take, and keeps what it says.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use mote::descriptors::close_all_but;
use mote::error::{During as _, Result, words};
use mote::signals;
use mote::sys::clone::{Side, fork};
use mote::sys::exec::{CStrList, execve};
use mote::sys::process::{exit_now, pidfd_send_signal};
use mote::sys::wait::{self, How};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, read, setsid, write};

/// How much of what it says is kept.
const OUTPUT_BYTES: usize = 256 * 1024;

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended; `None` where it took too long and was killed.
    pub how: Option<How>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub complaint: String,
}

/// Runs the program at `path` with this environment; by `until` it has ended or is killed with its process group.
pub fn run(path: &str, env: &[String], input: &str, until: Instant) -> Result<Outcome> {
    let text = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL).during("execve", path);
    let program = text(path)?;
    let words = env.iter().map(|word| text(word)).collect::<Result<Vec<_>>>()?;
    let (mut args, mut list) = (CStrList::with_capacity(1), CStrList::with_capacity(words.len()));
    args.push(&program);
    words.iter().for_each(|word| list.push(word));

    let pipe = || pipe2(OFlag::O_CLOEXEC).during("pipe2", "");
    // The end that is read stays open here, so that writing to a program that does not read raises no SIGPIPE.
    let ((stdin, feed), (output, stdout), (complaint, stderr)) = (pipe()?, pipe()?, pipe()?);
    let (pid, pidfd) = match fork().during("fork", path)? {
        Side::Parent(pid, pidfd) => (pid, pidfd),
        Side::Child => {
            let become_it = || -> nix::Result<Infallible> {
                signals::reset(signals::ALL)?;
                setsid()?;
                prctl::set_pdeathsig(Signal::SIGKILL)?; // a starter may be killed
                dup2_stdin(&stdin)?;
                dup2_stdout(&stdout)?;
                dup2_stderr(&stderr)?;
                close_all_but(3, [None; 4])?;
                execve(&program, &args, &list)
            };
            let Err(errno) = become_it();
            let _ = write(stderr.as_fd(), self::words(errno).as_bytes()); // the code tells as well
            exit_now(127)
        }
    };
    drop((stdout, stderr));
    let mut said = [Vec::new(), Vec::new()];
    let late = follow(input, feed, &[output, complaint], &mut said, pidfd.as_fd(), until)?;
    if late {
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL); // it may have ended by now
        let _ = killpg(pid, Signal::SIGKILL); // its number stays its own until it is reaped
    }
    let ended = wait::reap(pidfd.as_fd()).during("waitid", path)?;
    let [output, complaint] = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Outcome { how: (!late).then_some(ended.how), output, complaint })
}

/// Writes and reads until the program behind `pidfd` has ended. Returns whether it was late.
fn follow(
    input: &str,
    feed: OwnedFd,
    from: &[OwnedFd; 2],
    said: &mut [Vec<u8>; 2],
    pidfd: BorrowedFd<'_>,
    until: Instant,
) -> Result<bool> {
    for pipe in [&feed].into_iter().chain(from) {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).during("fcntl", "")?;
    }
    let (mut feed, mut rest) = (Some(feed), input.as_bytes());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        let wait = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let [output, complaint] = from;
        // The program stands in for a pipe that is done with, so that places are fixed.
        let mut fds = [
            PollFd::new(pidfd, PollFlags::POLLIN),
            PollFd::new(output.as_fd(), PollFlags::POLLIN),
            PollFd::new(complaint.as_fd(), PollFlags::POLLIN),
            PollFd::new(feed.as_ref().map_or(pidfd, |feed| feed.as_fd()), PollFlags::POLLOUT),
        ];
        match poll(&mut fds, wait) {
            Err(Errno::EINTR) => continue,
            result => result.during("poll", "")?,
        };
        let ended = fds.first().and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        if let Some(pipe) = &feed {
            match write(pipe, rest) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                feed = None;
            }
        }
        let mut open = false;
        for (pipe, said) in from.iter().zip(&mut *said) {
            open |= drain(pipe.as_fd(), said);
        }
        // What it has said is in the pipes; whoever else has them open is not waited for.
        if ended {
            return Ok(false);
        }
        if !open {
            // Poll would not wait any more.
            let mut end = [PollFd::new(pidfd, PollFlags::POLLIN)];
            let _ = poll(&mut end, wait);
        }
    }
}

/// Reads what there is. Returns whether there may be more later.
fn drain(pipe: BorrowedFd<'_>, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match read(pipe, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                let room = OUTPUT_BYTES.saturating_sub(said.len()).min(length);
                said.extend(buffer.get(..room).unwrap_or_default());
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return errno == Errno::EAGAIN,
        }
    }
}
