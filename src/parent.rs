//! The parent's side of a create: clone, and hold the child until it is known to be well.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::{Pid, pipe2, read, write};

use crate::cgroup::Cgroup;
use crate::child::{self, Entrance, Gear};
use crate::error::{During, Error, Result};
use crate::join;
use crate::plan::Plan;
use crate::rootfs::source;
use crate::stage::{Ask, Failure, Stage};
use crate::sys::clone::{CLONE_NEWTIME, Options, Side, clone, clone3, setns};
use crate::sys::process::pidfd_send_signal;
use crate::sys::scheduling::{SchedAttr, sched_setattr};
use crate::sys::seccomp::pidfd_getfd;
use crate::sys::wait::{self, Ended, How};
use crate::sys::{file, socket};

/// sched(7): for those who can wait; woken they take the processor from nobody.
const SCHED_BATCH: u32 = 3;

/// What the child gets besides the plan; see [`Gear`].
#[derive(Debug, Default)]
pub struct Spawn<'a> {
    /// Standard input, output and error; the caller's own where missing.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// Where the pseudoterminal's master goes.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The socket on which `start` will connect; without it the program starts at once.
    pub start: Option<BorrowedFd<'a>>,
    /// Make the child a sibling: its parent is the caller's.
    pub sibling: bool,
    /// Whether the program keeps the caller's session keyring.
    pub keep_keyring: bool,
    /// How many descriptors after standard error stay open in the program.
    pub preserved: u32,
    /// See [`Gear::notify`].
    pub notify: Option<BorrowedFd<'a>>,
    /// See [`Gear::ignored`].
    pub ignored: u64,
    /// `tasks` of each resctrl group to enter.
    pub rdt_tasks: &'a [OwnedFd],
    /// The cgroup to start in.
    pub cgroup: Option<&'a Cgroup>,
    /// Whose cgroup below that one will do, where the container has made cgroups in it so that it can have no processes itself.
    pub beside: Option<Pid>,
}

/// A child that is not yet known to be well. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    /// Until it is handed over, or reaped.
    pidfd: Option<OwnedFd>,
    report: OwnedFd,
    gate: Option<OwnedFd>,
    sibling: bool,
}

/// Clones the child, which goes to work at once.
pub fn spawn(plan: &Plan<'_>, spawn: &Spawn<'_>) -> Result<Held> {
    let between = plan.user_namespace && !plan.join.is_empty();
    let mut join = Vec::with_capacity(plan.join.len());
    for namespace in &plan.join {
        let fd = file::open(namespace.path, OFlag::O_RDONLY);
        let fd = fd.during("linux.namespaces: open", namespace.path)?;
        if namespace.kind == CloneFlags::CLONE_NEWNS && is_own_mount_namespace(fd.as_fd()) {
            // Pivoted, it would take the root away from under everybody in it.
            let why = "linux.namespaces: the caller's own mount namespace cannot be a container's";
            return Err(Error::usage(format_args!("{why}")));
        }
        if namespace.kind == CloneFlags::CLONE_NEWPID && !between {
            // Counts for children only, and this process has no other: it is a command, or PID 1's starter.
            setns(fd.as_fd(), namespace.kind).during("linux.namespaces: setns", namespace.path)?;
        }
        join.push(fd);
    }
    let sources = source::open(plan)?;
    let (report, report_to) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let gate = plan.asks.any().then(|| pipe2(OFlag::O_CLOEXEC)).transpose().during("pipe2", "")?;
    let v1 = procs(spawn, None)?;
    let gear = Gear {
        report: report_to.as_fd(),
        gate: gate.as_ref().map(|(answer, to)| (answer.as_fd(), to.as_fd())),
        join: if between { &[] } else { &join },
        sources: &sources,
        cgroup_procs: &v1,
        rdt_tasks: spawn.rdt_tasks,
        stdio: spawn.stdio,
        terminal: spawn.terminal,
        start: spawn.start,
        on_initramfs: crate::initramfs::is_root().during("statfs", "/")?,
        keep_keyring: spawn.keep_keyring,
        preserved: spawn.preserved,
        notify: spawn.notify,
        ignored: spawn.ignored,
    };
    let work = Work::Create(plan);
    let (pid, pidfd) = if between {
        join::spawn(plan, &join, spawn.sibling, &mut || clone_child(&work, spawn, &gear, true))?
    } else {
        clone_child(&work, spawn, &gear, spawn.sibling).map_err(|errno| match errno {
            Errno::EPERM if !plan.user_namespace => {
                let why = "linux.namespaces: without privileges there has to be one of type user";
                Error::child(format_args!("{why}"), errno)
            }
            errno => Error::refused("clone3", errno, b""),
        })?
    };
    if spawn.sibling {
        // What is left to do here is book-keeping: woken by the child's reports it is not to take the processor away from
        // the child, which is about to run its program. Without that it is only slower.
        let _ = sched_setattr(0, &SchedAttr { policy: SCHED_BATCH, ..SchedAttr::default() });
    }
    let gate = gate.map(|(_, to)| to);
    Ok(Held { pid, pidfd: Some(pidfd), report, gate, sibling: spawn.sibling })
}

