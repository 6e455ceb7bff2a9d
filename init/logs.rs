//! The containers' standard output and error: PID 1 owns both ends of every pipe and never touches what flows through them.
//! One child, the log writer (`logwriter.rs`), reads them all; when it dies PID 1 forks another, which goes on where the first one
//! was (`journal.rs`).
//!
//! A writer gets pipes and names by being forked. What it has to be told later is that a container has ended (so that a
//! last line without a newline is written out), that there are new ones, and that the device goes down. PID 1 writes that into memory
//! that all writers share and pokes the present one. That a container has a new terminal or somebody who wants to see it comes as
//! a message with a descriptor; PID 1 keeps a note of those that it could not send yet. So a writer that is slow or dead never
//! holds it up.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use mote::sys::shared;
use mote::{error, warn};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::unistd::pipe2;

use crate::journal::Journal;
use crate::poll::Token;
use crate::supervise::NEVER;
use crate::world::World;
use crate::{child, logwriter};
use mote::board::{CONTROL_CLIENTS, MAX_CONTAINERS};
use mote::sys::socket;

/// How long the next writer waits after so many in a row that have lived shorter than this and written nothing: whatever killed them
/// would kill it too.
const HEALTHY_MS: u64 = 1_000;
const STRIKES: u32 = 8;

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
    /// There is something in the memory.
    Look,
    /// This container has a new terminal, whose master comes along. So many runs of it had ended before.
    Terminal(usize, u32),
    /// Somebody wants to see what this container prints to its terminal, on the socket that comes along.
    Viewer(usize),
}

/// The size of a message.
pub const MESSAGE_BYTES: usize = 8;

impl Message {
    fn encode(self) -> [u8; MESSAGE_BYTES] {
        let (kind, i, ends) = match self {
            Self::Look => (0, 0, 0),
            Self::Terminal(i, ends) => (1, i, ends),
            Self::Viewer(i) => (2, i, 0),
        };
        (u64::from(ends) << 32 | (i as u64) << 2 | kind).to_le_bytes()
    }

