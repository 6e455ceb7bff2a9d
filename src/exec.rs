//! A process that joins a container: the namespaces and the cgroup of its first process, and of config.json what was kept
//! when the container was created.
//!
//! The caller itself joins all namespaces in one call and clones once. So the child is born in the container's pid
//! namespace with the container's root and working directory: there is no moment at which the container sees a process
//! that still has the host's.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::prctl;

use crate::cgroup::{Cgroup, Cgroups};
use crate::child::Entrance;
use crate::container::{self, CONFIG_MAX, Preserved, Terminal};
use crate::error::{During, Error, Result};
use crate::home;
use crate::host;
use crate::image;
use crate::input::{self, Input};
use crate::json::{self, List, Str};
use crate::object;
use crate::parent::{self, Held, Spawn};
use crate::plan::{self, Overrides, Process, Scheduling};
use crate::procfs::Procfs;
use crate::resctrl;
use crate::run::Signals;
use crate::seccomp::Filter;
use crate::seccomp::notify::{self, Listener};
use crate::signals;
use crate::spec;
use crate::stage::Failure;
use crate::state::{Id, PidFile, Record, Status, Store};
use crate::stdio;
use crate::strings::{self, Refused, Strings};
use crate::sys::clone::{CLONE_NEWTIME, setns};
use crate::sys::exec::CStrList;
use crate::sys::file;
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::scheduling::sched_setaffinity;
use crate::userns;

/// What the caller of an exec wants.
#[derive(Debug)]
pub struct Request<'a> {
    /// The root directory.
    pub root: &'a Path,
    /// The container's name.
    pub id: &'a Id,
    /// A file with a `process` as in config.json; what it lacks is as in the container's own.
    pub process: Option<&'a Path>,
    /// What takes the place of parts of it.
    pub changes: Changes<'a>,
    /// What happens when the process wants a terminal.
    pub terminal: Terminal<'a>,
    /// Returns once the program runs.
    pub detach: bool,
    /// Where to write the process's number.
    pub pid_file: Option<&'a Path>,
    /// A socket that gets a pidfd of the process.
    pub pidfd_to: Option<&'a Path>,
    /// Descriptors that stay open in the program.
    pub preserved: Preserved,
    /// Cgroups below those of the container.
    pub cgroup: Vec<&'a OsStr>,
    /// Also in a container that is paused.
    pub ignore_paused: bool,
    /// A SIGTERM to the caller kills the process.
    pub deadly: bool,
}

/// What the command line has on top of the `process`.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Program and arguments; empty when they are those of the file.
    pub args: Vec<&'a OsStr>,
    /// `NAME=VALUE` entries that take the place of those with the same name.
    pub env: Vec<&'a OsStr>,
    /// Working directory.
    pub cwd: Option<&'a OsStr>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Supplementary groups besides those of the `process`.
    pub groups: Vec<u32>,
    /// Capabilities besides those of the `process`, a bit each.
    pub capabilities: u64,
    /// AppArmor's profile.
    pub apparmor: Option<&'a OsStr>,
    /// SELinux's label.
    pub label: Option<&'a OsStr>,
    /// `noNewPrivileges`
    pub no_new_privileges: bool,
    /// `terminal`
    pub terminal: bool,
}

object! {
    /// What [`container`] has kept of config.json.
    struct Kept<'a> {
        namespaces: i32 = "namespaces",
        keep_keyring: bool = "keepKeyring",
        exposed: bool = "exposed",
        keeps_groups: bool = "keepsGroups",
        seccomp: bool = "seccomp",
        listener_path: Option<Str<'a>> = "listenerPath",
        listener_metadata: Str<'a> = "listenerMetadata",
        env: List<Str<'a>> = "env",
        linux: spec::Linux<'a> = "linux",
        rdt: List<Str<'a>> = "rdt",
    }
}

