//! The mount calls that nix lacks: `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
pub mod attr {
    /// `MOUNT_ATTR_RDONLY`
    pub const RDONLY: u64 = 0x1;
    /// `MOUNT_ATTR_NOSUID`
    pub const NOSUID: u64 = 0x2;
    /// `MOUNT_ATTR_NODEV`
    pub const NODEV: u64 = 0x4;
    /// `MOUNT_ATTR_NOEXEC`
    pub const NOEXEC: u64 = 0x8;
    /// `MOUNT_ATTR__ATIME`: the field that the three below share; to be cleared when one of them is set.
    pub const ATIME: u64 = 0x70;
    /// `MOUNT_ATTR_RELATIME`
    pub const RELATIME: u64 = 0;
    /// `MOUNT_ATTR_NOATIME`
    pub const NOATIME: u64 = 0x10;
    /// `MOUNT_ATTR_STRICTATIME`
    pub const STRICTATIME: u64 = 0x20;
    /// `MOUNT_ATTR_NODIRATIME`
    pub const NODIRATIME: u64 = 0x80;
    /// `MOUNT_ATTR_NOSYMFOLLOW`, Linux 5.14
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `mount(2)` of names that are no C strings. nix's own is copied for each set of types that it is called with, as five
/// functions within each other.
#[inline(never)]
pub fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&Path>,
    flags: MsFlags,
    data: Option<&Path>,
) -> Result<(), Errno> {
    nix::mount::mount(source, target, kind, flags, data)
}

/// Where `open_tree` starts.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// A path of the calling process; the last component may be a symlink or, with `false`, must not be.
    Path(&'a CStr, bool),
    /// A name in a directory; a symlink is not followed.
    Beneath(BorrowedFd<'a>, &'a CStr),
    /// What the descriptor is open on.
    Fd(BorrowedFd<'a>),
}

/// `open_tree(2)` with `OPEN_TREE_CLONE`: a detached copy of the mount at `from`, with all mounts below it where
/// `recursive`. It is unmounted when the descriptor is closed before it was attached. Linux 5.2.
pub fn open_tree_clone(from: At<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    const OPEN_TREE_CLONE: u32 = 1;
    const AT_RECURSIVE: u32 = 0x8000;
    let (dir, path, how) = match from {
        At::Path(path, true) => (libc::AT_FDCWD, path, 0),
        At::Path(path, false) => (libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW),
        At::Beneath(fd, name) => (fd.as_raw_fd(), name, libc::AT_SYMLINK_NOFOLLOW),
        At::Fd(fd) => (fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH),
    };
    let below = if recursive { AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned() | how.cast_unsigned() | below;
    // SAFETY: `path` ends in NUL and outlives the call; on success the result is a new descriptor owned by nobody.
    let fd = checked(unsafe { syscall!(Sysno::open_tree, dir, path.as_ptr(), flags) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}

/// `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`: a new tmpfs whose root has the mode `mode`, in octal, as a detached mount that is
/// gone with the descriptor. Linux 5.2.
pub fn new_tmpfs(mode: &CStr) -> Result<OwnedFd, Errno> {
    const CLOEXEC: u32 = 1; // FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
    const SET_STRING: u32 = 1;
    const CMD_CREATE: u32 = 6;
    // SAFETY: a static string; the result is a new descriptor that nobody else owns.
    let context = unsafe { owned(checked(syscall!(Sysno::fsopen, c"tmpfs".as_ptr(), CLOEXEC))?) }?;
    let fd = context.as_raw_fd();
    let (key, value) = (c"mode".as_ptr(), mode.as_ptr());
    // SAFETY: the descriptor is open, both strings end in NUL and outlive the call.
    checked(unsafe { syscall!(Sysno::fsconfig, fd, SET_STRING, key, value, 0) })?;
    // SAFETY: this command takes neither key nor value.
    checked(unsafe { syscall!(Sysno::fsconfig, fd, CMD_CREATE, 0, 0, 0) })?;
    // SAFETY: integers; the result is as above.
    unsafe { owned(checked(syscall!(Sysno::fsmount, fd, CLOEXEC, 0))?) }
}

/// `move_mount(2)`: attaches the detached mount on what `target` is open on. Linux 5.2.
/// Errors: `ENOTDIR` when one is a directory and the other is not.
pub fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    let (from, to, empty) = (mount.as_raw_fd(), target.as_raw_fd(), c"".as_ptr());
    // SAFETY: both descriptors are open while borrowed, both paths are the same static empty string.
    checked(unsafe { syscall!(Sysno::move_mount, from, empty, to, empty, F_EMPTY_PATH | T_EMPTY_PATH) })
        .map(drop)
}

/// `struct mount_attr`
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(2)`: sets and clears `MOUNT_ATTR_*` of the mount behind `mount` (and below it where `recursive`),
/// and its propagation type (`MS_SHARED` and the like) unless 0. Linux 5.12.
/// Errors: `ENOSYS` before that; `EINVAL` when the descriptor is not the root of a mount.
pub fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<(), Errno> {
    setattr(mount, recursive, &MountAttr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 })
}

/// The same with `MOUNT_ATTR_IDMAP`: what is in a detached mount shows with the ids that `namespace` maps. Linux 5.12.
/// Errors: `EINVAL` when the filesystem cannot do it, `EPERM` without privileges over it.
pub fn mount_setattr_idmap(
    mount: BorrowedFd<'_>,
    recursive: bool,
    namespace: BorrowedFd<'_>,
) -> Result<(), Errno> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let userns_fd = u64::from(namespace.as_raw_fd().cast_unsigned());
    setattr(
        mount,
        recursive,
        &MountAttr { attr_set: MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd },
    )
}

fn setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    const AT_RECURSIVE: u32 = 0x8000;
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | if recursive { AT_RECURSIVE } else { 0 };
    let (fd, empty, size) = (mount.as_raw_fd(), c"".as_ptr(), size_of::<MountAttr>());
    // SAFETY: `attr` is a whole mount_attr of the size given and outlives the call.
    checked(unsafe { syscall!(Sysno::mount_setattr, fd, empty, flags, &raw const *attr, size) }).map(drop)
}
