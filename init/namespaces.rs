//! The namespaces that the containers of a pod share: network always, ipc and uts where there is more than one container.
//! They are pinned below `/run/mote` ([`mote::pin`]), so no process has to wait in them; a starter makes or adopts them.
//!
//! PID 1 holds each open as well. What loses its pin, because somebody has unmounted it, is pinned again by the next start.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use mote::error::{During as _, Result};
use mote::pin::{self, Kind, Pin};
use mote::sys::net;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::fstat;
use nix::unistd::sethostname;

use crate::line::Line;
use crate::manifest::{Mode, Pod};
use crate::network;
use crate::paths::Paths;
use crate::world::PodRow;

/// What PID 1 holds of a pod: a descriptor for each of [`pin::KINDS`].
pub type Held = [Option<OwnedFd>; pin::KINDS.len()];

/// The namespaces of a pod, for a container to start in.
#[derive(Debug)]
pub struct Shared {
    /// What is joined, and by which path; `None` for the device's own.
    joins: Vec<(CloneFlags, Option<PathBuf>)>,
    /// Open for as long as the paths are used.
    pins: Vec<Pin>,
    /// The number of the network namespace.
    pub netns: u64,
}

impl Shared {
    /// As the plan takes them.
    pub fn joins(&self) -> Vec<(CloneFlags, Option<&Path>)> {
        self.joins.iter().map(|(kind, path)| (*kind, path.as_deref())).collect()
    }

    fn add(&mut self, kind: &Kind, pin: Pin) {
        // By descriptor: what the path of the pin leads to may have been changed since.
        let path = format!("/proc/self/fd/{}", pin.fd.as_raw_fd());
        self.joins.push((kind.flag, Some(path.into())));
        self.pins.push(pin);
    }
}

/// Whether there is anybody to share ipc and uts with.
pub fn is_shared(pod: &Pod) -> bool {
    pod.containers.len() > 1
}

/// Makes or adopts the namespaces of `pod`. Runs in the starter, which is left in those that are new.
pub fn enter(paths: &Paths, pod: &Pod, held: &Held) -> Result<Shared> {
    let home = network::home(&pod.network)?;
    let mut shared = Shared { joins: Vec::new(), pins: Vec::new(), netns: 0 };
    let host_network = pod.network.mode == Mode::Host;
    let several = is_shared(pod);
    for (kind, held) in pin::KINDS.iter().zip(held) {
        let (host, pinned) = match kind.flag {
            CloneFlags::CLONE_NEWNET => (host_network, true),
            // Kubernetes, too, gives a pod in the device's network the device's name.
            CloneFlags::CLONE_NEWUTS => (host_network, several),
            _ => (pod.host_ipc, several),
        };
        if host {
            shared.joins.push((kind.flag, None));
        } else if pinned {
            let dir = Path::new(paths.run).join(kind.dir);
            if kind.flag != CloneFlags::CLONE_NEWNET {
                pin::prepare(&dir)?; // that of the network is made at boot
            }
            let held = held.as_ref().map(|fd| fd.as_fd());
            let pin = pin::ensure(kind, &dir, pod.name.as_str(), held, &mut || first(paths, kind, pod))?;
            shared.add(kind, pin);
        }
    }
    if pod.host_pid {
        shared.joins.push((CloneFlags::CLONE_NEWPID, None));
    }
    if let (Some(home), Some(pin)) = (home, shared.pins.first()) {
        network::attach(paths, pod, &home, pin)?;
    }
    shared.netns = match shared.pins.first() {
        Some(pin) if !host_network => pin.inode,
        _ => pin::own(&pin::NET)?.inode,
    };
    Ok(shared)
}

/// What is done once, in a namespace that is new.
fn first(paths: &Paths, kind: &Kind, pod: &Pod) -> Result<()> {
    match (kind.flag, &pod.hostname) {
        (CloneFlags::CLONE_NEWNET, _) => {
            network::anew(paths, &pod.network, pod.name.as_str())?;
            net::loopback_up().during("set up", "lo")
        }
        (CloneFlags::CLONE_NEWUTS, Some(name)) => {
            sethostname(name.as_str()).during("sethostname", name.as_str())
        }
        _ => Ok(()),
    }
}

/// Has PID 1 hold the namespaces of the pod `name`, whose network namespace has the number `netns`. Allocates nothing.
pub fn hold(paths: &Paths, name: &str, netns: u64, held: &mut Held) {
    for (kind, held) in pin::KINDS.iter().zip(held) {
        if held.as_ref().is_some_and(|fd| kind.flag != CloneFlags::CLONE_NEWNET || is(fd, netns)) {
            continue;
        }
        let path = Line::<256>::of(format_args!("{}/{}/{name}", paths.run, kind.dir));
        // O_NONBLOCK: a fifo in place of the pin must not hold PID 1 up.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let found = nix::fcntl::open(path.as_str(), flags, nix::sys::stat::Mode::empty()).ok();
        *held = found.filter(|fd| {
            net::namespace_type(fd.as_fd()) == Ok(kind.flag.bits())
                && (kind.flag != CloneFlags::CLONE_NEWNET || is(fd, netns))
        });
    }
}

fn is(fd: &OwnedFd, inode: u64) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_ino == inode)
}

/// Removes the network and the pins of the pod `name`, and with them the namespaces, unless a process or PID 1 has hold of
/// them.
pub fn remove(paths: &Paths, name: &str) -> Result<()> {
    let mut result = network::detach(paths, name);
    for kind in pin::KINDS {
        let dir = Path::new(paths.run).join(kind.dir);
        if dir.exists() {
            result = result.and(pin::unpin(&dir, name));
        }
    }
    result
}

/// Removes all that pods of another time have left: of those in the table, what is no namespace any more.
pub fn sweep(paths: &Paths, pods: &[PodRow]) {
    let known = |name: &str| pods.iter().any(|pod| pod.name.as_str() == name);
    network::sweep(paths, &known);
    for kind in pin::KINDS {
        match pin::sweep(kind, &Path::new(paths.run).join(kind.dir), &known) {
            Ok(0) => {}
            Ok(gone) => mote::info!("{}: {gone} pins of other pods removed", kind.dir),
            Err(e) => mote::warn!("{e}; what is pinned there stays"),
        }
    }
}
