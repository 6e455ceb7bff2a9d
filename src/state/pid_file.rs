//! The file with a process's number that engines wait for.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat, write};

use crate::error::{During, Result};
use crate::sys::file;

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
