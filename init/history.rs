//! What has become of the containers: a ring of records of a fixed size in a file of the run directory, `events`. PID 1 writes,
//! whoever may read it reads; nobody who is slow to read holds anybody up, and a successor of a supervisor that was killed
//! finds what there was. The record of an end is written before the process is reaped.
//!
//! All numbers are little endian. The file begins with 64 bytes: `mote-events` and NULs up to 16 bytes, the version (u32, 1), the
//! size of a record (u32, 256), how many there are at most (u32). Record number `n`, from 1 on, is at
//! `64 + 256 * ((n - 1) % most)`:
//!
//! | at | | |
//! | --- | --- | --- |
//! | 0 | u64 | its number |
//! | 8 | u64 | when, in nanoseconds since 1970 |
//! | 16 | u64 | when the container was started, likewise; 0: not known, or not at all |
//! | 24 | u32 | what: see [`What`] |
//! | 28 | i32 | the process; 0: none |
//! | 32 | i32 | its exit code; -1: none |
//! | 36 | i32 | the signal that ended it; 0: none |
//! | 40 | u32 | restarts so far |
//! | 44 | u32 | processes that the OOM killer has ended in this run |
//! | 48 | 64 bytes | the pod, padded with NULs |
//! | 112 | 64 bytes | the container, likewise |
//! | 176 | 72 bytes | the reason, likewise, cut |
//! | 248 | u64 | its number again: one that differs from the first is of a record that is being written |

use std::os::fd::OwnedFd;

use mote::board::EVENT_RECORDS;
use mote::sys::clock::clock_gettime;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::{pread, pwrite};

/// The name of the file in the run directory.
pub const FILE: &str = "events";

/// The size of the header.
const HEADER: usize = 64;

/// The size of a record.
const RECORD: usize = 256;

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// 1: its program runs.
    Started,
    /// 2: its first process has ended.
    Exited,
    /// 3: it could not be started.
    Failed,
    /// 4: it was asked to end.
    Stopping,
    /// Another number, of a mote that knows more.
    Other,
}

const KINDS: [(What, u32, &str); 4] = [
    (What::Started, 1, "started"),
    (What::Exited, 2, "exited"),
    (What::Failed, 3, "failed"),
    (What::Stopping, 4, "stopping"),
];

impl What {
    /// In words.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("other", |(_, _, word)| word)
    }
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<T> {
    /// Its number; not looked at when it is written.
    pub number: u64,
    /// When.
    pub at_ns: u64,
    /// When the container was started; 0: not known.
    pub started_ns: u64,
    /// What.
    pub kind: What,
    /// The process; 0: none.
    pub pid: i32,
    /// Its exit code; -1: none.
    pub code: i32,
    /// The signal that ended it; 0: none.
    pub signal: i32,
    /// Restarts so far.
    pub restarts: u32,
    /// Processes that the OOM killer has ended in this run.
    pub oom_kills: u32,
    /// The pod.
    pub pod: T,
    /// The container.
    pub container: T,
    /// Why.
    pub reason: T,
}

/// Where the fields of a record are.
const AT: [usize; 9] = [0, 8, 16, 24, 28, 32, 36, 40, 44];
const POD: std::ops::Range<usize> = 48..112;
const CONTAINER: std::ops::Range<usize> = 112..176;
const REASON: std::ops::Range<usize> = 176..248;
const AGAIN: usize = 248;

impl Record<&str> {
    fn encode(&self, number: u64) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let mut put = |at: usize, from: &[u8]| {
            bytes.iter_mut().skip(at).zip(from).for_each(|(to, from)| *to = *from);
        };
        let kind = KINDS.iter().find(|(kind, ..)| *kind == self.kind).map_or(0, |(_, number, _)| *number);
        let [first, at, started, what, pid, code, signal, restarts, kills] = AT;
        put(first, &number.to_le_bytes());
        put(at, &self.at_ns.to_le_bytes());
        put(started, &self.started_ns.to_le_bytes());
        put(what, &kind.to_le_bytes());
        put(pid, &self.pid.to_le_bytes());
        put(code, &self.code.to_le_bytes());
        put(signal, &self.signal.to_le_bytes());
        put(restarts, &self.restarts.to_le_bytes());
        put(kills, &self.oom_kills.to_le_bytes());
        for (room, text) in [(POD, self.pod), (CONTAINER, self.container), (REASON, self.reason)] {
            put(room.start, text.get(..text.floor_char_boundary(room.len() - 1)).unwrap_or(text).as_bytes());
        }
        put(AGAIN, &number.to_le_bytes());
        bytes
    }
}

impl Record<String> {
    /// Takes a record apart; `None` for one that was never or is just being written.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let int = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let text = |room: std::ops::Range<usize>| {
            let text = bytes.get(room)?.split(|&b| b == 0).next()?;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let [number, at, started, kind, pid, code, signal, restarts, kills] = AT;
        let whole = long(number).filter(|&number| number > 0 && Some(number) == long(AGAIN))?;
        let kind = int(kind)?;
        Some(Self {
            number: whole,
            at_ns: long(at)?,
            started_ns: long(started)?,
            kind: KINDS.iter().find(|(_, number, _)| *number == kind).map_or(What::Other, |(kind, ..)| *kind),
            pid: int(pid)?.cast_signed(),
            code: int(code)?.cast_signed(),
            signal: int(signal)?.cast_signed(),
            restarts: int(restarts)?,
            oom_kills: int(kills)?,
            pod: text(POD)?,
            container: text(CONTAINER)?,
            reason: text(REASON)?,
        })
    }
}

fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let most = u32::try_from(EVENT_RECORDS).unwrap_or(u32::MAX); // the board's maximum is far less
    let numbers = [1, 256, most].map(u32::to_le_bytes);
    let all = b"mote-events\0\0\0\0\0".iter().chain(numbers.iter().flatten());
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    bytes
}

const fn offset(number: u64) -> i64 {
    let place = (number - 1) % EVENT_RECORDS as u64;
    (HEADER as u64 + place * RECORD as u64).cast_signed()
}

/// The writer's side.
#[derive(Debug)]
pub struct History {
    file: Option<OwnedFd>,
    /// The number of the next record.
    next: u64,
    /// Whether the file could not be made, which has been told.
    broken: bool,
}

impl History {
    /// The file is opened by the first record, or before.
    pub const fn new() -> Self {
        Self { file: None, next: 1, broken: false }
    }

    /// Writes one record to the file at `path`. Allocates nothing.
    pub fn add(&mut self, path: &str, record: &Record<&str>) {
        self.open(path);
        let (Some(file), number) = (&self.file, self.next) else { return };
        if pwrite(file, &record.encode(number), offset(number)) == Ok(RECORD) {
            self.next += 1;
        }
    }

    /// Makes or opens the file at `path`.
    pub fn open(&mut self, path: &str) {
        if self.file.is_none() && !self.broken {
            match open(path) {
                Ok((file, next)) => (self.file, self.next) = (Some(file), next),
                Err(errno) => {
                    mote::error!("{path}: {}; what happens is not recorded", mote::error::words(errno));
                    self.broken = true;
                }
            }
        }
    }
}

/// Opens the file and finds the number of the next record. A file in another form is emptied.
fn open(path: &str) -> Result<(OwnedFd, u64), Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(AT_FDCWD, path, flags, Mode::from_bits_truncate(0o600))?;
    let mut there = [0; HEADER];
    let same = pread(&file, &mut there, 0)? == HEADER && there == header();
    if !same {
        nix::unistd::ftruncate(&file, 0)?;
        pwrite(&file, &header(), 0)?;
    }
    let mut next = 1;
    let mut number = [0; 8];
    for place in 1..=EVENT_RECORDS as u64 {
        // The first that was never written ends it: the ring has not been around yet.
        match pread(&file, &mut number, offset(place))? {
            8 if number != [0; 8] => next = next.max(u64::from_le_bytes(number) + 1),
            _ => break,
        }
    }
    Ok((file, next))
}

/// The clock of the records.
pub fn now_ns() -> u64 {
    let now = clock_gettime(libc::CLOCK_REALTIME).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// All records in the text of a file, oldest first.
pub fn records(text: &[u8]) -> Vec<Record<String>> {
    let bytes = text.get(HEADER..).unwrap_or_default();
    let mut records: Vec<_> = bytes.chunks_exact(RECORD).filter_map(Record::decode).collect();
    records.sort_unstable_by_key(|record| record.number);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: &str) -> Record<&str> {
        Record {
            number: 0,
            at_ns: 7,
            started_ns: 3,
            kind: What::Exited,
            pid: 4_194_304,
            code: -1,
            signal: 9,
            restarts: 2,
            oom_kills: 1,
            pod: "web",
            container: "a",
            reason,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let long = "é".repeat(100);
        let bytes = record(&long).encode(12);
        let Some(read) = Record::decode(&bytes) else { unreachable!() };
        assert_eq!((read.number, read.kind, read.signal, read.pid), (12, What::Exited, 9, 4_194_304));
        assert_eq!((read.pod.as_str(), read.container.as_str()), ("web", "a"));
        assert_eq!(read.reason, "é".repeat(35));
        let mut torn = bytes;
        torn[248] = 11;
        assert_eq!(Record::decode(&torn), None);
        assert_eq!(Record::decode(&[0; RECORD]), None);
    }

    #[test]
    fn the_ring_goes_on_where_the_last_writer_stopped() {
        let path = std::env::temp_dir().join(format!("mote-events-{}", std::process::id()));
        let path = path.to_str().unwrap_or_default();
        let most = EVENT_RECORDS as u64;
        for round in 0..3_u64 {
            let mut history = History::new();
            for _ in 0..most - 1 {
                history.add(path, &record("x"));
            }
            let all = records(&std::fs::read(path).unwrap_or_default());
            let last = (round + 1) * (most - 1);
            assert_eq!(all.last().map(|record| record.number), Some(last));
            assert_eq!(all.len() as u64, last.min(most));
            assert!(all.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
        }
        let _ = std::fs::write(path, "something else");
        History::new().add(path, &record("x"));
        assert_eq!(records(&std::fs::read(path).unwrap_or_default()).len(), 1);
        let _ = std::fs::remove_file(path);
    }
}