/// Runs a process in a container. Returns its exit status, or 0 at once with `detach`.
pub fn exec(request: &Request<'_>) -> Result<i32> {
    let id = request.id.as_str();
    let store = Store::open(request.root, false).or_else(|e| container::gone(e, request.id))?;
    let entry = store.find(request.id)?;
    let record = entry.load()?;
    let pidfd = open_first(&record)?;
    let cgroups = Cgroups::detect();
    let cgroup = open_cgroup(&cgroups, &record, &request.cgroup)?;
    if !request.ignore_paused && cgroup.is_frozen(&cgroups) {
        let why = "cannot exec in a paused container (use --ignore-paused to override)";
        return Err(Error::container(id, why));
    }

    let broken = |flaw: json::Flaw| Error::config("state.json", format!("kept.{}", flaw.field), flaw.why);
    let kept: Kept<'_> = json::parse(record.kept.as_bytes()).map_err(broken)?;
    let texts = Texts::read(request, &record)?;
    let own_env: Vec<String> =
        if texts.has_env { Vec::new() } else { kept.env.iter().map(|entry| entry.decode()).collect() };
    let process: spec::Process<'_> =
        json::parse(texts.merged.as_bytes()).map_err(|flaw| texts.flawed(flaw))?;
    let mut buffer = vec![0; strings::room_for(texts.merged.len()) + request.changes.room()];
    let strings = &mut Strings::new(&mut buffer);
    let wrong = |wrong| Error::wrong(&*texts.name, wrong);
    let overrides = Overrides { env: &own_env, ..Overrides::default() };
    let scheduling = plan::scheduling(&process, &kept.linux).map_err(wrong)?;
    let mut process = plan::process(&process, &overrides, kept.keeps_groups, strings).map_err(wrong)?;
    process.terminal &= request.process.is_some(); // the container's own terminal says nothing about this one
    process.make_cwd = false;
    if kept.seccomp {
        let filter = Filter::from_bytes(&entry.filter()?);
        let mut filter = filter.ok_or(Errno::EIO).during("read", entry.path())?;
        let path = kept.listener_path.map(Str::decode);
        filter.listener = path.map(|path| Listener { path, metadata: kept.listener_metadata.decode() });
        process.seccomp = Some(filter);
    }
    // While its path leads there.
    let listener = process.seccomp.as_ref().and_then(|filter| filter.listener.as_ref());
    let stream = listener.map(notify::connect).transpose()?;
    if process.keeps_groups && !request.changes.groups.is_empty() {
        let why = format_args!("exec: --additional-gids: this container keeps the groups of its caller");
        return Err(Error::usage(why));
    }
    request
        .changes
        .apply(&mut process, strings)
        .map_err(|(option, why)| Error::usage(format_args!("exec: {option}: {}", why.why())))?;
    host::labels(&mut process.labels).map_err(wrong)?;
    let namespaces = CloneFlags::from_bits_retain(kept.namespaces);
    // One of its user namespace has no such power over a process that was not born there.
    if image::reaches(&process) && !kept.exposed && !namespaces.contains(CloneFlags::CLONE_NEWUSER) {
        runs_its_program(&record)?;
    }
    let rdt_tasks = resctrl::tasks(&kept.rdt)?;
    let console = request.terminal.connect()?;
    let pidfd_to = request.pidfd_to.map(container::connect_pidfd).transpose()?;
    let pair;
    let (ours, theirs) = match (request.terminal, process.terminal) {
        (Terminal::Console(_), true) => (None, console.as_ref().map(AsFd::as_fd)),
        (Terminal::Foreground | Terminal::Kept, true) => {
            pair = container::callers_terminal(&mut process)?;
            (Some(pair.0.as_fd()), Some(pair.1.as_fd()))
        }
        (Terminal::Refused | Terminal::Foreground | Terminal::Kept, false) => (None, None),
        (Terminal::Refused, true) => {
            return Err(Error::usage(format_args!(
                "exec: a terminal needs --console-socket, or no --detach"
            )));
        }
        (Terminal::Console(_), false) => {
            return Err(Error::usage(format_args!("exec: --console-socket: the process has no terminal")));
        }
    };
    let mut pid_file = request.pid_file.map(PidFile::new).transpose()?;
    let mut signals = if request.detach { None } else { Some(Signals::block()?) };
    signals.iter_mut().for_each(|signals| signals.deadly = request.deadly);

    let wants_proc = process.oom_score_adj.is_some() || process.labels.any();
    let proc = wants_proc.then(Procfs::open).transpose().during("open", c"/proc")?;
    let in_child = prepare(&process, proc.as_ref(), &scheduling, namespaces)?;
    // While /proc is the host's.
    let ignored = signals::ignored();
    if namespaces.contains(CloneFlags::CLONE_NEWUSER)
        && !process.terminal
        && let Some(uid) = userns::outside(record.pid, process.uid)
    {
        stdio::give(stdio::OWN, uid);
    }
    let cgroup_namespace = join(&record, pidfd.as_fd(), namespaces)?;
    let home;
    if home::is_missing(&process.env) {
        // The container's root by now.
        let root = file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY).during("open", c"/")?;
        home = home::variable(root.as_fd(), process.uid);
        process.env.put(b"HOME=", &home);
    }
    let listening = request.preserved.variables();
    listening.iter().flatten().for_each(|variable| process.env.push(variable));
    let spawn = Spawn {
        terminal: theirs,
        keep_keyring: kept.keep_keyring,
        preserved: request.preserved.all,
        ignored,
        cgroup: Some(&cgroup),
        beside: request.cgroup.is_empty().then_some(record.pid),
        rdt_tasks: &rdt_tasks,
        ..Spawn::default()
    };
    let entrance = Entrance {
        process: &process,
        scheduling: &in_child,
        proc: proc.as_ref(),
        cgroup_namespace: cgroup_namespace.as_ref(),
        user_namespace: namespaces.contains(CloneFlags::CLONE_NEWUSER),
    };
    let held = parent::spawn_into(&entrance, &spawn)?;
    let pid = held.pid().as_raw();
    let filter = process.seccomp.as_ref();
    let mut answer =
        |_, fd: Option<BorrowedFd<'_>>| match (filter.and_then(|f| f.listener.as_ref()), &stream, fd) {
            (Some(to), Some(stream), Some(fd)) => {
                notify::send(stream, to, fd, pid, &record.oci_version, &record.to_spec(record.status))
            }
            _ => Ok(()),
        };
    let ran = tell(&held, pidfd_to.as_ref(), pid_file.as_mut())
        .and_then(|()| held.ready(&|failure| failure.explain_exec(&process), true, &mut answer));
    let pidfd = match ran {
        Ok(pidfd) => pidfd,
        // By somebody who saw it: that is its end, and no failure of ours.
        Err(error) => return error.signal().filter(|_| signals.is_some()).map(|n| 128 + n).ok_or(error),
    };
    std::mem::forget(pid_file); // dropped, it would take the file with it
    signals.map_or(Ok(0), |signals| signals.follow(pidfd.as_fd(), ours, None))
}

