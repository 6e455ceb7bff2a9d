//! The container's first process: from clone to `execve`, in a straight line.
//!
//! It runs on a copy of the parent's memory and allocates nothing, logs nothing and takes no lock. What fails is sent
//! as one [`Failure`]; what goes well ends in another program.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout, read, setsid, write};

use crate::descriptors::close_all_but;
use crate::hooks::{self, Broken};
use crate::plan::{Plan, Process, Scheduling, When, ids};
use crate::process;
use crate::procfs::Procfs;
use crate::rootfs::{self, walk};
use crate::scheduling;
use crate::signals;
use crate::stage::{Ask, At, Failure, Stage};
use crate::stdio;
use crate::sys::clone::CLONE_NEWTIME;
use crate::sys::process::{exit_now, join_new_session_keyring, setdomainname};
use crate::sys::scheduling::sched_setaffinity;
use crate::sys::{alloc, clone, credentials, exec, file, net, socket, terminal};
use crate::userns;

/// What the child brings along from its parent, all of it closed by `execve`.
#[derive(Debug, Clone, Copy)]
pub struct Gear<'fd> {
    /// Where a failure, or readiness, is told.
    pub report: BorrowedFd<'fd>,
    /// Where the parent's answers come from, and the parent's end of it; set if and only if the plan has something to ask.
    pub gate: Option<(BorrowedFd<'fd>, BorrowedFd<'fd>)>,
    /// The namespaces of the plan's `join`, opened, in the same order.
    pub join: &'fd [OwnedFd],
    /// What the parent has opened of the plan's mounts, in the same order; may be shorter.
    pub sources: &'fd [Option<OwnedFd>],
    /// `cgroup.procs` of each cgroup to enter, where clone could not do it.
    pub cgroup_procs: &'fd [OwnedFd],
    /// `tasks` of each resctrl group to enter.
    pub rdt_tasks: &'fd [OwnedFd],
    /// Standard input, output and error; inherited as they are where missing.
    pub stdio: Option<[BorrowedFd<'fd>; 3]>,
    /// Where the pseudoterminal's master goes; set if and only if the plan has a terminal.
    pub terminal: Option<BorrowedFd<'fd>>,
    /// A listening socket on which `start` will connect; without it the program starts at once.
    pub start: Option<BorrowedFd<'fd>>,
    /// Whether `/` is the initramfs, which cannot be pivoted away from.
    pub on_initramfs: bool,
    /// Whether the caller's session keyring stays.
    pub keep_keyring: bool,
    /// How many descriptors after standard error stay open over `execve`.
    pub preserved: u32,
    /// The container's own notify socket, for whoever starts it.
    pub notify: Option<BorrowedFd<'fd>>,
    /// The signals that the caller ignores.
    pub ignored: u64,
}

/// Becomes the container's program, or reports why not and exits.
pub fn run(plan: &Plan<'_>, gear: &Gear<'_>) -> ! {
    alloc::forbid();
    let Err(failure) = steps(plan, gear);
    let _ = write(gear.report, &failure.to_bytes()); // a parent that is gone cannot be told
    exit_now(1)
}

