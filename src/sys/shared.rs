//! Memory that a process shares with the children that it forks later, and that outlives each of them.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// What may lie in such memory.
///
/// # Safety
/// All bytes zero must be a value, and every part must be atomic: other processes write to it.
pub unsafe trait Shared: Sync {}

// SAFETY: an atomic integer, here and below.
unsafe impl Shared for AtomicU8 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}
// SAFETY: nothing but such parts.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}
// SAFETY: nothing but such parts, and padding, which nobody looks at.
unsafe impl<A: Shared, B: Shared, C: Shared, D: Shared> Shared for (A, B, C, D) {}

/// `mmap(2)` of new memory, all zeros, of which a page is there once it is touched. It stays until the process ends, and then as
/// long as a child has it.
pub fn map<T: Shared>() -> Result<&'static T, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses where, so nothing that is there is touched.
    let at = checked(unsafe { syscall!(Sysno::mmap, 0, size_of::<T>(), protection, flags, usize::MAX, 0) })?;
    // SAFETY: a mapping of that size, at the beginning of a page, all zeros, which is a value of T; nobody unmaps it.
    Ok(unsafe { &*std::ptr::with_exposed_provenance::<T>(at) })
}

/// `read(2)` into such memory.
pub fn read(from: BorrowedFd<'_>, to: &[AtomicU8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most so many bytes into a live slice of that length, which may change at any time.
    checked(unsafe { syscall!(Sysno::read, from.as_raw_fd(), to.as_ptr().addr(), to.len()) })
}

/// What is in such memory now.
pub fn copy(from: &[AtomicU8]) -> Vec<u8> {
    let mut to = vec![0; from.len()];
    // SAFETY: both are live and of that length, and the second is new. Nobody writes to the first meanwhile: no other thread of this
    // process has it, and what another process writes is bytes all the same.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr().cast::<u8>(), to.as_mut_ptr(), from.len()) };
    to
}
