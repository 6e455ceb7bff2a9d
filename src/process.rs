//! From a prepared root to `execve`: limits, capabilities, ids, working directory, the program. Runs in the child: no
//! allocation.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::prctl;
use nix::sys::stat::{Mode, mkdirat, stat};
use nix::unistd::{AccessFlags, chdir};

use crate::plan::{CapabilitySets, Process};
use crate::procfs::Procfs;
use crate::stage::{At, Failure, Stage};
use crate::sys::file::{self, PATH_MAX, access};
use crate::sys::process::setrlimit;
use crate::sys::seccomp::{FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV};
use crate::sys::{capability, credentials, seccomp};
use crate::tables::CAPABILITY_LIMIT;

/// Sets the resource limits, as long as there is the privilege to raise them.
pub fn limit(process: &Process<'_>) -> Result<(), Failure> {
    for (i, (resource, soft, hard)) in process.rlimits.iter().enumerate() {
        setrlimit(*resource, *soft, *hard).at(Stage::Rlimit, i)?;
    }
    Ok(())
}

/// Goes to the working directory and becomes who the plan says. Returns the number of the filter's listener, if it has one.
pub fn become_user(process: &Process<'_>) -> Result<Option<usize>, Failure> {
    let mut listener = None;
    let sets = &process.capabilities;
    drop_bounding(sets.bounding).at(Stage::Capabilities, 0)?;
    // The directory may be open to root alone or to the user alone: either will do.
    let entered = enter(process.cwd, process.make_cwd);
    prctl::set_keepcaps(true).at(Stage::Capabilities, 0)?;
    set_groups(process).at(Stage::Groups, 0)?;
    credentials::setresgid(process.gid).at(Stage::Gid, 0)?;
    if !process.no_new_privileges {
        // Needs CAP_SYS_ADMIN, which goes with the next call: what follows has to be allowed by the filter.
        listener = filter(process)?;
    }
    credentials::setresuid(process.uid).at(Stage::Uid, 0)?;
    set_capabilities(sets).at(Stage::Capabilities, 0)?;
    match entered {
        Err(Errno::EACCES) => chdir(process.cwd),
        result => result,
    }
    .at(Stage::Cwd, 0)?;
    check_inside().at(Stage::CwdOutside, 0)?;
    if process.no_new_privileges {
        prctl::set_no_new_privs().at(Stage::NoNewPrivileges, 0)?;
        if process.has_listener() {
            // Its descriptor has to reach who answers while the parent is still there.
            listener = filter(process)?;
        }
    }
    Ok(listener)
}

/// Replaces the supplementary groups. In a user namespace made without privileges nobody may, not even to have none: a group
/// can also be what keeps somebody out (CVE-2014-8989). There they stay.
fn set_groups(process: &Process<'_>) -> nix::Result<()> {
    if process.keeps_groups {
        return Ok(());
    }
    match credentials::setgroups(&process.groups) {
        Err(Errno::EPERM) if process.groups.is_empty() && groups_are_denied() => Ok(()),
        result => result,
    }
}

/// Whether the user namespace is such a one. The `/proc` asked is the container's, as far as it is procfs.
fn groups_are_denied() -> bool {
    let mut word = [0; 5];
    let file = Procfs::open().and_then(|proc| proc.file(c"self/setgroups", OFlag::O_RDONLY));
    file.and_then(|file| nix::unistd::read(file, &mut word)).is_ok() && word.starts_with(b"deny")
}

/// Loads the filter, if there is one. It judges every call from here on. Returns its listener, if it has one.
pub fn filter(process: &Process<'_>) -> Result<Option<usize>, Failure> {
    let Some(filter) = &process.seccomp else { return Ok(None) };
    // The first one last: it may not allow to load another, and it is the one with the listener.
    let mut listener = 0;
    for (i, program) in filter.programs.iter().enumerate().rev() {
        let flags =
            if i == 0 { filter.flags } else { filter.flags & !(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV) };
        listener = seccomp::set_mode_filter(program, flags).at(Stage::Seccomp, i)?;
    }
    Ok(filter.listener.is_some().then_some(listener))
}

