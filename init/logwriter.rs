//! The log writer: a child of PID 1 that moves what containers print from their pipes to their log files, and is the only
//! one to wait for a slow disk.
//!
//! Whatever kills this child, the next one goes on as if nothing had been: `journal.rs`. What it writes again it writes to the byte as
//! before, so that somebody who reads along sees nothing of it.
//!
//! A log that cannot be written must not hold up its container: what does not fit on the disk is dropped, and counted, and the
//! number stands in the log once it can be written again. So it is with what a container prints faster than it may
//! (`log_rate_bytes`). All files together stay below `log_total_bytes`.

use std::fs::{DirBuilder, File, OpenOptions, rename};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::cri::{self, Splitter, Stream, TIME_BYTES};
use crate::journal::{Journal, Kept, Work};
use crate::logbound::{Bound, Rate};
use crate::logs::{MESSAGE_BYTES, Message, Order, Pipe, Shared};
use crate::logterminal::Terminal;
use crate::world::World;
use mote::board::{LOG_FILE_BYTES, LOG_FILES, LOG_RATE_BYTES};
use mote::sys::file;
use mote::sys::socket::receive;

/// How many descriptors of a container there may be to wait for, and which of them is its terminal.
pub const KINDS: usize = 3;
pub const TERMINAL: usize = 2;

/// How much of one container is moved at its end: the next run may be printing already.
const CHUNKS_AT_END: usize = 16;

/// One container.
struct Container<'a> {
    pipes: [&'a Pipe; 2],
    lines: [Splitter; 2],
    terminal: Option<Terminal<'a>>,
    file: LogFile,
    rate: Rate,
}

/// Runs until PID 1 says that it is over.
pub fn run(world: &World, shared: &Shared, control: &OwnedFd) -> i32 {
    let journal = shared.journal;
    let result = journal.recover(&shared.stage).and_then(|under_way| {
        let mut containers: Vec<_> = (0..world.units.len()).filter_map(|i| find(world, journal, i)).collect();
        let pipes = containers.iter().flat_map(|container| container.pipes).map(|pipe| pipe.read.as_raw_fd());
        let terminals = containers.iter().filter_map(|container| container.terminal.as_ref());
        let own = [&shared.stage.read, &shared.stage.write, control].map(|fd| fd.as_raw_fd());
        keep_only(pipes.chain(terminals.flat_map(Terminal::descriptors)).chain(own));
        if let Some(found) = under_way.filter(|_| !journal.is_done()) {
            match containers.iter_mut().find(|container| container.file.number == found.container) {
                Some(container) => {
                    container.file.torn = found.file;
                    container.work(shared, found.work);
                }
                None => journal.give_up(), // of a container that has been removed
            }
        }
        serve(&mut containers, shared, control, &mut Bound::new(Path::new(world.paths.logs)))
    });
    match result {
        Ok(()) => 0,
        Err(errno) => {
            mote::error!("log writer: {}; PID 1 will start another", mote::error::words(errno));
            1
        }
    }
}

/// Container `i` as the writer before has left it, or as a new one; `None` for a place that nobody has.
fn find<'a>(world: &'a World<'_>, journal: Journal, i: usize) -> Option<Container<'a>> {
    let row = world.units.get(i)?;
    let pod = world.pods.get(row.pod)?;
    let pipes = [&row.out, &row.err];
    let id = nix::sys::stat::fstat(&row.out.read).map_or(0, |stat| stat.st_ino);
    let mut kept = journal.kept(i);
    if kept.id != id {
        // What is under way is of the one that had the place before.
        if journal.container() == i {
            journal.give_up();
        }
        kept = Kept { id, left: Rate::new().left, ..Kept::default() };
        journal.keep(i, &kept);
    }
    let lines =
        [(Stream::Out, 0), (Stream::Err, 1)].map(|(stream, k)| Splitter::new(stream, journal.pending(i, k)));
    let rate = Rate::of(kept.left, kept.closed);
    let directory = Path::new(world.paths.logs).join(pod.name.as_str()).join(row.name.as_str());
    let viewers = world.logs.viewers().filter(|viewer| viewer.unit == i);
    let terminal = row.tty.is_wanted().then(|| Terminal::new(row, viewers));
    Some(Container { pipes, lines, terminal, file: LogFile::new(directory, i, kept), rate })
}

