//! Children of PID 1: copies of it that do what takes time or memory, and end.

use std::os::fd::OwnedFd;

use crate::early;
use mote::sys::clone::{self, Side};
use mote::sys::process::exit_now;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setsid};

/// Forks; the child gets a session, a clean signal mask and an ordinary chance with the out-of-memory killer, runs `work`
/// and ends with what that returns.
///
/// The child has copies of all of PID 1's descriptors. Those are all close-on-exec; a child that stays closes them itself.
pub fn fork(name: &std::ffi::CStr, work: impl FnOnce() -> i32) -> Result<(Pid, OwnedFd), Errno> {
    match clone::fork()? {
        Side::Parent(pid, pidfd) => Ok((pid, pidfd)),
        Side::Child => {
            let _ = setsid(); // a new process leads no group, so it cannot fail
            let _ = SigSet::empty().thread_set_mask(); // nor can this; PID 1 has handlers for no signal
            let _ = nix::sys::prctl::set_name(name); // for ps(1) only
            early::unprotect();
            exit_now(work())
        }
    }
}
