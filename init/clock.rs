//! The one clock of PID 1: milliseconds since the kernel booted, time asleep included.

use mote::sys::clock::clock_gettime;

/// Now.
pub fn now_ms() -> u64 {
    // The clock exists on every kernel since 2.6.39, so the default is never seen.
    let now = clock_gettime(libc::CLOCK_BOOTTIME).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
