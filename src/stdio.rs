//! Standard input, output and error that are pipes: they are given to the user that the program runs as. It has them open, but a
//! program that opens `/dev/stdout` or `/dev/stderr` anew (an image that links its logs there) is asked for its permissions.
//!
//! runc and crun do so as well, runc for all but `/dev/null`, crun for all but terminals. A file or a device stays whose it is here: who
//! owns it may do more with it than write at its end.

use std::os::fd::BorrowedFd;

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::fchown;

use crate::sys::terminal::{STDERR, STDIN, STDOUT};

/// Those of this process.
pub const OWN: [BorrowedFd<'static>; 3] = [STDIN, STDOUT, STDERR];

/// Gives the pipes among `stdio` to `uid`. Allocates nothing.
pub fn give(stdio: [BorrowedFd<'_>; 3], uid: u32) {
    for fd in stdio {
        let is_pipe = |mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
        if fstat(fd).is_ok_and(|stat| is_pipe(stat.st_mode) && stat.st_uid != uid) {
            let _ = fchown(fd, Some(uid.into()), None); // who may not give it away has a program that can use it as it is
        }
    }
}
