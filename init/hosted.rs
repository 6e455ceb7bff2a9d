//! The supervisor without being PID 1: the same tables, the same loop, the same children, under any init. What belongs to a
//! device is left out (mounts, settings, `/dev/kmsg`, `reboot(2)`); what PID 1 is by nature is asked for: orphans come to a
//! child subreaper, one lock keeps a second supervisor away from the same directory, and the end takes back what was made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use mote::cgroup::{self, Cgroups, MOUNT, Place, Where};
use mote::error::{During as _, Error, Result};
use mote::pin;
use mote::sys::alloc;
use mote::sys::file;
use mote::sys::process::exit_now;
use mote::{info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::mount::{MntFlags, umount2};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::event::{self, Sources};
use crate::live::reader;
use crate::paths::{self, Paths};
use crate::world::{PodRow, TABLES, UnitRow, World};
use crate::{boot, clock, history, namespaces, network, start, volumes};

/// How long slow containers may hold up the log writer and the control socket.
const BOOT_MS: u64 = 5_000;

/// Room for `sockaddr_un`, unix(7).
const SOCKET_BYTES: usize = 107;

/// Supervises the pods of a directory until it is asked to end. Returns only what keeps it from beginning.
pub fn run(
    run: &'static str,
    [manifests, bundles, logs, volumes, settings]: [&'static str; 5],
) -> Result<i32> {
    if !geteuid().is_root() {
        return Err(Error::usage(format_args!("supervise: needs root, as containers of pods do")));
    }
    // Containers see this process's file through their first process until that runs its program.
    mote::image::protect()?;
    let cgroups = Cgroups::detect();
    let pods = pods_cgroup(&cgroups, run)?;
    let paths: &'static Paths = Box::leak(Box::new(Paths {
        device: false,
        settings,
        manifests,
        bundles,
        volumes,
        logs,
        run,
        socket: format!("{run}/{}", paths::SOCKET).leak(),
        events: format!("{run}/{}", history::FILE).leak(),
        pods,
        oom: oom(&cgroups, pods),
    }));
    if paths.socket.len() > SOCKET_BYTES {
        return Err(Error::usage(format_args!("supervise: --run: the path is too long for a socket in it")));
    }
    file::open(manifests, OFlag::O_DIRECTORY).during("open", manifests)?;
    DirBuilder::new().mode(0o700).recursive(true).create(run).during("mkdir", run)?;
    let lock = lock(paths)?;
    make_logs(paths)?;
    pin::prepare(&Path::new(paths.run).join(pin::NET.dir))?;
    supervise(paths, lock)
}

/// The cgroup of all pods, below the caller's own; one for each run directory, so that supervisors do not meet.
fn pods_cgroup(cgroups: &Cgroups, run: &str) -> Result<&'static str> {
    let hierarchies = cgroups.hierarchies().map_err(|why| Error::usage(format_args!("{why}")))?;
    let own = hierarchies.iter().find(|hierarchy| hierarchy.v2).map_or("/", |own| own.own.as_str());
    let name = run.trim_matches('/').replace('/', "=");
    let pods = format!("{}/mote={name}/pods", own.trim_end_matches('/'));
    Ok(pods.trim_start_matches('/').to_owned().leak())
}

fn oom(cgroups: &Cgroups, pods: &str) -> (&'static str, &'static str) {
    let path = std::ffi::CString::new(pods).unwrap_or_default();
    let at = if cgroups.unified { None } else { cgroups.find("memory", "memory") };
    match at {
        Some(at @ Where::V1(_)) => {
            let directory = cgroups.path(at, &Place { path: &path, every: true });
            (directory.to_string_lossy().into_owned().leak(), "memory.oom_control")
        }
        _ => (format!("{MOUNT}/{pods}").leak(), "memory.events"),
    }
}

/// Keeps others away from the run directory, for as long as the file is open.
fn lock(paths: &Paths) -> Result<Flock<File>> {
    let path = format!("{}/supervisor.lock", paths.run);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let refused =
        || Error::usage(format_args!("supervise: {}: another supervisor is at work here", paths.run));
    let lock = match Flock::lock(file.during("open", path.as_str())?, FlockArg::LockExclusiveNonblock) {
        Err((_, Errno::EWOULDBLOCK)) => return Err(refused()),
        result => result.map_err(|(_, errno)| errno).during("flock", path.as_str())?,
    };
    // PID 1 of a device takes no lock. A stream cannot connect to a socket for packets: EPROTOTYPE says that one listens.
    match UnixStream::connect(paths.socket) {
        Err(e) if e.raw_os_error() != Some(libc::EPROTOTYPE) => Ok(lock),
        _ => Err(refused()),
    }
}

/// Makes the directory of the logs, and a link to it that clients find.
fn make_logs(paths: &Paths) -> Result<()> {
    DirBuilder::new().mode(0o755).recursive(true).create(paths.logs).during("mkdir", paths.logs)?;
    let link = PathBuf::from(paths.run).join(paths::LOGS);
    if link == Path::new(paths.logs) {
        return Ok(());
    }
    if std::fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_symlink()) {
        std::fs::remove_file(&link).during("unlink", &*link)?;
    }
    symlink(paths.logs, &link).during("symlink", &*link)
}

