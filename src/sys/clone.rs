//! New processes and the namespaces they live in: `clone3(2)`, `setns(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use syscalls::{Sysno, syscall};

use super::checked;

/// `struct clone_args` of `clone3(2)`, up to the fields of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_NEWTIME`, which nix does not name. Linux 5.6.
pub const CLONE_NEWTIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

const CLONE_FILES: u64 = 0x400;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of [`clone3`] this is.
#[derive(Debug)]
pub enum Side {
    /// The calling process, with the new child.
    Parent(Pid, OwnedFd),
    /// The child: a copy of the caller's memory with the calling thread alone in it.
    Child,
}

/// What a new process gets besides its namespaces.
#[derive(Debug, Default)]
pub struct Options<'fd> {
    /// Make it a sibling, so that the caller's parent is the one to wait for it (`CLONE_PARENT`).
    pub sibling: bool,
    /// A cgroup v2 directory to start in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Have one table of descriptors with the caller (`CLONE_FILES`): what one closes, the other has no more.
    pub share_files: bool,
}

/// `clone3(2)` like `fork(2)`, into the new `namespaces`, with a pidfd. Linux 5.3.
///
/// Where `clone3` is not to be had (a seccomp filter, an emulator) this is [`clone`], which does the same.
/// Errors: `ENOSYS` there with a `cgroup`.
pub fn clone3(namespaces: CloneFlags, options: &Options<'_>) -> Result<Side, Errno> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: u64::from(namespaces.bits().cast_unsigned()) | CLONE_PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if options.sibling {
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0; // inherited: clone3 refuses any other
    }
    if options.share_files {
        args.flags |= CLONE_FILES;
    }
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is a whole clone_args and `pidfd` outlives the call. No CLONE_VM and no stack: the child runs on
    // a copy of this stack. Only one thread exists (checked nowhere, true by design), so no lock is left held.
    let pid = match checked(unsafe { syscall!(Sysno::clone3, &raw const args, size_of::<CloneArgs>()) }) {
        Err(Errno::ENOSYS) if options.cgroup.is_none() => return clone(namespaces, options),
        result => result?,
    };
    // SAFETY: on success the kernel has put a new descriptor, owned by nobody else, into `pidfd`.
    Ok(unsafe { side(pid, pidfd) })
}

/// `clone(2)` with `CLONE_PIDFD`, for where `clone3` answers `ENOSYS`. The child stays in the caller's cgroup.
pub fn clone(namespaces: CloneFlags, options: &Options<'_>) -> Result<Side, Errno> {
    let mut pidfd: i32 = -1;
    let mut flags = u64::from(namespaces.bits().cast_unsigned()) | CLONE_PIDFD | libc::SIGCHLD as u64;
    flags |= if options.sibling { CLONE_PARENT } else { 0 };
    flags |= if options.share_files { CLONE_FILES } else { 0 };
    // SAFETY: as in clone3. The third argument is where CLONE_PIDFD stores the descriptor, on x86_64 and aarch64
    // alike; the order of the last two differs there, and both are zero.
    let pid = checked(unsafe { syscall!(Sysno::clone, flags, 0, &raw mut pidfd, 0, 0) })?;
    // SAFETY: on success the kernel has put a new descriptor, owned by nobody else, into `pidfd`.
    Ok(unsafe { side(pid, pidfd) })
}

/// [`clone3`] as `fork(2)` with a pidfd.
pub fn fork() -> Result<Side, Errno> {
    clone3(CloneFlags::empty(), &Options::default())
}

/// Tells the sides of a successful clone apart.
///
/// # Safety
/// With `pid` other than 0, `pidfd` is an open descriptor that nobody owns yet.
unsafe fn side(pid: usize, pidfd: i32) -> Side {
    match i32::try_from(pid) {
        Ok(0) | Err(_) => Side::Child,
        // SAFETY: the caller's promise.
        Ok(pid) => Side::Parent(Pid::from_raw(pid), unsafe { OwnedFd::from_raw_fd(pidfd) }),
    }
}

/// `setns(2)`: joins the namespace behind `fd`, which must be of the `kind` given.
/// Errors: `EINVAL` for another kind or a pid namespace that is not a descendant, `EPERM`.
pub fn setns(fd: BorrowedFd<'_>, kind: CloneFlags) -> Result<(), Errno> {
    nix::sched::setns(fd, kind)
}
