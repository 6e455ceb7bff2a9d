//! How a container is made: everything in the order in which it can be taken back.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::Pid;

use super::bundle::{Bundle, open_root};
use super::record::record;
use super::{Made, Request, Terminal, callers_terminal, connect_pidfd, start_address};
use crate::cgroup::{Cgroup, Cgroups, Place};
use crate::error::{During, Error, Result};
use crate::home;
use crate::hooks;
use crate::host;
use crate::image;
use crate::netdevices;
use crate::notify;
use crate::parent::{self, Spawn};
use crate::plan::{self, Hooks, Mount, Plan, Process, When, ids};
use crate::resctrl::{self, Group};
use crate::seccomp;
use crate::signals;
use crate::stage::Ask;
use crate::state::{Entry, PidFile, Record, START_SOCKET, Status, Store, process_start};
use crate::stdio;
use crate::strings;
use crate::sys::process::pidfd_send_signal;
use crate::sys::socket;
use crate::sys::wait;
use crate::userns;

/// Makes a container. Whatever fails, everything is taken back.
pub fn create(request: &Request<'_>) -> Result<Made> {
    create_from(request, &Bundle::read(request.bundle, request.config)?)
}

/// The same from a bundle that has been read: neither `bundle` nor `config` of the request is.
pub fn create_from(request: &Request<'_>, bundle: &Bundle) -> Result<Made> {
    let spec = bundle.parse()?;
    let cgroups = Cgroups::detect();
    let home = std::cell::OnceCell::new();
    let listening = request.preserved.variables();
    let notify_path = request.manager.map(|_| notify::path(request.root, request.id)).transpose()?;
    let mut buffer = vec![0; strings::room_for(bundle.text.len())];
    let overrides = &request.overrides;
    let mut plan = plan::make(&spec, &bundle.path, request.id.as_str(), overrides, &cgroups, &mut buffer)
        .map_err(|wrong| bundle.wrong(wrong))?;
    host::check(&mut plan).map_err(|wrong| bundle.wrong(wrong))?;
    // Before anything is made, and before an engine sees a connection.
    if request.protect && image::is_exposed(&plan) {
        image::protect()?;
    }
    let console = Console::open(request.terminal, &mut plan.process, bundle)?;
    let pidfd_to = request.pidfd_to.map(connect_pidfd).transpose()?;
    // The limits of one were refused by the plan.
    if request.no_cgroup && plan.resources.devices.as_ref().is_some_and(|rules| !rules.is_empty()) {
        crate::warn!("linux.resources.devices: without a cgroup every device can be used");
    }
    let root = open_root(bundle, &plan)?;
    plan.layer =
        plan.layer && fstatvfs(&root).during("statfs", plan.rootfs)?.flags().contains(FsFlags::ST_RDONLY);
    if home::is_missing(&plan.process.env) {
        let home = home.get_or_init(|| home::variable(root.as_fd(), plan.process.uid));
        plan.process.env.put(b"HOME=", home);
    }
    listening.iter().flatten().for_each(|variable| plan.process.env.push(variable));

    let store = Store::open(request.root, true)?;
    let mut entry = store.make(request.id)?;
    let mut undo = Undo { store: &store, entry: &entry, cgroup: None, hooks: None };
    let notify =
        notify_path.as_deref().map(|path| notify::offer(&mut plan, &entry, path)).transpose()?.flatten();
    // PID 1 knows without that where the cgroups of its starters are.
    let begun = !request.sibling && !plan.cgroup.path.is_empty();
    if begun {
        entry.begin(&plan.cgroup, &plan.rdt.as_ref().map(plan::Rdt::goes).unwrap_or_default())?;
    }
    let cgroup = match cgroups.make(&plan.cgroup) {
        Err(error) if plan.cgroup_by_default && does_without_cgroup(request, &error) => {
            plan.lose_cgroup(&cgroups);
            Cgroup::default()
        }
        result => result?,
    };
    let place = plan.cgroup;
    undo.cgroup = Some((&cgroups, place));
    // With a socket there is something to tell it by.
    if begun && !request.wait {
        entry.own_cgroup()?;
    }
    cgroups.apply(&plan.resources, &place, &cgroup, false)?;
    let host_uid = host_uid(&plan);
    if let Some(uid) = host_uid.filter(|uid| *uid != 0 && owns_cgroup(&plan)) {
        match cgroup.give(uid) {
            Err(Errno::EPERM) => {} // without privileges it is the caller's, and can be nobody else's
            result => result.during("chown", "the container's cgroup")?,
        }
    }
    let rdt = match &plan.rdt {
        Some(rdt) => Some(resctrl::make(resctrl::open().during("open", c"/sys/fs/resctrl")?, rdt)?),
        None => None,
    };
    if let Some(uid) = host_uid.filter(|_| plan.user_namespace && !plan.process.terminal) {
        // In the container's user namespace they may be nobody's to give.
        stdio::give(request.stdio.unwrap_or(stdio::OWN), uid);
    }
    let start = if request.wait { Some(listen(&entry)?) } else { None };
    let held = parent::spawn(
        &plan,
        &Spawn {
            stdio: request.stdio,
            terminal: console.theirs(),
            start: start.as_ref().map(AsFd::as_fd),
            sibling: request.sibling,
            keep_keyring: request.keep_keyring,
            preserved: request.preserved.all,
            notify: notify.as_ref().filter(|_| request.wait).map(AsFd::as_fd),
            ignored: signals::ignored(),
            cgroup: Some(&cgroup),
            beside: None,
            rdt_tasks: rdt.as_ref().map_or(&[], Group::tasks),
        },
    )?;
    undo.hooks = Some(&plan.hooks);
    let pid = held.pid();
    let mut record = record(request, &spec, &plan, bundle, pid);
    record.rdt = rdt.as_ref().map(|group| group.own().to_owned()).unwrap_or_default();
    let more = record.hooks || !record.rdt.is_empty();
    // While the child works.
    let mut making = Making { request, plan: &plan, entry: &entry, pid, record, late: None, moved: None };
    making.save(bundle)?;
    let mut pid_file = request.pid_file.map(PidFile::new).transpose()?;
    if let Some(file) = &mut pid_file {
        file.write(pid)?;
    }
    if let Some(to) = &pidfd_to {
        held.send_pidfd(to.as_fd(), b"standard")?;
    }
    let explain = |failure: crate::stage::Failure| failure.explain(&plan);
    let pidfd = held.ready(&explain, !request.wait, &mut |ask, child| making.answer(ask, child))?;
    // The child is well, so it is no longer ended by being dropped.
    making.finish(pidfd.as_fd()).inspect_err(|_| end(pidfd.as_fd(), request.sibling))?;
    std::mem::forget(pid_file); // dropped, it would take the file with it
    if let Some(moved) = making.moved.take() {
        moved.keep();
    }
    drop(making);
    if let Some(rdt) = rdt {
        rdt.keep();
    }
    std::mem::forget(undo);
    let (path, every) = (place.path.to_owned(), place.every);
    entry.unlock();
    let terminal = console.ours;
    Ok(Made { pid, pidfd, terminal, notify, store, entry, cgroups, path, every, _cgroup: cgroup, more })
}

