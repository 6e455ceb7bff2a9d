//! Containers: how one is made is `create`, what becomes of it then is `life`.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::Pid;

mod bundle;
mod create;
mod life;
mod record;

pub use bundle::Bundle;
pub use create::{create, create_from};
pub(crate) use life::gone;
use life::remove;
pub use life::{delete, forget, ids, kill, list, processes, start, state};

use crate::cgroup::{Cgroup, Cgroups, Place};
use crate::error::{During, Result};
use crate::notify::{Manager, Pending};
use crate::plan::{Overrides, Process};
use crate::state::{Entry, Id, START_SOCKET, Store};
use crate::sys::socket;
use crate::sys::terminal::{self, STDIN};

/// The largest `config.json` that is read: a hundred times what engines write.
pub const CONFIG_MAX: u64 = 1024 * 1024;

/// What the caller of a create wants.
#[derive(Debug)]
pub struct Request<'a> {
    /// The root directory.
    pub root: &'a Path,
    /// The container's name.
    pub id: &'a Id,
    /// The bundle.
    pub bundle: &'a Path,
    /// What takes the place of parts of config.json.
    pub overrides: Overrides<'a>,
    /// Standard input, output and error; the caller's own where missing.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// What happens when config.json asks for a terminal.
    pub terminal: Terminal<'a>,
    /// Where to write the first process's number.
    pub pid_file: Option<&'a Path>,
    /// Whether the program waits for [`start`].
    pub wait: bool,
    /// Make the first process a sibling of the caller.
    pub sibling: bool,
    /// Whether to do without a cgroup where none can be made; by default unless the caller is the host's root.
    pub rootless: Option<bool>,
    /// Whether it is to have no cgroup of its own.
    pub no_cgroup: bool,
    /// Another file than the bundle's `config.json`.
    pub config: Option<&'a Path>,
    /// Whether the program keeps the caller's session keyring.
    pub keep_keyring: bool,
    /// Descriptors that stay open in the program.
    pub preserved: Preserved,
    /// A socket that gets a pidfd of the first process.
    pub pidfd_to: Option<&'a Path>,
    /// The service manager that is to know when the program is ready.
    pub manager: Option<&'a Manager>,
    /// Whether this process may start over to keep its file out of the container's reach; see [`image`]. One that runs from
    /// the same file as PID 1 need not: nobody can write to it as long as PID 1 lives.
    pub protect: bool,
}

/// Where the master of a container's pseudoterminal goes: to a unix socket, as one descriptor (`SCM_RIGHTS`).
#[derive(Debug, Clone, Copy)]
pub enum Terminal<'a> {
    /// Nowhere: a container that wants one is refused.
    Refused,
    /// To an engine's socket, which expects that the container wants one.
    Console(&'a Path),
    /// To the caller, if the container wants one: by [`Made::terminal`]. Its size is the caller's.
    Foreground,
    /// The same, with the size that the configuration says.
    Kept,
}

/// The descriptors after standard error that stay open in a program.
#[derive(Debug, Default, Clone, Copy)]
pub struct Preserved {
    /// How many.
    pub all: u32,
    /// How many of them, the first ones, are told to it in `LISTEN_FDS`; sd_listen_fds(3).
    pub listening: u32,
}

impl Preserved {
    /// `LISTEN_FDS` and `LISTEN_PID` for the environment. The program of a container is number 1; of an exec it is not, but
    /// that is what runc and crun say.
    pub fn variables(self) -> Option<[CString; 2]> {
        let variable = |name, value| CString::new(format!("{name}={value}")).unwrap_or_default();
        (self.listening > 0).then(|| [variable("LISTEN_FDS", self.listening), variable("LISTEN_PID", 1)])
    }
}

/// Connects to the socket that is to get a pidfd.
pub fn connect_pidfd(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).during("--pidfd-socket: connect", path)
}

impl Terminal<'_> {
    /// Connects to the engine's socket, where there is one.
    pub fn connect(self) -> Result<Option<UnixStream>> {
        match self {
            Self::Console(path) => {
                UnixStream::connect(path).during("--console-socket: connect", path).map(Some)
            }
            Self::Refused | Self::Foreground | Self::Kept => Ok(None),
        }
    }
}

/// Prepares for a terminal that is the caller's: what its master will come through, and the child's end of it. The caller's
/// size is set before the program runs, as it may ask for it first thing.
pub fn callers_terminal(process: &mut Process<'_>) -> Result<(OwnedFd, OwnedFd)> {
    if let Ok(size) = terminal::window_size(STDIN) {
        process.console_size = Some((size.ws_row, size.ws_col));
    }
    socket::pair().during("socketpair", "process.terminal")
}

/// A container whose first process is well.
#[derive(Debug)]
pub struct Made {
    /// The first process.
    pub pid: Pid,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    /// Where the master of its terminal comes from, if it has one and [`Terminal::Foreground`] or [`Terminal::Kept`] was asked for.
    pub terminal: Option<OwnedFd>,
    notify: Option<OwnedFd>,
    store: Store,
    entry: Entry,
    cgroups: Cgroups,
    path: std::ffi::CString,
    /// Left open for the end of this process to close.
    _cgroup: Cgroup,
    /// Whether its removal has more to do than that.
    more: bool,
    every: bool,
}

impl Made {
    /// What of its program is yet to come, where a manager is to know of it.
    pub fn pending<'m>(&mut self, manager: Option<&'m Manager>) -> Option<Pending<'m>> {
        let (manager, socket) = manager.zip(self.notify.take())?;
        Some(Pending { manager, socket, first: self.pid })
    }

    /// Removes what the container leaves, once its first process has ended and was reaped. The last thing that a process
    /// does: its end closes what is open and lets the lock go.
    pub fn remove(self) -> Result<()> {
        let mut this = std::mem::ManuallyDrop::new(self);
        // Gone already: by a delete while it ran.
        if !this.entry.lock()? {
            return Ok(());
        }
        if this.more {
            return remove(&this.store, &this.entry, &this.entry.load()?);
        }
        this.cgroups.remove(&Place { path: &this.path, every: this.every })?;
        this.store.remove(&this.entry)
    }
}

/// The socket's path by way of the directory's descriptor: an address has 108 bytes, whatever the root directory.
fn start_address(entry: &Entry) -> nix::Result<String> {
    let directory = std::os::fd::AsRawFd::as_raw_fd(&entry.directory());
    Ok(format!("/proc/self/fd/{directory}/{START_SOCKET}"))
}
