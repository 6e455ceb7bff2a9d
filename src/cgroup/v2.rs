//! What only cgroup v2 has: controllers that are switched on from the root down.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::{Mode, mkdirat};

use super::{Cgroups, DIRECTORY, Place, get, put, tree};
use crate::error::{During, Result};
use crate::sys::file;

/// Where the processes of a delegated cgroup go, so that controllers can be switched on in it.
const LEAF: &str = "init";

/// Switches every controller on in each directory above `place`, so that the container's own has their files. A
/// controller that cannot be had is missed where its file is written, which then names it.
pub fn enable(
    cgroups: &Cgroups,
    mount: BorrowedFd<'_>,
    place: &Place<'_>,
    directory: BorrowedFd<'_>,
) -> Result<()> {
    let all = cgroups.controllers();
    let there = get(directory, "cgroup.controllers").unwrap_or_default();
    let missing = |name: &&str| !there.split_whitespace().any(|there| there == *name);
    let words: Vec<String> = all.split_whitespace().filter(missing).map(|name| format!("+{name}")).collect();
    if words.is_empty() {
        settle(mount, place, all);
        return Ok(());
    }
    for prefix in [c".".to_owned()].into_iter().chain(tree::prefixes(place.path)) {
        let above = openat(mount, prefix.as_c_str(), DIRECTORY, Mode::empty()).during("open", &*prefix)?;
        let above = above.as_fd();
        let on = |words: &str| put(above, "cgroup.subtree_control", words);
        let result = match on(&words.join(" ")) {
            Err(Errno::EBUSY) if is_ours(cgroups, above, prefix.to_bytes()) => {
                move_to_leaf(above).and_then(|()| on(&words.join(" ")))
            }
            result => result,
        };
        // One that cannot be had must not keep the others away. But where processes are that stay there, the kernel would take
        // those that know threads, and then no cgroup below takes a process: "Threads" in cgroup-v2.rst.
        if !matches!(result, Ok(()) | Err(Errno::EBUSY)) {
            for word in &words {
                let _ = on(word); // as above
            }
        }
    }
    Ok(())
}

/// Waits until the files of the controllers of `place` are there. Somebody else may be switching them on this very moment: the kernel
/// shows a controller in `cgroup.controllers` before it has made the files, and without its lock. What is on already is switched on once
/// more, which changes nothing and takes the lock.
fn settle(mount: BorrowedFd<'_>, place: &Place<'_>, all: &str) {
    let parent = tree::prefixes(place.path).pop().unwrap_or_else(|| c".".to_owned());
    let words: Vec<String> = all.split_whitespace().map(|name| format!("+{name}")).collect();
    if let Ok(above) = openat(mount, parent.as_c_str(), DIRECTORY, Mode::empty()) {
        // One that may not write there is alone with what it sees.
        let _ = put(above.as_fd(), "cgroup.subtree_control", &words.join(" "));
    }
}

/// Whether the processes in a directory are there together with this one and for it to move: it is the root of a cgroup
/// namespace, or was delegated by systemd (systemd.resource-control(5), "Delegate=").
fn is_ours(cgroups: &Cgroups, directory: BorrowedFd<'_>, path: &[u8]) -> bool {
    let path = if path == b"." { b"" } else { path };
    let own = cgroups.known().iter().find(|hierarchy| hierarchy.v2).map(|hierarchy| hierarchy.own.as_str());
    let in_it = own.is_some_and(|own| own.trim_start_matches('/').as_bytes() == path);
    let delegated =
        || [c"trusted.delegate", c"user.delegate"].iter().any(|name| file::has_xattr(directory, name));
    in_it && (path.is_empty() || delegated())
}

/// Moves every process of `directory` to a cgroup below it: one with controllers for others below has none of its own.
fn move_to_leaf(directory: BorrowedFd<'_>) -> nix::Result<()> {
    match mkdirat(directory, LEAF, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let leaf = openat(directory, LEAF, DIRECTORY, Mode::empty())?;
    // Children that were forked meanwhile are found by the next look.
    for _ in 0..100 {
        let processes = get(directory, "cgroup.procs")?;
        if processes.is_empty() {
            break;
        }
        for pid in processes.lines() {
            match put(leaf.as_fd(), "cgroup.procs", pid) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}
