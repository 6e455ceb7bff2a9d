//! Network namespaces that outlive their processes: made by a short-lived process and pinned by a bind mount of the
//! namespace file, in the layout of `ip netns` and CNI (shared/netns.md).
//!
//! The directory of the pins is a mount of its own with shared propagation, so that a pin made or removed in one mount
//! namespace is so in those that were copied from it. Whoever changes a pin holds a lock on the directory, which `ip netns`
//! takes too.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{During as _, Error, Result};
use crate::sys::net;

/// The directory of the pins.
pub const DIR: &str = "/run/mote/netns";

/// How often a pin that is busy is tried again, and how long apart.
const BUSY: (u32, Duration) = (100, Duration::from_millis(10));

/// A pinned namespace.
#[derive(Debug)]
pub struct Pin {
    /// Open on the namespace, for `setns(2)`.
    pub fd: OwnedFd,
    /// The number in `net:[...]`.
    pub inode: u64,
}

/// Makes `dir` a mount of its own with shared propagation. Idempotent.
pub fn prepare(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o755).recursive(true).create(dir).during("mkdir", dir)?;
    let _lock = lock(dir)?;
    let (none, empty) = (None::<&str>, Some(""));
    let shared = || mount(empty, dir, Some("none"), MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    match shared() {
        // No mount yet. Recursive: pins that are there already would be covered and could not be removed any more.
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(dir), dir, Some("none"), bind, none).during("mount", dir)?;
            shared().during("mount shared", dir)
        }
        other => other.during("mount shared", dir),
    }
}

/// Returns the namespace pinned as `name`, which is one path component; makes it where there is none that lives.
///
/// Only for a process that is about to end: when the namespace is new the caller is left in it.
pub fn ensure(dir: &Path, name: &str) -> Result<Pin> {
    let path = pin_path(dir, name)?;
    let _lock = lock(dir)?;
    match open(&path) {
        Ok(Some(pin)) => return Ok(pin),
        Ok(None) => clean(&path)?, // a file that lost its mount, or something else altogether
        Err(Error::Sys { errno: Errno::ENOENT, .. }) => {}
        Err(other) => return Err(other),
    }
    unshare(CloneFlags::CLONE_NEWNET).during("unshare", "network namespace")?;
    loopback_up().during("set up", "lo")?;
    let made = pin(&path);
    if made.is_err() {
        let _ = clean(&path); // the first error is the one to tell
    }
    made
}

/// The caller's own namespace.
pub fn own() -> Result<Pin> {
    let path = Path::new("/proc/self/ns/net");
    let file = File::open(path).during("open", path)?;
    let inode = file.metadata().during("stat", path)?.ino();
    Ok(Pin { fd: file.into(), inode })
}

/// Removes the pin `name`, and with it the namespace unless a process is in it. Idempotent.
pub fn unpin(dir: &Path, name: &str) -> Result<()> {
    let path = pin_path(dir, name)?;
    let _lock = lock(dir)?;
    clean(&path)
}

/// Sets `lo` up in the caller's network namespace; the kernel adds 127.0.0.1 and ::1 itself.
/// Allocates nothing.
pub fn loopback_up() -> nix::Result<()> {
    // A socket of any family takes the request. One of these needs no IPv4 and costs the kernel least.
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    net::interface_up(socket.as_fd(), c"lo")
}

/// Binds the caller's own namespace on a new file.
fn pin(path: &Path) -> Result<Pin> {
    let own = "/proc/self/ns/net";
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path).during("open", path)?;
    mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).during("mount", path)?;
    let meta = std::fs::metadata(own).during("stat", own)?;
    match open(path)? {
        Some(pin) if pin.inode == meta.ino() => Ok(pin),
        // Another mount covers ours: whoever joined by this path would be somewhere else.
        _ => Err(Errno::EEXIST).during("verify", path),
    }
}

/// Opens the pin; `None` when what is there is no network namespace.
fn open(path: &Path) -> Result<Option<Pin>> {
    // O_NONBLOCK: a fifo in place of the pin must not hold anybody up.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
        other => other.during("open", path)?,
    };
    if net::namespace_type(file.as_fd()) != Ok(libc::CLONE_NEWNET) {
        return Ok(None);
    }
    let inode = file.metadata().during("stat", path)?.ino();
    Ok(Some(Pin { fd: file.into(), inode }))
}

/// Unmounts all that is stacked on `path` and removes the file.
fn clean(path: &Path) -> Result<()> {
    let (tries, pause) = BUSY;
    for attempt in 0..tries {
        // The same namespace may be mounted several times; EINVAL says that nothing is mounted any more.
        while umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
        let flag = match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => UnlinkatFlags::RemoveDir,
            _ => UnlinkatFlags::NoRemoveDir,
        };
        match unlinkat(nix::fcntl::AT_FDCWD, path, flag) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            // A copy of the mount in another namespace goes away by itself.
            Err(Errno::EBUSY) if attempt + 1 < tries => std::thread::sleep(pause),
            Err(errno) => return Err(errno).during("unlink", path),
        }
    }
    Err(Errno::EBUSY).during("unlink", path)
}

/// The lock that `ip netns` takes as well; it ends with the process at the latest.
fn lock(dir: &Path) -> Result<Flock<File>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(dir).during("open", dir)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during("flock", dir)
}

/// Where the pin stands; a name that is no plain component is refused, whatever its owner promised.
fn pin_path(dir: &Path, name: &str) -> Result<PathBuf> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(Errno::EINVAL).during("pin", name);
    }
    Ok(dir.join(name))
}
