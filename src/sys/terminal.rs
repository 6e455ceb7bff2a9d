//! Pseudoterminals: the `ioctl_tty(2)` calls.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use nix::pty::Winsize;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// Standard input, without the buffer that std's handle comes with.
// SAFETY: `entry::open_standard` has opened it if the caller had not, and nobody closes it.
pub const STDIN: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(0) };

/// Standard error, likewise.
// SAFETY: as above.
pub const STDERR: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(2) };

/// Standard output, likewise.
// SAFETY: as above.
pub const STDOUT: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(1) };

/// `TIOCSPTLCK`: unlocks the other side of the pseudoterminal `master`.
pub fn unlockpt(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let unlocked: i32 = 0;
    // SAFETY: the kernel reads one int, which outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })
        .map(drop)
}

/// `TIOCGPTPEER`: opens the other side of `master` without a path that could be swapped. Linux 4.13.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: integers only; on success the result is a new descriptor that nobody else owns.
    let fd = checked(unsafe { syscall!(Sysno::ioctl, master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}

/// `TIOCSCTTY`: makes `terminal` the controlling terminal of the calling session leader.
pub fn set_controlling(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::ioctl, terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// `TIOCGWINSZ`: the window size of `terminal`.
/// Errors: `ENOTTY` when it is no terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> Result<Winsize, Errno> {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize, which outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(size)
}

/// `TIOCSWINSZ`: sets the window size of `terminal`; its foreground processes get SIGWINCH.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &Winsize) -> Result<(), Errno> {
    // SAFETY: the kernel reads one winsize, which outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const *size) })
        .map(drop)
}
