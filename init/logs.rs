//! The containers' standard output and error: PID 1 owns both ends of every pipe and never touches what flows through them.
//! One child, the log writer (`logwriter.rs`), reads them all; when it dies PID 1 forks another, which finds the pipes, with
//! what is in them, as the first one left them.
//!
//! A writer gets pipes and names by being forked. What it has to be told later is that a container has ended (so that a
//! last line without a newline is written out), that one has a new terminal or somebody who wants to see it, and that the device
//! goes down; PID 1 keeps a note of what it has not been able to tell yet, so that a writer that is slow or dead never holds it up.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use mote::{error, warn};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::unistd::pipe2;

use crate::poll::Token;
use crate::supervise::NEVER;
use crate::world::World;
use crate::{child, logwriter};
use mote::board::{CONTROL_CLIENTS, MAX_CONTAINERS};
use mote::sys::socket;

/// A writer that lives shorter than this is not followed at once: whatever kills it would kill the next one too.
const HEALTHY_MS: u64 = 1_000;

/// Both ends of a pipe. The end that is read does not block.
#[derive(Debug)]
pub struct Pipe {
    /// For the log writer.
    pub read: OwnedFd,
    /// For the container.
    pub write: OwnedFd,
}

impl Pipe {
    /// A new pipe.
    pub fn new() -> Result<Self, Errno> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { read, write })
    }
}

/// A message to the writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// This container has ended: write out what it left.
    Flush(usize),
    /// This container has a new terminal, whose master comes along.
    Terminal(usize),
    /// Somebody wants to see what this container prints to its terminal, on the socket that comes along.
    Viewer(usize),
    /// Write out everything and end.
    Finish,
}

/// The size of a message.
pub const MESSAGE_BYTES: usize = 8;

impl Message {
    fn encode(self) -> [u8; MESSAGE_BYTES] {
        let (kind, i) = match self {
            Self::Flush(i) => (0, i),
            Self::Terminal(i) => (1, i),
            Self::Viewer(i) => (2, i),
            Self::Finish => (3, 0),
        };
        (i as u64 * 4 + kind).to_le_bytes()
    }

    /// What was sent as `bytes`.
    pub fn decode(bytes: [u8; MESSAGE_BYTES]) -> Self {
        let number = u64::from_le_bytes(bytes);
        let i = usize::try_from(number / 4).unwrap_or(usize::MAX);
        match number % 4 {
            0 => Self::Flush(i),
            1 => Self::Terminal(i),
            2 => Self::Viewer(i),
            _ => Self::Finish,
        }
    }
}

/// Somebody who watches a container's terminal.
#[derive(Debug)]
pub struct Viewer {
    /// The container.
    pub unit: usize,
    /// The end that is written to. Kept here for the writer's successors.
    pub to: OwnedFd,
    /// Whether the writer knows.
    told: bool,
}

/// What the writer has not been told of a container, in this order.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// A run has ended.
    flush: bool,
    /// There is a new terminal.
    terminal: bool,
    /// And the run with that one has ended as well.
    flush_again: bool,
}

const NOTHING: Due = Due { flush: false, terminal: false, flush_again: false };

/// The log writer as PID 1 knows it.
#[derive(Debug)]
pub struct Logs {
    writer: Option<Writer>,
    retry_ms: u64,
    /// What it has not been told of the containers.
    due: [Due; MAX_CONTAINERS],
    viewers: [Option<Viewer>; CONTROL_CLIENTS],
    /// Whether it is to end, and whether it has been told so.
    finish: Option<bool>,
    /// Whether another one is to follow that knows of new containers, and whether it has been told to end for that.
    renew: Option<bool>,
}

#[derive(Debug)]
struct Writer {
    pid: i32,
    socket: OwnedFd,
    since_ms: u64,
}