/// Refuses a container whose first process still runs mote's file, and is not protected as nobody in the container could have
/// reached it: see [`image`]. Without the lock, for which a hook of the `start` under way would wait for ever.
fn runs_its_program(record: &Record) -> Result<()> {
    if record.status == Status::Running && !image::is_of(record.pid) {
        return Ok(());
    }
    let why = "cannot exec with CAP_SYS_PTRACE, CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE before the program runs; \
               create the container with them instead";
    Err(Error::container(record.id.as_str(), why))
}

/// Tells who asked for it which process it is.
fn tell(held: &Held, pidfd_to: Option<&UnixStream>, pid_file: Option<&mut PidFile>) -> Result<()> {
    if let Some(file) = pid_file {
        file.write(held.pid())?;
    }
    pidfd_to.map_or(Ok(()), |to| held.send_pidfd(to.as_fd(), b"setns"))
}

/// The container's first process, and no other that has its number now.
fn open_first(record: &Record) -> Result<OwnedFd> {
    let stopped = || Error::container(record.id.as_str(), "cannot exec in a stopped container");
    let pidfd = match pidfd_open(record.pid) {
        Err(Errno::ESRCH) => return Err(stopped()),
        result => result.during("pidfd_open", record.id.as_str())?,
    };
    // Looked at after the descriptor was opened: from here on it cannot become another process.
    if record.is_alive() { Ok(pidfd) } else { Err(stopped()) }
}

