//! Standard input of the containers that ask for one (`stdin: true`): a pipe of which PID 1 keeps both ends, so that who types may
//! come and go and the container does not see an end. With `stdinOnce` the first who comes takes the only end that is written
//! to, and when he goes the container sees the end of its input, as Kubernetes has it. Without `stdin` it is `/dev/null`.

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

/// The pipe of one container.
#[derive(Debug)]
pub struct Stdin {
    wanted: Wanted,
    read: Option<OwnedFd>,
    write: Option<OwnedFd>,
}

impl Stdin {
    /// None is made before the container is started.
    pub const fn new(wanted: Wanted) -> Self {
        Self { wanted, read: None, write: None }
    }

    /// Makes the pipe of the next run. What was typed to the last one and not read is gone with it.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if self.wanted != Wanted::No {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            (self.read, self.write) = (Some(read), Some(write));
        }
        Ok(())
    }

    /// The container's end.
    pub fn read(&self) -> Option<BorrowedFd<'_>> {
        self.read.as_ref().map(|fd| fd.as_fd())
    }

    /// Hands the other end to `give`.
    pub fn attach(&mut self, give: impl FnOnce(BorrowedFd<'_>)) -> Result<(), &'static str> {
        match (&self.write, self.wanted) {
            (_, Wanted::No) => return Err("has no standard input: its manifest lacks stdin: true"),
            (None, Wanted::Once) => {
                return Err("somebody has used its standard input, which is for one (stdinOnce)");
            }
            (None, Wanted::Always) => return Err("has not been started yet"),
            (Some(write), _) => give(write.as_fd()),
        }
        if self.wanted == Wanted::Once {
            self.write = None;
        }
        Ok(())
    }
}
