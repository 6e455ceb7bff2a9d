//! Hardware watchdogs: the `ioctl(2)` calls of watchdog-api.rst.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// `WDIOC_SETTIMEOUT`: has the device restarted when nothing is written for `seconds`. Returns what the driver made of it.
/// Errors: `EINVAL` out of the hardware's range, `EOPNOTSUPP` where it is fixed, `ENOTTY` when this is no watchdog.
pub fn set_timeout(watchdog: BorrowedFd<'_>, seconds: i32) -> Result<i32, Errno> {
    const WDIOC_SETTIMEOUT: u32 = 0xc004_5706; // _IOWR('W', 6, int)
    of_timeout(watchdog, WDIOC_SETTIMEOUT, seconds)
}

/// `WDIOC_GETTIMEOUT`: in seconds. Errors: as above.
pub fn timeout(watchdog: BorrowedFd<'_>) -> Result<i32, Errno> {
    const WDIOC_GETTIMEOUT: u32 = 0x8004_5707; // _IOR('W', 7, int)
    of_timeout(watchdog, WDIOC_GETTIMEOUT, 0)
}

fn of_timeout(watchdog: BorrowedFd<'_>, call: u32, mut seconds: i32) -> Result<i32, Errno> {
    // SAFETY: the kernel reads or writes one int, which outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, watchdog.as_raw_fd(), call, &raw mut seconds) })?;
    Ok(seconds)
}
