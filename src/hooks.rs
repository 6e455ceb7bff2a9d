//! Running hooks: a program, the container's state on its standard input, a time it may take.
//!
//! Those of the runtime's namespaces are run by the command, those of the container's by its first process, which allocates
//! nothing: neither does anything here.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{chdir, dup2_stdin, pipe2, read, setsid, write};

use crate::descriptors::close_all_but;
use crate::error::{Error, words};
use crate::plan::{Hook, Hooks, When};
use crate::signals;
use crate::stage::{Failure, Stage};
use crate::sys::clone::{Side, fork};
use crate::sys::process::{exit_now, pidfd_send_signal};
use crate::sys::wait::{self, How};
use crate::sys::{alloc, exec};

/// What became of a hook that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ended with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
    /// It took longer than it may, and was killed with its process group.
    Timeout,
    /// It could not be run.
    Refused(Errno),
    /// The container ended meanwhile, so it was killed as well.
    Abandoned,
}

/// Which hook failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Its kind.
    pub when: When,
    /// Its place in the list.
    pub index: u8,
    /// How.
    pub fault: Fault,
}

/// Runs the hooks of one kind in order, up to the first that fails. `pid` is the container's first process as the hooks see
/// it; they are given up when the process behind `watch` ends.
pub fn run(hooks: &Hooks<'_>, when: When, pid: i32, watch: Option<BorrowedFd<'_>>) -> Result<(), Broken> {
    (0..).zip(hooks.of(when)).try_for_each(|(index, hook)| {
        run_one(hooks, hook, when, pid, watch).map_err(|fault| Broken { when, index, fault })
    })
}

/// Runs the hooks of a container that is gone. One that fails is a warning, and the others run all the same; runtime-spec
/// runtime.md "Lifecycle".
pub fn run_poststop(hooks: &Hooks<'_>) {
    let when = When::Poststop;
    for (index, hook) in (0..).zip(hooks.of(when)) {
        if let Err(fault) = run_one(hooks, hook, when, 0, None) {
            crate::warn!("{}", Broken { when, index, fault }.explain(hooks));
        }
    }
}

fn run_one(
    hooks: &Hooks<'_>,
    hook: &Hook<'_>,
    when: When,
    pid: i32,
    watch: Option<BorrowedFd<'_>>,
) -> Result<(), Fault> {
    let mut digits = heapless::String::<12>::new();
    let _ = std::fmt::Write::write_fmt(&mut digits, format_args!("{pid}")); // eleven characters at most
    let state = [&hooks.state.0, ",\"status\":\"", when.status(), "\",\"pid\":", &digits, &hooks.state.1];

    // Open here until the hook has ended, so that writing to one that does not read raises no SIGPIPE.
    let (input, feed) = pipe2(OFlag::O_CLOEXEC).map_err(Fault::Refused)?;
    let (refusal, refused) = pipe2(OFlag::O_CLOEXEC).map_err(Fault::Refused)?;
    let bundle = (when != When::StartContainer).then_some(hooks.bundle);
    let (process, pidfd) = match fork().map_err(Fault::Refused)? {
        Side::Parent(process, pidfd) => (process, pidfd),
        Side::Child => become_hook(hook, bundle, input.as_fd(), refused.as_fd()),
    };
    drop(refused);
    let cut = follow(&state, feed, pidfd.as_fd(), hook.timeout, watch);
    if cut.is_err() {
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL); // it may have ended by now
        // Its number stays its own until it is reaped; it may not lead a group yet.
        let _ = killpg(process, Signal::SIGKILL);
    }
    let ended = wait::reap(pidfd.as_fd()).map_err(Fault::Refused)?;
    cut?;
    let mut errno = [0; 4];
    if read(&refusal, &mut errno) == Ok(errno.len()) {
        return Err(Fault::Refused(Errno::from_raw(i32::from_ne_bytes(errno))));
    }
    match ended.how {
        How::Code(0) => Ok(()),
        How::Code(code) => Err(Fault::Code(u8::try_from(code).unwrap_or(u8::MAX))),
        How::Signal(signal) => Err(Fault::Signal(u8::try_from(signal).unwrap_or(u8::MAX))),
    }
}

/// Writes the state as the hook takes it, until the hook ends.
fn follow(
    state: &[&str],
    feed: OwnedFd,
    hook: BorrowedFd<'_>,
    timeout: Option<Duration>,
    watch: Option<BorrowedFd<'_>>,
) -> Result<(), Fault> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (mut feed, mut written) = (Some(feed), 0);
    loop {
        let wait = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) if left.is_zero() => return Err(Fault::Timeout),
            Some(left) => PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX),
        };
        // Absent ones are stood in for by the hook itself, so that places are fixed.
        let mut fds = [
            PollFd::new(hook, PollFlags::POLLIN),
            PollFd::new(watch.unwrap_or(hook), PollFlags::POLLIN),
            PollFd::new(feed.as_ref().map_or(hook, AsFd::as_fd), PollFlags::POLLOUT),
        ];
        match poll(&mut fds, wait) {
            Err(Errno::EINTR) => continue,
            result => result.map_err(Fault::Refused)?,
        };
        let [ended, abandoned, writable] =
            fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if ended {
            return Ok(());
        }
        if abandoned {
            return Err(Fault::Abandoned);
        }
        if let Some(pipe) = feed.as_ref().filter(|_| writable) {
            let rest = rest(state, written);
            if rest.is_empty() {
                feed = None;
                continue;
            }
            // A pipe that takes anything takes a page, so this does not wait.
            let chunk = rest.get(..4096).unwrap_or(rest);
            written += write(pipe, chunk).map_err(Fault::Refused)?;
        }
    }
}