/// The cgroups that the process starts in. `below` are paths below the container's own, each with the cgroup v1
/// controllers that it is for before a colon: `cpu,memory:sub`.
fn open_cgroup(cgroups: &Cgroups, record: &Record, below: &[&OsStr]) -> Result<Cgroup> {
    let mut cgroup = cgroups.open(&record.place())?;
    for path in below {
        let path = path.to_string_lossy();
        let (controllers, path) = match path.split_once(':') {
            Some((controllers, path)) => (Some(controllers), path),
            None => (None, &*path),
        };
        let parts = path.split('/').filter(|part| !part.is_empty());
        if parts.clone().any(|part| matches!(part, "." | "..")) {
            let why = "expected a path below the container's cgroup, without the components . and ..";
            return Err(Error::usage(format_args!("exec: --cgroup: {why}")));
        }
        let path = std::ffi::CString::new(parts.collect::<Vec<_>>().join("/"));
        let path = path.map_err(|_| Errno::EINVAL).during("open", "--cgroup")?;
        let controllers = controllers.map(|list| list.split(',').map(Some).collect());
        for controller in controllers.unwrap_or_else(|| vec![None]) {
            if !path.is_empty() {
                cgroup.descend(cgroups, controller, &path)?;
            }
        }
    }
    Ok(cgroup)
}

/// What needs the host's /proc, its privileges, or must stand before the clone. Returns what is left to the child.
fn prepare(
    process: &Process<'_>,
    proc: Option<&Procfs>,
    scheduling: &Scheduling,
    namespaces: CloneFlags,
) -> Result<Scheduling> {
    // Before the container can see anything of this process: no ptrace, no /proc/<pid>/fd.
    prctl::set_dumpable(false).during("prctl", "")?;
    if let (Some(proc), Some(score)) = (proc, process.oom_score_adj) {
        // The child inherits it.
        proc.write_number(c"self/oom_score_adj", score).during("process.oomScoreAdj: write", "")?;
    }
    if let Some(processors) = &scheduling.exec_before {
        sched_setaffinity(0, processors).during("process.execCPUAffinity: sched_setaffinity", "")?;
    }
    if !namespaces.contains(CloneFlags::CLONE_NEWUSER) {
        return Ok(scheduling.clone());
    }
    // In a user namespace it has not got the privileges. What needs none is left to it.
    let explain = |failure: Failure| failure.explain_exec(process);
    crate::scheduling::apply_to(scheduling, 0).map_err(explain)?;
    Ok(Scheduling { io: None, processor: None, ..scheduling.clone() })
}

/// Joins the namespaces of the first process, all of them in one call: the kernel takes the user namespace first, and
/// checks the others with the privileges from before. Linux 5.8; one by one where it is not to be had. The pid namespace
/// is that of children only. Returns the cgroup namespace, which is left to the child: seen from within it the container's
/// cgroup could not be entered.
fn join(record: &Record, pidfd: BorrowedFd<'_>, namespaces: CloneFlags) -> Result<Option<OwnedFd>> {
    let id = record.id.as_str();
    let open = |kinds: CloneFlags| -> Result<Vec<(CloneFlags, OwnedFd)>> {
        let kinds = FILES.iter().filter(|(_, kind)| kinds.contains(*kind));
        let open = |(name, kind): &(&str, CloneFlags)| {
            let file = format!("/proc/{}/ns/{name}", record.pid);
            Ok((*kind, file::open(file.as_str(), OFlag::O_RDONLY).during("open", file.as_str())?))
        };
        kinds.map(open).collect()
    };
    let cgroup = namespaces & CloneFlags::CLONE_NEWCGROUP;
    let later = open(cgroup)?;
    match setns(pidfd, namespaces - cgroup) {
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            for (kind, file) in open(namespaces - cgroup)? {
                setns(file.as_fd(), kind).during("setns", id)?;
            }
        }
        result => result.during("setns", id)?,
    }
    // Of the files by number: that it was this process's all the while.
    match pidfd_send_signal(pidfd, 0) {
        Err(Errno::ESRCH) => Err(Error::container(id, "cannot exec in a stopped container")),
        _ => Ok(later.into_iter().map(|(_, file)| file).next()),
    }
}

