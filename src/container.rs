//! How a container is made: everything in the order in which it can be taken back. What becomes of it then is `life`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

mod life;

pub(crate) use life::gone;
use life::remove;
pub use life::{delete, forget, ids, kill, list, processes, start, state};

use crate::cgroup::{Cgroup, Cgroups, Place};
use crate::error::{During, Error, Result, Wrong};
use crate::hooks;
use crate::host;
use crate::image;
use crate::input::{self, Input};
use crate::json;
use crate::netdevices;
use crate::notify::{self, Manager, Pending};
use crate::parent::{self, Spawn};
use crate::plan::{self, Hooks, Overrides, Plan, Process, When};
use crate::resctrl::{self, Group};
use crate::seccomp;
use crate::spec::Spec;
use crate::stage::Ask;
use crate::state::{Entry, Id, PidFile, Record, START_SOCKET, Status, Store, process_start};
use crate::strings;
use crate::sys::process::pidfd_send_signal;
use crate::sys::terminal::{self, STDIN};
use crate::sys::{file, socket, wait};
use crate::userns;

/// The largest `config.json` that is read: a hundred times what engines write.
pub const CONFIG_MAX: u64 = 1024 * 1024;

/// What the caller of a create wants.
#[derive(Debug)]
pub struct Request<'a> {
    /// The root directory.
    pub root: &'a Path,
    /// The container's name.
    pub id: &'a Id,
    /// The bundle.
    pub bundle: &'a Path,
    /// What takes the place of parts of config.json.
    pub overrides: Overrides<'a>,
    /// Standard input, output and error; the caller's own where missing.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// What happens when config.json asks for a terminal.
    pub terminal: Terminal<'a>,
    /// Where to write the first process's number.
    pub pid_file: Option<&'a Path>,
    /// Whether the program waits for [`start`].
    pub wait: bool,
    /// Make the first process a sibling of the caller.
    pub sibling: bool,
    /// Whether to do without a cgroup where none can be made; by default unless the caller is the host's root.
    pub rootless: Option<bool>,
    /// Whether it is to have no cgroup of its own.
    pub no_cgroup: bool,
    /// Another file than the bundle's `config.json`.
    pub config: Option<&'a Path>,
    /// Whether the program keeps the caller's session keyring.
    pub keep_keyring: bool,
    /// Descriptors that stay open in the program.
    pub preserved: Preserved,
    /// A socket that gets a pidfd of the first process.
    pub pidfd_to: Option<&'a Path>,
    /// The service manager that is to know when the program is ready.
    pub manager: Option<&'a Manager>,
    /// Whether this process may start over to keep its file out of the container's reach; see [`image`]. One that runs from
    /// the same file as PID 1 need not: nobody can write to it as long as PID 1 lives.
    pub protect: bool,
}

/// Where the master of a container's pseudoterminal goes: to a unix socket, as one descriptor (`SCM_RIGHTS`).
#[derive(Debug, Clone, Copy)]
pub enum Terminal<'a> {
    /// Nowhere: a container that wants one is refused.
    Refused,
    /// To an engine's socket, which expects that the container wants one.
    Console(&'a Path),
    /// To the caller, if the container wants one: by [`Made::terminal`].
    Foreground,
}

/// The descriptors after standard error that stay open in a program.
#[derive(Debug, Default, Clone, Copy)]
pub struct Preserved {
    /// How many.
    pub all: u32,
    /// How many of them, the first ones, are told to it in `LISTEN_FDS`; sd_listen_fds(3).
    pub listening: u32,
}

impl Preserved {
    /// `LISTEN_FDS` and `LISTEN_PID` for the environment. The program of a container is number 1; of an exec it is not, but
    /// that is what runc and crun say.
    pub fn variables(self) -> Option<[CString; 2]> {
        let variable = |name, value| CString::new(format!("{name}={value}")).unwrap_or_default();
        (self.listening > 0).then(|| [variable("LISTEN_FDS", self.listening), variable("LISTEN_PID", 1)])
    }
}

/// Connects to the socket that is to get a pidfd.
pub fn connect_pidfd(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).during("--pidfd-socket: connect", path)
}