/// Closes every other descriptor: this child stays, and would hold up whoever waits for the end of a file.
fn keep_only(wanted: impl Iterator<Item = RawFd>) {
    let mut keep: Vec<RawFd> = wanted.chain([0, 1, 2]).collect();
    keep.sort_unstable();
    let open = file::names("/proc/self/fd").unwrap_or_default();
    let open = open.iter().filter_map(|name| name.to_str()?.parse().ok());
    let kmsg = |fd: &RawFd| {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path == Path::new("/dev/kmsg"))
    };
    for fd in open.filter(|fd| keep.binary_search(fd).is_err() && !kmsg(fd)) {
        let _ = nix::unistd::close(fd); // the directory just read is closed already
    }
}

fn serve(
    containers: &mut [Container<'_>],
    shared: &Shared,
    control: &OwnedFd,
    bound: &mut Bound,
) -> Result<(), Errno> {
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    poll.add(control, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
    for container in containers.iter_mut() {
        let i = container.file.number;
        for (k, pipe) in container.pipes.iter().enumerate() {
            poll.add(&pipe.read, EpollEvent::new(EpollFlags::EPOLLIN, (KINDS * i + k) as u64))?;
        }
        if let Some(terminal) = &mut container.terminal {
            terminal.watch(&poll, i)?;
        }
    }
    let mut events = [EpollEvent::empty(); 32];
    loop {
        if obey(containers, shared)? {
            return Ok(());
        }
        let mut more = false;
        for container in containers.iter_mut() {
            if let Some(terminal) = &mut container.terminal {
                more |= terminal.step();
                terminal.await_viewers(&poll, container.file.number);
            }
        }
        let ready = match poll.wait(&mut events, if more { EpollTimeout::ZERO } else { EpollTimeout::NONE }) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        for event in events.iter().take(ready) {
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let container = containers.iter_mut().find(|container| container.file.number == number / KINDS);
            match (container, number % KINDS) {
                // Once for each event, however much there is: no container keeps the others waiting.
                (Some(container), k @ ..TERMINAL) => {
                    container.take(k, shared)?;
                    bound.count(std::mem::take(&mut container.file.written));
                }
                (Some(container), _) => {
                    if let Some(terminal) = &mut container.terminal {
                        terminal.ready = true;
                        terminal.tell_viewers(&poll);
                    }
                }
                (None, _) => listen(containers, shared, control, &poll)?,
            }
        }
    }
}

/// Takes a message of PID 1's.
fn listen(
    containers: &mut [Container<'_>],
    shared: &Shared,
    control: &OwnedFd,
    poll: &Epoll,
) -> Result<(), Errno> {
    let mut message = [0; MESSAGE_BYTES];
    let fd = match receive(control.as_fd(), &mut message) {
        Ok((MESSAGE_BYTES, fd)) => fd,
        Ok(_) => return Err(Errno::EPIPE), // PID 1 has closed its end, which it does not do
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let message = Message::decode(message);
    let (Message::Terminal(i, _) | Message::Viewer(i)) = message else { return Ok(()) };
    // One that this writer does not know of yet is its successor's.
    let container = containers.iter_mut().find(|container| container.file.number == i);
    let Some((container, fd)) = container.zip(fd) else { return Ok(()) };
    match message {
        Message::Terminal(_, ends) => container.begin(shared, poll, fd, ends.into()),
        _ => {
            if let Some(terminal) = &mut container.terminal {
                terminal.view(fd);
            }
            Ok(())
        }
    }
}

/// Does what PID 1 has said; whether that is the end.
fn obey(containers: &mut [Container<'_>], shared: &Shared) -> Result<bool, Errno> {
    for container in containers.iter_mut() {
        let ends = shared.orders.ends(container.file.number);
        if ends != container.file.kept.ends {
            container.finish(shared, ends)?;
        }
    }
    let order = shared.orders.order();
    for container in containers.iter_mut() {
        match order {
            Order::Finish => container.finish(shared, container.file.kept.ends)?,
            // One that has been removed is nobody's after this.
            Order::Renew => container.drain(shared)?,
            Order::Go | Order::Finished => return Ok(order == Order::Finished),
        }
    }
    match order {
        Order::Finish => shared.orders.say(Order::Finished),
        Order::Renew => {}
        Order::Go | Order::Finished => return Ok(order == Order::Finished), // of no container at all
    }
    Ok(true)
}

/// Now, in nanoseconds since 1970.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO); // a clock before 1970 says 1970
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Container<'_> {
    /// Moves one chunk of source `k`; returns whether there may be more.
    fn take(&mut self, k: usize, shared: &Shared) -> Result<bool, Errno> {
        let Some(pipe) = self.pipes.get(k) else { return Ok(false) };
        let (journal, i) = (shared.journal, self.file.number);
        self.rate.refill();
        self.file.keep_rate(&self.rate);
        journal.keep(i, &self.file.kept);
        let more = journal.fetch(i, k, pipe, &shared.stage, now_ns())?;
        if more {
            self.work(shared, Work::Chunk(k, 0));
        }
        Ok(more)
    }

    /// Does what is under way. Everything that the bytes depend on which are written here is in the journal.
    fn work(&mut self, shared: &Shared, work: Work) {
        let journal = shared.journal;
        let now = cri::time(UNIX_EPOCH + Duration::from_nanos(journal.time_ns()));
        let Self { lines, terminal, file, rate, .. } = self;
        match work {
            Work::Chunk(k, done) => {
                let (Some(lines), data) = (lines.get_mut(k), journal.chunk()) else { return };
                lines.feed(&data, &now, &mut |at, parts| {
                    match rate.take(parts.iter().map(|part| part.len()).sum()) {
                        true => file.append(journal, parts, &now, done + at),
                        false => file.kept.limited += 1,
                    }
                    file.keep_rate(rate);
                    file.keep_pending(k, 0);
                });
                file.keep_pending(k, lines.pending().len());
                file.write_out(journal, done + data.len(), lines.pending());
                if let Some(terminal) = terminal {
                    terminal.show(&data);
                    terminal.ready = true; // there is room in the pipe
                }
            }
            Work::End(ends) => {
                for (k, lines) in lines.iter_mut().enumerate() {
                    lines.flush(&now, &mut |_, parts| file.append(journal, parts, &now, 0));
                    file.keep_pending(k, 0);
                }
                let ended = ends != file.kept.ends;
                if ended {
                    file.end(&now);
                    file.kept.ends = ends;
                }
                file.write_out(journal, 1, b"");
                if let Some(terminal) = terminal.as_mut().filter(|_| ended) {
                    terminal.end();
                }
            }
        }
        shared.orders.went_on();
    }

    /// Goes on with another terminal, once all of the last one has been moved. So many runs had ended before it.
    fn begin(&mut self, shared: &Shared, poll: &Epoll, master: OwnedFd, ends: u64) -> Result<(), Errno> {
        if ends != self.file.kept.ends {
            self.finish(shared, ends)?;
        }
        self.empty(0, shared)?;
        let i = self.file.number;
        self.terminal.as_mut().map_or(Ok(()), |terminal| terminal.begin(poll, i, master))
    }

    /// Moves all there is of source `k`. Bounded: somebody may be printing.
    fn empty(&mut self, k: usize, shared: &Shared) -> Result<(), Errno> {
        for _ in 0..CHUNKS_AT_END {
            let moved = self.terminal.as_mut().is_some_and(Terminal::empty);
            if !self.take(k, shared)? && !moved {
                break;
            }
        }
        Ok(())
    }

    fn drain(&mut self, shared: &Shared) -> Result<(), Errno> {
        (0..self.pipes.len()).try_for_each(|k| self.empty(k, shared))
    }

    /// Moves all there is and ends the last line. If `ends` runs are more than there were one has ended, which the log is to show.
    fn finish(&mut self, shared: &Shared, ends: u64) -> Result<(), Errno> {
        self.drain(shared)?;
        shared.journal.end(self.file.number, now_ns(), ends);
        self.work(shared, Work::End(ends));
        Ok(())
    }
}

/// `0.log` of one container, and the older ones `0.log.1` and so on.
struct LogFile {
    dir: PathBuf,
    /// The container's place.
    number: usize,
    file: Option<File>,
    /// The file's inode and its size.
    inode: u64,
    size: u64,
    /// Whole lines on their way to the file.
    batch: Vec<u8>,
    /// How many lines are in the batch.
    lines: u64,
    /// What the next writer has to know.
    kept: Kept,
    /// The file that the writer before was writing to, by inode, and its size before: it may have some of the first batch.
    torn: Option<(u64, u64)>,
    /// How much was written since somebody looked.
    written: u64,
}

impl LogFile {
    /// The files in `dir`. Nothing is made before there is something to write.
    const fn new(dir: PathBuf, number: usize, kept: Kept) -> Self {
        Self {
            dir,
            number,
            file: None,
            inode: 0,
            size: 0,
            batch: Vec::new(),
            lines: 0,
            kept,
            torn: None,
            written: 0,
        }
    }

    fn keep_rate(&mut self, rate: &Rate) {
        (self.kept.left, self.kept.closed) = (rate.left, rate.closed);
    }

    fn keep_pending(&mut self, k: usize, length: usize) {
        if let Some(pending) = self.kept.pending.get_mut(k) {
            *pending = length;
        }
    }

    /// Adds one line to the batch, before which are `done` bytes of the chunk; `now` is for a marker.
    fn append(&mut self, journal: Journal, parts: &[&[u8]], now: &[u8; TIME_BYTES], done: usize) {
        if self.file.is_none() && self.batch.is_empty() {
            let _ = self.open(); // for its size; that it fails is seen when it is written to
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.size + (self.batch.len() + length) as u64 > LOG_FILE_BYTES {
            if !self.batch.is_empty() {
                self.write_out(journal, done, b"");
            }
            if self.size > 0 {
                self.rotate();
            }
        }
        if self.kept.dropped > 0 && self.batch.is_empty() {
            self.batch.extend_from_slice(now);
            let _ = writeln!(self.batch, " stderr F mote: {} lines dropped here", self.kept.dropped); // a Vec takes it
        }
        self.say_limited(now);
        self.kept.silent = false;
        parts.iter().for_each(|part| self.batch.extend_from_slice(part));
        self.lines += 1;
    }

    /// Says how many lines were left out since the last one because there were too many.
    fn say_limited(&mut self, now: &[u8; TIME_BYTES]) {
        if self.kept.limited > 0 {
            self.batch.extend_from_slice(now);
            let (count, rate) = (self.kept.limited, LOG_RATE_BYTES);
            // A Vec takes it.
            let _ = writeln!(
                self.batch,
                " stderr F mote: {count} lines dropped here: more than {rate} bytes a second"
            );
            self.lines += std::mem::take(&mut self.kept.limited); // should the marker be lost too
        }
    }

    /// Marks the end of a run that has printed anything.
    fn end(&mut self, now: &[u8; TIME_BYTES]) {
        self.say_limited(now);
        if !std::mem::replace(&mut self.kept.silent, true) {
            self.batch.extend_from_slice(now);
            self.batch.extend_from_slice(cri::END);
        }
    }

    /// Writes the batch. With it `done` bytes of the chunk are, and `pending` is the beginning of a line that is left.
    fn write_out(&mut self, journal: Journal, done: usize, pending: &[u8]) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            match self.write(journal, &batch) {
                Ok(()) => {
                    self.size += batch.len() as u64;
                    self.written += batch.len() as u64;
                    self.kept.dropped = 0;
                }
                Err(_) => {
                    // No half of a batch: the marker is to stand where whole lines are missing.
                    if let Some(file) = &self.file {
                        let _ = file.set_len(self.size); // a torn line then; reading copes
                    }
                    self.kept.dropped += self.lines;
                    self.file = None; // its directory may have been replaced
                }
            }
        }
        self.lines = 0;
        journal.commit(done, &self.kept, pending);
    }

    fn write(&mut self, journal: Journal, batch: &[u8]) -> std::io::Result<()> {
        // It may have been taken away as the oldest of all.
        if self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|meta| meta.nlink() == 0)) {
            (self.file, self.size) = (None, 0);
        }
        self.open()?;
        let torn = self.torn.take();
        let Some(file) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        journal.will_write(self.inode, self.size);
        let mut rest = batch;
        if torn == Some((self.inode, self.size)) {
            // Of the batch that the writer before has begun with, which is this one.
            let mut there = vec![0; batch.len()];
            let length = file.read_at(&mut there, self.size)?;
            match there.get(..length).and_then(|there| batch.strip_prefix(there)) {
                Some(missing) => rest = missing,
                None => file.set_len(self.size)?, // somebody else has written there
            }
        }
        file.write_all(rest)
    }

    /// Opens the file, unless it is.
    fn open(&mut self) -> std::io::Result<()> {
        if self.file.is_none() {
            DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
            let mut options = OpenOptions::new();
            let file =
                options.read(true).append(true).create(true).mode(0o640).open(self.dir.join("0.log"))?;
            let meta = file.metadata()?;
            (self.inode, self.size) = (meta.ino(), meta.len());
            if let Some((inode, size)) = self.torn.filter(|torn| torn.0 == self.inode && torn.1 <= self.size)
            {
                (self.inode, self.size) = (inode, size);
            }
            self.file = Some(file);
        }
        Ok(())
    }

    /// Makes room for a new `0.log`; the oldest goes.
    fn rotate(&mut self) {
        let name = |n: u32| self.dir.join(if n == 0 { "0.log".to_owned() } else { format!("0.log.{n}") });
        for n in (1..LOG_FILES).rev() {
            let _ = rename(name(n - 1), name(n)); // not all of them exist at first
        }
        if LOG_FILES <= 1 {
            let _ = std::fs::remove_file(name(0));
        }
        (self.file, self.size) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log in a directory of its own, and a journal.
    fn log(name: &str) -> (PathBuf, LogFile, Journal) {
        let dir = std::env::temp_dir().join(format!("mote-{name}-{}", std::process::id()));
        let Ok(journal) = Journal::new() else { unreachable!() };
        (dir.clone(), LogFile::new(dir, 0, Kept::default()), journal)
    }

    #[test]
    fn files_are_rotated_by_size_and_bounded_in_number() {
        let (dir, mut log, journal) = log("logs");
        let now = cri::time(SystemTime::now());
        let total = LOG_FILE_BYTES * (u64::from(LOG_FILES) + 1);
        let line = [b'x'; 1000];
        for _ in 0..total / 1000 {
            log.append(journal, &[&line, b"\n"], &now, 0);
            log.write_out(journal, 0, b"");
        }
        let sizes: Vec<_> = std::fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .collect();
        assert_eq!(sizes.len(), LOG_FILES as usize);
        assert!(sizes.iter().all(|&size| size <= LOG_FILE_BYTES && size % 1001 == 0), "{sizes:?}");
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn what_cannot_be_written_is_dropped_and_marked() {
        let (dir, mut log, journal) = log("logs-full");
        let now = cri::time(SystemTime::now());
        let mut put = |line: &[u8]| {
            log.append(journal, &[line], &now, 0);
            log.write_out(journal, 0, b"");
        };
        let _ = std::fs::write(&dir, "in the way");
        (0..3).for_each(|_| put(b"lost\n"));
        let _ = std::fs::remove_file(&dir);
        put(b"kept\n");
        put(b"more\n");
        let text = std::fs::read_to_string(dir.join("0.log")).unwrap_or_default();
        assert!(text.ends_with(" stderr F mote: 3 lines dropped here\nkept\nmore\n"), "{text}");
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn a_batch_that_was_begun_is_ended_wherever_it_was_torn() {
        let now = cri::time(SystemTime::now());
        for torn in 0..=8 {
            let (dir, mut log, journal) = log("logs-torn");
            let path = dir.join("0.log");
            let begun = std::fs::create_dir_all(&dir).and_then(|()| {
                std::fs::write(&path, [b"before\n", &b"one\ntwo\n"[..torn]].concat())?;
                std::fs::metadata(&path)
            });
            log.torn = begun.ok().map(|meta| (meta.ino(), 7));
            log.append(journal, &[b"one\n"], &now, 0);
            log.append(journal, &[b"two\n"], &now, 0);
            log.write_out(journal, 0, b"");
            log.append(journal, &[b"three\n"], &now, 0);
            log.write_out(journal, 0, b"");
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, "before\none\ntwo\nthree\n", "{torn}");
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
}