impl Logs {
    /// Not started.
    pub const fn new() -> Self {
        Self {
            writer: None,
            retry_ms: NEVER,
            due: [NOTHING; MAX_CONTAINERS],
            viewers: [const { None }; CONTROL_CLIENTS],
            finish: None,
            renew: None,
        }
    }

    /// When the writer is to be started again.
    pub fn deadline_ms(&self) -> u64 {
        self.retry_ms
    }

    /// Whether there is no writer at work any more.
    pub fn finished(&self) -> bool {
        self.writer.is_none()
    }

    /// Who watches.
    pub fn viewers(&self) -> impl Iterator<Item = &Viewer> {
        self.viewers.iter().flatten()
    }

    /// The writer's process.
    pub fn pid(&self) -> Option<i32> {
        self.writer.as_ref().map(|writer| writer.pid)
    }
}

/// Starts the log writer; on a failure it is tried again later. Logs wait in their pipes meanwhile.
pub fn start(world: &mut World, now_ms: u64) {
    world.logs.retry_ms = NEVER;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let forked =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).and_then(|(socket, theirs)| {
            let shared = &*world;
            let (pid, _pidfd) = child::fork(c"mote-logs", || logwriter::run(shared, &theirs))?;
            world.poll.add(socket.as_fd(), Token::Writer)?;
            Ok(Writer { pid: pid.as_raw(), socket, since_ms: now_ms })
        });
    match forked {
        Ok(writer) => {
            world.logs.writer = Some(writer);
            // It has been forked with these.
            world.logs.due.iter_mut().for_each(|due| due.terminal = false);
            world.logs.viewers.iter_mut().flatten().for_each(|viewer| viewer.told = true);
        }
        Err(errno) => {
            error!("log writer: {}; next try in {HEALTHY_MS} ms", mote::error::words(errno));
            world.logs.retry_ms = now_ms.saturating_add(HEALTHY_MS);
        }
    }
    pump(world);
}

/// Starts the log writer again when it is time to.
pub fn tick(world: &mut World, now_ms: u64) {
    if world.logs.retry_ms <= now_ms {
        start(world, now_ms);
    }
}

/// Whether `pid` was the log writer, which is started again unless it was asked to end.
pub fn ended(world: &mut World, pid: i32, now_ms: u64) -> bool {
    if world.logs.pid() != Some(pid) {
        return false;
    }
    let Some(writer) = world.logs.writer.take() else { return true };
    world.poll.remove(writer.socket.as_fd());
    if world.logs.finish.is_some() {
        return true;
    }
    if world.logs.renew.take().is_some() {
        start(world, now_ms);
        return true;
    }
    if now_ms.saturating_sub(writer.since_ms) < HEALTHY_MS {
        warn!("log writer ended; next try in {HEALTHY_MS} ms");
        world.logs.retry_ms = now_ms.saturating_add(HEALTHY_MS);
    } else {
        warn!("log writer ended; starting another");
        start(world, now_ms);
    }
    true
}

/// Has the writer write out what container `i`, which has ended, left unfinished.
pub fn flush(world: &mut World, i: usize) {
    if let Some(due) = world.logs.due.get_mut(i) {
        *(if due.terminal { &mut due.flush_again } else { &mut due.flush }) = true;
    }
    pump(world);
}

/// Has the writer read the new terminal of container `i`.
pub fn began(world: &mut World, i: usize) {
    send_away(world, i);
    if let Some(due) = world.logs.due.get_mut(i) {
        // One that it has not been told of has come and gone meanwhile: its own end says so.
        due.flush |= std::mem::take(&mut due.flush_again);
        due.terminal = true;
    }
    pump(world);
}

/// Lets go of who has watched container `i` in a run before this one.
pub fn send_away(world: &mut World, i: usize) {
    for place in &mut world.logs.viewers {
        if let Some(viewer) = place.take_if(|viewer| viewer.unit == i) {
            world.poll.remove(viewer.to.as_fd());
            let _ = shutdown(viewer.to.as_raw_fd(), Shutdown::Write); // the writer has another of it
        }
    }
}

