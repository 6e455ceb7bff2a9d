//! `seccomp(2)`: classic BPF programs that judge system calls, and descriptors that cross processes for them.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// `struct sock_filter`
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: `BPF_*` of linux/bpf_common.h.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jt: u8,
    /// How many to skip when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The most instructions a program may have; linux/bpf_common.h.
pub const BPF_MAXINSNS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_LOG`: log what is not allowed, where the kernel's `actions_logged` agrees. Linux 4.14.
pub const FLAG_LOG: u32 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation of Speculative Store Bypass on account of the filter. Linux 4.17.
pub const FLAG_SPEC_ALLOW: u32 = 4;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the call returns a descriptor that is told of `SECCOMP_RET_USER_NOTIF`. Linux 5.0.
pub const FLAG_NEW_LISTENER: u32 = 8;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: once a listener has received it, only fatal signals end a call that waits.
/// Linux 5.19.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 32;

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// `SECCOMP_SET_MODE_FILTER`: from now on `program` judges every system call of this thread. What the call returns: 0, or
/// the number of the listener with [`FLAG_NEW_LISTENER`], closed by `execve`.
/// Errors: `EACCES` without no_new_privs and `CAP_SYS_ADMIN`, `EINVAL` for a flag that the kernel does not know, `EBUSY`
/// for a second listener.
pub fn set_mode_filter(program: &[Instruction], flags: u32) -> Result<usize, Errno> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    let len = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: the kernel reads `program` and the live slice that it points at, no more than `len` instructions of it.
    checked(unsafe { syscall!(Sysno::seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
}

/// Whether the kernel knows a flag of [`set_mode_filter`]: it looks at flags before it reads the program, and there is none.
pub fn knows_flag(flag: u32) -> bool {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    // A listener is what this one is about.
    let flag = if flag == FLAG_WAIT_KILLABLE_RECV { flag | FLAG_NEW_LISTENER } else { flag };
    // SAFETY: a null pointer makes the kernel read no memory of ours, and sets no filter.
    let probed = checked(unsafe { syscall!(Sysno::seccomp, SECCOMP_SET_MODE_FILTER, flag, 0) });
    probed == Err(Errno::EFAULT)
}

/// `pidfd_getfd(2)`: a duplicate of descriptor `number` of another process. Linux 5.6.
/// Errors: `EBADF` when it has none of that number, `EPERM` when it could not be traced.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers in; on success the result is a new descriptor that nobody else owns.
    let fd = checked(unsafe { syscall!(Sysno::pidfd_getfd, pidfd.as_raw_fd(), number, 0) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}
