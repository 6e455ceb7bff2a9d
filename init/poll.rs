//! What PID 1 waits for, each with the token that says what is to be looked at.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What has become ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// A signal has come.
    Signal,
    /// The timer has run out.
    Timer,
    /// The starter of this container has reported.
    Report(usize),
    /// The log writer can take more.
    Writer,
    /// Somebody connects to the control socket.
    Listener,
    /// This client of the control socket has sent something, or can take more.
    Client(usize),
    /// Something has happened to a manifest.
    Manifests,
    /// A reader of manifests has sent a row.
    Rows,
    /// This one who watches a terminal is gone.
    Viewer(usize),
}

const KINDS: u64 = 9;

impl Token {
    fn encode(self) -> u64 {
        let number = |kind: u64, i: usize| kind + KINDS * i as u64;
        match self {
            Self::Signal => 0,
            Self::Timer => 1,
            Self::Report(i) => number(2, i),
            Self::Writer => 3,
            Self::Listener => 4,
            Self::Client(i) => number(5, i),
            Self::Manifests => 6,
            Self::Rows => 7,
            Self::Viewer(k) => number(8, k),
        }
    }

    /// The token that was stored as `data`.
    pub fn decode(data: u64) -> Option<Self> {
        let i = usize::try_from(data / KINDS).ok()?;
        Some(match data % KINDS {
            0 => Self::Signal,
            1 => Self::Timer,
            2 => Self::Report(i),
            3 => Self::Writer,
            4 => Self::Listener,
            5 => Self::Client(i),
            6 => Self::Manifests,
            7 => Self::Rows,
            8 => Self::Viewer(i),
            _ => return None,
        })
    }
}

/// One epoll. A descriptor must be removed before it is closed: a child that was forked meanwhile has a copy, which keeps
/// the registration alive and out of reach.
#[derive(Debug)]
pub struct Poll(Option<Epoll>);

impl Poll {
    /// Before [`open`](Self::open) nothing can be added.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Makes the epoll.
    pub fn open(&mut self) -> Result<(), Errno> {
        self.0 = Some(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        Ok(())
    }

    /// Whether it has been made.
    pub const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    fn epoll(&self) -> Result<&Epoll, Errno> {
        self.0.as_ref().ok_or(Errno::EBADF)
    }

    /// Waits for `fd` to become readable.
    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.epoll()?.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.encode()))
    }

    /// Waits for the other side of `fd` to go.
    pub fn add_end(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.epoll()?.add(fd, EpollEvent::new(EpollFlags::empty(), token.encode()))
    }

    /// Waits for `fd` to become writable too, or no longer.
    pub fn want_write(&self, fd: BorrowedFd<'_>, token: Token, yes: bool) -> Result<(), Errno> {
        let out = if yes { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        self.epoll()?.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | out, token.encode()))
    }

    /// Waits no more.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll().and_then(|epoll| epoll.delete(fd)); // never added is fine
    }

    /// Waits, or only `look`s; returns how many of `events` were filled in.
    pub fn wait(&self, events: &mut [EpollEvent], look: bool) -> Result<usize, Errno> {
        self.epoll()?.wait(events, if look { EpollTimeout::ZERO } else { EpollTimeout::NONE })
    }
}