fn steps(plan: &Plan<'_>, gear: &Gear<'_>) -> Result<Infallible, Failure> {
    // Before anything of the container can look at this process: no ptrace, no /proc/<pid>/fd for others. What is in
    // /proc of such a process belongs to root, so a user's own namespace gets its ids first.
    if !plan.asks.maps {
        prctl::set_dumpable(false).at(Stage::Session, 0)?;
    }
    signals::reset(gear.ignored).at(Stage::Session, 0)?;
    if let Some((_, parents)) = gear.gate {
        // The end of the parent must be the end of the wait.
        close(parents.as_raw_fd()).at(Stage::Session, 0)?;
    }
    if plan.asks.maps {
        ask(gear, Ask::Maps, 0)?;
    }
    // While the mounts are the host's: in a mount namespace that is joined /proc may be anything.
    let proc = host_proc(plan)?;
    let process = &plan.process;
    if let (Some(proc), Some(score), false) = (&proc, process.oom_score_adj, plan.asks.maps) {
        proc.write_number(c"self/oom_score_adj", score).at(Stage::OomScore, 0)?;
    }
    if let (Some(proc), true) = (&proc, plan.new_namespaces.contains(CLONE_NEWTIME)) {
        make_time_namespace(proc, plan.time_offsets)?;
    }
    if plan.asks.maps {
        prctl::set_dumpable(false).at(Stage::Session, 0)?;
    } else if let (Some(proc), false) = (&proc, plan.maps.is_empty()) {
        userns::check_maps(proc, &plan.maps).at(Stage::Maps, 0)?;
    }
    leave_caller(process, proc.as_ref(), gear)?;
    scheduling::apply(&plan.scheduling)?;
    if !plan.asks.maps {
        // While the privileges are those of the host; a user namespace that is joined has others.
        scheduling::apply_to(&plan.scheduling, 0)?;
    }
    for (i, (join, namespace)) in plan.join.iter().zip(gear.join).enumerate() {
        // The pid namespace was joined by the parent: it counts for children only.
        if join.kind != CloneFlags::CLONE_NEWPID {
            clone::setns(namespace.as_fd(), join.kind).at(Stage::Join, i)?;
        }
    }
    if plan.new_namespaces.contains(CloneFlags::CLONE_NEWNET) {
        // Programs expect 127.0.0.1; the new namespace has the interface, down.
        net::loopback_up().at(Stage::Loopback, 0)?;
    }
    // Not by clone: there it would be rooted in the caller's cgroup, which CLONE_INTO_CGROUP leaves too late.
    if plan.new_namespaces.contains(CloneFlags::CLONE_NEWCGROUP) {
        unshare(CloneFlags::CLONE_NEWCGROUP).at(Stage::CgroupNamespace, 0)?;
    }
    if plan.asks.runtime {
        ask(gear, Ask::Runtime, 0)?;
    }
    if let Some(proc) = &proc {
        for (i, (path, value)) in plan.sysctls.iter().enumerate() {
            let mut written = proc.write(path, value.to_bytes());
            if plan.user_namespace && written == Err(Errno::EACCES) {
                // Those of an ipc namespace are its root's, and before Linux 6.9 the host's root's.
                become_root(plan).at(Stage::Ids, 0)?;
                written = proc.write(path, value.to_bytes());
            }
            written.at(Stage::Sysctl, i)?;
        }
    }
    if plan.user_namespace {
        become_root(plan).at(Stage::Ids, 0)?;
    }

    umask(Mode::empty());
    let terminal = mounts(plan, gear)?;
    // After the hooks, whose programs the label is not for.
    if let Some(proc) = proc {
        process.labels.on_exec(&proc)?;
    }
    if let Some(name) = plan.hostname {
        nix::unistd::sethostname(std::ffi::OsStr::from_bytes(name.to_bytes())).at(Stage::Hostname, 0)?;
    }
    if let Some(name) = plan.domainname {
        setdomainname(name).at(Stage::Domainname, 0)?;
    }
    let mut buffer = [0; file::PATH_MAX];
    let program = become_process(process, gear, terminal, &mut buffer)?;
    match gear.start {
        None => {
            let filtered = start_hooks(plan)?;
            write(gear.report, &Failure::READY).at(Stage::Exec, 0)?;
            execute(process, program, filtered)
        }
        Some(start) => wait_and_execute(plan, program, gear, start),
    }
}

/// What an exec does in a container.
#[derive(Debug)]
pub struct Entrance<'p> {
    /// The program and who it runs as.
    pub process: &'p Process<'p>,
    /// When it gets the processor and the disk.
    pub scheduling: &'p Scheduling,
    /// The host's /proc, where something is to be written to it.
    pub proc: Option<&'p Procfs>,
    /// The cgroup namespace, where the container has its own. The parent could not join it: seen from within, the
    /// container's cgroup could not be entered.
    pub cgroup_namespace: Option<&'p OwnedFd>,
    /// Whether the parent has joined a user namespace.
    pub user_namespace: bool,
}

/// Becomes a program in a container that there is, or reports why not and exits. The parent has joined the namespaces, so
/// that this process was born in the pid namespace with nothing of the host in its hands but descriptors; it is not dumpable.
pub fn enter(entrance: &Entrance<'_>, gear: &Gear<'_>) -> ! {
    alloc::forbid();
    let Err(failure) = steps_inside(entrance, gear);
    let _ = write(gear.report, &failure.to_bytes()); // a parent that is gone cannot be told
    exit_now(1)
}

