//! `mote attach` to a container with a terminal: what it prints there comes on a socket, what is typed goes to the terminal's master, whose
//! size is kept that of the caller's window. ^P ^Q leaves it alone again.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use mote::error::{During as _, Error, Result};
use mote::run::Raw;
use mote::sys::file::write_all;
use mote::sys::terminal::{STDIN, STDOUT, set_window_size, window_size};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{read, write};

use super::Host;

/// How much may wait for a program that does not read what is typed; what is more waits where it is.
const WAITING_BYTES: usize = 64 * 1024;

/// How long the last of what a container has printed may take once it has ended.
const LAST_MS: u16 = 2_000;

/// What to attach to, and how.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    /// Members of a request that name the container.
    pub names: &'a str,
    /// Whether to type.
    pub typing: bool,
    /// Whether standard input has to be a terminal.
    pub strict: bool,
    /// Ends with the container.
    pub ended: BorrowedFd<'a>,
}

/// Attaches until the container ends, or the keys are typed.
pub fn attach(host: &Host, what: &What<'_>) -> Result<()> {
    let size = window_size(STDIN);
    if what.strict && size.is_err() {
        return Err(Error::usage(format_args!("attach: --tty: standard input is no terminal")));
    }
    let view = host.order_fd("view", what.names)?;
    let master = what.typing.then(|| host.order_fd("attach", what.names)).transpose()?;
    // Before the terminal is changed: it has to be changed back.
    let signals = [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
    let signals: SigSet = signals.into_iter().collect();
    signals.thread_block().during("sigprocmask", "")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let signals = signals.during("signalfd", "")?;
    let raw = if master.is_some() && size.is_ok() { Some(Raw::new()?) } else { None };
    let mut typed =
        master.map(|to| Typed { to, window: raw.is_some(), keys: Keys::default(), waiting: Vec::new() });
    if let Some(typed) = &typed {
        typed.resize(true);
    }
    relay(view.as_fd(), &mut typed, &signals, what.ended)
}

/// Passes on what is printed and what is typed.
fn relay(
    view: BorrowedFd<'_>,
    typed: &mut Option<Typed>,
    signals: &SignalFd,
    ended: BorrowedFd<'_>,
) -> Result<()> {
    let mut over = false;
    loop {
        let mut fds: heapless::Vec<(PollFd<'_>, Source), 5> = heapless::Vec::new();
        let mut add = |fd, flags, source| drop(fds.push((PollFd::new(fd, flags), source))); // five at most
        add(view, PollFlags::POLLIN, Source::View);
        add(signals.as_fd(), PollFlags::POLLIN, Source::Signals);
        if !over {
            add(ended, PollFlags::POLLIN, Source::Ended);
        }
        if let Some(typed) = &*typed {
            if typed.waiting.len() < WAITING_BYTES {
                add(STDIN, PollFlags::POLLIN, Source::Keys);
            }
            if !typed.waiting.is_empty() {
                add(typed.to.as_fd(), PollFlags::POLLOUT, Source::Room);
            }
        }
        let (mut polled, sources): (heapless::Vec<_, 5>, heapless::Vec<_, 5>) = fds.into_iter().unzip();
        match poll(&mut polled, if over { PollTimeout::from(LAST_MS) } else { PollTimeout::NONE }) {
            Err(Errno::EINTR) => continue,
            Ok(0) => return Ok(()),
            result => result.during("poll", "")?,
        };
        let ready = polled.iter().zip(&sources).filter(|(fd, _)| fd.any().unwrap_or(true));
        let ready: heapless::Vec<Source, 5> = ready.map(|(_, source)| *source).collect();
        drop(polled);
        for source in ready {
            match source {
                Source::View => {
                    let mut buffer = [0; 16 * 1024];
                    match read(view, &mut buffer) {
                        Ok(length @ 1..) => {
                            let bytes = buffer.get(..length).unwrap_or_default();
                            write_all(STDOUT, bytes).during("write", "standard output")?;
                        }
                        Err(Errno::EINTR | Errno::EAGAIN) => {}
                        _ => return Ok(()),
                    }
                }
                Source::Signals => {
                    while let Ok(Some(signal)) = signals.read_signal() {
                        if Signal::try_from(signal.ssi_signo.cast_signed()) != Ok(Signal::SIGWINCH) {
                            return Ok(());
                        }
                        typed.iter().for_each(|typed| typed.resize(false));
                    }
                }
                Source::Ended => over = true,
                Source::Keys => match typed.as_mut().map(Typed::take) {
                    Some(Typing::Left) => return Ok(()),
                    Some(Typing::Ended) => *typed = None,
                    _ => {}
                },
                // Of a terminal that is gone.
                Source::Room => drop(typed.take_if(|typed| !typed.pass())),
            }
        }
    }
}

/// What has become ready.
#[derive(Clone, Copy)]
enum Source {
    View,
    Signals,
    Ended,
    Keys,
    Room,
}

/// What is typed.
struct Typed {
    /// The terminal's master.
    to: OwnedFd,
    /// Whether standard input is a terminal: with a window, and keys to leave by.
    window: bool,
    keys: Keys,
    waiting: Vec<u8>,
}

/// What has come of reading once.
enum Typing {
    On,
    Left,
    Ended,
}

impl Typed {
    /// Gives the container's terminal the size of the window. At `first` a program that draws is to draw again, which it does for
    /// another size alone.
    fn resize(&self, first: bool) {
        let Some(size) = window_size(STDIN).ok().filter(|size| self.window && size.ws_row > 0) else {
            return;
        };
        let same = window_size(self.to.as_fd())
            .is_ok_and(|now| (now.ws_row, now.ws_col) == (size.ws_row, size.ws_col));
        if first && same {
            let other = nix::pty::Winsize { ws_row: size.ws_row.saturating_add(1), ..size };
            let _ = set_window_size(self.to.as_fd(), &other); // a courtesy, as below
        }
        let _ = set_window_size(self.to.as_fd(), &size);
    }

    fn take(&mut self) -> Typing {
        let mut buffer = [0; 4096];
        let bytes = match read(STDIN, &mut buffer) {
            Ok(length @ 1..) => buffer.get(..length).unwrap_or_default(),
            Err(Errno::EINTR | Errno::EAGAIN) => return Typing::On,
            _ => return Typing::Ended,
        };
        if !self.window {
            self.waiting.extend_from_slice(bytes);
        } else if !self.keys.pass(bytes, &mut self.waiting) {
            return Typing::Left;
        }
        if self.pass() { Typing::On } else { Typing::Ended }
    }

    /// Passes on what the terminal takes. Whether it is there.
    fn pass(&mut self) -> bool {
        match write(&self.to, &self.waiting) {
            Ok(length) => drop(self.waiting.drain(..length)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => return false,
        }
        true
    }
}

/// Looks for ^P ^Q in what is typed.
#[derive(Default)]
struct Keys {
    /// ^P has been typed, and not what follows it.
    begun: bool,
}

impl Keys {
    /// Passes `bytes` on, ^P once it is known what follows it. False at ^P ^Q.
    fn pass(&mut self, bytes: &[u8], to: &mut Vec<u8>) -> bool {
        const BEGIN: u8 = b'P' & 0x1f;
        const END: u8 = b'Q' & 0x1f;
        for &byte in bytes {
            match (std::mem::replace(&mut self.begun, byte == BEGIN), byte) {
                (true, END) => return false,
                (true, BEGIN) => to.push(BEGIN),
                (true, _) => to.extend([BEGIN, byte]),
                (false, BEGIN) => {}
                (false, _) => to.push(byte),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_both_keys_leave_and_nothing_is_lost() {
        for (typed, passed, on) in [
            (&[&b"ab"[..], b"c"][..], &b"abc"[..], true),
            (&[b"a\x10b"], b"a\x10b", true),
            (&[b"a\x10", b"b"], b"a\x10b", true),
            (&[b"\x10\x10\x10", b"x"], b"\x10\x10\x10x", true),
            (&[b"a\x11b"], b"a\x11b", true),
            (&[b"a\x10", b"\x11b"], b"a", false),
            (&[b"\x10\x10\x11"], b"\x10", false),
        ] {
            let (mut keys, mut out) = (Keys::default(), Vec::new());
            assert_eq!(typed.iter().all(|bytes| keys.pass(bytes, &mut out)), on, "{typed:?}");
            assert_eq!(out, passed, "{typed:?}");
        }
    }
}
