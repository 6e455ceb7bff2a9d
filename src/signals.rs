//! What the caller ignores. A program inherits that over `execve`, and few expect it: conmon ignores SIGPIPE, systemd does so for
//! its services, a shell SIGINT and SIGQUIT for what it starts in the background. As under runc and crun, programs start with
//! every signal at its default action here.

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::read;

use crate::sys::file;
use crate::sys::process::set_default_action;

/// Every signal. As in proc_pid_status(5) the lowest bit stands for signal 1.
pub const ALL: u64 = u64::MAX;

/// The signals that this process ignores, or [`ALL`] where that cannot be told.
pub fn ignored() -> u64 {
    let mut buffer = [0; 4096];
    let status = file::open(c"/proc/self/status", OFlag::O_RDONLY);
    let len = status.and_then(|status| read(status, &mut buffer)).unwrap_or(0);
    let text = buffer.get(..len).unwrap_or_default();
    let field = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigIgn:\t"));
    let digits = field.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(ALL)
}

/// Gives a child that is to become a program the signals as it expects them: those that are `ignored` at their default actions, and none
/// blocked. Allocates nothing.
pub fn reset(ignored: u64) -> nix::Result<()> {
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        let _ = set_default_action(signal); // SIGKILL and SIGSTOP have no other
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}