/// Clones a child into the container whose namespaces the caller has joined, where it becomes a process: see
/// [`child::enter`].
pub fn spawn_into(entrance: &Entrance<'_>, spawn: &Spawn<'_>) -> Result<Held> {
    let (report, report_to) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let asks = entrance.process.has_listener();
    let gate = asks.then(|| pipe2(OFlag::O_CLOEXEC)).transpose().during("pipe2", "")?;
    let v1 = procs(spawn, None)?;
    let gear = Gear {
        report: report_to.as_fd(),
        gate: gate.as_ref().map(|(answer, to)| (answer.as_fd(), to.as_fd())),
        join: &[],
        sources: &[],
        cgroup_procs: &v1,
        rdt_tasks: spawn.rdt_tasks,
        stdio: spawn.stdio,
        terminal: spawn.terminal,
        start: None,
        on_initramfs: false,
        keep_keyring: spawn.keep_keyring,
        preserved: spawn.preserved,
        notify: spawn.notify,
        ignored: spawn.ignored,
    };
    let (pid, pidfd) = clone_child(&Work::Enter(entrance), spawn, &gear, false).during("clone3", "")?;
    let gate = gate.map(|(_, to)| to);
    Ok(Held { pid, pidfd: Some(pidfd), report, gate, sibling: false })
}

/// The files through which the child enters its cgroups; one of v2 where clone cannot do it.
fn procs(spawn: &Spawn<'_>, v2: Option<BorrowedFd<'_>>) -> Result<Vec<OwnedFd>> {
    spawn.cgroup.map_or_else(|| Ok(Vec::new()), |cgroup| cgroup.procs(v2))
}

/// What a child does.
enum Work<'p> {
    /// Becomes the first process of a new container.
    Create(&'p Plan<'p>),
    /// Enters one that there is.
    Enter(&'p Entrance<'p>),
}

/// Clones the child, who does not return.
fn clone_child(
    work: &Work<'_>,
    spawn: &Spawn<'_>,
    gear: &Gear<'_>,
    sibling: bool,
) -> nix::Result<(Pid, OwnedFd)> {
    let namespaces = match work {
        // A cgroup namespace is made by the child, once it is in its cgroup, and a time namespace, to be set before it is
        // entered.
        Work::Create(plan) => plan.new_namespaces - CloneFlags::CLONE_NEWCGROUP - CLONE_NEWTIME,
        Work::Enter(_) => CloneFlags::empty(),
    };
    let cgroup = spawn.cgroup.and_then(Cgroup::directory);
    let options = Options { sibling, cgroup, share_files: false };
    let beside = || spawn.beside.zip(spawn.cgroup).and_then(|(pid, cgroup)| cgroup.directory_of(pid));
    let all;
    let (side, gear) = match clone3(namespaces, &options) {
        Err(Errno::ENOSYS) => {
            let found = spawn.cgroup.filter(|cgroup| cgroup.is_divided()).and_then(|_| beside());
            let v2 = found.as_ref().map_or(cgroup, |found| Some(found.as_fd()));
            all = procs(spawn, v2).map_err(|e| e.errno().unwrap_or(Errno::EIO))?;
            let gear = Gear { cgroup_procs: &all, ..*gear };
            (clone(namespaces, &options)?, gear)
        }
        // cgroups(7): "no internal processes", and what is in or above a threaded subtree.
        Err(errno @ (Errno::EBUSY | Errno::EOPNOTSUPP)) => {
            let found = beside().ok_or(errno)?;
            (clone3(namespaces, &Options { cgroup: Some(found.as_fd()), ..options })?, *gear)
        }
        side => (side?, *gear),
    };
    match side {
        Side::Child => match work {
            Work::Create(plan) => child::run(plan, &gear),
            Work::Enter(entrance) => child::enter(entrance, &gear),
        },
        Side::Parent(pid, pidfd) => Ok((pid, pidfd)),
    }
}