fn steps_inside(entrance: &Entrance<'_>, gear: &Gear<'_>) -> Result<Infallible, Failure> {
    let process = entrance.process;
    signals::reset(gear.ignored).at(Stage::Session, 0)?;
    leave_caller(process, entrance.proc, gear)?;
    if let Some(processors) = &entrance.scheduling.exec_after {
        sched_setaffinity(0, processors).at(Stage::Scheduler, 0)?;
    }
    scheduling::apply(entrance.scheduling)?;
    scheduling::apply_to(entrance.scheduling, 0)?;
    if let Some(namespace) = entrance.cgroup_namespace {
        clone::setns(namespace.as_fd(), CloneFlags::CLONE_NEWCGROUP).at(Stage::Join, 0)?;
    }
    if entrance.user_namespace {
        // Who owns what is made there; not where it has no root.
        for set in [credentials::setresgid, credentials::setresuid] {
            match set(0) {
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(errno) => return Err(errno).at(Stage::Ids, 0),
            }
        }
    }
    let terminal = match gear.terminal {
        Some(master_to) => Some(open_terminal(master_to, process).at(Stage::Terminal, 0)?),
        None => None,
    };
    if let Some(proc) = entrance.proc {
        process.labels.on_exec(proc)?;
    }
    let mut buffer = [0; file::PATH_MAX];
    let program = become_process(process, gear, terminal, &mut buffer)?;
    write(gear.report, &Failure::READY).at(Stage::Exec, 0)?;
    execute(process, program, false)
}

/// A pseudoterminal of the container's devpts, whose master is sent away.
fn open_terminal(master_to: BorrowedFd<'_>, process: &Process<'_>) -> nix::Result<OwnedFd> {
    let root = file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    make_terminal(root.as_fd(), master_to, process)
}

/// Leaves the caller's session, keys and processors, and enters the cgroups where clone could not do it.
fn leave_caller(process: &Process<'_>, proc: Option<&Procfs>, gear: &Gear<'_>) -> Result<(), Failure> {
    setsid().at(Stage::Session, 0)?;
    process.labels.for_keys(proc)?;
    match if gear.keep_keyring { Ok(()) } else { join_new_session_keyring() } {
        // No keys in this kernel, or none left: then there are none of the caller's to keep from the container either.
        Ok(()) | Err(Errno::ENOSYS | Errno::EDQUOT | Errno::EACCES | Errno::EPERM) => {}
        Err(errno) => return Err(errno).at(Stage::Session, 0),
    }
    for procs in gear.cgroup_procs {
        write(procs, b"0").at(Stage::Cgroup, 0)?;
    }
    for tasks in gear.rdt_tasks {
        write(tasks, b"0").at(Stage::Rdt, 0)?;
    }
    scheduling::forget_affinity();
    Ok(())
}

/// From a root that is ready to who runs the program, which is found: what a create and an exec have in common.
fn become_process<'b>(
    process: &'b Process<'_>,
    gear: &Gear<'_>,
    terminal: Option<OwnedFd>,
    buffer: &'b mut [u8; file::PATH_MAX],
) -> Result<&'b CStr, Failure> {
    process::limit(process)?;
    connect(gear, terminal.as_ref()).at(Stage::Stdio, 0)?;
    if terminal.is_none() {
        stdio::give(stdio::OWN, process.uid);
    }
    drop(terminal);
    // Before the working directory is entered: it may be a path through one of them (CVE-2024-21626).
    let gate = gear.gate.map(|(answer, _)| answer).filter(|_| process.has_listener());
    close_all_but(3 + gear.preserved, [Some(gear.report), gear.start, gate, gear.notify])
        .at(Stage::Stdio, 0)?;
    if let Some(number) = process::become_user(process)? {
        let number = u16::try_from(number).ok().filter(|number| *number < 4096);
        let number = number.ok_or(Errno::EMFILE).at(Stage::Seccomp, 0)?;
        ask(gear, Ask::Listener, number)?;
        // It is with who answers now; here it would end up in a container that waits for start.
        let _ = close(i32::from(number)); // whoever answers may have it fail
    }
    umask(Mode::from_bits_truncate(process.umask));
    process::find(process.program, process.path, buffer)
}

/// Runs the hooks of a kind that belongs to this process: in its namespaces, as the user that it is.
fn hook(plan: &Plan<'_>, when: When) -> Result<(), Failure> {
    if !plan.hooks.any(&[when]) {
        return Ok(());
    }
    hooks::run(&plan.hooks, when, nix::unistd::getpid().as_raw(), None).map_err(Broken::to_failure)
}

/// Waits until the parent has done its part. It kills this process if it cannot.
fn ask(gear: &Gear<'_>, what: Ask, number: u16) -> Result<(), Failure> {
    let (answer, _) = gear.gate.ok_or(Errno::EBADF).at(Stage::Ask, 0)?;
    write(gear.report, &Failure::asking(what, number)).at(Stage::Ask, 0)?;
    loop {
        match read(answer, &mut [0]) {
            Ok(1..) => return Ok(()),
            Ok(0) => exit_now(1), // the parent is gone, and with it whoever could be told
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).at(Stage::Ask, 0),
        }
    }
}