impl Terminal<'_> {
    /// Connects to the engine's socket, where there is one.
    pub fn connect(self) -> Result<Option<UnixStream>> {
        match self {
            Self::Console(path) => {
                UnixStream::connect(path).during("--console-socket: connect", path).map(Some)
            }
            Self::Refused | Self::Foreground => Ok(None),
        }
    }
}

/// Prepares for a terminal that is the caller's: what its master will come through, and the child's end of it. The caller's
/// size is set before the program runs, as it may ask for it first thing.
pub fn callers_terminal(process: &mut Process<'_>) -> Result<(OwnedFd, OwnedFd)> {
    if let Ok(size) = terminal::window_size(STDIN) {
        process.console_size = Some((size.ws_row, size.ws_col));
    }
    socket::pair().during("socketpair", "process.terminal")
}

/// A container whose first process is well.
#[derive(Debug)]
pub struct Made {
    /// The first process.
    pub pid: Pid,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    /// Where the master of its terminal comes from, if it has one and [`Terminal::Foreground`] was asked for.
    pub terminal: Option<OwnedFd>,
    notify: Option<OwnedFd>,
    store: Store,
    entry: Entry,
    cgroups: Cgroups,
    cgroup: std::ffi::CString,
    /// Whether its removal has more to do than that.
    more: bool,
    every: bool,
}

impl Made {
    /// What of its program is yet to come, where a manager is to know of it.
    pub fn pending<'m>(&mut self, manager: Option<&'m Manager>) -> Option<Pending<'m>> {
        let (manager, socket) = manager.zip(self.notify.take())?;
        Some(Pending { manager, socket, first: self.pid })
    }

    /// Removes what the container leaves, once its first process has ended and was reaped. The last thing that a process
    /// does: its end closes what is open and lets the lock go.
    pub fn remove(self) -> Result<()> {
        let mut this = std::mem::ManuallyDrop::new(self);
        // Gone already: by a delete while it ran.
        if !this.entry.lock()? {
            return Ok(());
        }
        if this.more {
            return remove(&this.store, &this.entry, &this.entry.load()?);
        }
        this.cgroups.remove(&Place { path: &this.cgroup, every: this.every })?;
        this.store.remove(&this.entry)
    }
}

/// A bundle's configuration as it was read once.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: PathBuf,
    text: Vec<u8>,
}

impl Bundle {
    /// Reads `config.json` of the bundle at `path`, or the file that stands in for it.
    pub fn read(path: &Path, config: Option<&Path>) -> Result<Self> {
        let path = std::path::absolute(path).during("getcwd", path)?;
        let file = config.map_or_else(|| path.join("config.json"), Path::to_owned);
        let refuse = |why: &str| Err(Error::config(file.display(), "the file", why));
        let text = match input::read(&file, CONFIG_MAX)? {
            Input::Text(text) => text,
            Input::TooLarge => return refuse("larger than 1 MiB"),
            Input::NotRegular => return refuse("expected a regular file"),
        };
        Ok(Self { path, file, text })
    }

    /// Its shape.
    pub fn parse(&self) -> Result<Spec<'_>> {
        json::parse(&self.text).map_err(|flaw| self.flawed(flaw.field, flaw.why))
    }

    /// Hands the hooks of a container that was made from it to `act`.
    fn with_hooks(&self, id: &Id, act: &mut dyn FnMut(&Hooks<'_>) -> Result<()>) -> Result<()> {
        let spec = self.parse()?;
        let mut buffer = vec![0; strings::room_for(self.text.len())];
        let strings = &mut strings::Strings::new(&mut buffer);
        let hooks = plan::plan_hooks(&spec, &self.path, id.as_str(), strings);
        act(&hooks.map_err(|wrong| self.wrong(wrong))?)
    }

    fn wrong(&self, wrong: Wrong) -> Error {
        Error::wrong(self.file.display(), wrong)
    }

    fn flawed(&self, field: impl Into<Box<str>>, why: impl Into<Box<str>>) -> Error {
        Error::config(self.file.display(), field, why)
    }
}

