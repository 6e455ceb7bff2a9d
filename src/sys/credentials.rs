//! User, groups. Raw calls: musl's own would signal every thread, of which there is one.

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// `setgroups(2)`: replaces the supplementary groups.
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `groups.len()` gid_t, which are u32, from a live slice.
    checked(unsafe { syscall!(Sysno::setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// `setresgid(2)`: real, effective and saved group.
pub fn setresgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::setresgid, gid, gid, gid) }).map(drop)
}

/// `setresuid(2)`: real, effective and saved user.
pub fn setresuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::setresuid, uid, uid, uid) }).map(drop)
}