/// A socket on which comes what container `i` prints to its terminal from now on.
pub fn view(world: &mut World, i: usize) -> Result<OwnedFd, &'static str> {
    let row = world.units.get(i).ok_or("there is none")?;
    if !row.tty.is_wanted() {
        return Err("has no terminal: its manifest lacks tty: true");
    }
    if row.unit.pid().is_none() {
        return Err("it does not run");
    }
    let free = world.logs.viewers.iter_mut().enumerate().find(|(_, viewer)| viewer.is_none());
    let (k, place) = free.ok_or("too many watch already; try again")?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, flags);
    let (to, theirs) = pair.map_err(|_| "no socket to be had")?;
    world.poll.add_end(to.as_fd(), Token::Viewer(k)).map_err(|_| "no socket to be had")?;
    *place = Some(Viewer { unit: i, to, told: false });
    pump(world);
    Ok(theirs)
}

/// Viewer `k` may be gone.
pub fn view_ended(world: &mut World, k: usize) {
    let Some(place) = world.logs.viewers.get_mut(k) else { return };
    let is_gone = |viewer: &mut Viewer| {
        let mut fds = [PollFd::new(viewer.to.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::ZERO) != Ok(0)
    };
    // Or another one who has the place now.
    if let Some(viewer) = place.take_if(is_gone) {
        world.poll.remove(viewer.to.as_fd());
    }
}

/// Has a writer follow that knows of the containers that have been added. What those print meanwhile waits in their pipes.
pub fn renew(world: &mut World, now_ms: u64) {
    if world.logs.writer.is_none() {
        return start(world, now_ms);
    }
    world.logs.renew.get_or_insert(false);
    pump(world);
}

/// Has the writer write out everything and end.
pub fn finish(world: &mut World) {
    world.logs.finish.get_or_insert(false);
    world.logs.retry_ms = NEVER;
    pump(world);
}

/// Tells the writer what it can take; the rest when its socket is ready for more.
pub fn pump(world: &mut World) {
    let World { logs: Logs { writer: Some(writer), due, viewers, finish, renew, .. }, poll, units, .. } =
        world
    else {
        return;
    };
    // An error is EAGAIN, or it is dying, and the next one will be told. Its socket does not block.
    let tell = |message: Message| socket::send(writer.socket.as_fd(), &message.encode()).is_ok();
    let give = |message: Message, fd: Option<BorrowedFd<'_>>| {
        fd.is_none_or(|fd| socket::send_fd(writer.socket.as_fd(), &message.encode(), fd).is_ok())
    };
    let mut full = false;
    for (i, due) in due.iter_mut().enumerate() {
        due.flush &= !(due.flush && tell(Message::Flush(i)));
        if due.terminal && !due.flush {
            let master = units.get(i).and_then(|row| row.tty.master());
            due.terminal = !give(Message::Terminal(i), master);
        }
        due.flush_again &= !(due.flush_again && !due.terminal && tell(Message::Flush(i)));
        full |= due.flush || due.terminal || due.flush_again;
    }
    for viewer in viewers.iter_mut().flatten().filter(|viewer| !viewer.told) {
        viewer.told = give(Message::Viewer(viewer.unit), Some(viewer.to.as_fd()));
        full |= !viewer.told;
    }
    // Either way it is told once: the other one cannot be meant any more.
    let end = finish.as_mut().or(renew.as_mut());
    if let (Some(told @ false), false) = (end, full) {
        *told = tell(Message::Finish);
        full = !*told;
    }
    let _ = poll.want_write(writer.socket.as_fd(), Token::Writer, full); // the next flush tries again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        for message in [
            Message::Flush(0),
            Message::Flush(127),
            Message::Terminal(255),
            Message::Viewer(1),
            Message::Finish,
        ] {
            assert_eq!(Message::decode(message.encode()), message);
        }
    }
}
