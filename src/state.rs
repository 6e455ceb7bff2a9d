//! What survives between two commands: one directory for each container below the root directory.
//!
//! The directory's existence is the claim on the id; its lock serialises commands; `state.json` is written beside and
//! renamed, so that a reader sees a whole one or none.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat, write};

use crate::cgroup::{Cgroups, Place};
use crate::error::{During, Error, Result};
use crate::json::{self, Pairs, Str};
use crate::object;
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
            return Err(Error::Usage(
                format!(
                    "container id \"{shown}{dots}\": expected 1 to 200 of the characters A-Z a-z 0-9 _ + - ."
                )
                .into(),
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where in its life a container is; runtime-spec runtime.md "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being made: its hooks run.
    Creating,
    /// Made, waiting for `start`.
    Created,
    /// Started.
    Running,
    /// Started, and standing still.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known about one container.
#[derive(Debug)]
pub struct Record {
    /// Its name.
    pub id: Id,
    /// Its first process, in the pid namespace of the commands.
    pub pid: Pid,
    /// When that process began, in clock ticks since boot, which tells it from another with its number.
    pub start_ticks: u64,
    /// What the last command made of it; see [`Record::status_now`] for what has become of it since.
    pub status: Status,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root filesystem, absolute.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The path of its cgroup; see [`Place`].
    pub cgroup: CString,
    /// Whether that is in every hierarchy.
    pub every_cgroup: bool,
    /// The group of the resctrl filesystem that goes with it; empty for none.
    pub rdt: CString,
    /// `ociVersion` of its config.json.
    pub oci_version: String,
    /// Whether later commands have hooks to run; see [`Entry::config`].
    pub hooks: bool,
    /// From its config.json.
    pub annotations: Vec<(String, String)>,
    /// What `exec` needs of config.json, as it stood there when the container was created: a JSON object.
    pub kept: String,
}

object! {
    /// `state.json`
    struct Stored<'a> {
        oci_version: Str<'a> = "ociVersion",
        id: Str<'a> = "id",
        pid: i32 = "pid",
        status: Str<'a> = "status",
        bundle: Str<'a> = "bundle",
        rootfs: Str<'a> = "rootfs",
        created: Str<'a> = "created",
        annotations: Pairs<'a, Str<'a>> = "annotations",
        start_ticks: u64 = "startTicks",
        cgroup: Str<'a> = "cgroup",
        hooks: bool = "hooks",
        rdt: Str<'a> = "rdt",
        every_cgroup: bool = "everyCgroup",
    }
}

impl Record {
    /// What the container is now: a first process that is gone, or only waits to be reaped, is a stopped container, and
    /// one that runs may have been paused.
    pub fn status_now(&self) -> Status {
        match self.status {
            _ if !self.is_alive() => Status::Stopped,
            Status::Running if self.is_frozen() => Status::Paused,
            status => status,
        }
    }

    /// Whether the first process is there and no other that has its number now.
    pub fn is_alive(&self) -> bool {
        process_start(self.pid) == Some(self.start_ticks)
    }

    /// Lets go of what the freezer of cgroup v1 holds: what is frozen by it ends only then, whatever killed it.
    pub fn thaw_v1(&self) -> Result<()> {
        let cgroups = Cgroups::detect();
        if cgroups.unified || !self.every_cgroup {
            return Ok(());
        }
        cgroups.open(&self.place())?.thaw_v1(&cgroups)
    }

    fn is_frozen(&self) -> bool {
        let cgroups = Cgroups::detect();
        cgroups.open(&self.place()).is_ok_and(|cgroup| cgroup.is_frozen(&cgroups))
    }

    /// Its cgroup.
    pub fn place(&self) -> Place<'_> {
        Place { path: &self.cgroup, every: self.every_cgroup }
    }

    /// The state as runtime-spec has it, in the order and shape that runc prints; `indent` is empty for one line.
    pub fn to_json(&self, indent: &str, owner: &str) -> String {
        let status = self.status_now();
        let pid = if status == Status::Stopped { 0 } else { self.pid.as_raw() };
        let mut json = self.fields(indent, pid, status);
        json.string("owner", owner);
        json.end()
    }

    /// The fields that the state and the state file share.
    fn fields(&self, indent: &str, pid: i32, status: Status) -> json::Writer {
        let mut json = json::Writer::new(indent);
        json.string("ociVersion", &self.oci_version);
        json.string("id", self.id.as_str());
        json.number("pid", pid);
        json.string("status", status.word());
        json.string("bundle", &self.bundle.to_string_lossy());
        json.string("rootfs", &self.rootfs.to_string_lossy());
        json.string("created", &self.created);
        if !self.annotations.is_empty() {
            json.strings("annotations", &self.annotations);
        }
        json
    }

    /// The state as runtime-spec has it, of a container that is `status` now.
    pub fn to_spec(&self, status: Status) -> String {
        self.fields("", self.pid.as_raw(), status).end()
    }

    fn to_file(&self) -> String {
        let mut json = self.fields("", self.pid.as_raw(), self.status);
        json.number("startTicks", self.start_ticks);
        json.string("cgroup", &self.cgroup.to_string_lossy());
        json.number("everyCgroup", self.every_cgroup);
        if self.hooks {
            json.number("hooks", true);
        }
        if !self.rdt.is_empty() {
            json.string("rdt", &self.rdt.to_string_lossy());
        }
        if !self.kept.is_empty() {
            json.raw("kept", &self.kept);
        }
        json.end()
    }

    fn from_file(text: &[u8], file: &Path) -> Result<Self> {
        let broken = |flaw: json::Flaw| Error::config(file.display(), flaw.field, flaw.why);
        let stored: Stored<'_> = json::parse(text).map_err(broken)?;
        // Parsed, so it is UTF-8.
        let kept = std::str::from_utf8(text).ok().and_then(|text| json::member(text, "kept"));
        let status = [Status::Creating, Status::Created, Status::Running]
            .into_iter()
            .find(|s| stored.status == s.word());
        Ok(Self {
            id: Id::new(&stored.id.decode())?,
            pid: Pid::from_raw(stored.pid),
            start_ticks: stored.start_ticks,
            status: status.unwrap_or(Status::Stopped),
            bundle: stored.bundle.decode().into(),
            rootfs: stored.rootfs.decode().into(),
            created: stored.created.decode(),
            cgroup: CString::new(stored.cgroup.decode())
                .map_err(|_| Error::config(file.display(), "cgroup", "holds a NUL"))?,
            every_cgroup: stored.every_cgroup,
            rdt: CString::new(stored.rdt.decode())
                .map_err(|_| Error::config(file.display(), "rdt", "holds a NUL"))?,
            oci_version: stored.oci_version.decode(),
            hooks: stored.hooks,
            annotations: stored
                .annotations
                .iter()
                .map(|(key, value)| (key.decode(), value.decode()))
                .collect(),
            kept: kept.unwrap_or_default().to_owned(),
        })
    }
}

