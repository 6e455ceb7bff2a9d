//! A writable layer over a root filesystem that cannot be written to: an overlay whose upper directory is in a tmpfs of the
//! container's own. Both are mounted in the container's mount namespace alone, so they end with its last process, and nothing is
//! left to remove. overlayfs.rst of the kernel's documentation; the tmpfs needs `trusted.` attributes (CONFIG_TMPFS_XATTR).

use std::ffi::CStr;
use std::os::fd::AsFd as _;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{fchdir, fchownat};

use super::{attach_root, clone_tree};
use crate::sys::file::{self, Passing};
use crate::sys::mount::{At, move_mount, new_tmpfs};

/// Mounts the overlay over the root filesystem at `path` and returns it.
/// Errors: `ENODEV` without overlayfs in the kernel.
pub fn make(path: &CStr, propagation: MsFlags) -> nix::Result<Passing> {
    let lower = clone_tree(At::Path(path, false), false)?;
    let own = Passing::from(new_tmpfs(c"0755")?);
    attach_root(own.as_fd(), path, propagation)?;
    // All that follows is named from here: no path to escape, and none that has to be seen from a chroot.
    fchdir(&own)?;
    let mode = Mode::from_bits_truncate(0o755);
    for name in [c"lower", c"upper", c"work", c"root"] {
        mkdirat(AT_FDCWD, name, mode)?;
    }
    // The overlay's root is as the upper directory is.
    let root = fstat(&lower)?;
    fchownat(AT_FDCWD, c"upper", Some(root.st_uid.into()), Some(root.st_gid.into()), AtFlags::empty())?;
    fchmodat(AT_FDCWD, c"upper", Mode::from_bits_truncate(root.st_mode), FchmodatFlags::FollowSymlink)?;
    let flags = as_mounted(fstatvfs(&lower)?.flags());
    let below = Passing::from(file::open(c"lower", OFlag::O_PATH | OFlag::O_DIRECTORY)?);
    move_mount(lower.as_fd(), below.as_fd())?;
    let layers = c"lowerdir=lower,upperdir=upper,workdir=work";
    mount(Some(c"overlay"), c"root", Some(c"overlay"), flags, Some(layers))?;
    file::open(c"root", OFlag::O_PATH | OFlag::O_DIRECTORY).map(Passing::from)
}

/// What the mount below forbids, the one above it forbids as well.
fn as_mounted(below: FsFlags) -> MsFlags {
    let forbidden = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    forbidden.iter().filter(|(flag, _)| below.contains(*flag)).map(|(_, flag)| *flag).collect()
}
