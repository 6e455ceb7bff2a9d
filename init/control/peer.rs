//! Who is answered: root of the device's own namespaces, and of containers those of a pod that has the annotation `mote/control`.
//!
//! A container that was given the run directory and the device's pid namespace looks like root of the device otherwise. What
//! tells it apart is its cgroup, which only a privileged one can leave; such a one is the device's root in all but name.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use mote::sys::file;
use mote::sys::process::{pidfd_open, pidfd_send_signal};
use mote::sys::socket::peer_pidfd;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use nix::sys::stat::stat;
use nix::unistd::Pid;

use crate::world::World;

/// More than `/proc/<pid>/cgroup` has with a dozen hierarchies.
const CGROUP_BYTES: usize = 4096;

/// A name below `/proc/<pid>/`.
type ProcPath = heapless::String<40>;

/// Somebody who is not answered.
#[derive(Debug)]
pub struct Stranger {
    /// Who it is.
    pub peer: UnixCredentials,
    /// Its pod, where it is in one.
    pub pod: Option<usize>,
}

/// Whether the peer of a connection that has just been accepted is answered.
///
/// What `/proc` says of its number is about the peer only while that has not been reaped. Linux has a descriptor of it from
/// 6.5 on; before, one is opened by the number, at once: all other numbers would have to be used up between its connect(2)
/// and now for that to be somebody else.
pub fn admit(world: &World<'_>, fd: BorrowedFd<'_>) -> Result<(), Stranger> {
    let Ok(peer) = getsockopt(&fd, sockopt::PeerCredentials) else {
        return Err(Stranger { peer: UnixCredentials::new(), pod: None });
    };
    let pid = Pid::from_raw(peer.pid());
    let pidfd = match peer_pidfd(fd) {
        Err(Errno::ENOPROTOOPT) => pidfd_open(pid),
        result => result,
    };
    let mut pod = None;
    let known = peer.uid() == 0 && pidfd.is_ok() && {
        // Who has mounts of its own may be in a container. Only then its cgroup is asked for, which takes a lock of the kernel's.
        let found = if same(pid, "mnt") { Ok(None) } else { pod_of(world, pid) };
        pod = found.ok().flatten();
        match found {
            Ok(Some(p)) => world.pods.get(p).is_some_and(|pod| pod.control),
            Ok(None) => same(pid, "pid") && same(pid, "user"),
            Err(_) => false,
        }
    };
    if known && pidfd.is_ok_and(|fd| is_there(&fd)) { Ok(()) } else { Err(Stranger { peer, pod }) }
}

/// Whether the process has not been reaped.
fn is_there(pidfd: &OwnedFd) -> bool {
    pidfd_send_signal(pidfd.as_fd(), 0) != Err(Errno::ESRCH)
}

/// Whether a process is in the same namespace of that kind.
fn same(pid: Pid, kind: &str) -> bool {
    let number = |path: &ProcPath| stat(path.as_str()).map(|stat| stat.st_ino);
    let path = |who: std::fmt::Arguments<'_>| {
        let mut path = ProcPath::new();
        write!(path, "/proc/{who}/ns/{kind}").map(|()| path)
    };
    match (path(format_args!("self")), path(format_args!("{pid}"))) {
        (Ok(own), Ok(other)) => number(&own).is_ok_and(|own| number(&other) == Ok(own)),
        _ => false,
    }
}

/// The pod whose cgroup a process is in.
/// Errors: what keeps that from being known, and `ENOENT` for one that is no pod's any more.
#[inline(never)] // its buffer is a page that PID 1 does not need otherwise
fn pod_of(world: &World<'_>, pid: Pid) -> Result<Option<usize>, Errno> {
    let mut path = ProcPath::new();
    write!(path, "/proc/{pid}/cgroup").map_err(|_| Errno::ENAMETOOLONG)?;
    let fd = file::open(path.as_str(), OFlag::O_RDONLY)?;
    let (mut bytes, mut length) = ([0; CGROUP_BYTES], 0);
    loop {
        match nix::unistd::read(&fd, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(errno) => return Err(errno),
        }
    }
    if length == CGROUP_BYTES {
        return Err(Errno::EMSGSIZE);
    }
    let text = std::str::from_utf8(bytes.get(..length).unwrap_or_default()).map_err(|_| Errno::EILSEQ)?;
    let Some(name) = text.lines().find_map(|line| below(line, world.paths.pods)) else { return Ok(None) };
    let pod = world.pods.iter().position(|pod| pod.name.as_str() == name && pod.failed.is_none());
    pod.map(Some).ok_or(Errno::ENOENT)
}

/// The name after `pods` in a line such as `0::/pods/web/a`. Of a host's cgroup that is mounted there is more before it.
fn below<'l>(line: &'l str, pods: &str) -> Option<&'l str> {
    let slashes = line.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    let mut places = slashes.filter_map(|(at, _)| line.get(at + 1..)?.strip_prefix(pods)?.strip_prefix('/'));
    places.next()?.split(['/', ' ']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_cgroup() {
        for (line, pods, name) in [
            ("0::/pods/web/a", "pods", Some("web")),
            ("0::/pods/web/a/deeper/pods/other", "pods", Some("web")),
            ("0::/pods/web (deleted)", "pods", Some("web")),
            ("4:memory:/docker/1/mote=run/pods/web/a", "mote=run/pods", Some("web")),
            ("12:cpu,cpuacct:/x/mote=run/pods/web/a", "x/mote=run/pods", Some("web")),
            ("0::/init", "pods", None),
            ("0::/pods", "pods", None),
            ("0::/mypods/web", "pods", None),
            ("0::/podsx/web", "pods", None),
            ("0::/podsx/pods/web", "pods", Some("web")),
            ("", "pods", None),
        ] {
            assert_eq!(below(line, pods), name, "{line}");
        }
    }
}
