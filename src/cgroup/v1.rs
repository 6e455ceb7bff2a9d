//! What only cgroup v1 has.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::devices::Folded;
use super::{DIRECTORY, get, put, tree};
use crate::error::Result;

/// Fills `cpuset.cpus` and `cpuset.mems` where they are empty, from the outermost directory in: a cpuset without either
/// takes no process (`ENOSPC`). Documentation/admin-guide/cgroup-v1/cpusets.rst.
pub fn inherit_cpuset(mount: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    let mut above = openat(mount, c".", DIRECTORY, Mode::empty())?;
    for prefix in tree::prefixes(path).into_iter().chain([path.to_owned()]) {
        let directory = openat(mount, prefix.as_c_str(), DIRECTORY, Mode::empty())?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if get(directory.as_fd(), file)?.trim().is_empty() {
                put(directory.as_fd(), file, &get(above.as_fd(), file)?)?;
            }
        }
        above = directory;
    }
    Ok(())
}

/// Writes the rules to `devices.allow` and `devices.deny`: what holds for all first, then the exceptions.
pub fn apply_devices(
    folded: &Folded,
    directory: BorrowedFd<'_>,
    refused: &dyn Fn(&str, &str, nix::errno::Errno) -> crate::error::Error,
) -> Result<()> {
    let (all, exception) = match folded.allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let write =
        |file: &str, rule: &str| put(directory, file, rule).map_err(|errno| refused(file, rule, errno));
    write(all, "a")?;
    folded.exceptions().try_for_each(|rule| write(exception, &rule))
}
