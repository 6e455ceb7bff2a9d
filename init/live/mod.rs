//! Manifests that come, change and go while pods run. inotify, or `mote reload`, says that something may have changed; a reader,
//! a short-lived child, looks at all of them and sends what differs as rows of bounded size (`rows.rs`); PID 1 does it.
//!
//! | the manifest | its pod |
//! | --- | --- |
//! | is new | is added and begins |
//! | has changed | is ended within its grace, forgotten, and added again as it stands then |
//! | is gone | is ended within its grace and forgotten: pins, cgroups, state, volumes; its logs stay |
//! | has become wrong | runs on as it was accepted; `mote ps` says what is wrong |
//!
//! The last is not kubelet's way, which ends the pod of a file that no longer parses at its next full look: on a device an
//! upload that went wrong is no reason to end what works. Restarts and probes of such a pod read what was accepted.
//!
//! A pod that goes keeps its places until a child has removed what it leaves, so that a successor of the same name cannot meet
//! it.

pub mod reader;
mod rows;

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use mote::error::words;
use mote::sys::process::pidfd_send_signal;
use mote::{error, info, warn};
use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

use crate::clock;
use crate::poll::Token;
use crate::supervise::{NEVER, State};
use crate::world::{PodRow, World};
use crate::{child, hosted, logs, start};
use rows::{File, ROW_BYTES, Row};

/// How long things may go on changing before they are looked at: many files are often written together.
const QUIET_MS: u64 = 50;

/// After the boot, when nobody waits for the processor any more.
const FIRST_MS: u64 = 1_000;

/// How long a reader may take.
const READER_MS: u64 = 60_000;

/// What is known of changes.
#[derive(Debug)]
pub struct Live {
    inotify: Option<Inotify>,
    reader: Option<Reader>,
    /// When the manifests are to be looked at.
    due_ms: u64,
    /// Whether the accepted manifests have been copied.
    copied: bool,
}

/// A reader at work.
#[derive(Debug)]
struct Reader {
    pid: i32,
    pidfd: OwnedFd,
    rows: OwnedFd,
    until_ms: u64,
    /// The pod whose containers are being sent, and how many are to come.
    adding: Option<(usize, u32)>,
    /// Whether containers have been added, of which the log writer does not know.
    added: bool,
    /// Whether its last row has come.
    ended: bool,
}

impl Live {
    /// Nothing is watched.
    pub const fn new() -> Self {
        Self { inotify: None, reader: None, due_ms: NEVER, copied: false }
    }

    /// When something is due.
    pub fn deadline_ms(&self) -> u64 {
        self.reader.as_ref().map_or(self.due_ms, |reader| reader.until_ms)
    }
}

/// Where the manifest of `pod` is read from: what was accepted, once it has been copied.
pub fn manifest_of(world: &World<'_>, pod: &PodRow) -> PathBuf {
    let directory = match world.live.copied {
        true => reader::accepted(world.paths.run),
        false => world.paths.manifests.into(),
    };
    directory.join(pod.file.as_str())
}

/// Begins to watch, once the boot is over.
pub fn open(world: &mut World<'_>, now_ms: u64) {
    let opened = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
        .and_then(|inotify| world.poll.add(inotify.as_fd(), Token::Manifests).map(|()| inotify));
    match opened {
        Ok(inotify) => world.live.inotify = Some(inotify),
        Err(errno) => warn!("inotify: {}; changed manifests are seen by mote reload alone", words(errno)),
    }
    world.live.due_ms = now_ms.saturating_add(FIRST_MS);
}

/// Something may have changed.
pub fn noticed(world: &mut World<'_>, now_ms: u64) {
    let Some(inotify) = &world.live.inotify else { return };
    if reader::drain(inotify.as_fd()) {
        world.live.due_ms = world.live.due_ms.min(now_ms.saturating_add(QUIET_MS));
    }
}

/// Somebody wants all manifests to be looked at now.
pub fn reload(world: &mut World<'_>, now_ms: u64) {
    world.live.due_ms = now_ms;
}

