//! The log writer's part of a container's terminal: what is printed there is moved into the pipe that is the standard output of
//! containers without one, and goes on from there as theirs does; who watches gets a copy.
//!
//! A terminal cannot be looked into as a pipe can, so nothing is read from it: splice(2) moves it, and a writer that is killed
//! has moved it or not. Nobody who watches holds anybody up: what he does not take is left out, and he is told as soon as he takes
//! more.

use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use mote::sys::file::splice;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use nix::unistd::{read, write};

use crate::journal::CHUNK_BYTES;
use crate::logs::Viewer;
use crate::logwriter::{KINDS, TERMINAL};
use crate::world::UnitRow;

/// The terminal of one container.
pub struct Terminal<'a> {
    master: Option<OwnedFd>,
    /// That of the run before, if it may not have been emptied.
    last: Option<OwnedFd>,
    /// The pipe's end that is written to, and read.
    to: BorrowedFd<'a>,
    from: BorrowedFd<'a>,
    viewers: Vec<View>,
    /// Whether there may be something to move.
    pub ready: bool,
}

/// Somebody who watches.
struct View {
    to: OwnedFd,
    /// How many bytes were left out since the last that he has taken.
    missed: u64,
    /// Whether the writer waits for him to take more.
    awaited: bool,
}

impl<'a> Terminal<'a> {
    /// That of the container of `row`.
    pub fn new<'v>(row: &'a UnitRow, viewers: impl Iterator<Item = &'v Viewer>) -> Self {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().ok();
        let viewers = viewers.filter_map(|viewer| own(viewer.to.as_fd()));
        Self {
            master: row.tty.master().and_then(own),
            last: row.tty.last().and_then(own),
            to: row.out.write.as_fd(),
            from: row.out.read.as_fd(),
            viewers: viewers.map(View::new).collect(),
            ready: true,
        }
    }

    /// All that is to stay open of it.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let viewers = self.viewers.iter().map(|viewer| viewer.to.as_raw_fd());
        let masters = self.master.iter().chain(&self.last).map(|fd| fd.as_raw_fd());
        masters.chain(viewers).chain([self.to.as_raw_fd()])
    }

    /// Waits for what comes, as the terminal of container `i`. Once for each time: a terminal whose other side nobody has open
    /// is always ready, and may be opened again.
    pub fn watch(&mut self, poll: &Epoll, i: usize) -> Result<(), Errno> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, (KINDS * i + TERMINAL) as u64);
        self.master.as_ref().map_or(Ok(()), |master| poll.add(master, event))
    }

    /// Goes on with the terminal of another run.
    pub fn begin(&mut self, poll: &Epoll, i: usize, master: OwnedFd) -> Result<(), Errno> {
        if let Some(old) = self.master.replace(master) {
            let _ = poll.delete(&old); // PID 1 has another of it, so that closing is not enough
        }
        self.ready = true;
        self.watch(poll, i)
    }

    /// One more who watches.
    pub fn view(&mut self, to: OwnedFd) {
        self.viewers.push(View::new(to));
    }

    /// Nothing more comes of this run.
    pub fn end(&mut self) {
        for viewer in self.viewers.drain(..) {
            let _ = shutdown(viewer.to.as_raw_fd(), Shutdown::Write); // PID 1 has another of it
        }
    }

    /// Moves one chunk, if there may be one. Whether there may be more.
    pub fn step(&mut self) -> bool {
        self.ready = self.ready && self.empty();
        self.ready
    }

    /// Moves one chunk, whether there may be one or not. Whether there was.
    pub fn empty(&mut self) -> bool {
        if let Some(last) = &self.last {
            if self.move_from(last.as_fd()) {
                return true;
            }
            self.last = None;
        }
        self.master.as_ref().is_some_and(|master| self.move_from(master.as_fd()))
    }

    fn move_from(&self, master: BorrowedFd<'_>) -> bool {
        match splice(master, self.to, CHUNK_BYTES) {
            Ok(length) => length > 0,
            Err(Errno::EINTR) => true,
            // A kernel that cannot. Read and written instead, into an empty pipe, where there is room.
            Err(Errno::EINVAL) if mote::sys::file::available(self.from) == Ok(0) => {
                let mut part = [0; 4096];
                let moved = read(master, &mut part)
                    .and_then(|length| write(self.to, part.get(..length).unwrap_or_default()));
                moved.is_ok_and(|length| length > 0)
            }
            Err(_) => false,
        }
    }

    /// Shows `bytes` to who watches.
    pub fn show(&mut self, bytes: &[u8]) {
        self.viewers.retain_mut(|viewer| viewer.show(bytes));
    }

    /// Waits, as the terminal of container `i`, for those who have missed something: what is left out may be the last for long.
    pub fn await_viewers(&mut self, poll: &Epoll, i: usize) {
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.missed > 0 && !viewer.awaited) {
            let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
            let event = EpollEvent::new(flags, (KINDS * i + TERMINAL) as u64);
            viewer.awaited = poll.add(&viewer.to, event).is_ok(); // or he is told with what comes next
        }
    }

    /// Tells those who were waited for what they have missed.
    pub fn tell_viewers(&mut self, poll: &Epoll) {
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.awaited) {
            let _ = poll.delete(&viewer.to); // it was added
            viewer.awaited = false;
        }
        self.show(b"");
    }
}

impl View {
    const fn new(to: OwnedFd) -> Self {
        Self { to, missed: 0, awaited: false }
    }

    /// Whether he is still there.
    fn show(&mut self, bytes: &[u8]) -> bool {
        if self.missed > 0 {
            let mut line = [0; 64];
            let mut rest = &mut line[..];
            let _ = write!(rest, "\r\n[mote: {} bytes left out here]\r\n", self.missed); // there is room
            let room = rest.len();
            match self.send(line.get(..line.len() - room).unwrap_or_default()) {
                Ok(_) => self.missed = 0,
                Err(Errno::EAGAIN) => {
                    self.missed += bytes.len() as u64;
                    return true;
                }
                Err(_) => return false,
            }
        }
        match self.send(bytes) {
            Ok(length) => self.missed = (bytes.len() - length) as u64,
            Err(Errno::EAGAIN) => self.missed = bytes.len() as u64,
            Err(_) => return false,
        }
        true
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        send(self.to.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
    }
}
