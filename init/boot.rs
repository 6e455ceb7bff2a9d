//! Bringing the device up, in the order that gets the first container to run soonest. A step that fails is logged with what
//! happens next, and the boot goes on: an init that ends takes the device with it.

use std::path::Path;

use mote::error::{During as _, Error, Result, words};
use mote::pin;
use mote::sys::{alloc, net};
use mote::{error, info, warn};
use nix::errno::Errno;
use nix::sys::reboot::set_cad_enabled;
use nix::sys::signal::SigSet;
use nix::unistd::sethostname;

use crate::event::{self, Sources};
use crate::live::reader;
use crate::logs;
use crate::manifest::{self, Pod};
use crate::paths::DEVICE;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::world::{BOOT_MS, FILE_BYTES, PodRow, TABLES, World};
use crate::{child, client, clock, control, early, kmsg, live, modules, mounts, namespaces, volumes};

/// PID 1. Never returns.
pub fn run() -> ! {
    // Before anything can end: a SIGCHLD that comes now waits for the signalfd. Fails for no set of signals.
    let _ = SigSet::all().thread_block();
    kmsg::install();
    let mut steps = Steps::new();
    early::leave_initramfs();
    early::mounts();
    early::console();
    steps.done("mounts");
    let settings = configure();
    steps.done("settings");

    // Nobody else is there to hold the lock, or to have broken it.
    let mut tables = TABLES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (pods, units) = &mut *tables;
    let world = &mut World::new(&DEVICE, pods, units, BOOT_MS);
    if let Some(seconds) = settings.watchdog {
        world.watchdog.start(seconds, clock::now_ms());
    }
    let host_network = load(world);
    steps.done("manifests");
    if host_network {
        loopback();
    }
    world.begin(clock::now_ms());
    steps.done("starters");

    // One processor may be all there is, and the starters need it more. A report, or a start that takes long, ends the pause.
    if !world.units.is_empty() {
        world.pause(200);
    }
    persist("epoll", || world.open_poll());
    let sources = persist("signalfd, timerfd", || Sources::open(world));
    event::run(world, sources, |world| {
        steps.done("containers");
        finish(world, &settings, &steps, host_network);
    })
}

