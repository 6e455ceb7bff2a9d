//! capabilities(7) of the calling thread.

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// `capset(2)`: the effective, permitted and inheritable sets, a bit for each capability.
/// Errors: `EPERM` when a set asks for what the thread may not have.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    let low = |set: u64| (set & 0xffff_ffff) as u32;
    let high = |set: u64| (set >> 32) as u32;
    let header: [u32; 2] = [VERSION_3, 0];
    let data = [
        [low(effective), low(permitted), low(inheritable)],
        [high(effective), high(permitted), high(inheritable)],
    ];
    // SAFETY: a cap_user_header_t (version, pid 0 for self) and the two cap_user_data_t that version 3 reads.
    checked(unsafe { syscall!(Sysno::capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// `prctl(PR_CAPBSET_DROP)`: takes one capability from the bounding set for good.
/// Errors: `EINVAL` for a number that the kernel does not know, `EPERM` without CAP_SETPCAP.
pub fn capbset_drop(capability: u8) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::prctl, libc::PR_CAPBSET_DROP, u64::from(capability), 0, 0, 0) })
        .map(drop)
}

/// `prctl(PR_CAP_AMBIENT_RAISE)`: adds one capability to the ambient set. Linux 4.3.
/// Errors: `EPERM` unless it is both permitted and inheritable.
pub fn ambient_raise(capability: u8) -> Result<(), Errno> {
    let (raise, capability) = (libc::PR_CAP_AMBIENT_RAISE, u64::from(capability));
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::prctl, libc::PR_CAP_AMBIENT, raise, capability, 0, 0) }).map(drop)
}

/// `prctl(PR_CAP_AMBIENT_CLEAR_ALL)`: empties the ambient set. Linux 4.3.
pub fn ambient_clear() -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })
        .map(drop)
}
