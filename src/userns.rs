//! The ids of a new user namespace, written by the parent while the child waits; user_namespaces(7).
//!
//! Root writes `/proc/<pid>/uid_map` itself. Without privileges the kernel takes one's own id alone, and for more there
//! are `newuidmap` and `newgidmap`, which give what `/etc/subuid` and `/etc/subgid` allow.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::resource::Resource;
use nix::unistd::{Pid, getegid, geteuid, pipe2, write};

use crate::error::{During, Error, Result};
use crate::helper::{self, Says};
use crate::plan::ids::{self, Map, Maps};
use crate::procfs::Procfs;
use crate::sys::clone::{Options, Side, clone3};
use crate::sys::process::{exit_now, raise_limit};
use crate::sys::wait::{self, How};
use crate::sys::{alloc, file};

/// Whether the caller is somebody else than the host's root: another user, or the root of a user namespace that such a user
/// has made, as runc tells them apart.
pub fn is_rootless() -> bool {
    if !geteuid().is_root() {
        return true;
    }
    // The host's root has the name too, and need not be asked about its ids. conmon is started without any.
    let stranger = std::env::var_os("USER").is_none_or(|name| name != "root");
    stranger
        && std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| !map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Writes the maps of the user namespace that `pid` is in.
pub fn write_maps(pid: Pid, maps: &Maps) -> Result<()> {
    let root = geteuid().is_root();
    if root || ids::is_own(&maps.uid, geteuid().as_raw()) {
        put(pid, "uid_map", &ids::text(&maps.uid))?;
    } else {
        help(c"newuidmap", pid, &maps.uid)?;
    }
    if ids::denies_groups(maps) {
        put(pid, "setgroups", "deny")?;
    }
    if root || ids::is_own(&maps.gid, getegid().as_raw()) {
        put(pid, "gid_map", &ids::text(&maps.gid))
    } else {
        help(c"newgidmap", pid, &maps.gid)
    }
}

/// Makes a user namespace with these maps, for a mount to show ids by. Nobody stays in it.
pub fn make(maps: &Maps) -> Result<OwnedFd> {
    let (wait, end) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let (pid, pidfd) = match clone3(CloneFlags::CLONE_NEWUSER, &Options::default()).during("clone3", "")? {
        Side::Parent(pid, pidfd) => (pid, pidfd),
        Side::Child => {
            alloc::forbid();
            // Until it is killed, or whoever was to do that is gone.
            drop(end);
            while nix::unistd::read(&wait, &mut [0]) == Err(Errno::EINTR) {}
            exit_now(0)
        }
    };
    let path = format!("/proc/{pid}/ns/user");
    let made = write_maps(pid, maps)
        .and_then(|()| file::open(path.as_str(), OFlag::O_RDONLY).during("open", path.as_str()));
    drop(end); // lets it go
    wait::reap(pidfd.as_fd()).during("waitid", "")?;
    made
}

/// Whether the user namespace of the calling process has these maps. Runs in the child: no allocation.
/// Errors: `EINVAL` when it has others.
pub fn check_maps(proc: &Procfs, maps: &Maps) -> nix::Result<()> {
    for (path, maps) in [(c"self/uid_map", &maps.uid), (c"self/gid_map", &maps.gid)] {
        let file = proc.file(path, OFlag::O_RDONLY)?;
        // Three numbers of at most ten digits, each in a column, and a line for each map.
        let mut text = [0; 340 * 33];
        let mut len = 0;
        while let Some(rest) = text.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match nix::unistd::read(&file, rest)? {
                0 => break,
                more => len += more,
            }
        }
        let text = std::str::from_utf8(text.get(..len).unwrap_or_default()).unwrap_or_default();
        let found = |line: &str| map(line).is_some_and(|map| maps.contains(&map));
        if text.lines().count() != maps.len() || !text.lines().all(found) {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

/// A line of `/proc/<pid>/uid_map`.
fn map(line: &str) -> Option<Map> {
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    Some(Map { inside: next()?, outside: next()?, count: next()? })
}

/// The user outside that `uid` is in the user namespace of process `pid`, if it is one of those mapped.
pub fn outside(pid: Pid, uid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
    ids::outside(&text.lines().filter_map(map).collect::<Vec<_>>(), uid)
}

/// Raises the limits of `pid` as far as the plan will want them: in a user namespace nobody may any more.
pub fn raise_limits(pid: Pid, limits: &[(Resource, u64, u64)]) {
    for (resource, _, hard) in limits {
        let _ = raise_limit(pid, *resource, *hard); // the child says which it could not set
    }
}

/// Writes one file of a process, in one call, as the kernel wants it.
fn put(pid: Pid, name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    let file = file::open(path.as_str(), OFlag::O_WRONLY).during("open", path.as_str())?;
    write(file, text.as_bytes()).during("write", path.as_str()).map(drop)
}

/// Has a program with more privileges write a map. It says itself what it does not allow.
fn help(program: &std::ffi::CStr, pid: Pid, maps: &[Map]) -> Result<()> {
    let name = program.to_string_lossy();
    let ranges = maps.iter().flat_map(|map| [map.inside, map.outside, map.count]);
    let args: Vec<CString> = std::iter::once(pid.as_raw().cast_unsigned())
        .chain(ranges)
        .filter_map(|number| CString::new(number.to_string()).ok())
        .collect();
    match helper::run(program, &args, Says::Err)? {
        None => {
            let why = "linux.uidMappings: more than the own id needs";
            Err(Error::usage(format_args!("{why} {name}, which is not in PATH")))
        }
        Some((_, How::Code(0))) => Ok(()),
        Some((words, _)) => {
            let words = String::from_utf8_lossy(&words);
            let line = words.lines().next().unwrap_or("it says nothing");
            let line = line.trim_start_matches(&*name).trim_start_matches(": ");
            Err(Error::child(format_args!("{name}: {line}"), Errno::EPERM))
        }
    }
}
