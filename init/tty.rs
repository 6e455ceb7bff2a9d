//! The terminals of the containers that ask for one (`tty: true`). It is made in the container's own devpts by each start; PID 1 keeps
//! the side that the log writer reads and who attaches types to, so that neither of them makes the container see a hangup.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The terminal of one container.
#[derive(Debug)]
pub struct Tty {
    wanted: bool,
    master: Option<OwnedFd>,
    last: Option<OwnedFd>,
}

impl Tty {
    /// None is made before the container is started.
    pub const fn new(wanted: bool) -> Self {
        Self { wanted, master: None, last: None }
    }

    /// Whether the container has one.
    pub const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The side that is kept, since the first start.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().map(|fd| fd.as_fd())
    }

    /// That of the run before this one: a log writer that was killed may not have read all of it.
    pub fn last(&self) -> Option<BorrowedFd<'_>> {
        self.last.as_ref().map(|fd| fd.as_fd())
    }

    /// Takes that of the run that begins.
    pub fn begin(&mut self, master: OwnedFd) {
        // A read that waited would keep the log writer from all other containers. A terminal takes any flags.
        let _ = fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK));
        self.last = self.master.replace(master);
    }
}
