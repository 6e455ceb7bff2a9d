//! Starting a container: a short-lived child reads what has to be read from storage, joins or makes the pod's network
//! namespace, has the library start the container as PID 1's own child, and tells PID 1 in one message.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use mote::cgroup::{Cgroups, Place};
use mote::container::{self, Preserved, Request, Terminal};
use mote::error::{During as _, Error, Result};
use mote::plan::Overrides;
use mote::seccomp::Wish;
use mote::state::Id;
use mote::sys::socket;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use crate::line::Line;
use crate::manifest::security::Profile;
use crate::manifest::{self, Container, Pod};
use crate::paths::Paths;
use crate::world::{Reason, Starter, UnitRow, World};
use crate::{amend, child, limits, live, namespaces, nofile, podinit, volumes};

/// What a starter tells PID 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// The container's program runs.
    Started {
        /// Its process.
        pid: i32,
        /// The number of its network namespace.
        netns: u64,
    },
    /// There is no container, for this reason.
    Failed(Reason),
}

/// The size of a report: one write of at most PIPE_BUF comes out whole.
const REPORT_BYTES: usize = 224;

impl Report {
    fn encode(&self) -> [u8; REPORT_BYTES] {
        let mut bytes = [0; REPORT_BYTES];
        let mut fields = bytes.iter_mut();
        let mut put = |from: &[u8]| from.iter().zip(&mut fields).for_each(|(from, to)| *to = *from);
        match self {
            Self::Started { pid, netns } => {
                put(&[1]);
                put(&pid.to_le_bytes());
                put(&netns.to_le_bytes());
            }
            Self::Failed(reason) => {
                put(&[2]);
                put(reason.as_str().as_bytes()); // shorter than the rest, which stays zero
            }
        }
        bytes
    }

    fn decode(bytes: &[u8; REPORT_BYTES]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            1 => {
                let (pid, rest) = rest.split_first_chunk()?;
                let (netns, _) = rest.split_first_chunk()?;
                Some(Self::Started { pid: i32::from_le_bytes(*pid), netns: u64::from_le_bytes(*netns) })
            }
            2 => {
                let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
                let text = std::str::from_utf8(rest.get(..end)?).ok()?;
                Some(Self::Failed(Line::of(format_args!("{text}"))))
            }
            _ => None,
        }
    }

    /// Reads a report that has come, and the container's terminal with it; `None` when none has.
    pub fn receive(from: BorrowedFd<'_>) -> Option<(Self, Option<OwnedFd>)> {
        let mut bytes = [0; REPORT_BYTES];
        let (REPORT_BYTES, master) = socket::receive(from, &mut bytes).ok()? else { return None };
        Some((Self::decode(&bytes)?, master))
    }

    fn send(&self, to: BorrowedFd<'_>, master: Option<BorrowedFd<'_>>) {
        // The socket is empty and PID 1 never closes its end.
        let _ = match master {
            Some(master) => socket::send_fd(to, &self.encode(), master),
            None => socket::send(to, &self.encode()),
        };
    }
}

