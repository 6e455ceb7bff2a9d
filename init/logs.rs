//! The containers' standard output and error: PID 1 owns both ends of every pipe and never touches what flows through them.
//! One child, the log writer (`logwriter.rs`), reads them all; when it dies PID 1 forks another, which finds the pipes, with
//! what is in them, as the first one left them.
//!
//! A writer gets pipes and names by being forked. What it has to be told later is that a container has ended (so that a
//! last line without a newline is written out) and that the device goes down; PID 1 keeps a note of what it has not
//! been able to tell yet, so that a writer that is slow or dead never holds it up.

use std::os::fd::{AsFd as _, OwnedFd};

use log::{error, warn};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::unistd::pipe2;
use std::os::fd::AsRawFd as _;

use crate::poll::Token;
use crate::supervise::NEVER;
use crate::world::World;
use crate::{child, logwriter};
use mote::board::MAX_CONTAINERS;

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
    /// Write out everything and end.
    Finish,
}

/// The size of a message.
pub const MESSAGE_BYTES: usize = 4;

impl Message {
    fn encode(self) -> [u8; MESSAGE_BYTES] {
        match self {
            Self::Flush(i) => u32::try_from(i).unwrap_or(u32::MAX).to_le_bytes(),
            Self::Finish => u32::MAX.to_le_bytes(),
        }
    }

    /// What was sent as `bytes`.
    pub fn decode(bytes: [u8; MESSAGE_BYTES]) -> Self {
        match u32::from_le_bytes(bytes) {
            u32::MAX => Self::Finish,
            i => usize::try_from(i).map_or(Self::Finish, Self::Flush),
        }
    }
}

/// The log writer as PID 1 knows it.
#[derive(Debug)]
pub struct Logs {
    writer: Option<Writer>,
    retry_ms: u64,
    /// Containers whose end it has not been told of.
    flush: [bool; MAX_CONTAINERS],
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
        Self { writer: None, retry_ms: NEVER, flush: [false; MAX_CONTAINERS], finish: None, renew: None }
    }

    /// When the writer is to be started again.
    pub fn deadline_ms(&self) -> u64 {
        self.retry_ms
    }

    /// Whether there is no writer at work any more.
    pub fn finished(&self) -> bool {
        self.writer.is_none()
    }

    /// The writer's process.
    pub fn pid(&self) -> Option<i32> {
        self.writer.as_ref().map(|writer| writer.pid)
    }
}

/// Starts the log writer; on a failure it is tried again later. Logs wait in their pipes meanwhile.
pub fn start(world: &mut World, now_ms: u64) {
    world.logs.retry_ms = NEVER;
    let flags = SockFlag::SOCK_CLOEXEC;
    let forked =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).and_then(|(socket, theirs)| {
            let shared = &*world;
            let (pid, _pidfd) = child::fork(c"mote-logs", || logwriter::run(shared, &theirs))?;
            world.poll.add(socket.as_fd(), Token::Writer)?;
            Ok(Writer { pid: pid.as_raw(), socket, since_ms: now_ms })
        });
    match forked {
        Ok(writer) => world.logs.writer = Some(writer),
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
    if let Some(due) = world.logs.flush.get_mut(i) {
        *due = true;
    }
    pump(world);
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
    let World { logs: Logs { writer: Some(writer), flush, finish, renew, .. }, poll, .. } = world else {
        return;
    };
    let tell = |message: Message| {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // Another error than EAGAIN: it is dying, and the next one will be told.
        send(writer.socket.as_raw_fd(), &message.encode(), flags).is_ok()
    };
    let mut full = false;
    for (i, due) in flush.iter_mut().enumerate().filter(|(_, due)| **due) {
        *due = !tell(Message::Flush(i));
        full |= *due;
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
        for message in [Message::Flush(0), Message::Flush(127), Message::Finish] {
            assert_eq!(Message::decode(message.encode()), message);
        }
    }
}
