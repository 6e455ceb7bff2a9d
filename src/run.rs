//! `run` in the foreground: the caller's signals and terminal are the container's, its exit status is the caller's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Pid, read};

use crate::container::{self, Request, Terminal};
use crate::error::{During, Result};
use crate::notify::Pending;
use crate::sys::file::write_all;
use crate::sys::process::pidfd_send_signal;
use crate::sys::terminal::{STDIN, STDOUT};
use crate::sys::wait::{self, How};
use crate::sys::{socket, terminal};

/// Runs a container from its making to its end. Returns its exit status, or 128 and the number of the signal that
/// ended it. With `keep` its state stays.
pub fn run(request: &Request<'_>, keep: bool) -> Result<i32> {
    let signals = Signals::block()?;
    let mut made = match container::create(&Request { terminal: Terminal::Foreground, ..*request }) {
        Ok(made) => made,
        // By somebody who saw it running: that is the container's end, and no failure of ours.
        Err(error) => return error.signal().map(|signal| 128 + signal).ok_or(error),
    };
    let pending = made.pending(request.manager);
    let status = signals.follow(made.pidfd.as_fd(), made.terminal.as_ref().map(AsFd::as_fd), pending)?;
    if !keep {
        made.remove()?;
    }
    Ok(status)
}

/// The signals that this process gets, held back.
#[derive(Debug)]
pub struct Signals {
    held: SignalFd,
    /// Whether a SIGTERM is passed on as SIGKILL: the child is not to outlive the wish that it end.
    pub deadly: bool,
}

impl Signals {
    /// Holds them back from now on. Done before there is a child: a signal that comes meanwhile is then passed on.
    pub fn block() -> Result<Self> {
        let all = SigSet::all();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).during("sigprocmask", "")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let held = SignalFd::with_flags(&all, flags).during("signalfd", "")?;
        Ok(Self { held, deadly: false })
    }

    /// Waits for the end of the child behind `pidfd` and passes signals on until then. With a `terminal`, the socket over
    /// which its master has been sent, bytes as well; with `pending` the first word of the child's that it is ready. Returns
    /// the child's exit status, or 128 and a signal's number.
    pub fn follow(
        &self,
        pidfd: BorrowedFd<'_>,
        terminal: Option<BorrowedFd<'_>>,
        pending: Option<Pending<'_>>,
    ) -> Result<i32> {
        let relay = terminal.map(Relay::new).transpose()?;
        follow(pidfd, self, relay.as_ref(), pending)
    }
}