/// Opens the host's /proc where something is to be written to it.
fn host_proc(plan: &Plan<'_>) -> Result<Option<Procfs>, Failure> {
    let process = &plan.process;
    // A parent that writes the maps writes the score as well.
    let score = process.oom_score_adj.is_some() && !plan.asks.maps;
    let clocks = plan.new_namespaces.contains(CLONE_NEWTIME);
    let known = !plan.maps.is_empty() && !plan.asks.maps;
    if !score && !clocks && !known && plan.sysctls.is_empty() && !process.labels.any() {
        return Ok(None);
    }
    Procfs::open().at(Stage::Proc, 0).map(Some)
}

/// Makes a time namespace, sets its clocks, which the kernel allows as long as nobody is in it, and enters it;
/// time_namespaces(7).
fn make_time_namespace(proc: &Procfs, offsets: &CStr) -> Result<(), Failure> {
    unshare(CLONE_NEWTIME).at(Stage::TimeNamespace, 0)?;
    if !offsets.is_empty() {
        proc.write(c"self/timens_offsets", offsets.to_bytes()).at(Stage::TimeOffsets, 0)?;
    }
    // unshare is for children alone.
    let made = proc.namespace(c"self/ns/time_for_children").at(Stage::TimeNamespace, 0)?;
    clone::setns(made.as_fd(), CLONE_NEWTIME).at(Stage::TimeNamespace, 0)
}

/// Becomes the root of the user namespace, who owns what is made in the container, where it has one.
fn become_root(plan: &Plan<'_>) -> nix::Result<()> {
    // Of a namespace that was joined the ids may not be known: the kernel tells.
    let tell = |result: nix::Result<()>| {
        if plan.maps.is_empty() && result == Err(Errno::EINVAL) { Ok(()) } else { result }
    };
    if plan.maps.is_empty() || ids::covers(&plan.maps.gid, 0) {
        tell(credentials::setresgid(0))?;
    }
    if plan.maps.is_empty() || ids::covers(&plan.maps.uid, 0) {
        tell(credentials::setresuid(0))?;
    }
    Ok(())
}

/// Builds the root filesystem and goes there. Returns the container's side of the pseudoterminal.
fn mounts(plan: &Plan<'_>, gear: &Gear<'_>) -> Result<Option<OwnedFd>, Failure> {
    rootfs::detach(plan.propagation).at(Stage::Propagation, 0)?;
    if gear.on_initramfs {
        crate::initramfs::leave(plan.rootfs, true).at(Stage::Initramfs, 0)?;
    }
    let root = match plan.layer {
        true => rootfs::layer::make(plan.rootfs, plan.propagation).at(Stage::Layer, 0)?,
        false => rootfs::bind_root(plan.rootfs, plan.propagation).at(Stage::Root, 0)?,
    };
    for (i, mount) in plan.mounts.iter().enumerate() {
        let source = gear.sources.get(i).and_then(Option::as_ref);
        rootfs::apply(root.as_fd(), mount, source).at(Stage::Mount, i)?;
    }
    if plan.make_devices {
        rootfs::devices::make_defaults(root.as_fd(), &plan.nodes).at(Stage::Devices, 0)?;
    }
    for (i, node) in plan.nodes.iter().enumerate() {
        rootfs::devices::make(root.as_fd(), node).at(Stage::Node, i)?;
    }
    // Before anything is masked or read-only: hooks add to the root.
    if plan.asks.container {
        ask(gear, Ask::Container, 0)?;
    }
    if plan.hooks.any(&[When::CreateContainer]) {
        let before = umask(Mode::from_bits_truncate(0o022));
        hook(plan, When::CreateContainer)?;
        umask(before);
    }
    let terminal = match gear.terminal {
        Some(master_to) => Some(console(root.as_fd(), master_to, &plan.process).at(Stage::Terminal, 0)?),
        None => None,
    };
    if !plan.masked.is_empty() {
        let null = rootfs::open_null().at(Stage::Null, 0)?;
        for (i, path) in plan.masked.iter().enumerate() {
            rootfs::mask(root.as_fd(), null.as_fd(), path, plan.mount_label).at(Stage::Mask, i)?;
        }
    }
    for (i, path) in plan.readonly.iter().enumerate() {
        rootfs::make_readonly(root.as_fd(), path).at(Stage::ReadonlyPath, i)?;
    }
    for (i, target) in plan.sealed.iter().enumerate() {
        rootfs::seal(root.as_fd(), target).at(Stage::Seal, i)?;
    }
    if plan.root_readonly {
        let cwd = plan.process.cwd;
        if cwd != c"/" {
            // While it can be made. What is wrong with it is found where it is entered.
            let _ = walk::resolve_or_make(root.as_fd(), cwd, walk::Missing::Directory);
        }
        rootfs::make_root_readonly(root.as_fd()).at(Stage::RootReadonly, 0)?;
    }
    if plan.propagation.contains(MsFlags::MS_UNBINDABLE) {
        rootfs::make_unbindable(root.as_fd()).at(Stage::Propagation, 0)?;
    }
    rootfs::pivot(root.as_fd(), plan.propagation).at(Stage::Pivot, 0)?;
    Ok(terminal)
}

