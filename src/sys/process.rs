//! Processes that exist: pidfds, descriptors passed over `execve`, keyrings.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::unistd::Pid;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// `pidfd_open(2)`: a descriptor for a process, which stays its own when the number is used again. Linux 5.3.
/// Errors: `ESRCH` when there is none.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers in; on success the result is a new descriptor that nobody else owns.
    let fd = checked(unsafe { syscall!(Sysno::pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}

/// `pidfd_send_signal(2)`: signals the process behind `pidfd`, never a recycled PID. Linux 5.1.
/// Errors: `ESRCH` once it has been reaped, `EINVAL` for a number that is no signal.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: `pidfd` is open while borrowed; a null siginfo makes the kernel read no memory of ours.
    checked(unsafe { syscall!(Sysno::pidfd_send_signal, pidfd.as_raw_fd(), signal, 0, 0) }).map(drop)
}

/// `close_range(2)`: closes every descriptor from `first` to `last`. Linux 5.9. For the child alone, which hands none of
/// the descriptors of its parent's memory to anybody any more and never drops them.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: closes descriptors whose owners, in the copied frames of the parent, are never used or dropped.
    checked(unsafe { syscall!(Sysno::close_range, first, last, 0) }).map(drop)
}

/// `rt_sigaction(2)`: the default action for a signal. A raw call: musl's keeps some for itself.
/// Errors: `EINVAL` for SIGKILL, SIGSTOP and what is no signal.
pub fn set_default_action(signal: i32) -> Result<(), Errno> {
    // The kernel's struct sigaction: SIG_DFL, no flags, no restorer, an empty mask of 8 bytes.
    let action = [0_u64; 4];
    // SAFETY: the kernel reads at most 32 bytes from a live array, and a default action runs no code of ours.
    checked(unsafe { syscall!(Sysno::rt_sigaction, signal, action.as_ptr(), 0, 8) }).map(drop)
}

/// Takes over a descriptor that a process with the same table of descriptors has made and left to this one.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the maker was told to forget it and is gone, so that nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `getrlimit(2)`: the soft and the hard limit of this process, by `prlimit`. Raw calls, here and below: musl's own bring along
/// what older kernels need, and what signals every thread, of which there is one.
pub fn getrlimit(resource: Resource) -> Result<(u64, u64), Errno> {
    get_limits(Pid::from_raw(0), resource)
}

/// `setrlimit(2)`: soft and hard limit of this process.
/// Errors: `EPERM` for a higher hard limit without `CAP_SYS_RESOURCE`, `EINVAL` for a soft one above the hard one.
pub fn setrlimit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    set_limits(Pid::from_raw(0), resource, soft, hard)
}

fn get_limits(pid: Pid, resource: Resource) -> Result<(u64, u64), Errno> {
    let mut limits = [0_u64; 2];
    // SAFETY: the kernel writes a struct rlimit64, two 64-bit numbers, into a live array.
    let got = unsafe { syscall!(Sysno::prlimit64, pid.as_raw(), resource as u32, 0, limits.as_mut_ptr()) };
    checked(got).map(|_| limits.into())
}

fn set_limits(pid: Pid, resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limits = [soft, hard];
    // SAFETY: the kernel reads one struct rlimit64 from a live array.
    checked(unsafe { syscall!(Sysno::prlimit64, pid.as_raw(), resource as u32, limits.as_ptr(), 0) })
        .map(drop)
}

/// `prlimit(2)`: raises the hard limit of another process where it is below `hard`.
/// Errors: `EPERM` without `CAP_SYS_RESOURCE` in the initial user namespace.
pub fn raise_limit(pid: Pid, resource: Resource, hard: u64) -> Result<(), Errno> {
    let (soft, before) = get_limits(pid, resource)?;
    if before < hard { set_limits(pid, resource, soft, hard) } else { Ok(()) }
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: an own session keyring, so that the caller's keys stay behind.
/// Errors: `ENOSYS` where the kernel has no keys, `EDQUOT`.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name makes the kernel read no memory of ours.
    checked(unsafe { syscall!(Sysno::keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) }).map(drop)
}

/// `setdomainname(2)`: the NIS domain name of the calling process's UTS namespace.
pub fn setdomainname(name: &CStr) -> Result<(), Errno> {
    let (bytes, len) = (name.as_ptr(), name.count_bytes());
    // SAFETY: the kernel reads `len` bytes, which the string has.
    checked(unsafe { syscall!(Sysno::setdomainname, bytes, len) }).map(drop)
}

/// `strerror(3)`: an errno in the C library's words, which std has linked in already.
pub fn describe(errno: Errno) -> &'static str {
    // SAFETY: musl's texts are constants, and so are glibc's of the numbers that it knows, which Errno's are; one thread.
    let text = unsafe { CStr::from_ptr(libc::strerror(errno as i32)) };
    text.to_str().unwrap_or_default()
}

/// `_exit(2)`: ends the process at once; nothing of the parent's copied state is flushed or dropped.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(status) }
}
