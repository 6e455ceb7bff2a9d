//! What of a plan can be checked only by a look at the host, before anything is made.

use nix::sched::CloneFlags;
use nix::sys::stat::stat;
use nix::sys::statfs::{FsType, statfs};

use crate::plan::{Checked, Plan, sysctl};

/// Refuses what this host cannot do, and what would change the host.
pub fn check(plan: &mut Plan<'_>) -> Checked<()> {
    modules(plan)?;
    joined(plan)
}

/// Labels need the security module that they are for.
fn modules(plan: &mut Plan<'_>) -> Checked<()> {
    let labels = &mut plan.process.labels;
    if labels.apparmor == Some(c"exec unconfined") && !apparmor_is_on() {
        labels.apparmor = None; // it is unconfined
    }
    let asked = [
        (labels.apparmor.is_some(), "process.apparmorProfile", "`/proc/thread-self/attr/apparmor/exec`"),
        (labels.selinux.is_some(), "process.selinuxLabel", "`/proc/thread-self/attr/exec`"),
        (plan.mount_label.is_some(), "linux.mountLabel", "the mount option context="),
    ];
    for (i, (_, field, what)) in asked.iter().enumerate().filter(|(_, (asked, ..))| *asked) {
        let (module, on) = if i == 0 { ("AppArmor", apparmor_is_on()) } else { ("SELinux", selinux_is_on()) };
        if !on {
            return Err((
                (*field).to_owned(),
                format!("{module} is off on this host, so there is no {what}"),
            ));
        }
    }
    Ok(())
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
            return Err((field, format!("\"{path}\" is the host's own namespace, which must stay as it is")));
        }
    }
    Ok(())
}
