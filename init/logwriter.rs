//! The log writer: a child of PID 1 that moves what containers print from their pipes to their log files, and is the only
//! one to wait for a slow disk.
//!
//! A line leaves its pipe only after it has been written, so that whatever kills this child loses none: what it had read but
//! not written the next writer finds in the pipe. A line that was written and not yet taken out then stands twice.
//!
//! A log that cannot be written must not hold up its container: what does not fit on the disk is dropped, and counted, and the
//! number stands in the log once it can be written again. So it is with what a container prints faster than it may
//! (`log_rate_bytes`). All files together stay below `log_total_bytes`.

use std::fs::{DirBuilder, File, OpenOptions, rename};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::read;

use crate::cri::{self, Splitter, Stream, TIME_BYTES};
use crate::logbound::{Bound, Rate};
use crate::logs::{MESSAGE_BYTES, Message, Pipe};
use crate::logterminal::Terminal;
use crate::world::World;
use mote::board::{LOG_FILE_BYTES, LOG_FILES, LOG_RATE_BYTES};
use mote::sys::file::tee;
use mote::sys::socket::receive;

/// As much as a pipe holds.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How many descriptors of a container there may be to wait for, and which of them is its terminal.
pub const KINDS: usize = 3;
pub const TERMINAL: usize = 2;

/// One pipe.
struct Source<'a> {
    pipe: BorrowedFd<'a>,
    lines: Splitter,
}

/// One container.
struct Container<'a> {
    sources: [Source<'a>; 2],
    terminal: Option<Terminal<'a>>,
    file: LogFile,
    rate: Rate,
}

/// Where what is in a pipe can be read without taking it out.
pub struct Peek {
    pipe: Pipe,
    /// As large as a pipe.
    pub chunk: Vec<u8>,
}

/// Runs until PID 1 says that it is over.
pub fn run(world: &World, control: &OwnedFd) -> i32 {
    let mut peek = match Pipe::new() {
        Ok(pipe) => Peek { pipe, chunk: vec![0; CHUNK_BYTES] },
        Err(errno) => {
            mote::error!("log writer: pipe: {}; PID 1 will start another", mote::error::words(errno));
            return 1;
        }
    };
    let mut containers: Vec<_> = world
        .units
        .iter()
        .enumerate()
        .map(|(i, row)| Container {
            terminal: row
                .tty
                .is_wanted()
                .then(|| Terminal::new(row, world.logs.viewers().filter(|v| v.unit == i))),
            sources: [(&row.out, Stream::Out), (&row.err, Stream::Err)]
                .map(|(pipe, stream)| Source { pipe: pipe.read.as_fd(), lines: Splitter::new(stream) }),
            file: LogFile::new(
                Path::new(world.paths.logs).join(world.pod_name(row.pod)).join(row.name.as_str()),
            ),
            rate: Rate::new(),
        })
        .collect();
    let mut bound = Bound::new(Path::new(world.paths.logs));
    let own = [&peek.pipe.read, &peek.pipe.write, control].map(|fd| fd.as_raw_fd());
    let pipes = containers.iter().flat_map(|c| c.sources.iter().map(|s| s.pipe.as_raw_fd()));
    let terminals = containers.iter().filter_map(|c| c.terminal.as_ref()).flat_map(Terminal::descriptors);
    keep_only(pipes.chain(terminals).chain(own));
    match serve(&mut containers, control, &mut peek, &mut bound) {
        Ok(()) => 0,
        Err(errno) => {
            mote::error!("log writer: {}; PID 1 will start another", mote::error::words(errno));
            1
        }
    }
}

/// Closes every other descriptor: this child stays, and would hold up whoever waits for the end of a file.
fn keep_only(wanted: impl Iterator<Item = RawFd>) {
    let mut keep: Vec<RawFd> = wanted.chain([0, 1, 2]).collect();
    keep.sort_unstable();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let kmsg = |fd: &RawFd| {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path == Path::new("/dev/kmsg"))
    };
    for fd in open.into_iter().filter(|fd| keep.binary_search(fd).is_err() && !kmsg(fd)) {
        let _ = nix::unistd::close(fd); // the directory just read is closed already
    }
}