/// Forks the starter of container `i`.
pub fn fork(world: &mut World, i: usize, now_ms: u64) -> std::result::Result<(), Errno> {
    if let Some(row) = world.units.get_mut(i) {
        row.stdin.prepare()?;
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (report, to) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let shared = &*world;
    let (pid, pidfd) = child::fork(c"mote-start", || {
        nofile::restore();
        let (report, master) = match start(shared, i) {
            Ok(started) => started,
            Err(error) => (Report::Failed(Line::of(format_args!("{error}"))), None),
        };
        report.send(to.as_fd(), master.as_ref().map(|fd| fd.as_fd()));
        0
    })?;
    drop(to);
    world.watch_starter(i, Starter { pid: pid.as_raw(), pidfd, report, since_ms: now_ms })
}

/// Forks a child that removes what the ended container `i` leaves behind. Nobody waits for it.
pub fn fork_forget(world: &World, i: usize) -> std::result::Result<Pid, Errno> {
    child::fork(c"mote-forget", || {
        let forgotten = forget(world, i);
        i32::from(forgotten.inspect_err(|e| mote::warn!("{e}; the next start tries again")).is_err())
    })
    .map(|(pid, _)| pid)
}

/// Removes what the ended container `i` leaves behind.
pub fn forget(world: &World, i: usize) -> Result<()> {
    id(world, i).and_then(|id| container::forget(Path::new(world.paths.run), &id))?;
    let Some(row) = world.units.get(i) else { return Ok(()) };
    clear(&Cgroups::detect(), &cgroup_of(world, row))?;
    // The last one of a pod ends the process that holds the namespace of all.
    let mut others = world.units.iter().filter(|other| other.pod == row.pod);
    if others.all(|other| other.unit.pid().is_none() && other.starter.is_none() && !other.queued) {
        podinit::end(world.paths, world.pod_name(row.pod))?;
    }
    Ok(())
}

/// Ends a container that is in no table any more, and removes what it leaves behind.
pub fn forget_stray(paths: &Paths, cgroups: &Cgroups, pod: &str, name: &str) -> Result<()> {
    // The first process of a pod has no state, nor have the cgroups that a container has made for itself.
    if let Ok(id) = Id::new(&format!("{pod}_{name}")) {
        container::forget(Path::new(paths.run), &id)?;
    }
    clear(cgroups, &format!("{}/{pod}/{name}", paths.pods))
}

/// The cgroup of a container, below where cgroups are mounted.
fn cgroup_of(world: &World, row: &UnitRow) -> String {
    format!("{}/{}/{}", world.paths.pods, world.pod_name(row.pod), row.name)
}

/// Ends what runs in the cgroup of a container that has ended or was never reported: a starter that is killed leaves what it
/// has just cloned, and no record of it.
fn clear(cgroups: &Cgroups, path: &str) -> Result<()> {
    let path = CString::new(path).unwrap_or_default(); // checked names
    cgroups.remove(&Place { path: &path, every: true })
}

/// What the library knows container `i` by. `_` is in neither name, so no two containers have the same.
pub fn id(world: &World, i: usize) -> Result<Id> {
    let name = world.units.get(i).map(|row| format!("{}_{}", world.pod_name(row.pod), row.name));
    Id::new(&name.unwrap_or_default())
}

/// Reads the manifest of container `i` again; returns it and the container's place in it. For children alone.
pub fn manifest(world: &World, i: usize) -> Result<(Pod, usize)> {
    let gone = |what: &str| Error::config(what, "the document", "changed since it was read");
    let row = world.units.get(i).ok_or_else(|| gone("container"))?;
    let pod = world.pods.get(row.pod).ok_or_else(|| gone("pod"))?;
    let manifest = manifest::read(&live::manifest_of(world, pod))?;
    let k = manifest.containers.iter().position(|container| container.name == row.name);
    let k = k.filter(|_| manifest.name.as_str() == pod.name.as_str()).ok_or_else(|| gone(&pod.file))?;
    Ok((manifest, k))
}

/// Starts container `i`. Runs in the starter. Returns its terminal as well, if it has one.
fn start(world: &World, i: usize) -> Result<(Report, Option<OwnedFd>)> {
    let (manifest, k) = manifest(world, i)?;
    let gone = || Error::config(manifest.name.as_str(), "the document", "changed since it was read");
    let row = world.units.get(i).ok_or_else(gone)?;
    let pod = world.pods.get(row.pod).ok_or_else(gone)?;
    let container = manifest.containers.get(k).ok_or_else(gone)?;

    let root = Path::new(world.paths.run);
    let id = id(world, i)?;
    container::forget(root, &id)?; // what the last run left behind

    let shared = namespaces::enter(world.paths, &manifest, &pod.held)?;
    let mut joins = shared.joins();
    // The host name of a namespace that is shared is set once, when that is made.
    let own_name = joins.iter().all(|(kind, _)| *kind != CloneFlags::CLONE_NEWUTS);
    let bundle = amend::bundle(world.paths, &manifest, container)?;
    let args = arguments(container, &bundle)?;
    let env = environment(container, &bundle)?;
    let cgroups = Cgroups::detect();
    // Once for each run of the pod: a container that is started again finds it as it was.
    if row.unit.runs == 0 || !limits::is_prepared(world.paths, &cgroups, manifest.name.as_str())? {
        limits::prepare_pod(world.paths, &cgroups, manifest.name.as_str(), &manifest.limits)?;
    }
    let cgroup = cgroup_of(world, row);
    clear(&cgroups, &cgroup)?;
    let pids = if manifest.share_pid {
        let netns =
            joins.iter().find(|(kind, _)| *kind == CloneFlags::CLONE_NEWNET).and_then(|(_, path)| *path);
        Some(podinit::ensure(world.paths, &cgroups, manifest.name.as_str(), netns)?)
    } else {
        None
    };
    let pids_path = pids.as_ref().map(|fd| volumes::path_of(fd.as_fd()));
    joins.extend(pids_path.as_ref().map(|path| (CloneFlags::CLONE_NEWPID, Some(Path::new(path)))));
    let own_limits = limits::of_container(&container.limits, &manifest.limits, &cgroups);
    let null = std::fs::File::open("/dev/null").during("open", "/dev/null")?;
    let request = Request {
        root,
        id: &id,
        bundle: Path::new(""), // it has been read
        overrides: Overrides {
            layer: true,
            namespaces: &joins,
            args: args.as_deref(),
            env: env.as_deref().unwrap_or(&container.env),
            cwd: container.cwd.as_deref(),
            hostname: manifest.hostname.as_ref().filter(|_| own_name).map(|name| name.as_str()),
            seccomp: match container.security.seccomp {
                Some(Profile::Wish(wish)) => Some(wish),
                // Kubernetes filters no privileged container.
                None if container.security.privileged => Some(Wish::Unconfined),
                None | Some(Profile::File(_)) => None,
            },
            cgroup: Some(&cgroup),
            limits: &own_limits,
        },
        stdio: Some([row.stdin.read().unwrap_or(null.as_fd()), row.out.write.as_fd(), row.err.write.as_fd()]),
        terminal: Terminal::Kept,
        pid_file: None,
        wait: false,
        sibling: true,
        rootless: Some(false),
        no_cgroup: false,
        config: None,
        keep_keyring: false,
        preserved: Preserved::default(),
        pidfd_to: None,
        manager: None,
        protect: false,
    };
    let made = container::create_from(&request, &bundle)?;
    let master = made.terminal.as_ref().map(|from| socket::receive_fd(from.as_fd()));
    let master = master.transpose().during("recvmsg", "process.terminal")?;
    Ok((Report::Started { pid: made.pid.as_raw(), netns: shared.netns }, master))
}

/// What takes the place of the manifest's `env`, if anything does: with a terminal, unless somebody has said which, `TERM=xterm`,
/// as kubelet's runtimes have it.
fn environment(container: &Container, bundle: &container::Bundle) -> Result<Option<Vec<String>>> {
    const NAME: &str = "TERM=";
    if !container.tty || container.env.iter().any(|entry| entry.starts_with(NAME)) {
        return Ok(None);
    }
    let process = bundle.parse()?.process;
    if process.is_some_and(|process| process.env.iter().any(|entry| entry.decode().starts_with(NAME))) {
        return Ok(None);
    }
    Ok(Some(container.env.iter().cloned().chain([format!("{NAME}xterm")]).collect()))
}

/// What takes the place of the bundle's `process.args`, if anything does.
fn arguments(container: &Container, bundle: &container::Bundle) -> Result<Option<Vec<String>>> {
    match (container.command.as_slice(), container.args.as_slice()) {
        ([], []) => Ok(None),
        ([], args) => {
            // The program stays the bundle's, as an image's entry point would.
            let process = bundle.parse()?.process;
            let program = process.and_then(|process| process.args.first().map(|program| program.decode()));
            let why = "expected at least the program";
            let program = program.ok_or_else(|| Error::config("config.json", "process.args", why))?;
            Ok(Some(std::iter::once(program).chain(args.iter().cloned()).collect()))
        }
        (command, args) => Ok(Some([command, args].concat())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        for report in [
            Report::Started { pid: 4_194_304, netns: 4_026_531_840 },
            Report::Failed(Line::of(format_args!("bundle: {}", "x".repeat(300)))),
            Report::Failed(Line::new()),
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[0; REPORT_BYTES]), None);
    }
}
