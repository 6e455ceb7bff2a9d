//! `waitid(2)`: how a child ended. nix's own loses a child that died by a real-time signal: it has been reaped when the
//! number turns out to be no `Signal`.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// A child that has ended and is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The number that it had.
    pub pid: i32,
    /// How it ended.
    pub how: How,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// By `exit(2)` with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Reaps one child that has ended; `None` when there are children and none has.
/// Errors: `ECHILD` when there are none.
pub fn reap_any() -> Result<Option<Ended>, Errno> {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG)
}

/// The next child that has ended, which stays to be reaped; `None` when there are children and none has.
/// Errors: `ECHILD` when there are none.
pub fn peek_any() -> Result<Option<Ended>, Errno> {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Reaps a child that has ended; `None` when it has not.
/// Errors: `ECHILD` when it is none.
pub fn reap_one(pid: i32) -> Result<Option<Ended>, Errno> {
    waitid(libc::P_PID, pid.cast_unsigned(), libc::WEXITED | libc::WNOHANG)
}

/// Waits for the child behind `pidfd` to end, and reaps it. Linux 5.4.
/// Errors: `ECHILD` when it is no child of the caller.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended, Errno> {
    loop {
        match waitid(libc::P_PIDFD, pidfd.as_raw_fd().cast_unsigned(), libc::WEXITED) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether the process behind `pidfd` is a child, running or not, that has not been reaped. Linux 5.4.
pub fn is_child(pidfd: BorrowedFd<'_>) -> bool {
    let id = pidfd.as_raw_fd().cast_unsigned();
    waitid(libc::P_PIDFD, id, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
}

fn waitid(kind: libc::idtype_t, id: libc::id_t, options: i32) -> Result<Option<Ended>, Errno> {
    // SAFETY: siginfo_t is plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a whole siginfo_t and outlives the call.
    Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, options) })?;
    // SAFETY: waitid has filled in the fields of SIGCHLD or, with WNOHANG and nothing to report, left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let how = if info.si_code == libc::CLD_EXITED { How::Code(status) } else { How::Signal(status) };
    Ok((pid != 0).then_some(Ended { pid, how }))
}
