//! What the log writer has under way, in memory that the next writer finds as this one has left it: whatever kills a writer,
//! no line is lost and none is written twice.
//!
//! What a container has printed goes this way: from its pipe to the *stage*, a pipe of PID 1's (one call of the kernel, which
//! either has happened or has not: what lies in the stage tells); from there into the *chunk* here; as lines into the file; and only
//! when those are written, the chunk counts as done. What that changes besides (the beginning of a line that has no end yet, what was
//! dropped, what the rate leaves) is put down beside it and becomes true in the same instant.
//!
//! | state | a writer that finds it |
//! | --- | --- |
//! | `READY` | goes on with the chunk, unless all of it is done |
//! | `MOVING` | takes what lies in the stage for the chunk; nothing has been written of it |
//! | `READING` | has in the chunk what has left the stage, and reads the rest |
//! | `WRITING` | makes the same lines again, to the byte, as all that they depend on is here, and writes what of them is not in the file |
//! | `WRITTEN` | makes true what was put down (again; it cannot be done too often) |
//!
//! One writer is at work at a time; PID 1 looks at nothing of this.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, compiler_fence};

use mote::board::{LOG_LINE_BYTES, MAX_CONTAINERS};
use mote::sys::file::{available, splice};
use mote::sys::shared;
use nix::errno::Errno;

use crate::logs::Pipe;

/// As much as a pipe holds.
pub const CHUNK_BYTES: usize = 64 * 1024;

const READY: u64 = 0;
const MOVING: u64 = 1;
const READING: u64 = 2;
const WRITING: u64 = 3;
const WRITTEN: u64 = 4;

// The words of what is under way.
const STATE: usize = 0;
const CONTAINER: usize = 1;
/// Whose chunk it is, 0 or 1; or [`END`].
const SOURCE: usize = 2;
/// How long the chunk is, and how much of it is done.
const LENGTH: usize = 3;
const DONE: usize = 4;
/// When it was taken, in nanoseconds since 1970.
const TIME_NS: usize = 5;
/// The file that is written to and its size before.
const INODE: usize = 6;
const SIZE: usize = 7;
/// What is true once it is written: `DONE`, which source has a line without an end, and how long that is.
const NEW_DONE: usize = 8;
const NEW_SOURCE: usize = 9;
const NEW_PENDING: usize = 10;
/// And what is kept of the container.
const NEW: usize = 11;
/// With [`END`]: how many runs have ended.
const ENDS: usize = NEW + KEPT;
const WORDS: usize = ENDS + 1;

/// The place of a source for the end of a run.
const END: u64 = 2;

/// The number of words of [`Kept`].
const KEPT: usize = 9;

type Memory = (
    [AtomicU64; WORDS],
    [[AtomicU64; KEPT]; MAX_CONTAINERS],
    // Of each source, and at the end that which is to become true.
    [[AtomicU8; LOG_LINE_BYTES]; 2 * MAX_CONTAINERS + 1],
    [AtomicU8; CHUNK_BYTES],
);

/// What there is to know about the log of a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Whose it is: the number of its pipe.
    pub id: u64,
    /// How many lines could not be written since the last one that was.
    pub dropped: u64,
    /// How many were too many since then.
    pub limited: u64,
    /// Whether nothing was written since the last end of a run.
    pub silent: bool,
    /// How many ends of runs have been seen to.
    pub ends: u64,
    /// How many bytes may come at once.
    pub left: u64,
    /// Whether none may until there are more.
    pub closed: bool,
    /// How long the beginning of a line is that each source has printed.
    pub pending: [usize; 2],
}

impl Kept {
    fn encode(&self) -> [u64; KEPT] {
        let [out, err] = self.pending.map(|length| length as u64);
        let (silent, closed) = (self.silent.into(), self.closed.into());
        [self.id, self.dropped, self.limited, silent, self.ends, self.left, closed, out, err]
    }

    fn decode(words: &[AtomicU64; KEPT]) -> Self {
        let [id, dropped, limited, silent, ends, left, closed, out, err] =
            words.each_ref().map(|word| word.load(Relaxed));
        let pending = [out, err].map(index);
        Self { id, dropped, limited, silent: silent != 0, ends, left, closed: closed != 0, pending }
    }
}

/// What was under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// What this source has printed, from this byte of the chunk on.
    Chunk(usize, usize),
    /// The end of a run, after which so many have ended.
    End(u64),
}

/// What a writer before this one had under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnderWay {
    /// The container's place.
    pub container: usize,
    /// What is to be done for it.
    pub work: Work,
    /// The file that may have some of it: its inode, and its size before.
    pub file: Option<(u64, u64)>,
}

/// The memory.
#[derive(Clone, Copy, Debug)]
pub struct Journal(&'static Memory);

fn index(word: u64) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}