/// Where the terminal's master goes.
struct Console {
    /// The engine's socket.
    engine: Option<UnixStream>,
    /// The caller's end of a pair of sockets.
    ours: Option<OwnedFd>,
    /// The child's.
    theirs: Option<OwnedFd>,
}

impl Console {
    /// Checks that who wants a terminal and who takes one agree.
    fn open(terminal: Terminal<'_>, process: &mut Process<'_>, bundle: &Bundle) -> Result<Self> {
        let engine = terminal.connect()?;
        let refuse = |why: &str| Err(bundle.flawed("process.terminal", why));
        let (ours, theirs) = match (terminal, process.terminal) {
            (Terminal::Foreground, true) => {
                let (ours, theirs) = callers_terminal(process)?;
                (Some(ours), Some(theirs))
            }
            (Terminal::Kept, true) => {
                let (ours, theirs) = socket::pair().during("socketpair", "process.terminal")?;
                (Some(ours), Some(theirs))
            }
            (Terminal::Refused | Terminal::Foreground | Terminal::Kept, false)
            | (Terminal::Console(_), true) => (None, None),
            (Terminal::Refused, true) => {
                return refuse("true needs --console-socket, or a run without --detach");
            }
            (Terminal::Console(_), false) => {
                return refuse("false, so there is no terminal for --console-socket");
            }
        };
        Ok(Self { engine, ours, theirs })
    }

    /// What the child sends it to.
    fn theirs(&self) -> Option<BorrowedFd<'_>> {
        self.engine.as_ref().map(AsFd::as_fd).or(self.theirs.as_ref().map(AsFd::as_fd))
    }
}

/// A container whose first process is at work.
struct Making<'a, 'p> {
    request: &'a Request<'a>,
    plan: &'a Plan<'p>,
    entry: &'a Entry,
    pid: Pid,
    record: Record,
    /// The status that it will have, while another one is saved.
    late: Option<Status>,
    /// Until the container is well they go back where they were when this ends.
    moved: Option<netdevices::Moved<'a>>,
}

impl Making<'_, '_> {
    /// Keeps what later commands need, and the record: written before anybody is told of the container.
    ///
    /// A starter of PID 1 leaves the record for later and the processor to the child first, as there may be one only: nobody
    /// is told of the container before the starter is done, and a child that the starter does not live to see ready ends
    /// because it cannot say so.
    fn save(&mut self, bundle: &Bundle) -> Result<()> {
        let while_creating =
            &[When::Prestart, When::CreateRuntime, When::CreateContainer, When::StartContainer];
        let creating = self.plan.hooks.any(while_creating);
        if creating {
            self.late = Some(std::mem::replace(&mut self.record.status, Status::Creating));
        }
        if self.record.hooks {
            self.entry.save_config(&bundle.text)?;
        }
        if let Some(filter) = &self.plan.process.seccomp {
            self.entry.save_filter(&filter.to_bytes())?;
        }
        if self.request.sibling && !creating && !self.record.hooks && !self.plan.asks.any() {
            self.late = Some(self.record.status);
            return Ok(());
        }
        self.record.start_ticks = process_start(self.pid).unwrap_or(0);
        self.entry.save(&self.record)
    }

