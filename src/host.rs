//! What of a plan takes the host: checks that can be made only by a look at it, and what a process in a user namespace of its
//! own has no privileges for.

use std::ffi::CString;

use nix::sched::CloneFlags;
use nix::sys::stat::stat;
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::Pid;

use crate::error::words;
use crate::label::Labels;
use crate::netdevices;
use crate::plan::{Checked, Plan, sysctl};
use crate::procfs::Procfs;
use crate::resctrl;
use crate::scheduling;
use crate::stage::{At, Failure, Stage};

/// Refuses what this host cannot do, and what would change the host.
pub fn check(plan: &mut Plan<'_>) -> Checked<()> {
    modules(plan)?;
    joined(plan)?;
    netdevices::check(&plan.net_devices).map_err(|(i, errno)| {
        let name = plan.net_devices.get(i).map_or(c"", |device| device.name).to_string_lossy();
        (format!("linux.netDevices[\"{name}\"]"), words(errno).to_ascii_lowercase())
    })?;
    if plan.rdt.is_some() && resctrl::open().is_err() {
        let why = "no resctrl filesystem is mounted on /sys/fs/resctrl";
        return Err(("linux.intelRdt".to_owned(), why.to_owned()).into());
    }
    Ok(())
}

/// Does to the process `pid`, which is in a new user namespace, what it cannot do itself.
pub fn privileged(plan: &Plan<'_>, pid: Pid) -> Result<(), Failure> {
    if let Some(score) = plan.process.oom_score_adj {
        let path = CString::new(format!("{pid}/oom_score_adj")).unwrap_or_default();
        let written = Procfs::open().and_then(|proc| proc.write_number(&path, score));
        written.at(Stage::OomScore, 0)?;
    }
    scheduling::apply_to(&plan.scheduling, pid.as_raw())
}

/// Labels need the security module that they are for.
fn modules(plan: &mut Plan<'_>) -> Checked<()> {
    labels(&mut plan.process.labels)?;
    needs(plan.mount_label.is_some(), "linux.mountLabel", SELINUX, "the mount option context=")
}

/// The same for a process; to be unconfined asks for nothing where AppArmor is off.
pub fn labels(labels: &mut Labels<'_>) -> Checked<()> {
    if labels.apparmor == Some(c"exec unconfined") && !apparmor_is_on() {
        labels.apparmor = None;
    }
    let profile = labels.apparmor.is_some();
    needs(profile, "process.apparmorProfile", APPARMOR, "`/proc/thread-self/attr/apparmor/exec`")?;
    needs(labels.selinux.is_some(), "process.selinuxLabel", SELINUX, "`/proc/thread-self/attr/exec`")
}

/// A security module: its name, and how to see whether it is on.
type Module = (&'static str, fn() -> bool);
const APPARMOR: Module = ("AppArmor", apparmor_is_on);
const SELINUX: Module = ("SELinux", selinux_is_on);

fn needs(asked: bool, field: &str, (module, is_on): Module, what: &str) -> Checked<()> {
    match asked && !is_on() {
        true => {
            Err((field.to_owned(), format!("{module} is off on this host, so there is no {what}")).into())
        }
        false => Ok(()),
    }
}

fn apparmor_is_on() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux_is_on() -> bool {
    /// `SELINUX_MAGIC`
    const SELINUX: FsType = FsType(0xf97c_ff8c);
    statfs(c"/sys/fs/selinux").is_ok_and(|found| found.filesystem_type() == SELINUX)
}

/// A namespace that is joined by a path may be the caller's own, which is the host's: nothing may be written into that.
fn joined(plan: &Plan<'_>) -> Checked<()> {
    for join in &plan.join {
        let (own, field) = match join.kind {
            CloneFlags::CLONE_NEWNET if !plan.net_devices.is_empty() => {
                (c"/proc/self/ns/net", Some("linux.netDevices"))
            }
            CloneFlags::CLONE_NEWNET => (c"/proc/self/ns/net", None),
            CloneFlags::CLONE_NEWIPC => (c"/proc/self/ns/ipc", None),
            CloneFlags::CLONE_NEWUTS if plan.hostname.is_some() => (c"/proc/self/ns/uts", Some("hostname")),
            CloneFlags::CLONE_NEWUTS if plan.domainname.is_some() => {
                (c"/proc/self/ns/uts", Some("domainname"))
            }
            CloneFlags::CLONE_NEWUTS => (c"/proc/self/ns/uts", None),
            _ => continue,
        };
        let sysctl = plan.sysctls.iter().map(|(path, _)| sysctl::name(path));
        let sysctl = { sysctl }.find(|name| sysctl::namespace(name) == Some(join.kind));
        let Some(field) =
            field.map(str::to_owned).or_else(|| sysctl.map(|name| format!("linux.sysctl[\"{name}\"]")))
        else {
            continue;
        };
        // One that is not there is named where it is opened.
        let (Ok(a), Ok(b)) = (stat(join.path), stat(own)) else { continue };
        if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
            let path = String::from_utf8_lossy(join.path.to_bytes()).into_owned();
            return Err(
                (field, format!("\"{path}\" is the host's own namespace, which must stay as it is")).into()
            );
        }
    }
    Ok(())
}
