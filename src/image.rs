//! The file that this process runs, kept out of the reach of containers (CVE-2019-5736).
//!
//! Whoever sees a process in `/proc` may open `/proc/<pid>/exe`, and once the process has ended write to it: to the
//! runtime's own file, through the host's mount. So a command that enters a container first continues from a copy that
//! nobody can write to: a clone of its mount, read-only and attached nowhere, or where there is none a sealed memfd.
//!
//! A new container needs this seldom, see [`is_exposed`]: its first process is alone in its pid namespace until its program
//! runs. What is left is a program that is mote again (`/proc/self/exe` as entry point, or as interpreter of a script): it
//! is the first process then, and ends before anything else can be there; see [`is_smuggled`].

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::stat::stat;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::FsFlags;
use nix::unistd::Pid;

use crate::error::{During, Error, Result};
use crate::plan::{Kind, Plan, Process, When};
use crate::sys::mount::{At, attr, mount_setattr, open_tree_clone};
use crate::sys::{exec, file};

const OWN: &std::ffi::CStr = c"/proc/self/exe";

/// In the environment of a process that runs from the copy; the value is its number.
const MARK: &str = "_MOTE_IMAGE";

/// Returns if nobody can write to the file of this process through `/proc`. Otherwise starts this command over from such a
/// copy, so nothing may have been done yet.
pub fn protect() -> Result<()> {
    let fs = statfs(OWN).during("statfs", OWN)?;
    if fs.flags().contains(FsFlags::ST_RDONLY) {
        // Executed by a descriptor it would be called by its number.
        let _ = prctl::set_name(c"mote");
        return Ok(());
    }
    let pid = std::process::id();
    if std::env::var(MARK).is_ok_and(|value| value == pid.to_string()) {
        // A process that lies to itself gains nothing.
        return if is_sealed().during("open", OWN)? {
            Ok(())
        } else {
            Err(Errno::EROFS).during("execveat", OWN)
        };
    }
    let image = read_only_clone().or_else(|_| sealed_copy()).during("memfd_create", OWN)?;
    let mark = std::ffi::CString::new(format!("{MARK}={pid}")).unwrap_or_default();
    match exec::again(image.as_fd(), &mark) {
        Ok(never) => match never {},
        Err(errno) => Err(errno).during("execveat", OWN),
    }
}

/// A mount of the file alone, read-only. Linux 5.12; needs CAP_SYS_ADMIN.
fn read_only_clone() -> nix::Result<OwnedFd> {
    let image = open_tree_clone(At::Path(OWN, true), false)?;
    mount_setattr(image.as_fd(), false, attr::RDONLY, 0, 0)?;
    Ok(image)
}

/// A copy in memory that is not to be changed any more.
fn sealed_copy() -> nix::Result<OwnedFd> {
    /// `MFD_EXEC`, which Linux 6.3 may ask for and others do not know.
    const EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(0x10);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = match memfd_create(c"mote", flags | EXECUTABLE) {
        Err(Errno::EINVAL) => memfd_create(c"mote", flags),
        result => result,
    }?;
    let mut own = std::fs::File::from(file::open(OWN, OFlag::O_RDONLY)?);
    let mut copy = std::fs::File::from(copy);
    let mut buffer = vec![0; 128 * 1024];
    let io = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    loop {
        match own.read(&mut buffer).map_err(io)? {
            0 => break,
            len => copy.write_all(buffer.get(..len).unwrap_or_default()).map_err(io)?,
        }
    }
    fcntl(&copy, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(copy.into())
}

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

fn is_sealed() -> nix::Result<bool> {
    match fcntl(file::open(OWN, OFlag::O_RDONLY)?, FcntlArg::F_GET_SEALS) {
        Err(Errno::EINVAL) => Ok(false), // no memfd
        result => Ok(SealFlag::from_bits_retain(result?).contains(SEALS)),
    }
}

/// Whether a process may have the capabilities that open `/proc/<pid>/exe` and `map_files` of others: CAP_SYS_PTRACE,
/// CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE.
pub fn reaches(process: &Process<'_>) -> bool {
    const REACH: u64 = 1 << 19 | 1 << 21 | 1 << 40;
    process.capabilities.bounding & REACH != 0
}

/// Whether somebody in the container that is planned could reach the file of its first process: one who is there already,
/// one who comes before the program runs and may look at what is not dumpable, or a program of the image that is run
/// besides it. Without `/proc` mote cannot tell whether it was smuggled in.
pub fn is_exposed(plan: &Plan<'_>) -> bool {
    let procfs = |mount: &crate::plan::Mount<'_>| {
        mount.kind == Kind::New && mount.fstype == c"proc" && mount.target == c"/proc"
    };
    !plan.new_namespaces.contains(CloneFlags::CLONE_NEWPID)
        || reaches(&plan.process)
        || plan.hooks.any(&[When::StartContainer])
        || !plan.mounts.iter().any(procfs)
}

/// Whether another process runs the file of this one, or the one that this one's is a clone of.
pub fn is_of(pid: Pid) -> bool {
    let file = |path: &str| stat(path).map(|file| (file.st_dev, file.st_ino));
    matches!((file(&format!("/proc/{pid}/exe")), file("/proc/self/exe")), (Ok(theirs), Ok(own)) if theirs == own)
}

/// Whether this process, number 1 of its pid namespace, runs from a file that its mount namespace has not got: it is a
/// container's, and the container's program was `/proc/self/exe` of the one that made it. Never on a device that boots.
pub fn is_smuggled() -> bool {
    /// `PROC_PID_INIT_INO` of the kernel's include/linux/proc_ns.h: the pid namespace of the host.
    const INITIAL: u64 = 0xefff_fffc;
    let mut buffer = [0; file::PATH_MAX];
    let mut own = || -> nix::Result<bool> {
        if stat(c"/proc/self/ns/pid")?.st_ino == INITIAL {
            return Ok(false);
        }
        let len = file::readlink(OWN, &mut buffer)?;
        let path = std::ffi::CString::new(buffer.get(..len).unwrap_or_default()).unwrap_or_default();
        Ok(file::mount_and_inode(&path).ok() != Some(file::mount_and_inode(OWN)?))
    };
    own().unwrap_or(false)
}

/// What is said by one that was smuggled in.
pub fn smuggled() -> Error {
    Error::usage(format_args!("/proc/self/exe of the runtime cannot be a container's program"))
}
