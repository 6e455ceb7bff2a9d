//! Closing what a child has of its parent's, before it becomes another program or one that nobody may reach through.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::unistd::close;

use crate::sys::process::{close_range, getrlimit};

/// Closes whatever is open from `first` up, but for `kept`, which `execve` closes. Nothing of the caller's or of mote's,
/// mounts and directories of the host among it, can be reached through `/proc/self/fd` any more; and a caller that waits
/// for the end of one of its pipes does not wait for a container that waits for `start`.
pub fn close_all_but(first: u32, kept: [Option<BorrowedFd<'_>>; 4]) -> nix::Result<()> {
    let mut kept = kept.map(|fd| fd.map_or(u32::MAX, |fd| fd.as_raw_fd().cast_unsigned()));
    kept.sort_unstable();
    let mut from = first;
    for end in kept.into_iter().chain([u32::MAX]).filter(|end| *end >= first) {
        // No descriptor has the number that stands for none.
        let to = if end == u32::MAX { end } else { end.saturating_sub(1) };
        if from <= to && end > from {
            match close_range(from, to) {
                Err(Errno::ENOSYS) => return close_one_by_one(first, &kept),
                result => result?,
            }
        }
        if end == u32::MAX {
            break;
        }
        from = end + 1;
    }
    Ok(())
}

/// The same where `close_range` is not to be had: for each number there can be.
fn close_one_by_one(first: u32, kept: &[u32]) -> nix::Result<()> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE)?.1;
    for fd in (first..u32::try_from(limit).unwrap_or(u32::MAX).min(1 << 20)).filter(|fd| !kept.contains(fd)) {
        let _ = close(fd.cast_signed()); // most numbers are not open
    }
    Ok(())
}