/// When a process began, in clock ticks since boot; `None` for one that is gone or only waits to be reaped.
/// proc_pid_stat(5), fields 3 and 22.
pub fn process_start(pid: Pid) -> Option<u64> {
    let mut buffer = [0; 1024];
    let file = file::open(format!("/proc/{pid}/stat").as_str(), OFlag::O_RDONLY).ok()?;
    let len = nix::unistd::read(file, &mut buffer).ok()?;
    let text = std::str::from_utf8(buffer.get(..len)?).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
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
            Ok(directory) => Ok(Entry { directory, path, id: id.clone(), locked: false }),
            Err(Errno::ENOENT) => Err(Error::container(id.as_str(), NOT_THERE)),
            Err(errno) => Err(errno).during("open", &*path),
        }
    }

    /// Opens a container's directory and waits until no other command changes it.
    pub fn lock(&self, id: &Id) -> Result<Entry> {
        let mut entry = self.find(id)?;
        if entry.lock()? { Ok(entry) } else { Err(Error::container(id.as_str(), NOT_THERE)) }
    }

    /// The names of all containers, in order.
    pub fn ids(&self) -> Result<Vec<Id>> {
        let entries = std::fs::read_dir(&self.path).during("open", &*self.path)?;
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let has_state = |id: &Id| self.path.join(id.as_str()).join(STATE).is_file();
        let ids = entries.filter_map(name).filter_map(|name| Id::new(&name).ok());
        let mut ids: Vec<_> = ids.filter(has_state).collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
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

    /// Writes the state file.
    pub fn save(&self, record: &Record) -> Result<()> {
        let path = self.path.join(STATE_NEW);
        write_whole(self.directory.as_fd(), STATE_NEW, record.to_file().as_bytes())
            .during("write", &*path)?;
        renameat(&self.directory, STATE_NEW, &self.directory, STATE).during("rename", &*path)
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

    /// Reads the state file. A directory without one is left from a create that was killed.
    pub fn load(&self) -> Result<Record> {
        let path = self.path.join(STATE);
        match read_whole(self.directory.as_fd(), STATE) {
            Err(Errno::ENOENT) => Err(Error::container(self.id.as_str(), NOT_THERE)),
            result => Record::from_file(&result.during("read", &*path)?, &path),
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
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// A pid file that has not got its name yet: engines read it while it appears. It is reached by descriptor, so its caller
/// may be in another mount namespace when it is written.
#[derive(Debug)]
pub struct PidFile {
    directory: OwnedFd,
    file: OwnedFd,
    name: OsString,
    path: PathBuf,
    named: bool,
}

impl PidFile {
    /// Makes the file, under a name of its own.
    pub fn new(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or(Errno::EISDIR).during("write", path)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = file::open(parent.unwrap_or(Path::new(".")), OFlag::O_PATH | OFlag::O_DIRECTORY);
        let directory = directory.during("open", path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&directory, &*Self::new_name(&name), flags, Mode::from_bits_truncate(0o666));
        Ok(Self { directory, file: file.during("open", path)?, name, path: path.to_owned(), named: false })
    }

    fn new_name(name: &OsStr) -> OsString {
        let mut new = OsString::from(".");
        new.push(name);
        new
    }

    /// Writes the digits alone, which is all that go-runc takes, and gives the file its name.
    pub fn write(&mut self, pid: Pid) -> Result<()> {
        let mut digits = heapless::String::<12>::new();
        let _ = write!(digits, "{pid}"); // eleven characters at most
        write(&self.file, digits.as_bytes()).during("write", &*self.path)?;
        let new = Self::new_name(&self.name);
        renameat(&self.directory, &*new, &self.directory, &*self.name).during("rename", &*self.path)?;
        self.named = true;
        Ok(())
    }
}

/// Takes the file away again: what was to be told did not come about.
impl Drop for PidFile {
    fn drop(&mut self) {
        let name = if self.named { self.name.clone() } else { Self::new_name(&self.name) };
        let _ = unlinkat(&self.directory, &*name, UnlinkatFlags::NoRemoveDir); // as much as can be taken back
    }
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

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let Ok(id) = Id::new("web") else { unreachable!() };
        let record = Record {
            id,
            pid: Pid::from_raw(7),
            start_ticks: 99,
            status: Status::Created,
            bundle: "/b \"x\"".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-23T21:23:30Z".into(),
            cgroup: c"mote-web".to_owned(),
            every_cgroup: true,
            rdt: c"gold/mon_groups/c1".into(),
            oci_version: "1.3.0".into(),
            hooks: true,
            annotations: vec![("a\nb".into(), "c\\d".into())],
            kept: r#"{"process":{"args":["\"}"]}}"#.into(),
        };
        let Ok(read) = Record::from_file(record.to_file().as_bytes(), Path::new("x")) else { unreachable!() };
        assert_eq!(format!("{read:?}"), format!("{record:?}"));
    }
}
