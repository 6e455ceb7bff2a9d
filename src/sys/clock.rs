//! `clock_gettime(2)`.

use std::time::Duration;

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// `clock_gettime(2)` as a system call. The C library's own goes through the vDSO, which is faster from the second call on:
/// the first one looks the function up and has the kernel map its data, more than all calls of a boot cost.
/// Errors: `EINVAL` for a clock that the kernel does not have.
pub fn clock_gettime(clock: libc::clockid_t) -> Result<Duration, Errno> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which is alive.
    checked(unsafe { syscall!(Sysno::clock_gettime, clock, &raw mut now) })?;
    // Both are never negative here: these clocks began with the boot or in 1970.
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    Ok(Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or(0)))
}
