//! What is done to a container while it lives, by way of its cgroup: new limits, a pause, a look at what it uses.

use std::path::Path;

mod mounts;

pub use mounts::change as change_mounts;

use crate::cgroup::{Cgroup, Cgroups};
use crate::container::gone;
use crate::error::{Error, Result};
use crate::json::{self, List, Str};
use crate::object;
use crate::plan::resources;
use crate::resctrl;
use crate::spec::Resources;
use crate::state::{Entry, Id, Record, Status, Store};

/// A container's directory, locked, with its record.
fn lock(root: &Path, id: &Id) -> Result<(Entry, Record)> {
    let entry = Store::open(root, false).or_else(|e| gone(e, id))?.lock(id)?;
    let record = entry.load()?;
    Ok((entry, record))
}

/// Gives a container other limits. `file` is where they come from and `at` what their JSON paths there begin with.
pub fn update(root: &Path, id: &Id, limits: &Resources<'_>, file: &str, at: &str) -> Result<()> {
    let (entry, mut record) = lock(root, id)?;
    if record.status_now() == Status::Stopped {
        return Err(Error::container(id.as_str(), "container not running"));
    }
    let cgroups = Cgroups::detect();
    let open = |record: &Record| cgroups.open(&record.place());
    let mut cgroup = open(&record)?;
    let now = |at, file: &str| cgroup.read(at, file);
    let wrong = |wrong| Error::wrong(file, wrong);
    let mut plan = resources::update(limits, at, &cgroups, &now).map_err(wrong)?;
    if plan.settings.is_empty() && plan.devices.is_none() {
        return Ok(());
    }
    if record.cgroup.is_empty() {
        return Err(Error::container(id.as_str(), "has no cgroup of its own, so it cannot be limited"));
    }
    if !record.every_cgroup && !plan.settings.is_empty() {
        cgroups.extend(&record.place())?;
        record.every_cgroup = true;
        entry.save(&record)?;
        cgroup = open(&record)?;
        let now = |at, file: &str| cgroup.read(at, file);
        plan = resources::update(limits, at, &cgroups, &now).map_err(wrong)?;
    }
    cgroups.apply(&plan, &record.place(), &cgroup, true)
}

object! {
    /// What is kept of `linux.intelRdt`.
    struct Kept<'a> { rdt: List<Str<'a>> = "rdt" }
}

/// Gives a container's group of resctrl other schemata.
pub fn update_rdt(root: &Path, id: &Id, schemata: &str) -> Result<()> {
    let (_entry, record) = lock(root, id)?;
    if record.status_now() == Status::Stopped {
        return Err(Error::container(id.as_str(), "container not running"));
    }
    let broken = |flaw: json::Flaw| Error::config("state.json", format!("kept.{}", flaw.field), flaw.why);
    let kept: Kept<'_> = json::parse(record.kept.as_bytes()).map_err(broken)?;
    resctrl::update(&kept.rdt, schemata)
}

/// Stops every process of a container, or lets them go on.
pub fn pause(root: &Path, id: &Id, pause: bool) -> Result<()> {
    let (_entry, record) = lock(root, id)?;
    match (pause, record.status_now()) {
        (true, Status::Running) | (false, Status::Paused) => {}
        (true, _) => return Err(Error::container(id.as_str(), "container not running")),
        (false, _) => return Err(Error::container(id.as_str(), "container not paused")),
    }
    let cgroups = Cgroups::detect();
    cgroups.open(&record.place())?.freeze(&cgroups, pause)
}

/// The cgroup of a container that lives, to look at.
pub fn look(root: &Path, id: &Id) -> Result<(Cgroups, Cgroup, Record)> {
    let record = crate::container::state(root, id)?;
    if !record.is_alive() {
        return Err(Error::container(id.as_str(), "container is not running"));
    }
    let cgroups = Cgroups::detect();
    let cgroup = cgroups.open(&record.place())?;
    Ok((cgroups, cgroup, record))
}
