//! What survives between two commands: one directory for each container below the root directory.
//!
//! The directory's existence is the claim on the id; its lock serialises commands; `state.json` is written beside and
//! renamed, so that a reader sees a whole one or none.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

mod pid_file;
mod record;

pub use pid_file::PidFile;
pub use record::{Record, Status, process_start};

use crate::cgroup::Place;
use crate::error::{During, Error, Result};
use crate::sys::file::{self, flock};

/// Where root's containers are kept unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/mote";

/// Where containers are kept unless `--root` says otherwise: `/run/mote`, and for others than the host's root a directory in
/// `$XDG_RUNTIME_DIR`, as runc and crun have it.
pub fn default_root() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    match runtime.filter(|_| crate::userns::is_rootless()) {
        Some(directory) => PathBuf::from(directory).join("mote"),
        None => PathBuf::from(DEFAULT_ROOT),
    }
}

/// The socket on which a created container waits for `start`.
pub const START_SOCKET: &str = "start.sock";

const STATE: &str = "state.json";
const STATE_NEW: &str = ".state.json";

/// The socket on which a container's program says that it is ready.
pub const NOTIFY_SOCKET: &str = "notify.sock";

/// What config.json said at create, where later commands need it.
const CONFIG: &str = "config.json";

/// The seccomp filter of the container, compiled.
const FILTER: &str = "seccomp";

/// Every file that mote makes in a container's directory.
const FILES: &[&str] = &[STATE, STATE_NEW, START_SOCKET, NOTIFY_SOCKET, CONFIG, FILTER];

/// A container's name: letters, digits and `_+-.`, neither `.` nor `..`, at most 200 of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(Box<str>);

