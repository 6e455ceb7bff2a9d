//! The network of a pod beyond `lo`: what its annotation `mote/network` asks for. Runs in starters and other short-lived
//! children, never in PID 1; a pod without the annotation comes by none of it.
//!
//! What has been made for a pod stands in its record (`record.rs`), written before it is made: whoever comes next knows what
//! may be there, whenever the one before was killed. Two starters of a pod take turns by a lock on the namespace.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use mote::error::{During as _, Error, Result, words};
use mote::pin::{self, Pin};
use mote::rtnetlink;
use mote::sys::clone::setns;
use mote::sys::netlink::Socket;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::CloneFlags;

use crate::manifest::{Mode, Network, Pod};
use crate::paths::Paths;
use record::{Record, Records};
use settings::Settings;

mod bridge;
mod cni;
mod macvlan;
mod plugin;
mod ports;
pub mod record;
mod settings;

/// The pod's interface.
const INTERFACE: &std::ffi::CStr = c"eth0";

/// The device's network namespace and that of a pod, each with a socket in it. The process is in the device's.
struct Sides<'a> {
    host: Socket,
    pod: Socket,
    namespace: BorrowedFd<'a>,
}

/// What the modes work with.
struct Work<'a> {
    paths: &'a Paths,
    settings: Settings,
    records: Records,
    pod: &'a str,
}

/// The device's network namespace, which a starter keeps before it makes that of a pod, unless nothing is to be done there.
pub fn home(network: &Network) -> Result<Option<File>> {
    match network.mode {
        Mode::None | Mode::Host => Ok(None),
        _ => File::open(pin::NET.own).during("open", pin::NET.own).map(Some),
    }
}

/// A network namespace has been made for a pod: what a record says of another one holds no more.
pub fn anew(paths: &Paths, network: &Network, pod: &str) -> Result<()> {
    if matches!(network.mode, Mode::None | Mode::Host) { Ok(()) } else { Records::of(paths).outdate(pod) }
}

/// Gives the pod whose namespace is `pin` its network, unless it has it. `home` is what [`home`] gave.
pub fn attach(paths: &Paths, pod: &Pod, home: &File, pin: &Pin) -> Result<()> {
    let network = &pod.network;
    let name = pod.name.as_str();
    let (settings, records) = (Settings::read(paths.settings)?, Records::of(paths));
    records.prepare()?;
    let _turn = turn(pin)?;
    setns(home.as_fd(), CloneFlags::CLONE_NEWNET).during("setns", pin::NET.own)?;
    let work = Work { paths, settings, records, pod: name };
    work.undo_outdated();
    if let Some(record) = work.records.read(name)? {
        if record.ready && record.fits(network) && work.is_whole(&record, home, pin) {
            return Ok(());
        }
        work.undo(&record, Some((home, pin)));
    }
    let result = match network.mode {
        Mode::Bridge => bridge::add(&work, network, &sides(home, pin)?),
        Mode::Macvlan => macvlan::add(&work, network, &sides(home, pin)?),
        Mode::Cni => cni::add(&work, network, pin.inode),
        Mode::None | Mode::Host => Ok(()),
    };
    if result.is_err()
        && let Ok(Some(record)) = work.records.read(name)
    {
        work.undo(&record, Some((home, pin))); // the first error is the one to tell
    }
    result
}

/// The address that a pod has been given.
pub fn address(paths: &Paths, pod: &str) -> Option<std::net::Ipv4Addr> {
    let record = Records::of(paths).read(pod).ok()??;
    Some(record.address).filter(|address| !address.is_unspecified())
}

/// Takes back what was made for the pod `name`, which may be gone already. Idempotent. The process is in the device's network
/// namespace.
pub fn detach(paths: &Paths, name: &str) -> Result<()> {
    let records = Records::of(paths);
    if !records.any() {
        return Ok(());
    }
    let work = Work { paths, settings: Settings::read(paths.settings)?, records, pod: name };
    work.undo_outdated();
    let Some(record) = work.records.read(name)? else {
        work.records.forget(name); // what cannot be understood is in the way of none but its pod
        return Ok(());
    };
    let pin = pin::find(&pin::NET, &std::path::Path::new(paths.run).join(pin::NET.dir), name)?;
    match pin {
        Some(pin) => {
            let _turn = turn(&pin)?;
            let home = File::open(pin::NET.own).during("open", pin::NET.own)?;
            work.undo(&record, Some((&home, &pin)));
        }
        None => work.undo(&record, None),
    }
    Ok(())
}