/// Makes a pseudoterminal in the container and puts it on /dev/console as well.
fn console(root: BorrowedFd<'_>, master_to: BorrowedFd<'_>, process: &Process<'_>) -> nix::Result<OwnedFd> {
    let peer = make_terminal(root, master_to, process)?;
    rootfs::bind_console(root, peer.as_fd())?;
    Ok(peer)
}

/// Makes a pseudoterminal in the container's devpts and sends its master away. Returns the other side.
fn make_terminal(
    root: BorrowedFd<'_>,
    master_to: BorrowedFd<'_>,
    process: &Process<'_>,
) -> nix::Result<OwnedFd> {
    let pts = walk::resolve(root, c"/dev/pts")?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let master = openat(&pts, c"ptmx", flags, Mode::empty())?;
    terminal::unlockpt(master.as_fd())?;
    let peer = terminal::open_peer(master.as_fd())?;
    nix::unistd::fchown(&peer, Some(process.uid.into()), None)?;
    if let Some((rows, columns)) = process.console_size {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        terminal::set_window_size(master.as_fd(), &size)?;
    }
    // runc sends the name; what counts is that there is at least one byte.
    socket::send_fd(master_to, b"/dev/pts/ptmx", master.as_fd())?;
    Ok(peer)
}

/// Puts standard input, output and error in place.
fn connect(gear: &Gear<'_>, terminal: Option<&OwnedFd>) -> nix::Result<()> {
    let [input, output, error] = match (terminal, gear.stdio) {
        (Some(terminal), _) => {
            terminal::set_controlling(terminal.as_fd())?;
            [terminal.as_fd(); 3]
        }
        (None, Some(stdio)) => stdio,
        (None, None) => return Ok(()),
    };
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(error)
}

/// Tells the parent that all is ready, waits for `start`, and tells it what becomes of the program.
fn wait_and_execute(
    plan: &Plan<'_>,
    program: &CStr,
    gear: &Gear<'_>,
    start: BorrowedFd<'_>,
) -> Result<Infallible, Failure> {
    write(gear.report, &Failure::READY).at(Stage::Start, 0)?;
    let starter = socket::accept(start).at(Stage::Start, 0)?;
    // From here on the parent is gone, and what happens goes to whoever started it. If that one is gone as well the
    // container runs all the same: it was started.
    let Err(failure) = start_hooks(plan).and_then(|filtered| {
        let _ = match gear.notify {
            Some(notify) => socket::send_fd(starter.as_fd(), &Failure::READY, notify),
            None => socket::send(starter.as_fd(), &Failure::READY),
        };
        execute(&plan.process, program, filtered)
    });
    let _ = socket::send(starter.as_fd(), &failure.to_bytes());
    exit_now(1)
}

/// Runs the startContainer hooks, which the filter judges like the program: their files are the container's. Says whether it is
/// loaded.
fn start_hooks(plan: &Plan<'_>) -> Result<bool, Failure> {
    let any = plan.hooks.any(&[When::StartContainer]);
    if any {
        filter(&plan.process)?;
        hook(plan, When::StartContainer)?;
    }
    Ok(any)
}

/// Loads the filter if it is not there yet.
fn filter(process: &Process<'_>) -> Result<(), Failure> {
    let late = process.no_new_privileges && !process.has_listener();
    if late { process::filter(process).map(drop) } else { Ok(()) }
}

fn execute(process: &Process<'_>, program: &CStr, filtered: bool) -> Result<Infallible, Failure> {
    if !filtered {
        // The last step before: of mote's own calls the filter sees execve alone.
        filter(process)?;
    }
    exec::execve(program, &process.args, &process.env).at(Stage::Exec, 0)
}
