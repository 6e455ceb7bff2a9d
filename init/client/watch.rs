//! Waiting for something to happen: PID 1 writes a record of every start and end, so nobody has to ask it all the time.

use std::os::fd::AsFd as _;

use mote::error::{During as _, Result};
use mote::sys::terminal::STDOUT;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, raise};

use super::Host;
use crate::history;

/// What is not recorded, such as the end of a delay, is seen after so long.
const LOOK_MS: u16 = 1000;

/// The ring of records, watched.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// Watches from now on.
    pub fn new(host: &Host) -> Result<Self> {
        let path = host.run.join(history::FILE);
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let watch = Inotify::init(flags).during("inotify_init", "")?;
        watch.add_watch(&path, AddWatchFlags::IN_MODIFY).during("inotify_add_watch", &*path)?;
        Ok(Self(watch))
    }

    /// Waits until there is another record, or a second has passed.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_for(PollTimeout::from(LOOK_MS))
    }

    /// Waits until there is another record.
    pub fn wait_long(&mut self) -> Result<()> {
        self.wait_for(PollTimeout::NONE)
    }

    fn wait_for(&mut self, limit: PollTimeout) -> Result<()> {
        wait(&self.0, limit)?;
        match self.0.read_events() {
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            result => result.during("read", "inotify").map(drop),
        }
    }
}

/// Waits for an event, and for the end of whoever reads the standard output: with that this process ends as it would if it wrote.
pub fn wait(inotify: &Inotify, limit: PollTimeout) -> Result<()> {
    let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN), PollFd::new(STDOUT, PollFlags::empty())];
    match poll(&mut fds, limit) {
        Err(Errno::EINTR) => return Ok(()),
        result => drop(result.during("poll", "")?),
    }
    let gone = |events: PollFlags| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP);
    if fds[1].revents().is_some_and(gone) {
        raise(Signal::SIGPIPE).during("raise", "")?;
        return Err(Errno::EPIPE).during("write", "standard output"); // where the signal is ignored
    }
    Ok(())
}