fn store(to: &[AtomicU64], from: &[u64]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Relaxed));
}

impl Journal {
    /// Nothing is under way.
    pub fn new() -> Result<Self, Errno> {
        shared::map().map(Self)
    }

    fn word(&self, which: usize) -> &'static AtomicU64 {
        self.0.0.get(which).unwrap_or(&self.0.0[STATE])
    }

    fn get(&self, which: usize) -> usize {
        index(self.word(which).load(Relaxed))
    }

    fn set(&self, which: usize, value: u64) {
        self.word(which).store(value, Relaxed);
    }

    /// The same in its place among all other stores. The compiler is held to it; a processor that is interrupted for good has done
    /// what comes before and nothing of what comes after.
    fn mark(&self, which: usize, value: u64) {
        compiler_fence(SeqCst);
        self.set(which, value);
        compiler_fence(SeqCst);
    }

    fn enter(&self, state: u64) {
        self.mark(STATE, state);
    }

    /// What is kept of container `i`.
    pub fn kept(&self, i: usize) -> Kept {
        self.0.1.get(i).map(Kept::decode).unwrap_or_default()
    }

    /// Container `i` is another one than before, or has had time to print more.
    pub fn keep(&self, i: usize, kept: &Kept) {
        if let Some(words) = self.0.1.get(i) {
            store(words, &kept.encode());
        }
    }

    /// The beginning of a line that source `k` of container `i` has printed.
    pub fn pending(&self, i: usize, k: usize) -> Vec<u8> {
        let length = self.kept(i).pending.get(k).copied().unwrap_or(0);
        shared::copy(self.0.2.get(2 * i + k).and_then(|bytes| bytes.get(..length)).unwrap_or_default())
    }

    /// Takes what source `k` of container `i` has printed, as of `time_ns`; `false` when there is nothing.
    pub fn fetch(&self, i: usize, k: usize, pipe: &Pipe, stage: &Pipe, time_ns: u64) -> Result<bool, Errno> {
        self.set(CONTAINER, i as u64);
        self.set(SOURCE, k as u64);
        self.set(TIME_NS, time_ns);
        self.enter(MOVING);
        let length = match splice(pipe.read.as_fd(), stage.write.as_fd(), CHUNK_BYTES) {
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            other => other?,
        };
        self.moved(length);
        self.read_stage(stage).map(|()| length > 0)
    }

    fn moved(&self, length: usize) {
        self.set(LENGTH, length as u64);
        self.set(DONE, 0);
        self.enter(READING);
    }

    /// Reads what lies in the stage; before it is what has been read already.
    fn read_stage(&self, stage: &Pipe) -> Result<(), Errno> {
        let length = self.get(LENGTH);
        let mut left = if length == 0 { 0 } else { available(stage.read.as_fd())? };
        while left > 0 {
            let room = self.0.3.get(length.saturating_sub(left)..length).unwrap_or_default();
            match shared::read(stage.read.as_fd(), room) {
                Ok(0) => return Err(Errno::EIO), // what was there a moment ago
                Ok(more) => left = left.saturating_sub(more),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.enter(READY);
        Ok(())
    }

    /// The end of a run of container `i` is to be written, as of `time_ns`; with it `ends` have ended.
    pub fn end(&self, i: usize, time_ns: u64, ends: u64) {
        self.mark(LENGTH, 0); // between two of these stores nothing must look like work
        self.set(CONTAINER, i as u64);
        self.set(SOURCE, END);
        self.set(TIME_NS, time_ns);
        self.set(ENDS, ends);
        self.set(DONE, 0);
        self.mark(LENGTH, 1);
    }

    /// When what is under way was taken, in nanoseconds since 1970.
    pub fn time_ns(&self) -> u64 {
        self.word(TIME_NS).load(Relaxed)
    }

    /// What is to be done of the chunk.
    pub fn chunk(&self) -> Vec<u8> {
        let range = self.get(DONE)..self.get(LENGTH);
        shared::copy(self.0.3.get(range).unwrap_or_default())
    }

    /// The file with this inode and size is about to be written to.
    pub fn will_write(&self, inode: u64, size: u64) {
        self.set(INODE, inode);
        self.set(SIZE, size);
        self.enter(WRITING);
    }

    /// It is written: `done` bytes of the chunk are, and this is what is known of the container, with this beginning of a line of the
    /// source whose chunk it is.
    pub fn commit(&self, done: usize, kept: &Kept, pending: &[u8]) {
        self.set(NEW_DONE, done as u64);
        self.set(NEW_SOURCE, self.get(SOURCE) as u64);
        self.set(NEW_PENDING, pending.len() as u64);
        store(self.0.0.get(NEW..).unwrap_or_default(), &kept.encode());
        let place = self.0.2.last().map_or(&[][..], |place| &place[..]);
        place.iter().zip(pending).for_each(|(to, byte)| to.store(*byte, Relaxed));
        self.enter(WRITTEN);
        self.apply();
    }

    /// Makes true what was put down.
    fn apply(&self) {
        let i = self.get(CONTAINER);
        if let (Some(to), Some(from)) = (self.0.1.get(i), self.0.0.get(NEW..)) {
            to.iter().zip(from).for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
        }
        let place = self.0.2.get(2 * i + self.get(NEW_SOURCE));
        if let (Some(to), Some(from), length @ 1..) = (place, self.0.2.last(), self.get(NEW_PENDING)) {
            to.iter().zip(from).take(length).for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
        }
        self.set(DONE, self.get(NEW_DONE) as u64);
        self.enter(READY);
    }

    /// Finds out what a writer before this one had under way.
    pub fn recover(&self, stage: &Pipe) -> Result<Option<UnderWay>, Errno> {
        let state = self.word(STATE).load(SeqCst);
        let mut file = None;
        match state {
            MOVING => {
                self.moved(available(stage.read.as_fd())?);
                self.read_stage(stage)?;
            }
            READING => self.read_stage(stage)?,
            WRITING => file = Some((self.word(INODE).load(Relaxed), self.word(SIZE).load(Relaxed))),
            WRITTEN => self.apply(),
            _ => {}
        }
        if self.is_done() {
            return Ok(None);
        }
        let (container, source, done) = (self.get(CONTAINER), self.get(SOURCE), self.get(DONE));
        let ends = self.word(ENDS).load(Relaxed);
        let work = if source as u64 == END { Work::End(ends) } else { Work::Chunk(source, done) };
        Ok(Some(UnderWay { container, work, file }))
    }

    /// Whether nothing is left of what was under way.
    pub fn is_done(&self) -> bool {
        self.get(DONE) >= self.get(LENGTH)
    }

    /// For whom something is under way, or was.
    pub fn container(&self) -> usize {
        self.get(CONTAINER)
    }

    /// Nobody is there any more for whom it was.
    pub fn give_up(&self) {
        self.set(DONE, self.get(LENGTH) as u64);
        self.enter(READY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a writer that dies after each step of a chunk leaves to the next one.
    #[test]
    fn each_state_leads_to_the_chunk_or_behind_it() {
        let (Ok(journal), Ok(pipe), Ok(stage)) = (Journal::new(), Pipe::new(), Pipe::new()) else {
            unreachable!()
        };
        let again = |found: Option<UnderWay>| journal.recover(&stage) == Ok(found);
        let of = |work, file| Some(UnderWay { container: 3, work, file });
        let fill = || nix::unistd::write(&pipe.write, b"one\ntwo") == Ok(7);
        assert!(again(None));
        assert!(journal.fetch(3, 1, &pipe, &stage, 5) == Ok(false) && again(None));
        // Between the two calls, and after them.
        journal.enter(MOVING);
        assert!(again(None) && fill());
        journal.enter(MOVING);
        let moved = splice(pipe.read.as_fd(), stage.write.as_fd(), CHUNK_BYTES);
        assert!(moved == Ok(7) && again(of(Work::Chunk(1, 0), None)));
        assert_eq!((journal.chunk(), journal.time_ns()), (b"one\ntwo".to_vec(), 5));
        journal.give_up();
        assert!(again(None) && fill() && journal.fetch(3, 1, &pipe, &stage, 6) == Ok(true));
        // Some of the stage has been read.
        let refill = nix::unistd::write(&stage.write, b"two");
        journal.enter(READING);
        assert!(refill == Ok(3) && again(of(Work::Chunk(1, 0), None)));
        assert_eq!(journal.chunk(), b"one\ntwo");
        // Written, and not put down as such.
        journal.will_write(77, 1000);
        assert!(again(of(Work::Chunk(1, 0), Some((77, 1000)))));
        let kept = Kept { id: 9, limited: 2, pending: [0, 3], ..Kept::default() };
        journal.commit(4, &Kept { pending: [0, 0], ..kept.clone() }, b"");
        assert!(again(of(Work::Chunk(1, 4), None)) && journal.chunk() == b"two");
        journal.commit(7, &kept, b"two");
        assert!(again(None) && journal.kept(3) == kept && journal.pending(3, 1) == b"two");
        // Put down, and not made true.
        journal.keep(3, &Kept::default());
        journal.set(DONE, 4);
        journal.enter(WRITTEN);
        assert!(again(None) && journal.kept(3) == kept && journal.pending(3, 1) == b"two");
        journal.end(3, 8, 1);
        assert!(again(of(Work::End(1), None)));
        journal.commit(1, &Kept { pending: [0, 0], ends: 1, ..kept }, b"");
        assert!(again(None) && journal.pending(3, 1).is_empty());
    }
}