/// Makes a container. Whatever fails, everything is taken back.
pub fn create(request: &Request<'_>) -> Result<Made> {
    let bundle = Bundle::read(request.bundle, request.config)?;
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
    let console = request.terminal.connect()?;
    let pidfd_to = request.pidfd_to.map(connect_pidfd).transpose()?;
    let foreground = match (request.terminal, plan.process.terminal) {
        (Terminal::Foreground, true) => Some(callers_terminal(&mut plan.process)?),
        _ => None,
    };
    let terminal = match (request.terminal, plan.process.terminal) {
        (Terminal::Console(_), true) => console.as_ref().map(AsFd::as_fd),
        (Terminal::Foreground, _) => foreground.as_ref().map(|(_, theirs)| theirs.as_fd()),
        (Terminal::Refused, false) => None,
        (Terminal::Refused, true) => {
            return Err(
                bundle.flawed("process.terminal", "true needs --console-socket, or a run without --detach")
            );
        }
        (Terminal::Console(_), false) => {
            return Err(
                bundle.flawed("process.terminal", "false, so there is no terminal for --console-socket")
            );
        }
    };
    // The limits of one were refused by the plan.
    if request.no_cgroup && plan.resources.devices.as_ref().is_some_and(|rules| !rules.is_empty()) {
        log::warn!("linux.resources.devices: without a cgroup every device can be used");
    }
    let root = open_root(&bundle, &plan)?;
    if !plan.process.env.iter().any(|entry| entry.to_bytes().starts_with(b"HOME=")) {
        plan.process.env.push(home.get_or_init(|| crate::home::variable(root.as_fd(), plan.process.uid)));
    }

    listening.iter().flatten().for_each(|variable| plan.process.env.push(variable));

    let store = Store::open(request.root, true)?;
    let entry = store.make(request.id)?;
    let mut undo = Undo { store: &store, entry: &entry, cgroup: None, hooks: None };
    let notify =
        notify_path.as_deref().map(|path| notify::offer(&mut plan, &entry, path)).transpose()?.flatten();
    let cgroup = match cgroups.make(&plan.cgroup) {
        Err(error) if plan.cgroup_by_default && does_without_cgroup(request, &error) => {
            plan.lose_cgroup(&cgroups);
            Cgroup::default()
        }
        result => result?,
    };
    let place = plan.cgroup;
    undo.cgroup = Some((&cgroups, place));
    cgroups.apply(&plan.resources, &place, &cgroup, false)?;
    let rdt = match &plan.rdt {
        Some(rdt) => Some(resctrl::make(resctrl::open().during("open", c"/sys/fs/resctrl")?, rdt)?),
        None => None,
    };
    let start = if request.wait { Some(listen(&entry)?) } else { None };
    let held = parent::spawn(
        &plan,
        &Spawn {
            stdio: request.stdio,
            terminal,
            start: start.as_ref().map(AsFd::as_fd),
            sibling: request.sibling,
            keep_keyring: request.keep_keyring,
            preserved: request.preserved.all,
            notify: notify.as_ref().filter(|_| request.wait).map(AsFd::as_fd),
            cgroup: Some(&cgroup),
            rdt_tasks: rdt.as_ref().map_or(&[], Group::tasks),
        },
    )?;
    undo.hooks = Some(&plan.hooks);
    let pid = held.pid();
    let mut record = record(request, &spec, &plan, &bundle, pid);
    record.rdt = rdt.as_ref().map(|group| group.own().to_owned()).unwrap_or_default();
    let status = record.status;
    let while_creating = &[When::Prestart, When::CreateRuntime, When::CreateContainer, When::StartContainer];
    if plan.hooks.any(while_creating) {
        record.status = Status::Creating;
    }
    if record.hooks {
        entry.save_config(&bundle.text)?;
    }
    if let Some(filter) = &plan.process.seccomp {
        entry.save_filter(&filter.to_bytes())?;
    }
    // While the child works. A starter of PID 1 leaves the processor to the child first, as there may be one only: nobody is
    // told of the container before the starter is done, and a child that the starter does not live to see ready ends because
    // it cannot say so.
    let late = request.sibling && record.status == status && !record.hooks && !plan.asks.any();
    if !late {
        record.start_ticks = process_start(pid).unwrap_or(0);
        entry.save(&record)?;
    }
    let mut pid_file = request.pid_file.map(PidFile::new).transpose()?;
    if let Some(file) = &mut pid_file {
        file.write(pid)?;
    }
    if let Some(to) = &pidfd_to {
        held.send_pidfd(to.as_fd(), b"standard")?;
    }
    let run_hooks = |when, watch: Option<BorrowedFd<'_>>| {
        hooks::run(&plan.hooks, when, pid.as_raw(), watch).map_err(|broken| broken.explain(&plan.hooks))
    };
    // Until the container is well they go back where they were when this ends.
    let mut moved = None;
    let mut answer = |ask, child: Option<BorrowedFd<'_>>| match ask {
        Ask::Container => {
            [When::Prestart, When::CreateRuntime].into_iter().try_for_each(|when| run_hooks(when, child))
        }
        Ask::Maps => {
            userns::raise_limits(pid, &plan.process.rlimits);
            host::privileged(&plan, pid).map_err(|failure| failure.explain(&plan))?;
            userns::write_maps(pid, &plan.maps)
        }
        Ask::Listener => match (plan.process.seccomp.as_ref().and_then(|f| f.listener.as_ref()), child) {
            (Some(to), Some(listener)) => {
                let state = record.to_spec(Status::Creating);
                let stream = seccomp::notify::connect(to)?;
                seccomp::notify::send(&stream, to, listener, pid.as_raw(), &record.oci_version, &state)
            }
            _ => Ok(()),
        },
        Ask::Runtime => match child {
            Some(child) => netdevices::enter(&plan.net_devices, child).map(|all| moved = Some(all)),
            None => Err(Errno::ESRCH).during("linux.netDevices", ""),
        },
    };
    let made = held.ready(&|failure| failure.explain(&plan), !request.wait, &mut answer).and_then(|pidfd| {
        // The child is well, so it is no longer ended by being dropped.
        if late {
            // A process that has ended and was reaped by now has left its number to a stranger.
            let start = process_start(pid).unwrap_or(0);
            record.start_ticks = if pidfd_send_signal(pidfd.as_fd(), 0).is_ok() { start } else { 0 };
        }
        let finished = if record.status == status && !late {
            Ok(())
        } else {
            record.status = status;
            entry.save(&record)
        };
        let finished =
            finished.and_then(|()| if request.wait { Ok(()) } else { run_hooks(When::Poststart, None) });
        finished.inspect_err(|_| end(&pidfd, request.sibling)).map(|()| pidfd)
    });
    let pidfd = made?;
    std::mem::forget(pid_file); // dropped, it would take the file with it
    if let Some(moved) = moved {
        moved.keep();
    }
    if let Some(rdt) = rdt {
        rdt.keep();
    }
    std::mem::forget(undo);
    let more = record.hooks || !record.rdt.is_empty();
    let (cgroup, every) = (place.path.to_owned(), place.every);
    let mut entry = entry;
    entry.unlock();
    let terminal = foreground.map(|(ours, _)| ours);
    Ok(Made { pid, pidfd, terminal, notify, store, entry, cgroups, cgroup, every, more })
}

