//! The reader: a child of PID 1 that looks at all manifests, compares them with what its copy of the tables says, and sends what
//! differs as rows. It also keeps a copy of each manifest that was accepted in the run directory: what is started, probed or
//! restarted later is what was accepted, whatever has become of the file meanwhile.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mote::error::{During as _, Error, Result, words};
use mote::input::{self, Input};
use mote::sys::file;
use nix::sys::inotify::{AddWatchFlags, Inotify};
use nix::sys::socket::{MsgFlags, send};

use super::rows::{File, Row};
use crate::manifest::{self, MANIFEST_BYTES, Pod};
use crate::world::{PodRow, Reason, World};

/// What is waited for in the directory of the manifests. The end of writing, not its beginning; a file that comes by rename.
fn events() -> AddWatchFlags {
    AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_ONLYDIR
}

/// A number that tells texts apart: FNV-1a of 64 bits. Who wants two manifests to have the same one may as well edit them.
pub fn hash(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether a file of this name is a manifest. Dotfiles are on their way to another name, editors have suffixes of their own.
fn is_manifest(name: &[u8]) -> bool {
    name.ends_with(b".json") && !name.starts_with(b".")
}

/// The names of the manifests in `directory`, in order.
pub fn manifests(directory: &str) -> nix::Result<Vec<OsString>> {
    let mut files = file::names(directory)?;
    files.retain(|name| is_manifest(name.as_encoded_bytes()));
    files.sort_unstable();
    Ok(files)
}

/// Where the accepted manifests are kept.
pub fn accepted(run: &str) -> PathBuf {
    Path::new(run).join("manifests")
}

/// Reads everything. `inotify` is PID 1's own; the watch that is added to it here is there before the look.
pub fn run(world: &World<'_>, inotify: Option<&Inotify>, to: &OwnedFd) -> i32 {
    let directory = world.paths.manifests;
    let watched = inotify.map(|inotify| inotify.add_watch(directory, events()));
    if let Some(Err(errno)) = watched {
        mote::warn!("inotify: {directory}: {}; changes there are seen by mote reload alone", words(errno));
    }
    let mut reader = Reader { world, to, names: Vec::new(), room: world.room() };
    match reader.scan() {
        Ok(()) => 0,
        Err(e) => {
            mote::error!("{e}; the pods stay as they are");
            1
        }
    }
}

/// A look at all manifests.
struct Reader<'w> {
    world: &'w World<'w>,
    to: &'w OwnedFd,
    /// The pods that are there, or have been sent, each with its manifest.
    names: Vec<(String, File)>,
    /// How many pods and containers there is room for.
    room: (usize, usize),
}

impl Reader<'_> {
    fn scan(&mut self) -> Result<()> {
        let directory = self.world.paths.manifests;
        let files = manifests(directory).during("open", directory)?;
        let rows = self.world.pods.iter().filter(|row| !row.is_vacant());
        let running = |row: &&PodRow| row.failed.is_none();
        self.names =
            rows.clone().filter(running).map(|row| (row.name.to_string(), row.file.clone())).collect();
        // First those that go: their names and places are free for others only after that, which is another look.
        for row in rows.clone().filter(|row| !row.leaving) {
            if !row.file.is_empty() && !files.iter().any(|file| file.to_str() == Some(&row.file)) {
                self.send(&Row::Gone(row.file.clone()))?;
            }
        }
        for file in &files {
            // What does not fit cannot be told of; at boot it was said once.
            let Some(name) = file.to_str().and_then(|name| File::try_from(name).ok()) else { continue };
            let row = rows.clone().find(|row| row.file == name);
            if row.is_none_or(|row| !row.leaving) {
                self.look(name, row)?;
            }
        }
        self.send(&Row::End)
    }

    /// One manifest, and the pod that was made of it.
    fn look(&mut self, file: File, row: Option<&PodRow>) -> Result<()> {
        let path = Path::new(self.world.paths.manifests).join(file.as_str());
        let text = match input::read(&path, MANIFEST_BYTES) {
            Ok(Input::Text(text)) => Ok(text),
            Ok(Input::TooLarge) => Err(Error::config(&*file, "the document", "larger than 256 KiB")),
            Ok(Input::NotRegular) => Err(Error::config(&*file, "the document", "not a regular file")),
            Err(e) => Err(e),
        };
        let running = row.filter(|row| row.failed.is_none());
        let same = |text: &[u8]| running.is_some_and(|row| row.hash == hash(text));
        if let Some(text) = text.as_ref().ok().filter(|text| same(text)) {
            self.keep(&file, text, false)?;
            return match running.and_then(|row| row.wrong.as_ref()) {
                Some(_) => self.send(&Row::Wrong { file, reason: Reason::new() }),
                None => Ok(()),
            };
        }
        let read = text.and_then(|text| manifest::parse(&file, &text).map(|pod| (text, pod)));
        match (read, running) {
            (Ok(_), Some(_)) => self.send(&Row::Changed(file)),
            (Ok((text, pod)), None) => match self.refused(&file, &pod) {
                Some(why) => self.failed(file, row, &why),
                None => self.add(file, &text, pod),
            },
            (Err(why), None) => self.failed(file, row, &why),
            (Err(why), Some(row)) => {
                let reason = Reason::of(format_args!("{why}"));
                let new = row.wrong.as_ref() != Some(&reason);
                if new { self.send(&Row::Wrong { file, reason }) } else { Ok(()) }
            }
        }
    }

    /// Says why there is no pod of `file`, unless that is known.
    fn failed(&mut self, file: File, row: Option<&PodRow>, why: &Error) -> Result<()> {
        let reason = Reason::of(format_args!("{why}"));
        if row.and_then(|row| row.failed.as_ref()) == Some(&reason) {
            return Ok(());
        }
        self.send(&Row::Failed { file, reason })
    }

    /// What keeps a right manifest from being run here.
    fn refused(&self, file: &str, pod: &Pod) -> Option<Error> {
        let other = self.names.iter().find(|(name, _)| name == pod.name.as_str());
        manifest::refused(file, pod, other.map(|(_, file)| file.as_str()), self.room)
    }

    fn add(&mut self, file: File, text: &[u8], pod: Pod) -> Result<()> {
        if !pod.passed.is_empty() {
            mote::warn!("{file}: {}: not used by mote, left aside", pod.passed.join(", "));
        }
        self.keep(&file, text, true)?;
        self.names.push((pod.name.to_string(), file.clone()));
        self.room = (self.room.0.saturating_sub(1), self.room.1.saturating_sub(pod.containers.len()));
        self.send(&Row::Pod {
            file,
            hash: hash(text),
            name: pod.name,
            policy: pod.restart,
            grace_ms: u64::from(pod.grace_s) * 1000,
            after: pod.after,
            control: pod.control,
            count: u32::try_from(pod.containers.len()).unwrap_or(u32::MAX),
        })?;
        for container in pod.containers {
            let conf = container.life.conf;
            let (stdin, tty) = (container.stdin, container.tty);
            self.send(&Row::Unit { name: container.name, conf, stdin, tty })?;
        }
        Ok(())
    }

    /// Keeps the manifest as it was accepted; one that is there already stays unless it is `new`.
    fn keep(&self, file: &str, text: &[u8], new: bool) -> Result<()> {
        let directory = accepted(self.world.paths.run);
        let (path, hidden) = (directory.join(file), directory.join(format!(".{file}")));
        if !new && path.exists() {
            return Ok(());
        }
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&directory).during("mkdir", &*directory)?;
        fs::write(&hidden, text).during("write", &*hidden)?;
        fs::rename(&hidden, &path).during("rename", &*path)
    }

    fn send(&self, row: &Row) -> Result<()> {
        send_row(self.to, row)
    }
}

