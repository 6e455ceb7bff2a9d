//! Waiting for something to happen: PID 1 writes a record of every start and end, so nobody has to ask it all the time.

use std::os::fd::AsFd as _;

use mote::error::{During as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

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
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit) {
            Err(Errno::EINTR) => {}
            result => drop(result.during("poll", "")?),
        }
        match self.0.read_events() {
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            result => result.during("read", "inotify").map(drop),
        }
    }
}