/// Whether a namespace file is that of the mount namespace this process is in.
fn is_own_mount_namespace(file: BorrowedFd<'_>) -> bool {
    let own = nix::sys::stat::stat(c"/proc/self/ns/mnt");
    matches!((nix::sys::stat::fstat(file), own), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

impl Held {
    /// The child, by number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a descriptor for the child away.
    pub fn send_pidfd(&self, to: BorrowedFd<'_>, message: &[u8]) -> Result<()> {
        let Some(pidfd) = &self.pidfd else { return Ok(()) };
        socket::send_fd(to, message, pidfd.as_fd()).during("--pidfd-socket: sendmsg", "")
    }

    /// Waits until the child says that all is ready, and does what it asks for with `answer` meanwhile, which
    /// also gets the child's pidfd, or for [`Ask::Listener`] the listener. With `execute` also
    /// until its program runs. When an answer fails the child is killed.
    pub fn ready(
        mut self,
        explain: &dyn Fn(Failure) -> Error,
        execute: bool,
        answer: &mut dyn FnMut(Ask, Option<BorrowedFd<'_>>) -> Result<()>,
    ) -> Result<OwnedFd> {
        loop {
            let Some(report) = self.next()? else { return Err(self.killed()) };
            match (report.asked(), &self.gate) {
                (Some(ask), Some(gate)) => {
                    let child = self.pidfd.as_ref().map(AsFd::as_fd);
                    let listener = match child {
                        Some(child) if ask == Ask::Listener => {
                            let number = report.number().into();
                            Some(pidfd_getfd(child, number).during("linux.seccomp: pidfd_getfd", "")?)
                        }
                        _ => None,
                    };
                    answer(ask, listener.as_ref().map(AsFd::as_fd).or(child))?;
                    // Should it have been killed meanwhile, the next report says so.
                    let _ = write(gate, &[1]);
                }
                _ if report.stage == Stage::Ready => break,
                _ => return Err(explain(report)),
            }
        }
        // The pipe closes with execve; before that only a failure comes through.
        if execute && let Some(failure) = self.next()? {
            return Err(explain(failure));
        }
        self.pidfd.take().ok_or(Errno::EBADF).during("clone3", "")
    }

    /// What became of a child that ended without a report.
    fn killed(&mut self) -> Error {
        // A sibling is not ours to wait for.
        let ended = self.pidfd.as_ref().filter(|_| !self.sibling).map(|pidfd| wait::reap(pidfd.as_fd()));
        let signal = match ended {
            Some(Ok(Ended { how: How::Signal(signal), .. })) => signal,
            _ => 0,
        };
        if let Some(Ok(_)) = ended {
            self.pidfd = None;
        }
        Error::killed(signal)
    }

    /// The next report; `None` when there will be no other.
    fn next(&self) -> Result<Option<Failure>> {
        let mut report = [0; 8];
        loop {
            match read(&self.report, &mut report) {
                Ok(8) => return Ok(Some(Failure::from_bytes(report))),
                Ok(_) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).during("read", ""),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(pidfd) = &self.pidfd else { return };
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL); // it may be gone already
        if !self.sibling {
            let _ = wait::reap(pidfd.as_fd()); // as above
        }
    }
}