impl Id {
    /// Checks a name. The limit leaves room for a prefix within the 255 bytes of a file name.
    pub fn new(name: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
        if name.is_empty() || name.len() > 200 || matches!(name, "." | "..") || !name.bytes().all(plain) {
            let shown: String = name.chars().take(40).collect();
            let dots = if shown.len() < name.len() { "..." } else { "" };
            return Err(Error::usage(format_args!(
                "container id \"{shown}{dots}\": expected 1 to 200 of the characters A-Z a-z 0-9 _ + - ."
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The root directory.
#[derive(Debug)]
pub struct Store {
    directory: OwnedFd,
    path: PathBuf,
}

/// One container's directory.
#[derive(Debug)]
pub struct Entry {
    directory: OwnedFd,
    path: PathBuf,
    id: Id,
    locked: bool,
    /// The state file that was begun, and how; see [`Entry::begin`].
    begun: RefCell<Begun>,
}

/// A state file, and how it begins until it is whole.
#[derive(Debug, Default)]
struct Begun {
    file: Option<OwnedFd>,
    text: Option<String>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.unlock();
    }
}

/// What engines look for when a container is not there.
const NOT_THERE: &str = "container does not exist";

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

impl Store {
    /// Opens the root directory; `make` makes it where it is missing.
    pub fn open(path: &Path, make: bool) -> Result<Self> {
        let directory = match file::open(path, DIRECTORY) {
            Err(Errno::ENOENT) if make => {
                std::fs::create_dir_all(path).during("mkdir", path)?;
                let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
                std::fs::set_permissions(path, private).during("chmod", path)?;
                file::open(path, DIRECTORY)
            }
            result => result,
        };
        Ok(Self { directory: directory.during("open", path)?, path: path.to_owned() })
    }

    /// Claims an id, and locks it.
    pub fn make(&self, id: &Id) -> Result<Entry> {
        match mkdirat(&self.directory, id.as_str(), Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                return Err(Error::container(id.as_str(), "container with given ID already exists"));
            }
            result => result.during("mkdir", &*self.path.join(id.as_str()))?,
        }
        self.lock(id)
    }

    /// Opens a container's directory, to look at it.
    pub fn find(&self, id: &Id) -> Result<Entry> {
        let path = self.path.join(id.as_str());
        match openat(&self.directory, id.as_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(directory) => {
                Ok(Entry { directory, path, id: id.clone(), locked: false, begun: RefCell::default() })
            }
            Err(Errno::ENOENT) => Err(Error::container(id.as_str(), NOT_THERE)),
            Err(errno) => Err(errno).during("open", &*path),
        }
    }

    /// What is known about a container. Of one that is being made nothing is before its process is at work, and its program
    /// may be the first to tell of it: waits for the state until the create has written it, or has ended. Not for its end: its hooks may
    /// take for ever.
    pub fn record(&self, id: &Id) -> Result<Record> {
        /// Milliseconds, of which a create that is not held up takes a few.
        const LONGEST: u32 = 10_000;
        let entry = self.find(id)?;
        for _ in 0..LONGEST {
            if !entry.is_without_state() || !file::is_locked(entry.directory()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        entry.load()
    }

    /// Opens a container's directory and waits until no other command changes it.
    pub fn lock(&self, id: &Id) -> Result<Entry> {
        let mut entry = self.find(id)?;
        if entry.lock()? { Ok(entry) } else { Err(Error::container(id.as_str(), NOT_THERE)) }
    }

    /// The names of all containers, in order.
    pub fn ids(&self) -> Result<Vec<Id>> {
        let names = file::names(&self.path).during("open", &*self.path)?;
        let has_state = |id: &Id| self.path.join(id.as_str()).join(STATE).is_file();
        let ids = names.iter().filter_map(|name| Id::new(name.to_str()?).ok());
        let mut ids: Vec<_> = ids.filter(has_state).collect();
        ids.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }

    /// Gives an id back: removes the files that mote makes, and the directory.
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        let directory =
            |store: &Self| unlinkat(&store.directory, entry.id.as_str(), UnlinkatFlags::RemoveDir);
        // Most often the state is all there is.
        let state = unlinkat(&entry.directory, STATE, UnlinkatFlags::NoRemoveDir);
        if state.is_ok() && directory(self).is_ok() {
            return Ok(());
        }
        for file in FILES {
            match unlinkat(&entry.directory, *file, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno).during("unlink", &*entry.path.join(file)),
            }
        }
        match directory(self) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).during("rmdir", &*entry.path),
        }
    }
}

impl Entry {
    /// Waits until no other command changes the container. Whether it is still there: the one who had the lock may
    /// have been a delete.
    pub fn lock(&mut self) -> Result<bool> {
        flock(self.directory(), true).during("flock", &*self.path)?;
        self.locked = true;
        let links = nix::sys::stat::fstat(&self.directory).during("fstat", &*self.path)?.st_nlink;
        Ok(links > 0)
    }

    /// Lets other commands work on it. Closing is not enough: a created container's first process has a copy of the
    /// descriptor until it is started.
    pub fn unlock(&mut self) {
        if std::mem::take(&mut self.locked) {
            let _ = flock(self.directory(), false); // cannot fail on an open descriptor
        }
    }

    /// The directory.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins the state file with what is not in the container's directory: who is killed before it is whole leaves to
    /// [`Entry::left`] what there is to take back.
    pub fn begin(&self, place: &Place<'_>, rdt: &str) -> Result<()> {
        let text = record::beginning(place, rdt);
        let file = create(self.directory.as_fd(), STATE_NEW);
        let file = file.and_then(|file| file::write_all(file.as_fd(), text.as_bytes()).map(|()| file));
        let file = file.during("write", &*self.path.join(STATE_NEW))?;
        self.begun.replace(Begun { file: Some(file), text: Some(text) });
        Ok(())
    }

    /// Adds that the cgroup has turned out to be nobody else's.
    pub fn own_cgroup(&self) -> Result<()> {
        let mut begun = self.begun.borrow_mut();
        if let Begun { file: Some(file), text: Some(text) } = &mut *begun {
            text.push(',');
            file::write_all(file.as_fd(), b",").during("write", &*self.path.join(STATE_NEW))?;
        }
        Ok(())
    }

    /// Writes the state file.
    pub fn save(&self, record: &Record) -> Result<()> {
        let path = self.path.join(STATE_NEW);
        let text = record.to_file();
        let mut begun = self.begun.borrow_mut();
        let begin = begun.text.take();
        match begun.file.as_ref().zip(begin.and_then(|begin| text.strip_prefix(&*begin))) {
            Some((file, rest)) => file::write_all(file.as_fd(), rest.as_bytes()),
            None => write_whole(self.directory.as_fd(), STATE_NEW, text.as_bytes()),
        }
        .during("write", &*path)?;
        renameat(&self.directory, STATE_NEW, &self.directory, STATE).during("rename", &*path)
    }

    /// What a create has left that was killed before the state file was whole, if it came to make anything: where its cgroup
    /// is, and perhaps its first process. Whether the cgroup is known to have been nobody else's.
    pub fn left(&self) -> Option<(Record, bool)> {
        let text = read_whole(self.directory.as_fd(), STATE_NEW).ok()?;
        let text = std::str::from_utf8(&text).ok()?;
        // What is written next is the process, and the socket before it.
        let socket = || fstatat(&self.directory, START_SOCKET, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let (text, own) = match (text.ends_with('}'), text.strip_suffix(',')) {
            (true, _) => (text.to_owned(), true),
            (_, Some(begun)) => (format!("{begun}}}"), true),
            (_, None) => (format!("{text}}}"), socket()),
        };
        let path = self.path.join(STATE_NEW);
        Some((Record::from_file(text.as_bytes(), self.id.as_str(), &path).ok()?, own))
    }

    /// Keeps config.json as it was read, for [`Entry::config`].
    pub fn save_config(&self, text: &[u8]) -> Result<()> {
        write_whole(self.directory.as_fd(), CONFIG, text).during("write", &*self.path.join(CONFIG))
    }

    /// What config.json said at create, whatever has become of the file since.
    pub fn config(&self) -> Result<Vec<u8>> {
        read_whole(self.directory.as_fd(), CONFIG).during("read", &*self.config_path())
    }

    /// Where that stands.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Keeps the compiled seccomp filter, for [`Entry::filter`].
    pub fn save_filter(&self, bytes: &[u8]) -> Result<()> {
        write_whole(self.directory.as_fd(), FILTER, bytes).during("write", &*self.path.join(FILTER))
    }

    /// The seccomp filter that was compiled at create.
    pub fn filter(&self) -> Result<Vec<u8>> {
        read_whole(self.directory.as_fd(), FILTER).during("read", &*self.path.join(FILTER))
    }

    fn is_without_state(&self) -> bool {
        fstatat(&self.directory, STATE, AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT)
    }

    /// Reads the state file. A directory without one is left from a create that was killed.
    pub fn load(&self) -> Result<Record> {
        let path = self.path.join(STATE);
        match read_whole(self.directory.as_fd(), STATE) {
            Err(Errno::ENOENT) => Err(Error::container(self.id.as_str(), NOT_THERE)),
            // Without a name of its own it is broken: that alone of a begun one may be missing, and this was finished.
            result => Record::from_file(&result.during("read", &*path)?, "", &path),
        }
    }
}

/// All of a file.
fn read_whole(directory: BorrowedFd<'_>, name: &str) -> nix::Result<Vec<u8>> {
    let file =
        openat(directory, name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text);
    read.map(|_| text).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

/// Makes a new file with this content, in the place of a leftover one.
fn write_whole(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> nix::Result<()> {
    file::write_all(create(directory, name)?.as_fd(), content)
}

/// Makes a new file in the place of a leftover one.
fn create(directory: BorrowedFd<'_>, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_and_never_paths() {
        for good in ["a", "0", "web-1_x+y.z", "..a", "-", &"x".repeat(200)] {
            assert!(Id::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a/b", "../x", "a b", "a\n", "é", "a\0", &"x".repeat(201), &"x".repeat(5000)]
        {
            let Err(error) = Id::new(bad) else { unreachable!("{bad}") };
            assert!(error.to_string().len() < 150, "{error}");
        }
    }
}