/// Looks at the manifests when it is time to.
pub fn tick(world: &mut World<'_>, now_ms: u64) {
    if let Some(reader) = world.live.reader.as_mut() {
        if reader.until_ms <= now_ms {
            warn!("the manifests could not be read within {READER_MS} ms");
            let _ = pidfd_send_signal(reader.pidfd.as_fd(), libc::SIGKILL); // as below: its end is seen
            reader.until_ms = NEVER;
        }
        return;
    }
    if world.live.due_ms > now_ms {
        return;
    }
    world.live.due_ms = NEVER;
    if !world.power.is_up() {
        return;
    }
    if let Err(errno) = fork(world, now_ms) {
        error!("reading the manifests: {}; next try in {QUIET_MS} ms", words(errno));
        world.live.due_ms = now_ms.saturating_add(QUIET_MS);
    }
}

fn fork(world: &mut World<'_>, now_ms: u64) -> Result<(), Errno> {
    let (rows, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let shared = &*world;
    let inotify = shared.live.inotify.as_ref();
    let (pid, pidfd) = child::fork(c"mote-reader", || reader::run(shared, inotify, &theirs))?;
    drop(theirs);
    world.poll.add(rows.as_fd(), Token::Rows)?;
    let until_ms = now_ms.saturating_add(READER_MS);
    let (adding, added, ended) = (None, false, false);
    world.live.reader = Some(Reader { pid: pid.as_raw(), pidfd, rows, until_ms, adding, added, ended });
    Ok(())
}

/// Takes the rows that have come.
pub fn receive(world: &mut World<'_>, now_ms: u64) {
    let mut bytes = [0; ROW_BYTES];
    while let Some(reader) = &world.live.reader {
        match recv(reader.rows.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            Ok(length @ 1..) => match Row::decode(bytes.get(..length).unwrap_or_default()) {
                Some(row) => apply(world, row, now_ms),
                None => error!("a reader has sent what is no row"),
            },
            Err(Errno::EAGAIN) => return,
            // It has ended; waitid says how.
            Ok(0) | Err(_) => return world.poll.remove(reader.rows.as_fd()),
        }
    }
}

/// Whether `pid` was the reader.
pub fn ended(world: &mut World<'_>, pid: i32, now_ms: u64) -> bool {
    if world.live.reader.as_ref().is_none_or(|reader| reader.pid != pid) {
        return false;
    }
    receive(world, now_ms); // sent before it ended
    let Some(reader) = world.live.reader.take() else { return true };
    world.poll.remove(reader.rows.as_fd());
    if let Some((p, _)) = reader.adding {
        world.fail_pod(p, format_args!("its manifest could not be read to the end"));
    }
    world.live.copied |= reader.ended;
    if reader.added {
        logs::renew(world, now_ms);
    }
    world.begin(now_ms);
    true
}

fn find(world: &World<'_>, file: &File) -> Option<usize> {
    world.pods.iter().position(|pod| !pod.is_vacant() && pod.file == *file)
}

fn apply(world: &mut World<'_>, row: Row, now_ms: u64) {
    match row {
        Row::Pod { file, hash, name, policy, grace_ms, after, control, count } => {
            let new = PodRow::new(name.as_str(), file.clone());
            let pod = PodRow { hash, policy, grace_ms, after, control, ..new };
            let failed =
                find(world, &file).filter(|p| world.pods.get(*p).is_some_and(|p| p.failed.is_some()));
            let place = match failed.and_then(|p| Some((p, world.pods.get_mut(p)?))) {
                Some((p, place)) => {
                    *place = pod;
                    Some(p)
                }
                None => world.add_pod(pod),
            };
            match place {
                Some(_) => info!("{file}: pod {name} added"),
                None => error!("{file}: no room for one more pod"),
            }
            if let Some(reader) = world.live.reader.as_mut() {
                reader.adding = place.map(|p| (p, count));
            }
        }
        Row::Unit { name, conf, stdin, tty } => {
            let Some((p, left)) = world.live.reader.as_ref().and_then(|reader| reader.adding) else { return };
            let added = world.add_unit(p, name, conf, stdin, tty);
            let Some(reader) = world.live.reader.as_mut() else { return };
            reader.added = true;
            reader.adding = Some((p, left.saturating_sub(1))).filter(|(_, left)| *left > 0 && added.is_ok());
            let whole = reader.adding.is_none();
            if let Err(errno) = added {
                world.fail_pod(p, format_args!("a container more: {}", words(errno)));
            } else if whole && let Some(why) = crate::order::in_cycle(world.pods, p) {
                world.fail_pod(p, format_args!("{why}"));
            }
        }
        Row::Failed { file, reason } => {
            let place = find(world, &file).or_else(|| {
                let name = file.trim_end_matches(".json");
                world.add_pod(PodRow::new(name, file.clone()))
            });
            match place {
                Some(p) => world.fail_pod(p, format_args!("{reason}")),
                None => error!("{file}: {reason}; and there is no room to list it"),
            }
        }
        Row::Wrong { file, reason } => {
            let Some(pod) = find(world, &file).and_then(|p| world.pods.get_mut(p)) else { return };
            pod.wrong = Some(reason).filter(|reason| !reason.as_str().is_empty());
            match &pod.wrong {
                Some(why) => warn!("pod {} runs on as it was: {why}", pod.name),
                None => info!("{file}: as it was accepted"),
            }
        }
        Row::Changed(file) | Row::Gone(file) => {
            if let Some(p) = find(world, &file) {
                leave(world, p, now_ms);
            }
        }
        Row::End => {
            if let Some(reader) = world.live.reader.as_mut() {
                reader.ended = true;
            }
        }
    }
}

/// Has pod `p` end and go.
fn leave(world: &mut World<'_>, p: usize, now_ms: u64) {
    let Some(pod) = world.pods.get_mut(p) else { return };
    (pod.leaving, pod.again) = (true, false);
    info!("pod {}: its manifest has changed or is gone", pod.name);
    if pod.failed.is_some() {
        return vacate(world, p, now_ms); // nothing of it has ever been there
    }
    let grace_ms = pod.grace_ms;
    world.stop_pod(p, grace_ms, now_ms);
}

/// Goes on with a pod that is to go: once all its containers have ended, what they have left is removed, then its places.
pub fn left(world: &mut World<'_>, p: usize) {
    let Some(pod) = world.pods.get(p).filter(|pod| pod.leaving && pod.cleaner == 0) else { return };
    let mut units = world.units.iter().filter(|row| row.pod == p);
    if !units.all(|row| row.unit.state == State::Done && row.forgetter == 0) || !world.power.is_up() {
        return;
    }
    let shared = &*world;
    let forked = child::fork(c"mote-forget", || {
        for (i, _, _) in shared.views(p) {
            if let Err(e) = start::forget(shared, i) {
                warn!("{e}; it stays");
            }
        }
        hosted::forget_pod(shared, pod, true);
        let _ = fs::remove_file(reader::accepted(shared.paths.run).join(pod.file.as_str())); // never copied
        0
    });
    match forked {
        Ok((pid, _)) => {
            if let Some(pod) = world.pods.get_mut(p) {
                pod.cleaner = pid.as_raw();
            }
        }
        Err(errno) => {
            error!("pod {}: fork: {}; what it leaves stays", world.pod_name(p), words(errno));
            vacate(world, p, clock::now_ms());
        }
    }
}

/// Whether `pid` has removed what a pod has left.
pub fn cleaned(world: &mut World<'_>, pid: i32, now_ms: u64) -> bool {
    let Some(p) = world.pods.iter().position(|pod| pod.cleaner == pid) else { return false };
    vacate(world, p, now_ms);
    true
}

/// Gives the places of pod `p` back, and looks whether somebody waits for them.
fn vacate(world: &mut World<'_>, p: usize, now_ms: u64) {
    info!("pod {}: forgotten", world.pod_name(p));
    world.leave_units(p);
    if let Some(pod) = world.pods.get_mut(p) {
        *pod = PodRow::new("", File::new());
    }
    world.live.due_ms = now_ms;
}