/// The files in `/proc/<pid>/ns`, in the order in which they have to be joined one by one: the user namespace has the
/// privileges for the others, and with the mount namespace goes /proc.
const FILES: &[(&str, CloneFlags)] = &[
    ("user", CloneFlags::CLONE_NEWUSER),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("time", CLONE_NEWTIME),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// The `process` as JSON text: the container's own, and over it that of the file.
struct Texts {
    merged: String,
    /// Which file to name when it is wrong.
    name: Box<str>,
    /// Whether the file has an environment.
    has_env: bool,
}

impl Texts {
    fn read(request: &Request<'_>, record: &Record) -> Result<Self> {
        let own = json::member(&record.kept, "process").unwrap_or_default();
        let mut given = String::new();
        let mut name = Box::from("state.json: process");
        if let Some(path) = request.process {
            name = path.display().to_string().into();
            let text = match input::read(path, CONFIG_MAX)? {
                Input::Text(text) => text,
                Input::TooLarge => return Err(Error::config(name, "the file", "larger than 1 MiB")),
                Input::NotRegular => return Err(Error::config(name, "the file", "expected a regular file")),
            };
            // By itself first: a place in the text below would be nobody's.
            let process: spec::Process<'_> =
                json::parse(&text).map_err(|flaw| Error::config(&*name, flaw.field, flaw.why))?;
            if process.args.is_empty() {
                return Err(Error::config(&*name, "args", "missing"));
            }
            given = String::from_utf8(text).unwrap_or_default(); // parsed, so it is UTF-8
        }
        let has = |key: Str<'_>| json::members(&given).any(|member| member.key.chars().eq(key.chars()));
        let cwd = json::members(&record.kept).filter(|member| member.key == "cwd");
        let own = json::members(own).chain(cwd).filter(|member| !has(member.key));
        let members: Vec<_> = own.chain(json::members(&given)).map(|member| member.whole).collect();
        let has_env = json::member(&given, "env").is_some();
        Ok(Self { merged: format!("{{{}}}", members.join(",")), name, has_env })
    }

    fn flawed(&self, flaw: json::Flaw) -> Error {
        Error::config(&*self.name, flaw.field, flaw.why)
    }
}

impl Changes<'_> {
    /// How many bytes its strings take, with their ends and what stands before them.
    fn room(&self) -> usize {
        let labels = self.cwd.iter().chain(&self.apparmor).chain(&self.label);
        let strings = self.args.iter().chain(&self.env).chain(labels);
        strings.map(|string| string.len() + 8).sum()
    }

    /// Changes `process`.
    fn apply<'p>(
        &self,
        process: &mut Process<'p>,
        strings: &mut Strings<'p>,
    ) -> std::result::Result<(), (&'static str, Refused)> {
        if !self.args.is_empty() {
            let mut args = CStrList::with_capacity(self.args.len());
            for arg in &self.args {
                args.push(strings.concat(&[arg.as_bytes()]).map_err(|e| ("command", e))?);
            }
            process.program = args.iter().next().unwrap_or_default();
            process.args = args;
        }
        if !self.env.is_empty() {
            let name = |entry: &OsStr| {
                let end = entry.as_bytes().iter().position(|&b| b == b'=').map_or(entry.len(), |at| at + 1);
                entry.as_bytes().get(..end).unwrap_or_default().to_owned()
            };
            let mut env = CStrList::with_capacity(self.env.len() + 64);
            let replaced = |old: &&CStr| self.env.iter().any(|new| old.to_bytes().starts_with(&name(new)));
            process.env.iter().filter(|old| !replaced(old)).for_each(|old| env.push(old));
            for (i, entry) in self.env.iter().enumerate() {
                // Of two for the same name the last one counts.
                if !self.env.iter().skip(i + 1).any(|other| name(other) == name(entry)) {
                    env.push(strings.concat(&[entry.as_bytes()]).map_err(|e| ("--env", e))?);
                }
            }
            process.path = plan::path_of(&env);
            process.env = env;
        }
        if let Some(cwd) = self.cwd {
            process.cwd = strings.concat(&[cwd.as_bytes()]).map_err(|e| ("--cwd", e))?;
        }
        if let Some(profile) = self.apparmor {
            let profile = strings.concat(&[b"exec ", profile.as_bytes()]);
            process.labels.apparmor = Some(profile.map_err(|e| ("--apparmor", e))?);
        }
        if let Some(label) = self.label {
            process.labels.selinux =
                Some(strings.concat(&[label.as_bytes()]).map_err(|e| ("--process-label", e))?);
        }
        process.uid = self.uid.unwrap_or(process.uid);
        process.gid = self.gid.unwrap_or(process.gid);
        process.groups.extend(&self.groups);
        let sets = &mut process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            *set |= self.capabilities;
        }
        process.no_new_privileges |= self.no_new_privileges;
        process.terminal |= self.terminal;
        Ok(())
    }
}