    fn run_hooks(&self, when: When, watch: Option<BorrowedFd<'_>>) -> Result<()> {
        let hooks = &self.plan.hooks;
        hooks::run(hooks, when, self.pid.as_raw(), watch).map_err(|broken| broken.explain(hooks))
    }

    /// Does what the first process asks for.
    fn answer(&mut self, ask: Ask, child: Option<BorrowedFd<'_>>) -> Result<()> {
        let (plan, pid) = (self.plan, self.pid);
        match ask {
            Ask::Container => [When::Prestart, When::CreateRuntime]
                .into_iter()
                .try_for_each(|when| self.run_hooks(when, child)),
            Ask::Maps => {
                userns::raise_limits(pid, &plan.process.rlimits);
                host::privileged(plan, pid).map_err(|failure| failure.explain(plan))?;
                userns::write_maps(pid, &plan.maps)
            }
            Ask::Listener => match (plan.process.seccomp.as_ref().and_then(|f| f.listener.as_ref()), child) {
                (Some(to), Some(listener)) => {
                    let record = &self.record;
                    let state = record.to_spec(Status::Creating);
                    let stream = seccomp::notify::connect(to)?;
                    seccomp::notify::send(&stream, to, listener, pid.as_raw(), &record.oci_version, &state)
                }
                _ => Ok(()),
            },
            Ask::Runtime => match child {
                Some(child) => netdevices::enter(&plan.net_devices, child).map(|all| self.moved = Some(all)),
                None => Err(Errno::ESRCH).during("linux.netDevices", ""),
            },
        }
    }

    /// The first process is ready, or its program runs: says so in the record, and runs the last hooks.
    fn finish(&mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        if let Some(status) = self.late {
            if self.record.status == status {
                // A process that has ended and was reaped by now has left its number to a stranger.
                let start = process_start(self.pid).unwrap_or(0);
                self.record.start_ticks = if pidfd_send_signal(pidfd, 0).is_ok() { start } else { 0 };
            }
            self.record.status = status;
            self.entry.save(&self.record)?;
        }
        if self.request.wait { Ok(()) } else { self.run_hooks(When::Poststart, None) }
    }
}

/// Who the program runs as, as the host sees it; `None` where only a user namespace that is joined knows.
fn host_uid(plan: &Plan<'_>) -> Option<u32> {
    let uid = plan.process.uid;
    if plan.user_namespace { ids::outside(&plan.maps.uid, uid) } else { Some(uid) }
}

/// Whether the container's cgroup is to be its user's: where it sees it writable by a cgroup namespace of its own, on cgroup v2;
/// runtime-spec config-linux.md, "Cgroup ownership".
fn owns_cgroup(plan: &Plan<'_>) -> bool {
    let is_shown = |mount: &Mount<'_>| {
        mount.fstype == c"cgroup2"
            && mount.target == c"/sys/fs/cgroup"
            && !mount.flags.contains(MsFlags::MS_RDONLY)
    };
    plan.new_namespaces.contains(CloneFlags::CLONE_NEWCGROUP) && plan.mounts.iter().any(is_shown)
}

/// Whether a cgroup that could not be made is none that the container needs: without privileges there is often none to be
/// had.
fn does_without_cgroup(request: &Request<'_>, error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT))
        && request.rootless.unwrap_or_else(userns::is_rootless)
}

/// Ends a first process whose program runs, for good.
fn end(pidfd: BorrowedFd<'_>, sibling: bool) {
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL); // it may be gone already
    if sibling {
        // Not ours to reap.
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::from(10_000_u16));
    } else {
        let _ = wait::reap(pidfd); // as above
    }
}

/// Listens on the socket through which the container will be started.
fn listen(entry: &Entry) -> Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    let path = entry.path().join(START_SOCKET);
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.during("socket", &*path)?;
    let address = start_address(entry).and_then(|path| UnixAddr::new(path.as_str()));
    let address = address.during("bind", &*path)?;
    bind(socket.as_raw_fd(), &address).during("bind", &*path)?;
    listen(&socket, Backlog::new(1).during("listen", &*path)?).during("listen", &*path)?;
    Ok(socket)
}

/// Takes back what a create that fails has made.
struct Undo<'a> {
    store: &'a Store,
    entry: &'a Entry,
    cgroup: Option<(&'a Cgroups, Place<'a>)>,
    /// Set once there was a process.
    hooks: Option<&'a Hooks<'a>>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // The failure that led here is what is told; these are best effort on top of it.
        if let Some((cgroups, place)) = &self.cgroup {
            let _ = cgroups.remove(place);
        }
        let _ = self.store.remove(self.entry);
        if let Some(hooks) = self.hooks {
            hooks::run_poststop(hooks);
        }
    }
}
