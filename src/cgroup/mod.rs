//! The container's cgroup: found, made, joined, emptied, removed. Limits come with a later version.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat, write};

use crate::error::{During, Result};
use crate::sys::file;
use crate::sys::process::{pidfd_open, pidfd_send_signal};

pub mod devices;

/// Where cgroups are mounted; cgroups(7).
pub const MOUNT: &str = "/sys/fs/cgroup";

/// The directory in which hybrid hosts mount cgroup v2 beside the v1 hierarchies.
pub const HYBRID: &str = "unified";
/// Its path.
const MOUNT_HYBRID: &CStr = c"/sys/fs/cgroup/unified";

/// How this host mounts its cgroups.
#[derive(Debug)]
pub struct Cgroups {
    /// Whether all controllers are on cgroup v2.
    pub unified: bool,
    /// The mount point of cgroup v2, if there is one.
    v2: Option<OwnedFd>,
}

/// One cgroup v1 hierarchy, or v2 on a hybrid host.
#[derive(Debug)]
pub struct Hierarchy {
    /// The name of its directory: its controllers with commas between them, or its own name.
    pub name: String,
    /// The caller's own cgroup in it.
    pub directory: PathBuf,
}

/// The container's cgroup v2 directory.
#[derive(Debug)]
pub struct Cgroup {
    directory: OwnedFd,
}

impl Cgroups {
    /// Looks how this host mounts its cgroups.
    pub fn detect() -> Self {
        let is_v2 = |path: &CStr| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let open = |path: &CStr| file::open(path, flags).ok();
        if is_v2(c"/sys/fs/cgroup") {
            return Self { unified: true, v2: open(c"/sys/fs/cgroup") };
        }
        Self { unified: false, v2: is_v2(MOUNT_HYBRID).then(|| open(MOUNT_HYBRID)).flatten() }
    }

    /// Whether there is a cgroup v2 to put containers in.
    pub fn has_v2(&self) -> bool {
        self.v2.is_some()
    }

    /// The hierarchies of a v1 or hybrid host, each with the caller's own cgroup; cgroups(7), proc_pid_cgroup(5).
    pub fn hierarchies(&self) -> std::result::Result<Vec<Hierarchy>, String> {
        let file = "/proc/self/cgroup";
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        let one = |line: &str| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let name = match controllers {
                "" => HYBRID,
                named => named.strip_prefix("name=").unwrap_or(named),
            };
            let directory = PathBuf::from(format!("{MOUNT}/{name}{path}"));
            directory.is_dir().then(|| Hierarchy { name: name.to_owned(), directory })
        };
        let mut hierarchies: Vec<_> = text.lines().filter_map(one).collect();
        hierarchies.reverse(); // oldest first, as they were mounted
        Ok(hierarchies)
    }

    /// Makes the cgroup at `path`, parents included, or takes one that is there. `None` without cgroup v2.
    pub fn make(&self, path: &CStr) -> Result<Option<Cgroup>> {
        let Some(v2) = &self.v2 else { return Ok(None) };
        if let Err(errno) = mkdirat(v2.as_fd(), path) {
            match errno {
                Errno::EEXIST => {}
                Errno::ENOENT => make_parents(v2.as_fd(), path).during("mkdir", path)?,
                other => Err(other).during("mkdir", path)?,
            }
        }
        let directory =
            openat(v2, path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).during("open", path)?;
        Ok(Some(Cgroup { directory }))
    }

    /// Kills what still lives in the cgroup at `path` and removes it. One that is gone is fine.
    pub fn remove(&self, path: &CStr) -> Result<()> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        // A process leaves its cgroup only once it is reaped or nearly so, which the kernel does in its own time.
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut pause = Duration::from_micros(100);
        loop {
            match unlinkat(v2, path, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::EBUSY) if Instant::now() < deadline => {}
                Err(errno) => return Err(errno).during("rmdir", path),
            }
            kill_all(self, v2.as_fd(), path);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Cgroups {
    /// Sends `signal` to every process in the cgroup at `path`. One that is gone has none.
    pub fn signal_all(&self, path: &CStr, signal: i32) -> Result<()> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        for pid in processes(v2.as_fd(), path) {
            // Opened, then looked at again: a number that was given to a stranger meanwhile is left alone.
            let Ok(pidfd) = pidfd_open(pid) else { continue };
            if processes(v2.as_fd(), path).contains(&pid) {
                let _ = pidfd_send_signal(pidfd.as_fd(), signal); // ended since
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// The directory, to start a process in or to attach a program to.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The file that the child writes itself to where `CLONE_INTO_CGROUP` is not to be had.
    pub fn procs(&self) -> Result<OwnedFd> {
        openat(&self.directory, c"cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .during("open", c"cgroup.procs")
    }
}

fn mkdirat(v2: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    nix::sys::stat::mkdirat(v2, path, Mode::from_bits_truncate(0o755))
}

/// Makes each directory on the way. Another command may remove a parent meanwhile, so this is tried again.
fn make_parents(v2: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    let parts: Vec<&[u8]> = path.to_bytes().split(|&b| b == b'/').collect();
    let mut tries = 0;
    'again: loop {
        for depth in 1..=parts.len() {
            let prefix = parts.get(..depth).unwrap_or_default().join(&b'/');
            match nix::sys::stat::mkdirat(v2, prefix.as_slice(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) if tries < 16 => {
                    tries += 1;
                    continue 'again;
                }
                Err(errno) => return Err(errno),
            }
        }
        return Ok(());
    }
}

/// SIGKILL to everything in the cgroup at `path`: by `cgroup.kill` (Linux 5.14), or one by one.
fn kill_all(cgroups: &Cgroups, v2: BorrowedFd<'_>, path: &CStr) {
    let file = [path.to_bytes(), b"/cgroup.kill"].concat();
    match openat(v2, file.as_slice(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(kill) => drop(write(kill, b"1")),
        Err(_) => drop(cgroups.signal_all(path, libc::SIGKILL)),
    } // whatever is left is seen by the next rmdir
}

/// The processes in the cgroup at `path`; none where it cannot be read.
fn processes(v2: BorrowedFd<'_>, path: &CStr) -> Vec<Pid> {
    let file = [path.to_bytes(), b"/cgroup.procs"].concat();
    let Ok(procs) = openat(v2, file.as_slice(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) else {
        return Vec::new();
    };
    let text = std::io::read_to_string(std::fs::File::from(procs)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()
}
