//! What becomes of a container once it was made: start, state, kill, delete, list.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::bundle::Bundle;
use super::start_address;
use crate::cgroup::Cgroups;
use crate::error::{During, Error, Result};
use crate::hooks::{self, Broken};
use crate::notify::{Manager, Pending};
use crate::plan::{Hooks, When};
use crate::resctrl;
use crate::stage::{Failure, Stage};
use crate::state::{Entry, Id, Record, START_SOCKET, Status, Store};
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::socket;

/// Starts a created container: returns once its program runs, or says why it does not. Where a service manager is to know
/// when the program is ready, and the container was created for that, it returns once that is so, or the program has ended.
pub fn start(root: &Path, id: &Id, manager: Option<&Manager>) -> Result<()> {
    let mut entry = Store::open(root, false).or_else(|e| gone(e, id))?.lock(id)?;
    let mut record = entry.load()?;
    match record.status_now() {
        Status::Created => {}
        Status::Creating => {
            return Err(Error::container(id.as_str(), "cannot start a container that is not created yet"));
        }
        Status::Running | Status::Paused => {
            return Err(Error::container(id.as_str(), "cannot start an already running container"));
        }
        Status::Stopped => {
            return Err(Error::container(id.as_str(), "cannot start a container that has stopped"));
        }
    }
    let saved = if record.hooks { Some(saved(&entry, &record)?) } else { None };
    // Written before anybody is told. Should the program fail to run, its process ends and the state is stopped.
    record.status = Status::Running;
    entry.save(&record)?;
    let pidfd = manager.map(|_| pidfd_open(record.pid)).transpose().during("pidfd_open", id.as_str())?;
    let socket = connect(&entry)?;
    let mut notify = None;
    let failure = loop {
        let mut report = [0; 8];
        match socket::receive(socket.as_fd(), &mut report) {
            Ok((8, fd)) => match Failure::from_bytes(report) {
                Failure { stage: Stage::Ready, .. } => notify = fd,
                failure => break Some(failure),
            },
            Ok(_) => break None,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).during("read", &*entry.path().join(START_SOCKET)),
        }
    };
    let exec = |failure: Failure| Error::child(format_args!("{}: exec", id.as_str()), failure.errno);
    let ready = || match (manager, notify, &pidfd) {
        (Some(manager), Some(socket), Some(pidfd)) => {
            // It may take for ever, and others may want to end it.
            entry.unlock();
            Pending { manager, socket, first: record.pid }.wait(pidfd.as_fd())
        }
        _ => Ok(()),
    };
    let Some(saved) = saved else {
        return failure.map_or_else(ready, |failure| Err(exec(failure)));
    };
    let mut started = |hooks: &Hooks<'_>| match failure
        .map(|failure| (failure, Broken::from_failure(failure)))
    {
        None => hooks::run(hooks, When::Poststart, record.pid.as_raw(), None).map_err(|b| b.explain(hooks)),
        Some((_, Some(broken))) => Err(broken.explain(hooks)),
        Some((failure, None)) => Err(exec(failure)),
    };
    // A container whose hook failed does not go on; its removal is left to `delete`.
    saved.with_hooks(id, &mut started).inspect_err(|_| drop(kill_and_wait(&record)))?;
    ready()
}

/// The configuration that a container was made from.
fn saved(entry: &Entry, record: &Record) -> Result<Bundle> {
    let file = entry.config_path();
    Ok(Bundle { path: record.bundle.clone(), file, text: entry.config()? })
}

fn connect(entry: &Entry) -> Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let path = entry.path().join(START_SOCKET);
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.during("socket", &*path)?;
    let address =
        start_address(entry).and_then(|path| UnixAddr::new(path.as_str())).during("connect", &*path)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &address).during("connect", &*path)?;
    Ok(socket)
}

/// Where there is no root directory there is no container.
pub(crate) fn gone<T>(error: Error, id: &Id) -> Result<T> {
    match error.errno() {
        Some(Errno::ENOENT) => Err(Error::container(id.as_str(), "container does not exist")),
        _ => Err(error),
    }
}

/// What is known about a container.
pub fn state(root: &Path, id: &Id) -> Result<Record> {
    Store::open(root, false).or_else(|e| gone(e, id))?.record(id)
}

/// All processes of a container, in order; none of one that has stopped.
pub fn processes(root: &Path, id: &Id) -> Result<Vec<Pid>> {
    let record = state(root, id)?;
    if record.status_now() == Status::Stopped {
        return Ok(Vec::new());
    }
    // Without a cgroup nobody knows of others.
    let mut all = Cgroups::detect().open(&record.place())?.processes();
    if all.is_empty() {
        all.push(record.pid);
    }
    all.sort_unstable();
    Ok(all)
}

/// Signals a container's first process; with `all` every process in its cgroup.
pub fn kill(root: &Path, id: &Id, signal: i32, all: bool) -> Result<()> {
    let record = state(root, id)?;
    if all && record.cgroup.is_empty() {
        // Without a cgroup nobody knows of other processes; those of its pid namespace end with the first.
        return match signal_record(&record, signal) {
            Err(Errno::ESRCH) => Ok(()),
            result => result.during("kill", id.as_str()),
        };
    }
    if all {
        return Cgroups::detect().signal_all(&record.place(), signal);
    }
    let signalled = signal_record(&record, signal);
    if signal == libc::SIGKILL {
        record.thaw_v1()?;
    }
    match signalled {
        Err(Errno::ESRCH) => Err(Error::container(id.as_str(), "container not running")),
        result => result.during("kill", id.as_str()),
    }
}