/// Whether a cgroup that could not be made is none that the container needs: without privileges there is often none to be
/// had.
fn does_without_cgroup(request: &Request<'_>, error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT))
        && request.rootless.unwrap_or_else(userns::is_rootless)
}

/// Ends a first process whose program runs, for good.
fn end(pidfd: &OwnedFd, sibling: bool) {
    let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL); // it may be gone already
    if sibling {
        // Not ours to reap.
        let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(10_000_u16));
    } else {
        let _ = wait::reap(pidfd.as_fd()); // as above
    }
}

/// Hooks that are left to other commands than `create`.
const LATER: &[When] = &[When::StartContainer, When::Poststart, When::Poststop];

/// What is known about a container that is being made.
fn record(request: &Request<'_>, spec: &Spec<'_>, plan: &Plan<'_>, bundle: &Bundle, pid: Pid) -> Record {
    let text = |text: &std::ffi::CStr| String::from_utf8_lossy(text.to_bytes()).into_owned();
    Record {
        id: request.id.clone(),
        pid,
        // Filled in before it is saved. A child that has died by then has none, and shows as stopped.
        start_ticks: 0,
        status: if request.wait { Status::Created } else { Status::Running },
        bundle: bundle.path.clone(),
        rootfs: text(plan.rootfs).into(),
        created: crate::time::now_rfc3339().as_str().to_owned(),
        cgroup: plan.cgroup.path.to_owned(),
        every_cgroup: plan.cgroup.every,
        rdt: CString::default(),
        hooks: plan.hooks.any(if request.wait { LATER } else { &[When::Poststop] }),
        oci_version: spec.oci_version.decode(),
        annotations: spec.annotations.iter().map(|(key, value)| (key.decode(), value.decode())).collect(),
        kept: kept(request, spec, plan, bundle),
    }
}

