//! Out of the initramfs: `pivot_root(2)` refuses to move the root that the kernel unpacked the initramfs into (until Linux
//! 7.0), and a plain chroot leaves that root within reach of whoever joins the mount namespace again.
//!
//! So `/` is bound on one of its own directories, the bind is moved onto `/`, and the process changes its root to it. The new
//! root has a parent, so containers can pivot; and it covers the old one, where `setns(2)` to the mount namespace ends up too.
//! PID 1 does this once at boot, before it mounts anything else: the bind leaves mounts below `/` behind.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::{chdir, chroot};

/// `RAMFS_MAGIC` and `TMPFS_MAGIC`: what the kernel unpacks an initramfs into.
const MAGIC: [FsType; 2] = [FsType(0x8584_58f6), FsType(0x0102_1994)];

/// Set by [`leave`]. A forked child has it too, so that PID 1's containers do not leave a second time.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether `/` may be the initramfs. A tmpfs that somebody mounted looks the same; leaving it does no harm.
pub fn is_root() -> Result<bool, Errno> {
    Ok(!LEFT.load(Relaxed) && MAGIC.contains(&statfs(c"/")?.filesystem_type()))
}

/// Makes a bind of `/` the root of the mount namespace and of the calling process, through the directory `scratch`. With
/// `recursive` the mounts below `/` come along.
///
/// Allocates nothing. On an error the process is in `/` as before, with a bind on `scratch` at most.
pub fn leave(scratch: &CStr, recursive: bool) -> Result<(), Errno> {
    let below = if recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    let none: Option<&CStr> = None;
    mount(Some(c"/"), scratch, none, MsFlags::MS_BIND | below, none)?;
    chdir(scratch)?;
    mount(Some(c"."), c"/", none, MsFlags::MS_MOVE, none).or_else(|e| chdir(c"/").and(Err(e)))?;
    chroot(c".")?;
    LEFT.store(true, Relaxed);
    chdir(c"/")
}
