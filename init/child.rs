//! Children of PID 1: copies of it that do what takes time or memory, and end.

use std::os::fd::{AsFd as _, OwnedFd};

use crate::early;
use mote::error::words;
use mote::sys::clone::{self, Side};
use mote::sys::process::exit_now;
use mote::{error, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setsid};

/// Forks, and waits for at most `ms` until `work` is done: it may hang in the kernel, and the boot goes on then.
pub fn wait_for(name: &std::ffi::CStr, what: &str, ms: u16, work: impl FnOnce() -> i32) {
    match fork(name, work) {
        Ok((_, pidfd)) => {
            let done = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(ms));
            if done != Ok(1) {
                warn!("{what}: not all is done after {ms} ms; going on meanwhile");
            }
        }
        Err(errno) => error!("fork: {}; no {what}", words(errno)),
    }
}

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
