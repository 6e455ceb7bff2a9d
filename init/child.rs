//! Children of PID 1: copies of it that do what takes time or memory, and end.

use std::os::fd::{AsFd as _, OwnedFd};

use crate::early;
use mote::error::{Result, words};
use mote::sys::clone::{self, Side};
use mote::sys::process::exit_now;
use mote::{error, warn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setsid};

/// Does `work` on each of `all` in a child, and waits for that at most `ms`: it may take its time over hardware, or hang in the kernel. What
/// fails is logged, and the boot goes on.
pub fn each<T>(name: &std::ffi::CStr, what: &str, ms: u16, all: &[T], work: impl Fn(&T) -> Result<()>) {
    if all.is_empty() {
        return;
    }
    let forked = fork(name, || {
        for one in all {
            if let Err(e) = work(one) {
                error!("{what}: {e}; going on without it");
            }
        }
        0
    });
    match forked {
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
pub fn fork(name: &std::ffi::CStr, work: impl FnOnce() -> i32) -> nix::Result<(Pid, OwnedFd)> {
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
