//! Standard input of the containers that ask for one (`stdin: true`): a pipe of which PID 1 keeps both ends, so that who types may
//! come and go and the container does not see an end. With `stdinOnce` the first who comes takes the only end that is written
//! to, and when he goes the container sees the end of its input, as Kubernetes has it. Without `stdin` it is `/dev/null`. With `tty`
//! it is the terminal in any case (`tty.rs`), and this says who may type there.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// What the manifest says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// No standard input.
    No,
    /// Anybody, at any time.
    Always,
    /// The first one, once for each run.
    Once,
}

/// That of one container.
#[derive(Debug)]
pub struct Stdin {
    wanted: Wanted,
    /// Whether it is a terminal, and no pipe.
    tty: bool,
    /// Whether somebody may have the end that is written to.
    open: bool,
    read: Option<OwnedFd>,
    write: Option<OwnedFd>,
}

impl Stdin {
    /// None is made before the container is started.
    pub const fn new(wanted: Wanted, tty: bool) -> Self {
        Self { wanted, tty, open: false, read: None, write: None }
    }

    /// Makes the pipe of the next run. What was typed to the last one and not read is gone with it.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if self.wanted != Wanted::No && !self.tty {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            (self.read, self.write) = (Some(read), Some(write));
        }
        self.open = self.wanted != Wanted::No;
        Ok(())
    }

    /// The container's end.
    pub fn read(&self) -> Option<BorrowedFd<'_>> {
        self.read.as_ref().map(|fd| fd.as_fd())
    }

    /// Hands the other end to `give`, which is `terminal` where that is standard input.
    pub fn attach(
        &mut self,
        terminal: Option<BorrowedFd<'_>>,
        give: impl FnOnce(BorrowedFd<'_>),
    ) -> Result<(), &'static str> {
        let end = if self.tty { terminal } else { self.write.as_ref().map(|fd| fd.as_fd()) };
        match (end, self.wanted) {
            (_, Wanted::No) => return Err("has no standard input: its manifest lacks stdin: true"),
            (Some(end), _) if self.open => give(end),
            (_, Wanted::Once) => {
                return Err("somebody has used its standard input, which is for one (stdinOnce)");
            }
            (_, Wanted::Always) => return Err("has not been started yet"),
        }
        if self.wanted == Wanted::Once {
            (self.open, self.write) = (false, None);
        }
        Ok(())
    }
}
