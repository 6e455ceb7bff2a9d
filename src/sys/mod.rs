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

use nix::errno::Errno;

/// The result of a raw system call in nix's terms.
fn checked(result: Result<usize, syscalls::Errno>) -> Result<usize, Errno> {
    result.map_err(|e| Errno::from_raw(e.into_raw()))
}