fn supervise(paths: &'static Paths, _lock: Flock<File>) -> Result<i32> {
    // Before anything can end: a SIGCHLD that comes now waits for the signalfd. Fails for no set of signals.
    let _ = SigSet::all().thread_block();
    prctl::set_child_subreaper(true).during("prctl", "child subreaper")?;
    // To standard error, as the command line has set it up.
    log::set_max_level(log::max_level().max(LevelFilter::Info));
    // Nobody else is there to hold the lock, or to have broken it.
    let mut tables = TABLES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (pods, units) = &mut *tables;
    let until_ms = clock::now_ms().saturating_add(BOOT_MS);
    let world = &mut World::new(paths, pods, units, until_ms);
    boot::load(world);
    sweep(world);
    namespaces::sweep(paths, world.pods);
    volumes::sweep_memory(paths, &|name| world.pods.iter().any(|pod| pod.name.as_str() == name));
    world.begin(clock::now_ms());
    world.open_poll().during("epoll", "")?;
    let sources = Sources::open(world).during("signalfd, timerfd", "")?;
    event::run(world, sources, |world| {
        boot::serve(world);
        info!("{} containers of {} pods", world.units.len(), world.pods.len());
        alloc::mark();
    })
}

/// Ends what a supervisor that was killed has left of containers that no manifest names any more. Those that one does name end
/// when they are started anew.
fn sweep(world: &World<'_>) {
    let cgroups = Cgroups::detect();
    let pods = Path::new(world.paths.pods);
    for hierarchy in cgroups.hierarchies().unwrap_or_default() {
        for pod in children(&hierarchy.mount.join(pods)) {
            let of_pod = |row: &UnitRow| world.pod_name(row.pod) == pod;
            for name in children(&hierarchy.mount.join(pods).join(&pod)) {
                let known = |row: &UnitRow| of_pod(row) && row.name.as_str() == name;
                if !world.units.iter().any(known)
                    && let Err(e) = start::forget_stray(world.paths, &cgroups, &pod, &name)
                {
                    warn!("{pod}/{name}: {e}; it may still run");
                }
            }
            if !world.units.iter().any(of_pod) {
                let _ = std::fs::remove_dir(hierarchy.mount.join(pods).join(&pod)); // what is not empty stays
            }
        }
    }
}

/// The cgroups in the one at `path`, if it is there.
fn children(path: &Path) -> Vec<String> {
    let names = file::open(path, OFlag::O_DIRECTORY).map(|directory| cgroup::children(directory.as_fd()));
    names.unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok()).collect()
}

/// The end: everything that was made is taken back as far as it goes, and the process with it.
pub fn leave(world: &World<'_>) -> ! {
    // What is left of the containers' processes would be somebody else's otherwise.
    let me = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/self/task/{me}/children")).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // a child that has not been reaped: the number is its own
    }
    for i in 0..world.units.len() {
        if let Err(e) = start::forget(world, i) {
            warn!("{e}; the next supervisor tries again");
        }
    }
    for pod in world.pods.iter().filter(|pod| pod.failed.is_none() && !pod.is_vacant()) {
        // As over a restart of a device: what is on the disk is for the next time.
        forget_pod(world, pod, false);
    }
    let _ = std::fs::remove_dir_all(reader::accepted(world.paths.run)); // never made
    network::close(world.paths);
    for kind in pin::KINDS {
        let pins = Path::new(world.paths.run).join(kind.dir);
        while umount2(pins.as_path(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
        let _ = std::fs::remove_dir(&pins); // as the rest: what is not empty stays
    }
    let _ = std::fs::remove_file(world.paths.socket);
    remove_cgroups(world);
    info!("all pods have ended");
    exit_now(0)
}

/// Removes what a pod leaves besides its containers: pins, volumes (those on the `disk` too, or not), cgroups.
pub fn forget_pod(world: &World<'_>, pod: &PodRow, disk: bool) {
    let name = pod.name.as_str();
    let removed = [namespaces::remove(world.paths, name), volumes::remove(world.paths, name, disk)];
    for e in removed.into_iter().filter_map(Result::err) {
        warn!("{e}; it stays");
    }
    for hierarchy in Cgroups::detect().hierarchies().unwrap_or_default() {
        let _ = std::fs::remove_dir(hierarchy.mount.join(world.paths.pods).join(name)); // not in all of them
    }
}

/// Removes the cgroups of the pods and what holds them, in every hierarchy.
fn remove_cgroups(world: &World<'_>) {
    let cgroups = Cgroups::detect();
    for hierarchy in cgroups.hierarchies().unwrap_or_default() {
        let pods = hierarchy.mount.join(world.paths.pods);
        for pod in world.pods.iter() {
            let _ = std::fs::remove_dir(pods.join(pod.name.as_str())); // not in all of them, as below
        }
        let _ = std::fs::remove_dir(&pods);
        let _ = pods.parent().map(std::fs::remove_dir);
    }
}
