//! The first process of a pod whose containers see each other (`shareProcessNamespace`): mote itself, which holds the pid namespace
//! and reaps what is left to it, as the pause container does elsewhere. Only such pods have one.
//!
//! Containers can see it, and one with CAP_SYS_PTRACE could go to where it is. So it is nowhere: nobody's user, without
//! capabilities, in an empty root and in no namespace of the device's. It is in a cgroup of its own, which is how it is found
//! again and ended.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use mote::cgroup::{Cgroups, Place};
use mote::descriptors::close_all_but;
use mote::error::{During as _, Result};
use mote::sys::clone::{Options, Side, clone, clone3, setns};
use mote::sys::credentials::{setgroups, setresgid, setresuid};
use mote::sys::file;
use mote::sys::process::exit_now;
use mote::sys::wait;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, chdir, pipe2, pivot_root, read, setsid, write};

use crate::paths::Paths;
use crate::volumes::{Places, lock, private};

/// Whose user it is: nobody's, as that of the pause container.
const NOBODY: u32 = 65535;

/// A file that says that there is one.
const MARK: &str = "init";

/// The cgroup of it: no container is called so.
fn cgroup(paths: &Paths, pod: &str) -> CString {
    CString::new(format!("{}/{pod}/_init", paths.pods)).unwrap_or_default() // a checked name
}

/// The pid namespace of the pod, made where there is none. `netns` is the pod's network namespace, unless that is the device's.
/// Runs in a starter, when the pod's cgroup is there.
pub fn ensure(paths: &Paths, cgroups: &Cgroups, pod: &str, netns: Option<&Path>) -> Result<OwnedFd> {
    let places = Places::new(paths, pod);
    private(&places.memory)?;
    // Other containers of the pod may be starting.
    let _lock = lock(&places.memory)?;
    let path = cgroup(paths, pod);
    let place = Place { path: &path, every: false };
    let there = cgroups.open(&place)?;
    let namespace =
        |pid: &Pid| file::open(format!("/proc/{pid}/ns/pid_for_children").as_str(), OFlag::O_RDONLY).ok();
    if let Some(found) = there.processes().iter().find_map(namespace) {
        return Ok(found);
    }
    cgroups.remove(&place)?; // of one that was killed
    let group = cgroups.make(&place)?;
    let Some(directory) = group.directory() else {
        return Err(Errno::ENOTSUP).during("shareProcessNamespace", "cgroup v2 is not mounted");
    };
    std::fs::write(places.memory.join(MARK), b"").during("write", MARK)?;
    let netns = netns.map(|path| file::open(path, OFlag::O_RDONLY).during("open", path)).transpose()?;
    let (ready, tell) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let namespaces = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // PID 1's own child: a starter does not stay.
    let options = Options { sibling: true, cgroup: Some(directory), ..Options::default() };
    let mut procs = Vec::new();
    let side = match clone3(namespaces, &options) {
        Err(Errno::ENOSYS) => {
            procs = group.procs(Some(directory))?;
            clone(namespaces, &options)
        }
        side => side,
    };
    let pid = match side.during("clone3", "shareProcessNamespace")? {
        Side::Child => {
            let Err(errno) = hold(&procs, netns.as_ref(), &tell);
            let _ = write(&tell, &(errno as i32).to_le_bytes());
            exit_now(1)
        }
        Side::Parent(pid, _) => pid,
    };
    drop(tell);
    let mut word = [0; 4];
    match read(&ready, &mut word) {
        Ok(4) if word == [0; 4] => {}
        Ok(4) => {
            return Err(Errno::from_raw(i32::from_le_bytes(word))).during("make", "the pod's first process");
        }
        _ => return Err(Errno::ECHILD).during("make", "the pod's first process"),
    }
    namespace(&pid).ok_or(Errno::ESRCH).during("open", "the pod's pid namespace")
}

/// What the first process does. `procs` are those of its cgroup, where clone could not put it there.
fn hold(
    procs: &[OwnedFd],
    netns: Option<&OwnedFd>,
    tell: &OwnedFd,
) -> std::result::Result<Infallible, Errno> {
    const NONE: Option<&CStr> = None;
    for procs in procs {
        write(procs, b"0")?;
    }
    let _ = setsid(); // a new process leads no group, so it cannot fail
    SigSet::all().thread_block()?;
    prctl::set_name(c"mote-pod")?;
    if let Some(netns) = netns {
        setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
    }
    // In its own cgroup by now, which becomes the root of what somebody sees who joins it.
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    mount(NONE, c"/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // On any directory that every host has.
    mount(Some(c"none"), c"/proc", Some(c"tmpfs"), flags, Some(c"size=4k,nr_inodes=1,mode=555"))?;
    chdir(c"/proc")?;
    pivot_root(c".", c".")?;
    umount2(c".", MntFlags::MNT_DETACH)?;
    chdir(c"/")?;
    setgroups(&[])?;
    setresgid(NOBODY)?;
    setresuid(NOBODY)?; // takes all capabilities away, too
    prctl::set_no_new_privs()?;
    // After the change of user, which would clear it. Nothing can be started here without PID 1.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    write(tell, &[0; 4])?;
    close_all_but(0, [None; 4])?;
    loop {
        let _ = SigSet::all().wait(); // whatever it is, and it is nobody's to end this
        while let Ok(Some(_)) = wait::reap_any() {}
    }
}

/// Ends the first process of a pod, and with it whatever is left in its namespace. A pod without one is fine.
pub fn end(paths: &Paths, pod: &str) -> Result<()> {
    let mark = Places::new(paths, pod).memory.join(MARK);
    if !mark.exists() {
        return Ok(());
    }
    let path = cgroup(paths, pod);
    Cgroups::detect().remove(&Place { path: &path, every: false })?;
    std::fs::remove_file(&mark).during("unlink", &*mark)
}
