//! sd_notify(3): a container's program tells the service manager of the command that starts it that it is ready.
//!
//! The program gets a socket of the container's own, bound as one file to `/run/notify/notify.sock`, and never the manager's,
//! to which it could say anything. `create` makes it, and the waiting first process holds it until `start` takes it over;
//! whoever starts the program waits for `READY=1` and tells the manager in words of its own. Afterwards nobody listens any
//! more: what else the program says is refused.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, setsockopt};
use nix::sys::stat::{Mode, stat, umask};
use nix::unistd::{Pid, pipe2};

use crate::error::{During, Error, Result};
use crate::plan::{Kind, Mount, Plan};
use crate::state::{Entry, Id, NOTIFY_SOCKET};
use crate::sys::mount::attr;
use crate::sys::socket;

/// Where the program finds it, which is where runc has it.
const TARGET: &CStr = c"/run/notify/notify.sock";
const VARIABLE: &[u8] = b"NOTIFY_SOCKET=";
const ENTRY: &CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";

/// The longest message that systemd takes.
const MESSAGE_MAX: usize = 4096;

/// How long the manager may take to read what it was told; as systemd-notify(1), runc and crun have it.
const BARRIER_MS: u16 = 30_000;

/// How many messages of a program that has ended are still looked at.
const LAST_WORDS: usize = 16;

/// The connection to a service manager.
#[derive(Debug)]
pub struct Manager(OwnedFd);

impl Manager {
    /// Connects to `$NOTIFY_SOCKET`: a path, or after an `@` an abstract name. None where there is no such variable.
    pub fn of_caller() -> Result<Option<Self>> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name),
            [b'/', ..] => UnixAddr::new(name.as_bytes()),
            _ => {
                return Err(Error::usage(format_args!(
                    "NOTIFY_SOCKET: expected an absolute path, or @ and a name"
                )));
            }
        };
        let during = "NOTIFY_SOCKET: connect";
        let address = address.during(during, Path::new(&name))?;
        let socket = datagrams().during(during, Path::new(&name))?;
        connect(socket.as_raw_fd(), &address).during(during, Path::new(&name))?;
        Ok(Some(Self(socket)))
    }

    /// Tells the manager that the service is ready, and that its main process is `pid`: in one message, as it would look
    /// for the wrong process otherwise. With `barrier` it waits until the manager has read that, as it finds out
    /// whose message it is from the process that sent it.
    pub fn tell(&self, pid: Pid, barrier: bool) -> Result<()> {
        let during = "NOTIFY_SOCKET: send";
        socket::send(self.0.as_fd(), format!("READY=1\nMAINPID={pid}\n").as_bytes()).during(during, "")?;
        if !barrier {
            return Ok(());
        }
        let (closed, pass) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
        socket::send_fd(self.0.as_fd(), b"BARRIER=1", pass.as_fd()).during(during, "")?;
        drop(pass);
        let mut fds = [PollFd::new(closed.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(BARRIER_MS)) == Ok(0) {
            crate::warn!("NOTIFY_SOCKET: the service manager has not read it within 30 s");
        }
        Ok(())
    }
}

/// A program that may say that it is ready, and the manager that is to know.
#[derive(Debug)]
pub struct Pending<'m> {
    /// The manager.
    pub manager: &'m Manager,
    /// The container's socket; closed with this.
    pub socket: OwnedFd,
    /// The container's first process.
    pub first: Pid,
}

impl Pending<'_> {
    /// Waits until the program says that it is ready, and tells the manager; or until the first process, behind `pidfd`, has
    /// ended.
    pub fn wait(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(pidfd, PollFlags::POLLIN), PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.during("poll", "")?,
            };
            let ended = fds.first().and_then(PollFd::any).unwrap_or(false);
            let words = if ended { LAST_WORDS } else { 1 };
            if (0..words).any(|_| self.is_ready()) {
                return self.manager.tell(self.first, true);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Reads one message, if there is one: whether a program of the container says that it is ready. Whatever else comes is
    /// thrown away, and slowly: who floods the socket waits for itself.
    pub fn is_ready(&self) -> bool {
        let mut message = [0; MESSAGE_MAX];
        let Ok((len, sender)) = socket::receive_from(self.socket.as_fd(), &mut message) else { return false };
        let said = message.get(..len).unwrap_or_default();
        if said.split(|&b| b == b'\n').any(|line| line == b"READY=1") && may_speak(sender, self.first) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
        false
    }
}

/// Whether a process is one of the container, as far as it is still there to be looked at: systemd-notify(1) and its like end
/// at once. The kernel says who it is; 0 is one that this process cannot see, so none that it has started.
fn may_speak(sender: i32, first: Pid) -> bool {
    let namespace = |pid| stat(format!("/proc/{pid}/ns/pid").as_str()).map(|file| (file.st_dev, file.st_ino));
    match (namespace(sender), namespace(first.as_raw())) {
        _ if sender == 0 => false,
        (Ok(sender), Ok(first)) => sender == first,
        _ => true,
    }
}

/// The path of a container's socket on the host.
pub fn path(root: &Path, id: &Id) -> Result<CString> {
    let path = std::path::absolute(root.join(id.as_str()).join(NOTIFY_SOCKET)).during("getcwd", root)?;
    CString::new(path.into_os_string().into_encoded_bytes()).map_err(|_| Errno::EINVAL).during("bind", root)
}

/// Makes the socket of a container, `path` on the host, and has the plan put it in its place. It is open to every user:
/// the directory that it is in is not, but in the container.
pub fn offer<'a>(plan: &mut Plan<'a>, entry: &Entry, path: &'a CStr) -> Result<Option<OwnedFd>> {
    if plan.join.iter().any(|join| join.kind == CloneFlags::CLONE_NEWNS) {
        crate::warn!("NOTIFY_SOCKET: a container in a mount namespace that there is cannot have one");
        return Ok(None);
    }
    let socket = datagrams().during("socket", "")?;
    setsockopt(&socket, PassCred, &true).during("setsockopt", "")?;
    // By way of the directory's descriptor: an address has 108 bytes, whatever the root directory.
    let address = format!("/proc/self/fd/{}/{NOTIFY_SOCKET}", entry.directory().as_raw_fd());
    let address = UnixAddr::new(address.as_str()).during("bind", path)?;
    let before = umask(Mode::empty());
    let bound = bind(socket.as_raw_fd(), &address);
    umask(before);
    bound.during("bind", path)?;
    plan.process.env.put(VARIABLE, ENTRY);
    plan.mounts.push(Mount {
        kind: Kind::Bind { recursive: false },
        source: path,
        fstype: c"",
        target: TARGET,
        flags: MsFlags::empty(),
        data: c"",
        attributes: (attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC, 0),
        recursive: (0, 0),
        propagation: heapless::Vec::new(),
        special: crate::plan::Specials::default(),
        idmap: None,
        index: u16::try_from(plan.mounts.len()).unwrap_or(u16::MAX),
    });
    Ok(Some(socket))
}

fn datagrams() -> nix::Result<OwnedFd> {
    nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_target() {
        assert_eq!([VARIABLE, TARGET.to_bytes()].concat(), ENTRY.to_bytes());
    }
}
