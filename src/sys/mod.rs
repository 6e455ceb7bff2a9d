//! The kernel, call by call: the only unsafe code, and no policy, retry or log.
//!
//! A wrapper has the name of its system call, takes borrowed descriptors, returns owned ones, and sets `O_CLOEXEC`
//! itself. What nix wraps safely is called through nix directly.
#![allow(unsafe_code, reason = "the one place for it; shared/style.md section 5")]

pub mod alloc;
pub mod bpf;
pub mod capability;
pub mod clock;
pub mod clone;
pub mod credentials;
pub mod entry;
pub mod exec;
pub mod file;
pub mod memory;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod shared;
pub mod socket;
pub mod terminal;
pub mod wait;
pub mod watchdog;

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;

/// An owner of the descriptor that a call has returned.
///
/// # Safety
///
/// The descriptor is new, and nobody else owns it.
unsafe fn owned(fd: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise is what this asks for.
    RawFd::try_from(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).map_err(|_| Errno::EBADF)
}

/// The result of a raw system call in nix's terms.
fn checked(result: Result<usize, syscalls::Errno>) -> Result<usize, Errno> {
    result.map_err(|e| Errno::from_raw(e.into_raw()))
}
