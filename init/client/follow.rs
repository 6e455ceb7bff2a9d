//! The log of a container, read as it is written: inotify says when there is more, and nothing is looked at in between.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use mote::error::{During as _, Result};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::logs::files;
use super::watch;

/// What says that a watch is of no more use.
const GONE: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_IGNORED);

/// The file that is being read.
pub type Reader = BufReader<File>;

/// The directory of a log, watched from before it was looked at.
pub struct Follow<'d> {
    dir: &'d Path,
    inotify: Inotify,
    /// What is watched: the directory, or the closest one above it that is there.
    watched: Option<(WatchDescriptor, bool)>,
}

impl<'d> Follow<'d> {
    /// Watches from now on.
    pub fn new(dir: &'d Path) -> Result<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags).during("inotify_init", "")?;
        let mut follow = Self { dir, inotify, watched: None };
        follow.watch()?;
        Ok(follow)
    }

    /// Watches the directory, or for it to come.
    fn watch(&mut self) -> Result<()> {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR | GONE;
        let mut missing: Option<&Path> = None;
        let mut dir = self.dir;
        loop {
            let own = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE;
            let more = if dir == self.dir { own } else { AddWatchFlags::empty() };
            match (self.inotify.add_watch(dir, flags | more), dir.parent()) {
                (Err(Errno::ENOENT), Some(parent)) => {
                    missing = Some(dir);
                    dir = parent;
                    continue;
                }
                (added, _) => {
                    let added = added.during("inotify_add_watch", dir)?;
                    let old = self.watched.replace((added, dir == self.dir));
                    if let Some((old, _)) = old.filter(|old| old.0 != added) {
                        let _ = self.inotify.rm_watch(old); // what is gone is not watched any more
                    }
                }
            }
            match missing.take() {
                // It has come before its parent was watched.
                Some(child) if child.exists() => dir = self.dir,
                _ => return Ok(()),
            }
        }
    }

    /// Waits until there may be more.
    fn wait(&mut self) -> Result<()> {
        watch::wait(&self.inotify, PollTimeout::NONE)?;
        let mut gone = false;
        match self.inotify.read_events() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            events => {
                gone = events.during("read", "inotify")?.iter().any(|event| event.mask.intersects(GONE));
            }
        }
        if gone || self.watched.is_none_or(|(_, itself)| !itself) {
            self.watch()?;
        }
        Ok(())
    }

    /// Gives `take` what there is from here on of `reader`, and of the files that follow it, for as long as it wants more.
    pub fn run(
        mut self,
        reader: Option<Reader>,
        take: &mut dyn FnMut(&mut Reader) -> Result<bool>,
    ) -> Result<()> {
        let mut reader = reader;
        // The file that is read, or was: its inode while it has one of its own, and when it was written last.
        let mut ours = (None, SystemTime::UNIX_EPOCH);
        loop {
            let mut removed = false;
            if let Some(current) = &reader {
                let meta = current.get_ref().metadata().during("fstat", "log")?;
                ours = (Some(meta.ino()), meta.modified().unwrap_or(ours.1));
                removed = meta.nlink() == 0;
            }
            // What is behind the end of a file is there before the next one is.
            let next = self.next(ours)?;
            if let Some(current) = &mut reader {
                shortened(current)?;
                if !take(current)? {
                    return Ok(());
                }
            }
            if next.is_some() {
                reader = next;
                continue;
            }
            if removed {
                // As long as it is open nobody hears that its directory is gone.
                (reader, ours.0) = (None, None);
            }
            self.wait()?;
        }
    }

    /// The file that was begun after ours: rotation may have gone on by more than one.
    fn next(&self, ours: (Option<u64>, SystemTime)) -> Result<Option<Reader>> {
        let mut next = None;
        for path in files(self.dir).unwrap_or_default().into_iter().rev() {
            let Ok(file) = File::open(&path) else { continue };
            let meta = file.metadata().during("fstat", path.as_path())?;
            if ours.0 == Some(meta.ino()) || meta.modified().is_ok_and(|modified| modified < ours.1) {
                break;
            }
            next = Some(BufReader::new(file));
        }
        Ok(next)
    }
}

/// What was on its way to a full disk is taken back; what follows stands where it was.
fn shortened(reader: &mut Reader) -> Result<()> {
    let at = reader.stream_position().during("lseek", "log")?;
    let length = reader.get_ref().metadata().during("fstat", "log")?.len();
    if length < at {
        reader.seek(SeekFrom::Start(length)).during("lseek", "log")?;
    }
    Ok(())
}