    /// What was sent as `bytes`.
    pub fn decode(bytes: [u8; MESSAGE_BYTES]) -> Self {
        let number = u64::from_le_bytes(bytes);
        let i = usize::try_from((number & 0xffff_ffff) >> 2).unwrap_or(usize::MAX);
        match number & 3 {
            1 => Self::Terminal(i, u32::try_from(number >> 32).unwrap_or(0)),
            2 => Self::Viewer(i),
            _ => Self::Look,
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

/// What the writer has not been told of a container.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    /// There is a new terminal.
    terminal: bool,
    /// And the run with that one has ended.
    end: bool,
}

/// What the writer is to do besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nothing.
    Go,
    /// End: another one is to follow that knows of new containers.
    Renew,
    /// Write out everything and end.
    Finish,
    /// It has done so.
    Finished,
}

/// What PID 1 and the writer tell each other.
#[derive(Clone, Copy, Debug)]
pub struct Orders(&'static [AtomicU32; MAX_CONTAINERS + 2]);

impl Orders {
    fn word(&self, i: usize) -> &AtomicU32 {
        self.0.get(i).unwrap_or(&self.0[MAX_CONTAINERS])
    }

    /// How many times container `i` has ended.
    pub fn ends(&self, i: usize) -> u64 {
        self.word(i).load(SeqCst).into()
    }

    /// What is to be done.
    pub fn order(&self) -> Order {
        let orders = [Order::Go, Order::Renew, Order::Finish, Order::Finished];
        let word = self.0[MAX_CONTAINERS].load(SeqCst);
        orders.into_iter().find(|order| *order as u32 == word).unwrap_or(Order::Go)
    }

    /// Says what is to be done.
    pub fn say(&self, order: Order) {
        self.0[MAX_CONTAINERS].store(order as u32, SeqCst);
    }

    /// How often something has been written.
    fn progress(&self) -> u32 {
        self.0[MAX_CONTAINERS + 1].load(SeqCst)
    }

    /// Something has been written.
    pub fn went_on(&self) {
        self.0[MAX_CONTAINERS + 1].fetch_add(1, SeqCst);
    }
}

/// What all writers share.
#[derive(Debug)]
pub struct Shared {
    /// What they are told.
    pub orders: Orders,
    /// What they have under way.
    pub journal: Journal,
    /// Where it is.
    pub stage: Pipe,
}

/// The log writer as PID 1 knows it.
#[derive(Debug)]
pub struct Logs {
    shared: Option<Shared>,
    writer: Option<Writer>,
    retry_ms: u64,
    /// How many in a row have written nothing.
    strikes: u32,
    /// How many times each container has ended, as far as the writer may know.
    ends: [u32; MAX_CONTAINERS],
    due: [Due; MAX_CONTAINERS],
    viewers: [Option<Viewer>; CONTROL_CLIENTS],
}

#[derive(Debug)]
struct Writer {
    pid: i32,
    socket: OwnedFd,
    since_ms: u64,
    /// How often something had been written before it.
    progress: u32,
}

impl Logs {
    /// Not started.
    pub const fn new() -> Self {
        Self {
            shared: None,
            writer: None,
            retry_ms: NEVER,
            strikes: 0,
            ends: [0; MAX_CONTAINERS],
            due: [Due { terminal: false, end: false }; MAX_CONTAINERS],
            viewers: [const { None }; CONTROL_CLIENTS],
        }
    }

    /// When the writer is to be started again.
    pub fn deadline_ms(&self) -> u64 {
        self.retry_ms
    }

    /// Whether there is no writer at work any more, and none will be.
    pub fn finished(&self) -> bool {
        self.writer.is_none() && self.retry_ms == NEVER
    }

    /// Who watches.
    pub fn viewers(&self) -> impl Iterator<Item = &Viewer> {
        self.viewers.iter().flatten()
    }

    /// One more run of container `i` has ended.
    fn end(&mut self, i: usize) {
        let Some(ends) = self.ends.get_mut(i) else { return };
        *ends = ends.wrapping_add(1);
        if let Some(shared) = &self.shared {
            shared.orders.word(i).store(*ends, SeqCst);
        }
        self.poke();
    }

    /// The place of container `i` has been given to another one.
    pub fn forget(&mut self, i: usize) {
        if let (Some(ends), Some(due)) = (self.ends.get_mut(i), self.due.get_mut(i)) {
            (*ends, *due) = (0, Due::default());
        }
        if let Some(shared) = &self.shared {
            shared.orders.word(i).store(0, SeqCst);
        }
    }

    fn order(&self) -> Order {
        self.shared.as_ref().map_or(Order::Go, |shared| shared.orders.order())
    }

    /// Tells the writer something, if there is one that can be told; the next one looks by itself.
    fn say(&self, order: Order) {
        if let Some(shared) = &self.shared {
            shared.orders.say(order);
        }
        self.poke();
    }

    /// Has the writer look at what it has been told. A socket that is full has pokes in it that it has not seen.
    fn poke(&self) {
        if let Some(writer) = &self.writer {
            let _ = socket::send(writer.socket.as_fd(), &Message::Look.encode());
        }
    }

    /// The memory that writers share, made when the first one is.
    fn share(&mut self) -> Result<&Shared, Errno> {
        if self.shared.is_none() {
            let (orders, journal, stage) = (Orders(shared::map()?), Journal::new()?, Pipe::new()?);
            for (word, ends) in orders.0.iter().zip(self.ends) {
                word.store(ends, SeqCst);
            }
            self.shared = Some(Shared { orders, journal, stage });
        }
        self.shared.as_ref().ok_or(Errno::ENOMEM)
    }
}

/// Starts the log writer; on a failure it is tried again later. Logs wait in their pipes meanwhile.
pub fn start(world: &mut World, now_ms: u64) {
    world.logs.retry_ms = NEVER;
    match fork(world, now_ms) {
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

fn fork(world: &mut World, now_ms: u64) -> Result<Writer, Errno> {
    let orders = world.logs.share()?.orders;
    if orders.order() == Order::Renew {
        orders.say(Order::Go);
    }
    let progress = orders.progress();
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let world = &*world;
    let work = || world.logs.shared.as_ref().map_or(1, |shared| logwriter::run(world, shared, &theirs));
    let (pid, _pidfd) = child::fork(c"mote-logs", work)?;
    world.poll.add(socket.as_fd(), Token::Writer)?;
    Ok(Writer { pid: pid.as_raw(), socket, since_ms: now_ms, progress })
}

/// Starts the log writer again when it is time to.
pub fn tick(world: &mut World, now_ms: u64) {
    if world.logs.retry_ms <= now_ms {
        start(world, now_ms);
    }
}

/// Whether `pid` was the log writer, which is started again unless it was asked to end.
pub fn ended(world: &mut World, pid: i32, now_ms: u64) -> bool {
    let Some(writer) = world.logs.writer.take_if(|writer| writer.pid == pid) else { return false };
    world.poll.remove(writer.socket.as_fd());
    let progress = world.logs.shared.as_ref().map_or(0, |shared| shared.orders.progress());
    let healthy = now_ms.saturating_sub(writer.since_ms) >= HEALTHY_MS || progress != writer.progress;
    world.logs.strikes = if healthy { 0 } else { world.logs.strikes.saturating_add(1) };
    match (world.logs.order(), world.logs.strikes < STRIKES) {
        (Order::Finished, _) => {}
        (Order::Renew, _) => start(world, now_ms),
        (_, true) => {
            warn!("log writer ended; starting another");
            start(world, now_ms);
        }
        (_, false) => {
            warn!("log writer ended; next try in {HEALTHY_MS} ms");
            world.logs.retry_ms = now_ms.saturating_add(HEALTHY_MS);
        }
    }
    true
}

/// Has the writer write out what container `i`, which has ended, left unfinished.
pub fn flush(world: &mut World, i: usize) {
    match world.logs.due.get_mut(i) {
        Some(due) if due.terminal => due.end = true,
        _ => world.logs.end(i),
    }
}

/// Has the writer read the new terminal of container `i`.
pub fn began(world: &mut World, i: usize) {
    send_away(world, i);
    let Some(due) = world.logs.due.get_mut(i) else { return };
    due.terminal = true;
    if std::mem::take(&mut due.end) {
        world.logs.end(i); // one that it has not been told of has come and gone meanwhile
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
    if world.logs.order() == Order::Go {
        world.logs.say(Order::Renew);
    }
}

/// Has the writer write out everything and end.
pub fn finish(world: &mut World) {
    if world.logs.shared.is_none() {
        world.logs.retry_ms = NEVER; // nothing was ever written
    }
    world.logs.say(Order::Finish);
}

/// Tells the writer of terminals and of those who watch; the rest when its socket is ready for more.
pub fn pump(world: &mut World) {
    let World { logs, units, poll, .. } = world;
    let Some(writer) = &logs.writer else { return };
    // An error is EAGAIN, or it is dying, and the next one will know. Its socket does not block.
    let give = |message: Message, fd: Option<BorrowedFd<'_>>| {
        fd.is_none_or(|fd| socket::send_fd(writer.socket.as_fd(), &message.encode(), fd).is_ok())
    };
    let mut full = false;
    for (i, (due, ends)) in logs.due.iter_mut().zip(&logs.ends).enumerate() {
        if due.terminal {
            let master = units.get(i).and_then(|row| row.tty.master());
            due.terminal = !give(Message::Terminal(i, *ends), master);
            full |= due.terminal;
        }
    }
    for viewer in logs.viewers.iter_mut().flatten().filter(|viewer| !viewer.told) {
        viewer.told = give(Message::Viewer(viewer.unit), Some(viewer.to.as_fd()));
        full |= !viewer.told;
    }
    let _ = poll.want_write(writer.socket.as_fd(), Token::Writer, full); // the next one tries again
    for i in 0..MAX_CONTAINERS {
        if let Some(due) = logs.due.get_mut(i).filter(|due| due.end && !due.terminal) {
            due.end = false;
            logs.end(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        for message in
            [Message::Look, Message::Terminal(255, u32::MAX), Message::Terminal(0, 7), Message::Viewer(1)]
        {
            assert_eq!(Message::decode(message.encode()), message);
        }
    }
}
