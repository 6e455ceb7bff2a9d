//! Namespaces that outlive their processes: made by a short-lived process and pinned by a bind mount of the namespace
//! file, network namespaces in the layout of `ip netns` and CNI (shared/netns.md).
//!
//! A directory of pins is a mount of its own with shared propagation, so that a pin made or removed in one mount namespace
//! is so in those that were copied from it. Whoever changes a pin holds a lock on the directory, which `ip netns` takes too.
//!
//! Each step may be the last: who is killed between two of them leaves a file without a mount, or a mount that is whole, and
//! the next one cleans that up or adopts it.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{During as _, Result};
use crate::sys::file;
use crate::sys::mount::mount;
use crate::sys::net;

/// A kind of namespace that can be pinned.
#[derive(Debug)]
pub struct Kind {
    /// Its `CLONE_NEW*` flag.
    pub flag: CloneFlags,
    /// The caller's own, a file.
    pub own: &'static str,
    /// The directory of its pins, below the directory of all that is known at run time.
    pub dir: &'static str,
}

/// Network namespaces; `ip netns` has the name of the directory, too.
pub const NET: Kind = Kind { flag: CloneFlags::CLONE_NEWNET, own: "/proc/self/ns/net", dir: "netns" };
/// System V IPC and POSIX message queues.
pub const IPC: Kind = Kind { flag: CloneFlags::CLONE_NEWIPC, own: "/proc/self/ns/ipc", dir: "ipcns" };
/// The host name.
pub const UTS: Kind = Kind { flag: CloneFlags::CLONE_NEWUTS, own: "/proc/self/ns/uts", dir: "utsns" };
/// All of them.
pub const KINDS: [&Kind; 3] = [&NET, &IPC, &UTS];

/// How often a pin that is busy is tried again, and how long apart.
const BUSY: (u32, Duration) = (100, Duration::from_millis(10));

/// A pinned namespace.
#[derive(Debug)]
pub struct Pin {
    /// Open on the namespace, for `setns(2)`.
    pub fd: OwnedFd,
    /// The number in `net:[...]`.
    pub inode: u64,
    /// Whether the namespace was made just now.
    pub new: bool,
}

/// Makes `dir` a mount of its own with shared propagation. Idempotent.
pub fn prepare(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o755).recursive(true).create(dir).during("mkdir", dir)?;
    let _lock = lock(dir)?;
    let (empty, none) = (Some(Path::new("")), Some(Path::new("none")));
    let shared = || mount(empty, dir, none, MsFlags::MS_SHARED | MsFlags::MS_REC, None);
    match shared() {
        // No mount yet. Recursive: pins that are there already would be covered and could not be removed any more.
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(dir), dir, none, bind, None).during("mount", dir)?;
            shared().during("mount shared", dir)
        }
        other => other.during("mount shared", dir),
    }
}

/// Returns the namespace of this `kind` pinned as `name`, which is one path component. Where there is none that lives, the
/// one that is `held` is pinned again; without such a one a new one is made, and `enter` does in it what has to be done
/// before anybody can find it.
///
/// Only for a process that is about to end: when the namespace is new the caller is left in it.
pub fn ensure(
    kind: &Kind,
    dir: &Path,
    name: &str,
    held: Option<BorrowedFd<'_>>,
    enter: &mut dyn FnMut() -> Result<()>,
) -> Result<Pin> {
    let path = pin_path(dir, name)?;
    let _lock = lock(dir)?;
    match open(kind, &path) {
        Ok(Some(pin)) => return Ok(pin),
        Ok(None) => clean(&path)?, // a file that lost its mount, or something else altogether
        Err(error) if error.errno() == Some(Errno::ENOENT) => {}
        Err(other) => return Err(other),
    }
    let held = held.filter(|held| net::namespace_type(*held) == Ok(kind.flag.bits()));
    let made = match held {
        Some(held) => pin(kind, &format!("/proc/self/fd/{}", held.as_raw_fd()), &path),
        None => {
            unshare(kind.flag).during("unshare", kind.own)?;
            enter()?;
            pin(kind, kind.own, &path).map(|made| Pin { new: true, ..made })
        }
    };
    if made.is_err() {
        let _ = clean(&path); // the first error is the one to tell
    }
    made
}

/// The caller's own namespace.
pub fn own(kind: &Kind) -> Result<Pin> {
    let file = File::open(kind.own).during("open", kind.own)?;
    let inode = file.metadata().during("stat", kind.own)?.ino();
    Ok(Pin { fd: file.into(), inode, new: false })
}

/// Opens the pin `name`; `None` where there is none that lives. Takes no lock, and waits for nobody.
pub fn find(kind: &Kind, dir: &Path, name: &str) -> Result<Option<Pin>> {
    match open(kind, &pin_path(dir, name)?) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        other => other,
    }
}

/// Removes the pin `name`, and with it the namespace unless a process is in it. Idempotent.
pub fn unpin(dir: &Path, name: &str) -> Result<()> {
    let path = pin_path(dir, name)?;
    let _lock = lock(dir)?;
    clean(&path)
}

/// Removes what is left from before: whatever is not the pin of a name that is `known`. Returns how many went.
pub fn sweep(kind: &Kind, dir: &Path, known: &dyn Fn(&str) -> bool) -> Result<usize> {
    let _lock = match lock(dir) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(0), // no pod has needed this kind
        other => other?,
    };
    let mut gone = 0;
    for name in file::names(dir).during("readdir", dir)? {
        let (wanted, path) = (name.to_str().is_some_and(known), dir.join(&name));
        // While the lock is held nobody is between making a file and mounting on it.
        if !wanted || !matches!(open(kind, &path), Ok(Some(_))) {
            clean(&path)?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// Binds a namespace on a new file.
fn pin(kind: &Kind, from: &str, path: &Path) -> Result<Pin> {
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path).during("open", path)?;
    mount(Some(Path::new(from)), path, None, MsFlags::MS_BIND, None).during("mount", path)?;
    let meta = std::fs::metadata(from).during("stat", from)?;
    match open(kind, path)? {
        Some(pin) if pin.inode == meta.ino() => Ok(pin),
        // Another mount covers ours: whoever joined by this path would be somewhere else.
        _ => Err(Errno::EEXIST).during("verify", path),
    }
}

/// Opens the pin; `None` when what is there is no namespace of this kind.
fn open(kind: &Kind, path: &Path) -> Result<Option<Pin>> {
    // O_NONBLOCK: a fifo in place of the pin must not hold anybody up.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
        other => other.during("open", path)?,
    };
    if net::namespace_type(file.as_fd()) != Ok(kind.flag.bits()) {
        return Ok(None);
    }
    let inode = file.metadata().during("stat", path)?.ino();
    Ok(Some(Pin { fd: file.into(), inode, new: false }))
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