/// What `exec` needs: the namespaces, and the process, whose fields are the defaults of those it starts.
fn kept(request: &Request<'_>, spec: &Spec<'_>, plan: &Plan<'_>, bundle: &Bundle) -> String {
    let mut kept = json::Writer::new("");
    let own = plan.join.iter().fold(plan.new_namespaces, |all, join| all | join.kind);
    kept.number("namespaces", own.bits());
    if request.keep_keyring {
        kept.number("keepKeyring", true);
    }
    if plan.process.groups_denied {
        kept.number("groupsDenied", true);
    }
    if let Some(filter) = &plan.process.seccomp {
        kept.number("seccomp", true);
        if let Some(listener) = &filter.listener {
            kept.string("listenerPath", &listener.path);
            kept.string("listenerMetadata", &listener.metadata);
        }
    }
    let text = std::str::from_utf8(&bundle.text).unwrap_or_default(); // parsed, so it is
    // Of a key that stands twice the objects are merged; see [`object!`].
    let of = |text, key| {
        let members = json::members(text).filter(move |member| member.key == key);
        members.flat_map(|member| json::members(member.value))
    };
    let object = |members: Vec<&str>| format!("{{{}}}", members.join(","));
    kept.raw("process", &object(of(text, "process").map(|member| member.whole).collect()));
    if spec.linux.personality.is_some() || spec.linux.memory_policy.is_some() {
        let wanted = |member: &json::Member<'_>| member.key == "memoryPolicy" || member.key == "personality";
        kept.raw("linux", &object(of(text, "linux").filter(wanted).map(|member| member.whole).collect()));
    }
    if let Some(rdt) = &plan.rdt {
        kept.list("rdt", &rdt.groups());
    }
    if let Some(cwd) = request.overrides.cwd {
        kept.string("cwd", cwd);
    }
    kept.list("env", request.overrides.env);
    kept.end()
}

/// Opens the root filesystem, which must be a directory and no symlink: what one leads to can change any time.
fn open_root(bundle: &Bundle, plan: &Plan<'_>) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    file::open(plan.rootfs, flags).map_err(|errno| {
        let path = String::from_utf8_lossy(plan.rootfs.to_bytes());
        let why = match errno {
            Errno::ENOTDIR | Errno::ELOOP => "expected a directory, not a symlink or another file",
            other => crate::error::words(other),
        };
        bundle.flawed("root.path", format!("\"{}\": {why}", path))
    })
}

/// Listens on the socket through which the container will be started.
fn listen(entry: &Entry) -> Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    let path = entry.path().join(START_SOCKET);
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.during("socket", &*path)?;
    let address = start_address(entry).and_then(|path| UnixAddr::new(path.as_str()));
    let address = address.during("bind", &*path)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address).during("bind", &*path)?;
    listen(&socket, Backlog::new(1).during("listen", &*path)?).during("listen", &*path)?;
    Ok(socket)
}

/// The socket's path by way of the directory's descriptor: an address has 108 bytes, whatever the root directory.
fn start_address(entry: &Entry) -> nix::Result<String> {
    let directory = std::os::fd::AsRawFd::as_raw_fd(&entry.directory());
    Ok(format!("/proc/self/fd/{directory}/{START_SOCKET}"))
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