fn serve(
    containers: &mut [Container<'_>],
    control: &OwnedFd,
    peek: &mut Peek,
    bound: &mut Bound,
) -> Result<(), Errno> {
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    poll.add(control, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
    for (i, container) in containers.iter_mut().enumerate() {
        for (k, source) in container.sources.iter().enumerate() {
            poll.add(source.pipe, EpollEvent::new(EpollFlags::EPOLLIN, (KINDS * i + k) as u64))?;
        }
        if let Some(terminal) = &mut container.terminal {
            terminal.watch(&poll, i)?;
        }
    }
    let mut events = [EpollEvent::empty(); 32];
    loop {
        let mut more = false;
        for terminal in containers.iter_mut().filter_map(|container| container.terminal.as_mut()) {
            more |= terminal.step(peek);
        }
        let ready = match poll.wait(&mut events, if more { EpollTimeout::ZERO } else { EpollTimeout::NONE }) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        for event in events.iter().take(ready) {
            // Once for each event, however much there is: no container keeps the others waiting.
            if let Ok(number) = usize::try_from(event.data())
                && let Some(container) = containers.get_mut(number / KINDS)
            {
                match (number % KINDS, &mut container.terminal) {
                    (TERMINAL, Some(terminal)) => terminal.ready = true,
                    (k, _) => drop(container.take(k, peek)),
                }
                bound.count(std::mem::take(&mut container.file.written));
                continue;
            }
            let mut message = [0; MESSAGE_BYTES];
            // It does not block.
            match receive(control.as_fd(), &mut message) {
                Ok((MESSAGE_BYTES, fd)) => match Message::decode(message) {
                    Message::Flush(i) => {
                        if let Some(container) = containers.get_mut(i) {
                            container.finish(peek, true);
                        }
                    }
                    // One that this writer does not know of yet is its successor's.
                    Message::Terminal(i) => {
                        let container = containers.get_mut(i);
                        if let Some((container, master)) = container.zip(fd) {
                            container.begin(&poll, i, master, peek)?;
                        }
                    }
                    Message::Viewer(i) => {
                        let terminal =
                            containers.get_mut(i).and_then(|container| container.terminal.as_mut());
                        if let Some((terminal, viewer)) = terminal.zip(fd) {
                            terminal.view(viewer);
                        }
                    }
                    Message::Finish => {
                        containers.iter_mut().for_each(|container| container.finish(peek, false));
                        return Ok(());
                    }
                },
                Ok(_) => return Err(Errno::EPIPE), // PID 1 has closed its end, which it does not do
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Peek {
    /// What is in `pipe`, up to the end of the last whole line or, without one, all of it. It stays there.
    fn look(&mut self, pipe: BorrowedFd<'_>) -> Option<&[u8]> {
        let length = tee(pipe, self.pipe.write.as_fd(), CHUNK_BYTES).ok()?;
        let there = self.chunk.get_mut(..length)?;
        let mut read_so_far = 0;
        while read_so_far < length {
            // The copy is this process's own, so it is there; an error would be met again by the next writer.
            read_so_far += read(&self.pipe.read, there.get_mut(read_so_far..)?).ok().filter(|&n| n > 0)?;
        }
        let whole = there.iter().rposition(|&b| b == b'\n').map_or(length, |at| at + 1);
        there.get(..whole).filter(|lines| !lines.is_empty())
    }

    /// Takes out of `pipe` the `length` bytes that have been written.
    fn consume(&mut self, pipe: BorrowedFd<'_>, mut length: usize) {
        while length > 0
            && let Some(chunk) = self.chunk.get_mut(..length)
            && let Ok(taken @ 1..) = read(pipe, chunk)
        {
            length -= taken;
        }
    }
}

impl Container<'_> {
    /// Moves one chunk of source `k`; returns whether there may be more.
    fn take(&mut self, k: usize, peek: &mut Peek) -> bool {
        let Some(source) = self.sources.get_mut(k) else { return false };
        let Some(lines) = peek.look(source.pipe) else { return false };
        let now = cri::time(SystemTime::now());
        let (file, rate) = (&mut self.file, &mut self.rate);
        rate.refill();
        source.lines.feed(
            lines,
            &now,
            &mut |parts| match rate.take(parts.iter().map(|part| part.len()).sum()) {
                true => file.append(parts, &now),
                false => file.limited += 1,
            },
        );
        file.write_out();
        if let Some(terminal) = &mut self.terminal {
            terminal.show(lines);
            terminal.ready = true; // there is room in the pipe
        }
        let length = lines.len();
        peek.consume(source.pipe, length);
        true
    }

    /// Goes on with another terminal, once all of the last one has been moved.
    fn begin(&mut self, poll: &Epoll, i: usize, master: OwnedFd, peek: &mut Peek) -> Result<(), Errno> {
        self.empty(0, peek);
        self.terminal.as_mut().map_or(Ok(()), |terminal| terminal.begin(poll, i, master))
    }

    /// Moves all there is of source `k`. Bounded: the next run of the container may be printing already.
    fn empty(&mut self, k: usize, peek: &mut Peek) {
        for _ in 0..16 {
            let moved = self.terminal.as_mut().is_some_and(|terminal| terminal.empty(peek));
            if !self.take(k, peek) && !moved {
                break;
            }
        }
    }

    /// Moves all there is and ends the last line. `ended` says that the run has ended, which the log is to show then.
    fn finish(&mut self, peek: &mut Peek, ended: bool) {
        (0..self.sources.len()).for_each(|k| self.empty(k, peek));
        let now = cri::time(SystemTime::now());
        let (sources, file) = (&mut self.sources, &mut self.file);
        sources.iter_mut().for_each(|source| source.lines.flush(&now, &mut |parts| file.append(parts, &now)));
        if ended {
            file.end(&now);
        }
        file.write_out();
        if let Some(terminal) = self.terminal.as_mut().filter(|_| ended) {
            terminal.end();
        }
    }
}

/// `0.log` of one container, and the older ones `0.log.1` and so on.
pub struct LogFile {
    dir: PathBuf,
    file: Option<File>,
    /// The size of the file.
    size: u64,
    /// Whole lines on their way to the file.
    batch: Vec<u8>,
    /// How many lines are in the batch.
    lines: u64,
    /// How many lines were dropped since the last one that was written.
    dropped: u64,
    /// How many of them because there were too many.
    limited: u64,
    /// How much was written since somebody looked.
    written: u64,
    /// Whether there is anything since the last end of a run; there may be, at first.
    printed: bool,
}

impl LogFile {
    /// The files in `dir`. Nothing is made before there is something to write.
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            file: None,
            size: 0,
            batch: Vec::new(),
            lines: 0,
            dropped: 0,
            limited: 0,
            written: 0,
            printed: true,
        }
    }

    /// Adds one line to the batch; `now` is for a marker.
    pub fn append(&mut self, parts: &[&[u8]], now: &[u8; TIME_BYTES]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.size + (self.batch.len() + length) as u64 > LOG_FILE_BYTES {
            self.write_out();
            if self.size > 0 {
                self.rotate();
            }
        }
        if self.dropped > 0 && self.batch.is_empty() {
            self.batch.extend_from_slice(now);
            let _ = writeln!(self.batch, " stderr F mote: {} lines dropped here", self.dropped); // a Vec takes it
        }
        self.say_limited(now);
        self.printed = true;
        parts.iter().for_each(|part| self.batch.extend_from_slice(part));
        self.lines += 1;
    }

    /// Says how many lines were left out since the last one because there were too many.
    fn say_limited(&mut self, now: &[u8; TIME_BYTES]) {
        if self.limited > 0 {
            self.batch.extend_from_slice(now);
            let (count, rate) = (self.limited, LOG_RATE_BYTES);
            // A Vec takes it.
            let _ = writeln!(
                self.batch,
                " stderr F mote: {count} lines dropped here: more than {rate} bytes a second"
            );
            self.lines += std::mem::take(&mut self.limited); // should the marker be lost too
        }
    }

    /// Marks the end of a run that has printed anything.
    pub fn end(&mut self, now: &[u8; TIME_BYTES]) {
        self.say_limited(now);
        if std::mem::take(&mut self.printed) {
            self.batch.extend_from_slice(now);
            self.batch.extend_from_slice(cri::END);
        }
    }

    /// Writes the batch.
    pub fn write_out(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        // It may have been taken away as the oldest of all.
        if self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|meta| meta.nlink() == 0)) {
            (self.file, self.size) = (None, 0);
        }
        match self.open().and_then(|mut file| file.write_all(&batch)) {
            Ok(()) => {
                self.size += batch.len() as u64;
                self.written += batch.len() as u64;
                self.dropped = 0;
            }
            Err(_) => {
                // No half of a batch: the marker is to stand where whole lines are missing.
                if let Some(file) = &self.file {
                    let _ = file.set_len(self.size); // a torn line then; reading copes
                }
                self.dropped += self.lines;
                self.file = None; // its directory may have been replaced
            }
        }
        self.lines = 0;
    }

    fn open(&mut self) -> std::io::Result<&File> {
        if self.file.is_none() {
            DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
            let file =
                OpenOptions::new().append(true).create(true).mode(0o640).open(self.dir.join("0.log"))?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file.as_ref().ok_or(std::io::ErrorKind::NotFound.into())
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

    #[test]
    fn files_are_rotated_by_size_and_bounded_in_number() {
        let dir = std::env::temp_dir().join(format!("mote-logs-{}", std::process::id()));
        let now = cri::time(SystemTime::now());
        let mut log = LogFile::new(dir.clone());
        let total = LOG_FILE_BYTES * (u64::from(LOG_FILES) + 1);
        let line = [b'x'; 1000];
        for _ in 0..total / 1000 {
            log.append(&[&line, b"\n"], &now);
            log.write_out();
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
        let dir = std::env::temp_dir().join(format!("mote-logs-full-{}", std::process::id()));
        let now = cri::time(SystemTime::now());
        let _ = std::fs::write(&dir, "in the way");
        let mut log = LogFile::new(dir.clone());
        for _ in 0..3 {
            log.append(&[b"lost\n"], &now);
            log.write_out();
        }
        let _ = std::fs::remove_file(&dir);
        log.append(&[b"kept\n"], &now);
        log.write_out();
        log.append(&[b"more\n"], &now);
        log.write_out();
        let text = std::fs::read_to_string(dir.join("0.log")).unwrap_or_default();
        assert!(text.ends_with(" stderr F mote: 3 lines dropped here\nkept\nmore\n"), "{text}");
        let _ = std::fs::remove_dir_all(&dir);
    }
}