/// Signals the process that the record is about, and no other that has its number now.
fn signal_record(record: &Record, signal: i32) -> nix::Result<()> {
    let pidfd = pidfd_open(record.pid)?;
    // Looked at after the descriptor was opened: from here on it cannot become another process.
    if !record.is_alive() {
        return Err(Errno::ESRCH);
    }
    pidfd_send_signal(pidfd.as_fd(), signal)
}

/// Removes a container: one that has stopped, one that was never started, or with `force` any.
pub fn delete(root: &Path, id: &Id, force: bool) -> Result<()> {
    let found = Store::open(root, false).or_else(|e| gone(e, id)).and_then(|store| {
        if force {
            end_creation(&store, id);
        }
        Ok((store.lock(id)?, store))
    });
    let (entry, store) = match found {
        Err(error) if force && error.is_of_state() => return Ok(()),
        result => result?,
    };
    let record = match entry.load() {
        Ok(record) => record,
        // Left from a create that was killed before it could say what it made.
        Err(error) => {
            let left_over = error.is_of_state();
            if left_over || force {
                take_back(&store, &entry)?;
            }
            return if force { Ok(()) } else { Err(error) };
        }
    };
    // runtime-spec lets only a stopped container be deleted; engines rely on runc, which kills a created one.
    match record.status_now() {
        Status::Running if !force => {
            return Err(Error::container(
                id.as_str(),
                "cannot delete container that is not stopped: running",
            ));
        }
        Status::Paused if !force => {
            return Err(Error::container(id.as_str(), "cannot delete container that is not stopped: paused"));
        }
        _ => {}
    }
    kill_and_wait(&record)?;
    remove(&store, &entry, &record)
}

/// Ends a container that is being made, whose hooks may take for ever: its `create` fails and takes it back, if it is still
/// there.
fn end_creation(store: &Store, id: &Id) {
    let Ok(entry) = store.find(id) else { return };
    match entry.load() {
        Ok(record) if record.status_now() == Status::Creating => {
            let _ = signal_record(&record, libc::SIGKILL); // gone meanwhile
        }
        Ok(_) => {}
        Err(_) => {
            if let Some((record, true)) = entry.left() {
                let _ = Cgroups::detect().kill(&record.place()); // as above
            }
        }
    }
}

/// Takes back what a create has made that was killed before there was a state file. Its first process ends by itself
/// where it cannot say that it is ready; one that could is in the cgroup.
fn take_back(store: &Store, entry: &Entry) -> Result<()> {
    if let Some((record, own)) = entry.left() {
        if record.pid.as_raw() > 0 {
            kill_and_wait(&record)?;
        }
        let cgroups = Cgroups::detect();
        // Before that is known it may be somebody else's cgroup, which the create would have refused to take.
        if own || cgroups.open(&record.place())?.processes().is_empty() {
            cgroups.remove(&record.place())?;
        }
        resctrl::remove(&record.rdt);
    }
    store.remove(entry)
}

/// Ends the first process for good and waits until it is gone.
fn kill_and_wait(record: &Record) -> Result<()> {
    let on = record.id.as_str();
    let pidfd = match pidfd_open(record.pid) {
        Err(Errno::ESRCH) => return Ok(()),
        result => result.during("pidfd_open", on)?,
    };
    if !record.is_alive() {
        return Ok(());
    }
    match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno).during("kill", on),
    }
    record.thaw_v1()?;
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::from(10_000_u16)).during("poll", on)? {
        0 => Err(Error::container(on, "its first process is still there 10 s after SIGKILL")),
        _ => Ok(()),
    }
}

/// Removes what a container leaves: its cgroup with all that still lives in it, its directory.
pub(super) fn remove(store: &Store, entry: &Entry, record: &Record) -> Result<()> {
    let saved =
        if record.hooks { saved(entry, record).inspect_err(|e| crate::warn!("{e}")).ok() } else { None };
    Cgroups::detect().remove(&record.place())?;
    resctrl::remove(&record.rdt);
    store.remove(entry)?;
    if let Some(saved) = saved {
        saved.with_hooks(&record.id, &mut |hooks| {
            hooks::run_poststop(hooks);
            Ok(())
        })?;
    }
    Ok(())
}

/// Removes what is left of a container whose first process has ended.
pub fn forget(root: &Path, id: &Id) -> Result<()> {
    delete(root, id, true)
}

/// The ids of all containers below the root directory. One that is missing has none, unless it was `given`: nobody else has
/// made it yet.
pub fn ids(root: &Path, given: bool) -> Result<Vec<Id>> {
    match Store::open(root, false) {
        Err(error) if error.errno() == Some(Errno::ENOENT) && !given => Ok(Vec::new()),
        store => store?.ids(),
    }
}

/// Every container below the root directory, as [`ids`]. One that is deleted meanwhile is left out.
pub fn list(root: &Path, given: bool) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for id in ids(root, given)? {
        match state(root, &id) {
            Ok(record) => records.push(record),
            Err(error) if error.is_of_state() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}