/// Takes everything from the bounding set that is not in `kept`, as far as the kernel knows capabilities.
fn drop_bounding(kept: u64) -> nix::Result<()> {
    for number in (0..CAPABILITY_LIMIT).filter(|number| kept >> number & 1 == 0) {
        match capability::capbset_drop(number) {
            Err(Errno::EINVAL) => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

fn set_capabilities(sets: &CapabilitySets) -> nix::Result<()> {
    // From a clean slate: what the caller had in its inheritable or ambient set must not come along.
    capability::ambient_clear()?;
    capability::capset(sets.effective, sets.permitted, sets.inheritable)?;
    (0..CAPABILITY_LIMIT)
        .filter(|number| sets.ambient >> number & 1 == 1)
        .try_for_each(capability::ambient_raise)
}

/// Changes to the working directory, with `make` making it if it is missing.
fn enter(cwd: &CStr, make: bool) -> nix::Result<()> {
    match chdir(cwd) {
        Err(Errno::ENOENT) if make => {}
        result => return result,
    }
    let mut path = [0; PATH_MAX];
    let bytes = cwd.to_bytes_with_nul();
    path.get_mut(..bytes.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(bytes);
    // The root is the container's own by now, so the kernel may resolve: there is nothing outside to be led to.
    for end in (1..bytes.len()).filter(|&at| matches!(bytes.get(at), Some(b'/' | 0))) {
        let Some(byte) = path.get_mut(end) else { continue };
        let kept = std::mem::replace(byte, 0);
        let prefix = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::ENAMETOOLONG)?;
        match mkdirat(AT_FDCWD, prefix, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        if let Some(byte) = path.get_mut(end) {
            *byte = kept;
        }
    }
    chdir(cwd)
}

/// A working directory that a leaked descriptor led to is not below the root; CVE-2024-21626.
fn check_inside() -> nix::Result<()> {
    let mut buffer = [0; PATH_MAX];
    if file::getcwd(&mut buffer)?.first() == Some(&b'/') { Ok(()) } else { Err(Errno::ENOENT) }
}

/// Finds the program: as it stands with a slash in it, otherwise in the directories of PATH. Checked here and not
/// by `execve`, so that `create` can already say what is wrong.
pub fn find<'b>(program: &'b CStr, path: &CStr, buffer: &'b mut [u8; PATH_MAX]) -> Result<&'b CStr, Failure> {
    if program.to_bytes().contains(&b'/') {
        check_executable(program).at(Stage::Program, 0)?;
        return Ok(program);
    }
    let mut refused = None;
    for directory in path.to_bytes().split(|&b| b == b':') {
        // An empty entry is the working directory; execvp(3).
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        let Ok(candidate) = join(directory, program, buffer) else { continue };
        match check_executable(candidate) {
            Ok(()) => {
                let len = candidate.count_bytes() + 1;
                let found = buffer.get(..len).and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok());
                return found.ok_or(Errno::ENAMETOOLONG).at(Stage::Program, 0);
            }
            Err(Errno::EACCES) => refused = Some(Errno::EACCES),
            Err(_) => {}
        }
    }
    Err(refused.map_or((Stage::NotInPath, Errno::ENOENT), |errno| (Stage::Program, errno)))
        .or_else(|(stage, errno)| Err(errno).at(stage, 0))
}

/// `directory/program` in the buffer.
fn join<'b>(directory: &[u8], program: &CStr, buffer: &'b mut [u8; PATH_MAX]) -> nix::Result<&'b CStr> {
    let name = program.to_bytes_with_nul();
    let len = directory.len() + 1 + name.len();
    let (front, back) = buffer.get_mut(..len).ok_or(Errno::ENAMETOOLONG)?.split_at_mut(directory.len());
    front.copy_from_slice(directory);
    let (slash, rest) = back.split_at_mut(1);
    slash.copy_from_slice(b"/");
    rest.copy_from_slice(name);
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::ENAMETOOLONG)
}

/// Whether the path can be executed; `EACCES` also for a directory, as execve(2) has it.
fn check_executable(path: &CStr) -> nix::Result<()> {
    access(path, AccessFlags::X_OK)?;
    if stat(path)?.st_mode & libc::S_IFMT == libc::S_IFREG { Ok(()) } else { Err(Errno::EACCES) }
}