/// Does what PID 1 cannot go without, as often as it takes.
fn persist<T>(what: &str, mut work: impl FnMut() -> nix::Result<T>) -> T {
    loop {
        match work() {
            Ok(done) => return done,
            Err(errno) => error!("{what}: {}; trying again in a second", words(errno)),
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// The steps before the first pod.
fn configure() -> Settings {
    let settings = Settings::read(&mut |complaint| warn!("{complaint}"));
    log::set_max_level(settings.log);
    if let Err(errno) = sethostname(&settings.hostname) {
        error!("hostname {}: {}; it stays as it is", settings.hostname, words(errno));
    }
    // Before the sysctls, as they bring some.
    modules::load_all(&settings.modules);
    mounts::make_all(&settings.mounts);
    settings.sysctls.iter().for_each(|(name, value)| sysctl(name, value));
    let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .recursive(true)
        .create(DEVICE.run);
    if let Err(e) = made {
        error!("{}: {e}; containers will not start", DEVICE.run);
    }
    if let Err(e) = pin::prepare(&Path::new(DEVICE.run).join(pin::NET.dir)) {
        error!("{e}; pods without hostNetwork will not start");
    }
    settings
}

/// By how much more the kernel wants to have free, for a while, where its memory gets fragmented; 15000 for up to one and a half times
/// its high mark. admin-guide/sysctl/vm.rst, Linux 5.0. It is 0 here unless somebody says otherwise: what pods leave to the device is less
/// than that, and without swap the kernel hardly gets it by reclaiming. It would kill what it likes, where the limit of all pods would
/// have ended the one that takes too much.
const BOOST: &str = "vm/watermark_boost_factor";

/// Writes one file below `/proc/sys`.
fn sysctl(name: &str, value: &str) {
    if let Err(e) = std::fs::write(Path::new("/proc/sys").join(name), value) {
        error!("sysctl {name}: {e}; it stays as it is");
    }
}

/// The rest of the boot, once every container has been tried: none of it is to take the processor away from them.
fn finish(world: &mut World<'_>, settings: &Settings, steps: &Steps, loopback_is_up: bool) {
    serve(world);
    // Ctrl-alt-del becomes a SIGINT to PID 1 instead of a reboot at once.
    if let Err(errno) = set_cad_enabled(false) {
        warn!("ctrl-alt-del: {}; it reboots without shutting down", words(errno));
    }
    early::protect();
    let (paths, pods) = (world.paths, &*world.pods);
    let boost_is_set = settings.sysctls.iter().any(|(name, _)| name == BOOST);
    let settle = child::fork(c"mote-settle", || {
        if !boost_is_set {
            sysctl(BOOST, "0");
        }
        if !loopback_is_up {
            loopback();
        }
        early::cgroups();
        namespaces::sweep(paths, pods);
        // Of a manifest that is wrong the name is not known, so any volume may be its pod's.
        if pods.iter().all(|pod| pod.failed.is_none()) {
            volumes::sweep(paths, &|name| pods.iter().any(|pod| pod.name.as_str() == name));
        }
        0
    });
    if let Err(errno) = settle {
        error!("fork: {}; lo stays down and PID 1 in the root cgroup", words(errno));
    }
    steps.tell();
    info!("{} containers of {} pods", world.units.len(), world.pods.len());
    if let Some(seconds) = settings.demo
        && let Err(errno) = child::fork(c"mote-demo", || client::demo::run(steps, seconds))
    {
        error!("demo: {}", words(errno));
    }
    alloc::mark();
    // Most of what has run so far never runs again.
    mote::sys::memory::release_code();
    mote::sys::memory::release_stack();
}

/// Opens what the containers can do without for a while: logs, and the control socket.
pub fn serve(world: &mut World<'_>) {
    let paths = world.paths;
    world.pods.iter_mut().for_each(|pod| pod.hold(paths));
    logs::start(world, clock::now_ms());
    world.history.open(world.paths.events);
    if let Err(errno) = control::open(world) {
        error!("{}: {}; no client can connect", world.paths.socket, words(errno));
    }
    live::open(world, clock::now_ms());
}

/// Sets `lo` of the device itself up.
fn loopback() {
    if let Err(errno) = net::loopback_up() {
        let why = words(errno);
        error!("lo: {why}; programs that connect to 127.0.0.1 will fail");
    }
}

/// Fills the tables from the manifests, in the order of their names. Returns whether a pod is in the device's own network.
pub fn load(world: &mut World<'_>) -> bool {
    let mut host_network = false;
    let files = match reader::manifests(world.paths.manifests) {
        Ok(files) => files,
        Err(errno) => {
            error!("{}: {}; no pod is run", world.paths.manifests, words(errno));
            return false;
        }
    };
    alloc::keep();
    for file in files {
        let shown = file.to_string_lossy();
        let loaded = load_one(world, &file);
        host_network |= matches!(loaded, Ok(true));
        if let Err(why) = loaded {
            let name = heapless::String::try_from(&*shown).unwrap_or_default();
            match world.add_pod(PodRow::new(shown.trim_end_matches(".json"), name)) {
                Some(p) => world.fail_pod(p, format_args!("{why}")),
                None => error!("pod {shown} is not run: {why}; and there is no room to list it"),
            }
        }
    }
    world.fail_cycles();
    host_network
}

/// Adds one pod and returns whether it is in the device's own network, or says why it is not run.
fn load_one(world: &mut World<'_>, file: &std::ffi::OsStr) -> Result<bool> {
    let (pod, text) = manifest::read_with_text(&Path::new(world.paths.manifests).join(file))?;
    let shown = file.to_string_lossy();
    let name = file.to_str().and_then(|name| heapless::String::<FILE_BYTES>::try_from(name).ok());
    let Some(name) = name else {
        let why = format!("the file's name is not UTF-8 of at most {FILE_BYTES} bytes");
        return Err(Error::config(&shown, "the document", why));
    };
    let same = |other: &&PodRow| other.failed.is_none() && other.name.as_str() == pod.name.as_str();
    let other = world.pods.iter().find(same).map(|other| other.file.as_str());
    if let Some(why) = manifest::refused(&shown, &pod, other, world.room()) {
        return Err(why);
    }
    if !pod.passed.is_empty() {
        warn!("{shown}: {}: not used by mote, left aside", pod.passed.join(", "));
    }
    let host_network = pod.host_network;
    add(world, pod, name, reader::hash(&text)).during("pipe", "log")?;
    Ok(host_network)
}

/// Adds a pod that fits.
fn add(world: &mut World, pod: Pod, file: heapless::String<FILE_BYTES>, hash: u64) -> nix::Result<()> {
    let row = PodRow {
        grace_ms: u64::from(pod.grace_s) * 1000,
        policy: pod.restart,
        after: pod.after,
        control: pod.control,
        hash,
        ..PodRow::new(pod.name.as_str(), file)
    };
    let p = world.add_pod(row).ok_or(Errno::ENOSPC)?;
    for container in pod.containers {
        let (conf, stdin, tty) = (container.life.conf, container.stdin, container.tty);
        if let Err(errno) = world.add_unit(p, container.name, conf, stdin, tty) {
            world.leave_units(p);
            if let Some(pod) = world.pods.get_mut(p) {
                *pod = PodRow::new("", heapless::String::new());
            }
            return Err(errno);
        }
    }
    Ok(())
}