fn send_row(to: &OwnedFd, row: &Row) -> Result<()> {
    send(to.as_raw_fd(), &row.encode(), MsgFlags::MSG_NOSIGNAL).map(drop).during("send", "row")
}

/// Whether one of the events in `bytes`, inotify(7), is about a manifest, or about all of them.
pub fn concerns(bytes: &[u8]) -> bool {
    const HEAD: usize = 16;
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_at_checked(HEAD) {
        let number = |at: usize| {
            head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        let (mask, length) = (number(4), usize::try_from(number(12)).unwrap_or(0));
        let Some((name, next)) = after.split_at_checked(length) else { return true };
        let end = name.iter().position(|&b| b == 0).unwrap_or(length);
        let overflow = mask & (AddWatchFlags::IN_Q_OVERFLOW.bits() | AddWatchFlags::IN_IGNORED.bits()) != 0;
        if overflow || name.get(..end).is_some_and(is_manifest) {
            return true;
        }
        rest = next;
    }
    false
}

/// Reads what inotify has to say, without waiting; whether it concerns a manifest. Allocates nothing.
pub fn drain(inotify: BorrowedFd<'_>) -> bool {
    let (mut bytes, mut concerned) = ([0; 1024], false);
    while let Ok(length @ 1..) = nix::unistd::read(inotify, &mut bytes) {
        concerned |= concerns(bytes.get(..length).unwrap_or_default());
    }
    concerned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(mask: u32, name: &str) -> Vec<u8> {
        let padded = if name.is_empty() { 0 } else { name.len().next_multiple_of(16) };
        let mut bytes = [1, mask, 0, u32::try_from(padded).unwrap_or(0)].map(u32::to_ne_bytes).concat();
        bytes.extend(name.bytes());
        bytes.resize(16 + padded, 0);
        bytes
    }

    #[test]
    fn only_events_of_manifests_concern() {
        let written = AddWatchFlags::IN_CLOSE_WRITE.bits();
        for (name, concerned) in [
            ("web.json", true),
            (".web.json", false),
            ("web.json~", false),
            ("4913", false),
            (".web.json.swp", false),
        ] {
            assert_eq!(concerns(&event(written, name)), concerned, "{name}");
        }
        let both = [event(written, ".web.json"), event(written, "web.json")].concat();
        assert!(concerns(&both) && concerns(&event(AddWatchFlags::IN_Q_OVERFLOW.bits(), "")));
        assert!(!concerns(&[]) && !concerns(&event(written, "")));
    }

    #[test]
    fn a_changed_text_has_another_hash() {
        assert_ne!(hash(b"{\"a\":1}"), hash(b"{\"a\":2}"));
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
