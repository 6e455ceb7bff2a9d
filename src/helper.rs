//! Programs of the host that do what is not mote's: newuidmap, newgidmap, ps.

use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2};

use crate::error::{During as _, Result};
use crate::process;
use crate::sys::clone::{Options, Side, clone3};
use crate::sys::exec::{self, CStrList};
use crate::sys::process::exit_now;
use crate::sys::wait::{self, How};
use crate::sys::{alloc, file};

/// Which stream of a program is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Runs `program`, which is looked for in `$PATH`, with an empty environment, and gives what it says and how it ended; `None`
/// when it is not there.
pub fn run(program: &CStr, args: &[CString], says: Says) -> Result<Option<(Vec<u8>, How)>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = CString::new(path.into_encoded_bytes()).unwrap_or_default();
    let mut buffer = [0; file::PATH_MAX];
    let Ok(found) = process::find(program, &path, &mut buffer) else { return Ok(None) };
    let mut list = CStrList::with_capacity(args.len() + 1);
    list.push(program);
    args.iter().for_each(|arg| list.push(arg));
    let env = CStrList::with_capacity(0);

    let (said, end) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let pidfd = match clone3(CloneFlags::empty(), &Options::default()).during("clone3", program)? {
        Side::Parent(_, pidfd) => pidfd,
        Side::Child => {
            alloc::forbid();
            // What it says is lost otherwise.
            let _ = if says == Says::Out { dup2_stdout(&end) } else { dup2_stderr(&end) };
            let Err(_) = exec::execve(found, &list, &env);
            exit_now(127)
        }
    };
    drop::<OwnedFd>(end);
    let mut words = Vec::new();
    // At most what no table of processes comes to; what is cut off then is the program's mistake.
    let _ = std::fs::File::from(said).take(16 << 20).read_to_end(&mut words);
    let ended = wait::reap(pidfd.as_fd()).during("waitid", program)?;
    Ok(Some((words, ended.how)))
}