/// What is left of the piece that the byte at `written` stands in; empty at the end.
fn rest<'a>(pieces: &[&'a str], mut written: usize) -> &'a [u8] {
    for piece in pieces {
        match piece.as_bytes().get(written..) {
            Some(rest) if !rest.is_empty() => return rest,
            _ => written -= piece.len(),
        }
    }
    &[]
}

/// In the new process.
fn become_hook(
    hook: &Hook<'_>,
    bundle: Option<&std::ffi::CStr>,
    input: BorrowedFd<'_>,
    refused: BorrowedFd<'_>,
) -> ! {
    alloc::forbid();
    let steps = || -> nix::Result<Infallible> {
        signals::reset(signals::ALL)?;
        setsid()?;
        dup2_stdin(input)?;
        if let Some(bundle) = bundle {
            let _ = chdir(bundle); // it may be gone when the container is removed
        }
        close_all_but(3, [Some(refused), None, None, None])?;
        exec::execve(hook.path, &hook.args, &hook.env)
    };
    let Err(errno) = steps();
    let _ = write(refused, &(errno as i32).to_ne_bytes()); // whoever waits sees the code at least
    exit_now(127)
}

impl Broken {
    /// As the container's first process reports it: the code or the signal in the item's upper byte, told apart by the errno.
    pub fn to_failure(self) -> Failure {
        let (detail, errno) = match self.fault {
            Fault::Code(code) => (code, Errno::UnknownErrno),
            Fault::Signal(signal) => (signal, Errno::EINTR),
            Fault::Timeout | Fault::Abandoned => (0, Errno::ETIMEDOUT),
            Fault::Refused(errno) => (0, errno),
        };
        let stage = match self.when {
            When::CreateContainer => Stage::CreateContainer,
            _ => Stage::StartContainer,
        };
        Failure { stage, item: u16::from_le_bytes([self.index, detail]), errno }
    }

    /// The way back; `None` for a failure of something else.
    pub fn from_failure(failure: Failure) -> Option<Self> {
        let when = match failure.stage {
            Stage::CreateContainer => When::CreateContainer,
            Stage::StartContainer => When::StartContainer,
            _ => return None,
        };
        let [index, detail] = failure.item.to_le_bytes();
        let fault = match failure.errno {
            Errno::UnknownErrno => Fault::Code(detail),
            Errno::EINTR => Fault::Signal(detail),
            Errno::ETIMEDOUT => Fault::Timeout,
            errno => Fault::Refused(errno),
        };
        Some(Self { when, index, fault })
    }

    /// In words.
    pub fn explain(self, hooks: &Hooks<'_>) -> Error {
        let hook = hooks.of(self.when).get(usize::from(self.index));
        let seconds = hook.and_then(|hook| hook.timeout).map_or(0, |timeout| timeout.as_secs());
        let why = match self.fault {
            Fault::Code(code) => format!("exit status {code}"),
            Fault::Signal(signal) => format!("killed by signal {signal}"),
            Fault::Timeout => format!("not done after {seconds} s, killed"),
            Fault::Refused(errno) => words(errno).to_owned(),
            Fault::Abandoned => "killed, as the container has ended".to_owned(),
        };
        let path = hook.map_or(c"", |hook| hook.path).to_string_lossy();
        let (kind, index) = (self.when.name(), self.index);
        Error::usage(format_args!("hooks.{kind}[{index}]: \"{path}\": {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_hook_survives_the_pipe() {
        let faults = [Fault::Code(255), Fault::Signal(64), Fault::Timeout, Fault::Refused(Errno::ENOENT)];
        for when in [When::CreateContainer, When::StartContainer] {
            for fault in faults {
                let broken = Broken { when, index: 254, fault };
                let sent = Failure::from_bytes(broken.to_failure().to_bytes());
                assert_eq!(Broken::from_failure(sent), Some(broken));
            }
        }
    }

    #[test]
    fn the_state_is_written_piece_by_piece() {
        let pieces = ["ab", "", "c"];
        let all = [b"ab".as_slice(), b"b", b"c", b""];
        for (written, expected) in all.iter().enumerate() {
            assert_eq!(rest(&pieces, written), *expected);
        }
    }
}
