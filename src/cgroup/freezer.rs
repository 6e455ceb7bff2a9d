//! Containers that stand still: `cgroup.freeze` of cgroup v2, `freezer.state` of v1.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Cgroup, Cgroups, get, put};
use crate::error::{During, Result};

/// How long a container may take to stand still. What waits in the kernel on a dead disk never does.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Where the freezer is: v1's if the container is in it, otherwise v2's.
    fn freezer(&self, cgroups: &Cgroups) -> Option<(bool, BorrowedFd<'_>)> {
        let v1 = (!self.v1.is_empty()).then(|| cgroups.find("freezer", "")).flatten();
        match v1.and_then(|at| self.at(at)) {
            Some(directory) => Some((true, directory)),
            None => self.directory().map(|directory| (false, directory)),
        }
    }

    /// Stops every process of the container, or lets them go on. Returns once they do.
    pub fn freeze(&self, cgroups: &Cgroups, frozen: bool) -> Result<()> {
        match self.freezer(cgroups) {
            Some((true, directory)) => freeze_v1(directory, frozen).during("write", "freezer.state"),
            Some((false, directory)) => freeze_v2(directory, frozen).during("write", "cgroup.freeze"),
            None => Err(Errno::EOPNOTSUPP).during("freeze", ""),
        }
    }

    /// Whether its processes stand still.
    pub fn is_frozen(&self, cgroups: &Cgroups) -> bool {
        let file = |v1| if v1 { "freezer.state" } else { "cgroup.freeze" };
        let state = self.freezer(cgroups).and_then(|(v1, directory)| get(directory, file(v1)).ok());
        matches!(state.as_deref().map(str::trim), Some("1" | "FROZEN" | "FREEZING"))
    }

    /// Lets go of what the freezer of cgroup v1 holds, if there is one.
    pub fn thaw_v1(&self, cgroups: &Cgroups) -> Result<()> {
        match self.freezer(cgroups) {
            Some((true, directory)) => freeze_v1(directory, false).during("write", "freezer.state"),
            _ => Ok(()),
        }
    }
}

/// cgroup v2: written once; `cgroup.events` tells when all stand still. Linux 5.2.
fn freeze_v2(directory: BorrowedFd<'_>, frozen: bool) -> nix::Result<()> {
    put(directory, "cgroup.freeze", if frozen { "1" } else { "0" })?;
    let done = || {
        let events = get(directory, "cgroup.events")?;
        Ok(events.lines().any(|line| line == if frozen { "frozen 1" } else { "frozen 0" }))
    };
    let stood = wait(&done);
    if stood == Err(Errno::ETIMEDOUT) {
        let _ = put(directory, "cgroup.freeze", "0"); // half frozen is nobody's wish
    }
    stood
}

/// cgroup v1: a process that is forked while others are frozen can keep the state at FREEZING, which another write
/// helps over. Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.
fn freeze_v1(directory: BorrowedFd<'_>, frozen: bool) -> nix::Result<()> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let done = || {
        put(directory, "freezer.state", wanted)?;
        Ok(get(directory, "freezer.state")?.trim() == wanted)
    };
    let stood = wait(&done);
    if stood == Err(Errno::ETIMEDOUT) {
        let _ = put(directory, "freezer.state", "THAWED");
    }
    stood
}

/// Asks again and again until it is so.
fn wait(done: &dyn Fn() -> nix::Result<bool>) -> nix::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    while !done()? {
        if Instant::now() > end {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}
