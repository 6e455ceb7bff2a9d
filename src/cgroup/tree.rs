//! Directories of a hierarchy: made with their parents, walked with all that the container has made in them.
//!
//! What is below a container's cgroup is the container's own work, so nothing here trusts its depth, its width or that
//! it stays as it is: directories are reached one step at a time, from descriptor to descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::Pid;

use super::{DIRECTORY, get, rmdir};
use crate::sys::file;

/// Cgroups further down than this are left to the limit of whoever let the container make them.
const DEPTH_MAX: usize = 128;

/// Makes the directory at `path` and what is missing above it. Whether it is new.
pub fn make(base: BorrowedFd<'_>, path: &CStr) -> nix::Result<bool> {
    match mkdirat(base, path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(Errno::ENOENT) => make_parents(base, path),
        Err(errno) => Err(errno),
    }
}

/// Makes each directory on the way. Another command may remove a parent meanwhile, so this is tried again.
fn make_parents(base: BorrowedFd<'_>, path: &CStr) -> nix::Result<bool> {
    let mut tries = 0;
    'again: loop {
        let mut new = false;
        for prefix in prefixes(path).into_iter().chain([path.to_owned()]) {
            match mkdirat(base, prefix.as_c_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) => new = true,
                Err(Errno::EEXIST) => new = false,
                Err(Errno::ENOENT) if tries < 16 => {
                    tries += 1;
                    continue 'again;
                }
                Err(errno) => return Err(errno),
            }
        }
        return Ok(new);
    }
}

/// The directories above `path`, outermost first, without the base itself.
pub fn prefixes(path: &CStr) -> Vec<CString> {
    let bytes = path.to_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, b)| **b == b'/');
    slashes.filter_map(|(at, _)| CString::new(bytes.get(..at)?).ok()).collect()
}

/// The processes in `directory` and below it. Those that come and go meanwhile may be missed.
pub fn processes(directory: BorrowedFd<'_>) -> Vec<Pid> {
    let mut found = Vec::new();
    walk(directory, 0, &mut |directory| {
        let text = get(directory, "cgroup.procs").unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw));
    });
    found.sort_unstable();
    found.dedup(); // one that moved was perhaps seen twice
    found
}

/// The directory at or below `directory` in which the process is.
pub fn find(directory: BorrowedFd<'_>, pid: Pid) -> Option<OwnedFd> {
    let (mut found, pid) = (None, pid.to_string());
    walk(directory, 0, &mut |directory| {
        if found.is_none()
            && get(directory, "cgroup.procs").is_ok_and(|text| text.lines().any(|line| line == pid))
        {
            found = openat(directory, c".", DIRECTORY, Mode::empty()).ok();
        }
    });
    found
}

/// Calls `visit` for `directory` and for each below it.
fn walk(directory: BorrowedFd<'_>, depth: usize, visit: &mut dyn FnMut(BorrowedFd<'_>)) {
    visit(directory);
    if depth < DEPTH_MAX {
        for child in children(directory) {
            if let Ok(child) = openat(directory, child.as_c_str(), DIRECTORY, Mode::empty()) {
                walk(child.as_fd(), depth + 1, visit);
            } // removed meanwhile
        }
    }
}

/// The names of the directories in `directory`. The kernel counts them in the number of links, so most often nothing is
/// read.
pub fn children(directory: BorrowedFd<'_>) -> Vec<CString> {
    if fstat(directory).is_ok_and(|stat| stat.st_nlink <= 2) {
        return Vec::new();
    }
    let mut names = Vec::new();
    // A descriptor of its own, as each has one place to read from. What was read up to an error counts.
    let _ = openat(directory, c".", DIRECTORY, Mode::empty()).and_then(|directory| {
        file::entries(directory.as_fd(), &mut |name, kind| {
            names.extend((kind == libc::DT_DIR).then(|| name.to_owned()));
            Ok(())
        })
    });
    names
}

/// Removes everything below `directory`, the innermost first. `EBUSY` when something still lives there.
pub fn remove_below(directory: BorrowedFd<'_>) -> nix::Result<()> {
    loop {
        // One way down, as deep as it goes. Nothing is kept open but the two ends, whatever the depth.
        let mut here: OwnedFd = openat(directory, c".", DIRECTORY, Mode::empty())?;
        let mut names = children(here.as_fd());
        if names.is_empty() {
            return Ok(());
        }
        while let Some(name) = names.pop() {
            match rmdir(here.as_fd(), &name) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EBUSY) => {
                    let Ok(child) = openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) else {
                        continue;
                    };
                    let below = children(child.as_fd());
                    if below.is_empty() {
                        return Err(Errno::EBUSY); // processes
                    }
                    (here, names) = (child, below);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_above_a_path_come_outermost_first() {
        assert_eq!(prefixes(c"a/b/c"), [c"a".to_owned(), c"a/b".to_owned()]);
        assert!(prefixes(c"a").is_empty());
    }
}