/// Takes back what is left of pods that are not `known`.
pub fn sweep(paths: &Paths, known: &dyn Fn(&str) -> bool) {
    for name in Records::of(paths).names() {
        let pod = name.trim_end_matches(record::OUTDATED);
        if !known(pod)
            && let Err(e) = detach(paths, pod)
        {
            mote::warn!("{e}; the network of pod {pod} is not taken back");
        }
    }
}

/// Takes back what serves all pods, once there is none any more.
pub fn close(paths: &Paths) {
    let records = Records::of(paths);
    if records.any()
        && records.names().is_empty()
        && let Ok(settings) = Settings::read(paths.settings)
    {
        ports::clear(&records);
        bridge::remove(&records, &settings);
        records.remove_all();
    }
}

impl Work<'_> {
    /// Takes back what belonged to a namespace that is gone.
    fn undo_outdated(&self) {
        let outdated = format!("{}{}", self.pod, record::OUTDATED);
        if let Ok(Some(record)) = self.records.read(&outdated) {
            self.undo_as(&outdated, &record, None);
        }
    }

    fn undo(&self, record: &Record, sides: Option<(&File, &Pin)>) {
        self.undo_as(self.pod, record, sides);
    }

    /// As far as it goes: what fails is told, and what is left is in nobody's way.
    fn undo_as(&self, name: &str, record: &Record, places: Option<(&File, &Pin)>) {
        let undone = match record.mode {
            Mode::Cni => cni::delete(self, record, places.is_some()),
            _ => self.remove_interface(record, places),
        };
        if let Err(e) = undone {
            mote::warn!("{}: {e}", self.pod);
        }
        let _lock = self.records.lock();
        self.records.forget(name);
        if record.mode == Mode::Bridge
            && let Err(e) = ports::update(&self.records, &self.settings)
        {
            mote::warn!("{}: {e}", self.pod);
        }
    }

    fn remove_interface(&self, record: &Record, places: Option<(&File, &Pin)>) -> Result<()> {
        if record.mode == Mode::Bridge {
            let socket = Socket::open().during("socket", "netlink")?;
            let name = bridge::port_name(record.address);
            rtnetlink::delete(&socket, &name).during("delete", name.as_c_str())?;
        }
        // Of a pair the other end is gone; what is left is a macvlan, or half of what somebody was making.
        let Some((home, pin)) = places else { return Ok(()) };
        let sides = sides(home, pin)?;
        rtnetlink::delete(&sides.pod, INTERFACE).during("delete", INTERFACE)
    }

    /// Whether what the record says is still there.
    fn is_whole(&self, record: &Record, home: &File, pin: &Pin) -> bool {
        if record.mode == Mode::Cni {
            cni::check(self, record);
        }
        let there = || {
            sides(home, pin)
                .is_ok_and(|sides| rtnetlink::find(&sides.pod, INTERFACE).is_ok_and(|device| device.up))
        };
        let whole = record.mode == Mode::Cni && !cni::has_interface(record) || there();
        if !whole {
            mote::warn!("{}: {} is gone or down; making it anew", self.pod, INTERFACE.to_string_lossy());
        }
        whole
    }
}

/// Waits for whoever works on the pod's network.
fn turn(pin: &Pin) -> Result<Flock<OwnedFd>> {
    let fd = pin.fd.try_clone().during("dup", "")?;
    Flock::lock(fd, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during("flock", "network namespace")
}

/// A socket on each side. The process is in the device's namespace before and after.
fn sides<'a>(home: &File, pin: &'a Pin) -> Result<Sides<'a>> {
    let host = Socket::open().during("socket", "netlink")?;
    setns(pin.fd.as_fd(), CloneFlags::CLONE_NEWNET).during("setns", "pod")?;
    let pod = Socket::open();
    setns(home.as_fd(), CloneFlags::CLONE_NEWNET).during("setns", pin::NET.own)?;
    Ok(Sides { host, pod: pod.during("socket", "netlink")?, namespace: pin.fd.as_fd() })
}

/// The name of an interface, of at most 15 bytes.
fn interface(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Errno::EINVAL).during("interface", name)
}

/// Says which part of the kernel is missing, where that is why a call failed.
fn needs(result: std::result::Result<(), Errno>, what: &str, options: &str) -> Result<()> {
    result.map_err(|errno| refused(what, errno, if errno == Errno::EOPNOTSUPP { options } else { "" }))
}

/// One line about `what` failed, with what the kernel may lack.
fn refused(what: &str, errno: Errno, options: &str) -> Error {
    let lacks = if options.is_empty() { String::new() } else { format!("; this kernel may lack {options}") };
    Error::usage(format_args!("network: {what}: {}{lacks}", words(errno)))
}