/// Passes signals on, and bytes where there is a terminal, until the child ends.
fn follow(
    pidfd: BorrowedFd<'_>,
    signals: &Signals,
    relay: Option<&Relay>,
    mut pending: Option<Pending<'_>>,
) -> Result<i32> {
    let mut typing = relay.is_some();
    loop {
        let mut fds: heapless::Vec<PollFd<'_>, 5> = heapless::Vec::new();
        // Five at most, for which there is room.
        let _ = fds.push(PollFd::new(pidfd, PollFlags::POLLIN));
        let _ = fds.push(PollFd::new(signals.held.as_fd(), PollFlags::POLLIN));
        if let Some(pending) = &pending {
            let _ = fds.push(PollFd::new(pending.socket.as_fd(), PollFlags::POLLIN));
        }
        if let Some(relay) = relay {
            let _ = fds.push(PollFd::new(relay.master.as_fd(), PollFlags::POLLIN));
            if typing {
                let _ = fds.push(PollFd::new(STDIN, PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result.during("poll", "")?,
        };
        let mut ready = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        let mut next = || ready.next().unwrap_or(false);
        let (ended, signalled) = (next(), next());
        let notified = pending.is_some() && next();
        let (output, input) = (next(), next());
        drop(fds);
        if notified
            && let Some(program) = &pending
            && program.is_ready()
        {
            // The manager watches this process, which ends when the container does. What else the program may have to say
            // is refused from now on, where it would wait for somebody to read it.
            program.manager.tell(Pid::this(), false).unwrap_or_else(|error| crate::warn!("{error}"));
            pending = None;
        }
        if signalled {
            pass_on(pidfd, signals, relay);
        }
        if let Some(relay) = relay {
            if output {
                relay.output();
            }
            if input {
                typing = relay.input(STDIN);
            }
        }
        if ended {
            if let Some(relay) = relay {
                relay.drain();
            }
            return Ok(match wait::reap(pidfd).during("waitid", "")?.how {
                How::Code(code) => code,
                How::Signal(signal) => 128 + signal,
            });
        }
    }
}

/// Passes every signal that has come to the child, but for those about this process's own children and
/// terminal.
fn pass_on(pidfd: BorrowedFd<'_>, signals: &Signals, relay: Option<&Relay>) {
    while let Ok(Some(signal)) = signals.held.read_signal() {
        let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
        match (Signal::try_from(number), relay) {
            (Ok(Signal::SIGCHLD), _) => {}
            (Ok(Signal::SIGWINCH), Some(relay)) => relay.resize(),
            (Ok(Signal::SIGTERM), _) if signals.deadly => drop(pidfd_send_signal(pidfd, libc::SIGKILL)),
            _ => drop(pidfd_send_signal(pidfd, number)), // ended meanwhile: the pidfd tells
        }
    }
}

/// Two terminals joined: the caller's and the container's.
struct Relay {
    master: OwnedFd,
    /// Of the caller's, where its standard input is a terminal.
    _raw: Option<Raw>,
}

/// The terminal that is standard input, which passes everything through until this is dropped.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Has it do so.
    /// Errors: `ENOTTY` when it is none.
    pub fn new() -> Result<Self> {
        let saved = tcgetattr(STDIN).during("tcgetattr", "standard input")?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        tcsetattr(STDIN, SetArg::TCSANOW, &raw).during("tcsetattr", "standard input")?;
        Ok(Self(saved))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(STDIN, SetArg::TCSANOW, &self.0); // a terminal that is gone needs no care
    }
}

impl Relay {
    /// Takes the master from the child and makes the caller's terminal pass everything through.
    fn new(from: BorrowedFd<'_>) -> Result<Self> {
        let master = socket::receive_fd(from).during("recvmsg", "process.terminal")?;
        let flags = OFlag::from_bits_truncate(
            nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_GETFL).during("fcntl", "process.terminal")?,
        );
        let flags = nix::fcntl::FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&master, flags).during("fcntl", "process.terminal")?;
        let raw = if tcgetattr(STDIN).is_ok() { Some(Raw::new()?) } else { None };
        let relay = Self { master, _raw: raw };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the caller's size.
    fn resize(&self) {
        if let Ok(size) = terminal::window_size(STDIN) {
            let _ = terminal::set_window_size(self.master.as_fd(), &size); // the size is a courtesy
        }
    }

    /// Copies what the container has written. Whether there was something.
    fn output(&self) -> bool {
        let mut buffer = [0; 4096];
        // EIO: nobody has the other side open any more.
        let Ok(len @ 1..) = read(&self.master, &mut buffer) else { return false };
        let _ = write_all(STDOUT, buffer.get(..len).unwrap_or_default()); // one that is gone gets nothing
        true
    }

    /// Copies what was typed. Whether there may be more.
    fn input(&self, from: BorrowedFd<'_>) -> bool {
        let mut buffer = [0; 1024];
        match read(from, &mut buffer) {
            Ok(len @ 1..) => {
                let _ = write_all(self.master.as_fd(), buffer.get(..len).unwrap_or_default()); // as above
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            // The end: the container sees it as the end of what was typed.
            _ => {
                let _ = write_all(self.master.as_fd(), &[4]); // VEOF
                false
            }
        }
    }

    /// Copies the rest.
    fn drain(&self) {
        while self.output() {}
    }
}
