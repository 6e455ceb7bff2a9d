//! The end of a cgroup: everything in it is signalled or killed, then the directories go.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Cgroups, Place, Where, put, tree};
use crate::error::{During, Result};
use crate::sys::file;
use crate::sys::process::{pidfd_open, pidfd_send_signal};

/// How long the kernel may take to let go of what was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many processes are looked at together, each by a descriptor.
const BATCH: usize = 200;

impl Cgroups {
    /// Kills what still lives in the cgroup at `place` and removes it. One that is gone is fine.
    pub fn remove(&self, place: &Place<'_>) -> Result<()> {
        if place.path.is_empty() {
            return Ok(());
        }
        // The clock is read once something has to be waited for. Most often a starter finds nothing to remove, and the first
        // look at the clock maps the vDSO.
        let deadline = &OnceCell::new();
        if let Some(v2) = &self.v2 {
            self.remove_from(v2.as_fd(), Where::V2, place, deadline)?;
        }
        for (index, hierarchy) in self.v1_of(place) {
            let mount = file::open(&hierarchy.mount, super::DIRECTORY).during("open", &*hierarchy.mount)?;
            self.remove_from(mount.as_fd(), Where::V1(index), place, deadline)?;
        }
        Ok(())
    }

    fn remove_from(
        &self,
        mount: BorrowedFd<'_>,
        at: Where,
        place: &Place<'_>,
        deadline: &OnceCell<Instant>,
    ) -> Result<()> {
        // A process leaves its cgroup only once it is reaped or nearly so, which the kernel does in its own time.
        let mut pause = Duration::from_micros(100);
        loop {
            match super::rmdir(mount, place.path) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::EBUSY) if Instant::now() < *deadline.get_or_init(|| Instant::now() + PATIENCE) => {
                }
                Err(errno) => return Err(errno).during("rmdir", &*self.path(at, place)),
            }
            self.kill(place)?;
            let directory = self.open(place)?;
            if let Some(directory) = directory.at(at) {
                match tree::remove_below(directory) {
                    Ok(()) | Err(Errno::EBUSY | Errno::ENOENT) => {} // seen by the next rmdir
                    Err(errno) => return Err(errno).during("rmdir", &*self.path(at, place)),
                }
                if super::rmdir(mount, place.path).is_ok() {
                    return Ok(());
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// SIGKILL to everything in the cgroup at `place`: at once by `cgroup.kill` (Linux 5.14), otherwise with the cgroup
    /// frozen meanwhile, so that nothing in it forks faster than it is killed.
    pub fn kill(&self, place: &Place<'_>) -> Result<()> {
        let cgroup = self.open(place)?;
        if cgroup.directory().is_some_and(|directory| put(directory, "cgroup.kill", "1").is_ok()) {
            // Of those that a v1 freezer holds each is killed once it is let go.
            return cgroup.thaw_v1(self);
        }
        let frozen = cgroup.freeze(self, true);
        signal(&cgroup.processes(), &|| cgroup.processes(), libc::SIGKILL);
        if frozen.is_ok() { cgroup.freeze(self, false) } else { Ok(()) }
    }

    /// Sends `signal` to every process in the cgroup at `place`. One that is gone has none.
    pub fn signal_all(&self, place: &Place<'_>, number: i32) -> Result<()> {
        if number == libc::SIGKILL {
            return self.kill(place);
        }
        let cgroup = self.open(place)?;
        signal(&cgroup.processes(), &|| cgroup.processes(), number);
        Ok(())
    }
}

/// Sends a signal to each process of a list that `again` still lists once it was opened: a number that was given to a
/// stranger meanwhile is left alone.
fn signal(processes: &[Pid], again: &dyn Fn() -> Vec<Pid>, number: i32) {
    for batch in processes.chunks(BATCH) {
        let opened: Vec<_> = batch.iter().filter_map(|pid| Some((*pid, pidfd_open(*pid).ok()?))).collect();
        let there = again();
        for (_, pidfd) in opened.iter().filter(|(pid, _)| there.binary_search(pid).is_ok()) {
            let _ = pidfd_send_signal(pidfd.as_fd(), number); // ended since
        }
    }
}
