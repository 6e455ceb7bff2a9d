//! The container's cgroup: found, made, limited, joined, emptied, removed.
//!
//! A container has one path, the same in every hierarchy. On cgroup v2 that is one directory; on a v1 or hybrid host it
//! is one for each hierarchy, and each controller is asked where it is to be found.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{UnlinkatFlags, read, unlinkat, write};

use crate::error::{During, Error, Result};
use crate::sys::file;

pub mod devices;
mod freezer;
mod remove;
mod settings;
pub mod stats;
mod tree;
mod v1;
mod v2;

pub use settings::{Or, Resources, Setting};
pub use tree::{children, processes};

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
    /// The controllers of cgroup v2, once somebody has asked.
    controllers: OnceCell<String>,
    /// The hierarchies, once somebody has asked.
    hierarchies: OnceCell<Vec<Hierarchy>>,
}

/// One cgroup v1 hierarchy, or v2.
#[derive(Debug)]
pub struct Hierarchy {
    /// The name of its directory: its controllers with commas between them, or its own name.
    pub name: String,
    /// Its mount point.
    pub mount: PathBuf,
    /// The caller's own cgroup in it, from the mount point, with a leading slash.
    pub own: String,
    /// Whether it is cgroup v2.
    pub v2: bool,
}

/// Which cgroup is a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Relative to the mount points, without a leading slash; empty for a container without a cgroup of its own.
    pub path: &'a CStr,
    /// Whether it is made in every hierarchy, with every controller. A container that asks for no limit and for no path
    /// does with less: cgroup v2 alone, for its processes and devices.
    pub every: bool,
}

/// Where a controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On cgroup v2.
    V2,
    /// In the cgroup v1 hierarchy with this index.
    V1(usize),
}

/// A container's cgroup, open.
#[derive(Debug, Default)]
pub struct Cgroup {
    v2: Option<OwnedFd>,
    v1: Vec<(usize, OwnedFd)>,
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

impl Cgroups {
    /// Looks how this host mounts its cgroups.
    pub fn detect() -> Self {
        let is_v2 = |path: &CStr| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let open = |path: &CStr| file::open(path, flags).ok();
        let unified = is_v2(c"/sys/fs/cgroup");
        let v2 = match unified {
            true => open(c"/sys/fs/cgroup"),
            false => is_v2(MOUNT_HYBRID).then(|| open(MOUNT_HYBRID)).flatten(),
        };
        Self { unified, v2, controllers: OnceCell::new(), hierarchies: OnceCell::new() }
    }

    /// Whether there is a cgroup v2.
    pub fn has_v2(&self) -> bool {
        self.v2.is_some()
    }

    /// The hierarchies that are mounted here, oldest first, each with the caller's own cgroup; cgroups(7),
    /// proc_pid_cgroup(5).
    pub fn hierarchies(&self) -> std::result::Result<&[Hierarchy], String> {
        if let Some(found) = self.hierarchies.get() {
            return Ok(found);
        }
        let file = "/proc/self/cgroup";
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        let one = |line: &str| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, own) = (fields.next()?, fields.next()?, fields.next()?);
            let named = controllers.strip_prefix("name=").unwrap_or(controllers);
            let v2 = controllers.is_empty();
            if v2 && self.v2.is_none() {
                return None; // the kernel has it, and nobody has mounted it
            }
            let name = if v2 { HYBRID } else { named };
            let mount = PathBuf::from(match self.unified && v2 {
                true => MOUNT.to_owned(),
                false => format!("{MOUNT}/{name}"),
            });
            // In a container without a cgroup namespace the path is the host's, and what is mounted begins at its end.
            let own = if mount.join(own.trim_start_matches('/')).is_dir() { own } else { "/" };
            let there = own != "/" || mount.is_dir();
            there.then(|| Hierarchy { name: name.to_owned(), mount, own: own.to_owned(), v2 })
        };
        let mut hierarchies: Vec<_> = text.lines().filter_map(one).collect();
        hierarchies.reverse(); // oldest first, as they were mounted
        Ok(self.hierarchies.get_or_init(|| hierarchies))
    }

    /// The hierarchies, where what cannot be read is no v1 hierarchy.
    fn known(&self) -> &[Hierarchy] {
        self.hierarchies().unwrap_or(&[])
    }

    /// The v1 hierarchies with their index, in which a container at `place` is.
    fn v1_of(&self, place: &Place<'_>) -> impl Iterator<Item = (usize, &Hierarchy)> {
        let every = place.every && !self.unified;
        let known = if every { self.known() } else { &[] };
        known.iter().enumerate().filter(|(_, hierarchy)| !hierarchy.v2)
    }

    /// The names of the controllers of cgroup v2.
    pub fn controllers(&self) -> &str {
        self.controllers.get_or_init(|| {
            self.v2.as_ref().and_then(|v2| get(v2.as_fd(), "cgroup.controllers").ok()).unwrap_or_default()
        })
    }

    /// Where the controller is that is called `v1` on cgroup v1 and `v2` on v2.
    pub fn find(&self, v1: &str, v2: &str) -> Option<Where> {
        let in_v1 = || {
            let holds = |h: &Hierarchy| !h.v2 && h.name.split(',').any(|name| name == v1);
            self.known().iter().position(holds).map(Where::V1)
        };
        let in_v2 = || self.controllers().split_whitespace().any(|name| name == v2).then_some(Where::V2);
        if self.unified { in_v2() } else { in_v1().or_else(in_v2) }
    }

    /// The directory of `place` where a controller is, for messages.
    pub fn path(&self, at: Where, place: &Place<'_>) -> PathBuf {
        let mount = match at {
            Where::V2 if self.unified => PathBuf::from(MOUNT),
            Where::V2 => PathBuf::from(MOUNT).join(HYBRID),
            Where::V1(index) => self.known().get(index).map(|h| h.mount.clone()).unwrap_or_default(),
        };
        mount.join(String::from_utf8_lossy(place.path.to_bytes()).as_ref())
    }

    /// Makes the cgroup at `place`, parents included, or takes one that is there and empty. What fails is taken back.
    pub fn make(&self, place: &Place<'_>) -> Result<Cgroup> {
        let mut cgroup = Cgroup::default();
        if place.path.is_empty() {
            return Ok(cgroup);
        }
        let mut fresh = Vec::new();
        let made = self.make_into(place, &mut cgroup, &mut fresh);
        if made.is_err() {
            for at in fresh {
                let _ = std::fs::remove_dir(self.path(at, place)); // the failure before it is what is told
            }
        }
        made.map(|()| cgroup)
    }

    /// Makes the cgroup at `place`, or takes one that is there, whatever lives below it: one that holds the cgroups of
    /// several containers.
    pub fn group(&self, place: &Place<'_>) -> Result<Cgroup> {
        let mut cgroup = Cgroup::default();
        if let Some(v2) = &self.v2 {
            tree::make(v2.as_fd(), place.path).during("mkdir", &*self.path(Where::V2, place))?;
            let directory = openat(v2, place.path, DIRECTORY, Mode::empty()).during("open", place.path)?;
            v2::enable(self, v2.as_fd(), place, directory.as_fd())?;
            cgroup.v2 = Some(directory);
        }
        if !self.unified {
            self.make_v1(place, &mut cgroup, None)?;
        }
        Ok(cgroup)
    }

    fn make_into(&self, place: &Place<'_>, cgroup: &mut Cgroup, fresh: &mut Vec<Where>) -> Result<()> {
        if let Some(v2) = &self.v2 {
            let new = tree::make(v2.as_fd(), place.path).during("mkdir", &*self.path(Where::V2, place))?;
            if new && place.every {
                fresh.push(Where::V2);
            }
            let directory = openat(v2, place.path, DIRECTORY, Mode::empty()).during("open", place.path)?;
            if !new {
                self.usable(Where::V2, place, directory.as_fd())?;
            }
            if place.every {
                v2::enable(self, v2.as_fd(), place, directory.as_fd())?;
            }
            cgroup.v2 = Some(directory);
        }
        self.make_v1(place, cgroup, Some(fresh))
    }

    /// Makes the directories in the v1 hierarchies. With `fresh`, which gets those that are new, nothing may live in them.
    fn make_v1(
        &self,
        place: &Place<'_>,
        cgroup: &mut Cgroup,
        mut fresh: Option<&mut Vec<Where>>,
    ) -> Result<()> {
        for (index, hierarchy) in self.v1_of(place) {
            let at = Where::V1(index);
            let mount = file::open(&hierarchy.mount, DIRECTORY).during("open", &*hierarchy.mount)?;
            let new = tree::make(mount.as_fd(), place.path).during("mkdir", &*self.path(at, place))?;
            if new && let Some(fresh) = &mut fresh {
                fresh.push(at);
            }
            let directory = openat(&mount, place.path, DIRECTORY, Mode::empty())
                .during("open", &*self.path(at, place))?;
            if !new && fresh.is_some() {
                self.usable(at, place, directory.as_fd())?;
            }
            if hierarchy.name.split(',').any(|name| name == "cpuset") {
                v1::inherit_cpuset(mount.as_fd(), place.path).during("write", &*self.path(at, place))?;
            }
            cgroup.v1.push((index, directory));
        }
        Ok(())
    }

    /// Gives a container that has a cgroup on v2 alone one in every hierarchy, with every controller: what lives in it is
    /// moved while it stands still.
    pub fn extend(&self, place: &Place<'_>) -> Result<()> {
        let less = self.open(&Place { every: false, ..*place })?;
        let place = Place { every: true, ..*place };
        let mut more = Cgroup::default();
        let mut fresh = Vec::new();
        let made = self.make_v1(&place, &mut more, Some(&mut fresh)).and_then(|()| {
            if let (Some(v2), Some(directory)) = (&self.v2, less.directory()) {
                v2::enable(self, v2.as_fd(), &place, directory)?;
            }
            if more.v1.is_empty() {
                return Ok(());
            }
            less.freeze(self, true)?;
            let moved = more.procs(None).and_then(|files| {
                let processes = less.processes();
                let each = files.iter().flat_map(|file| processes.iter().map(move |pid| (file, pid)));
                each.into_iter().try_for_each(|(file, pid)| match write(file, pid.to_string().as_bytes()) {
                    Ok(_) | Err(Errno::ESRCH) => Ok(()), // ended
                    Err(errno) => Err(errno).during("write", "cgroup.procs"),
                })
            });
            less.freeze(self, false).and(moved)
        });
        if made.is_err() {
            for at in fresh {
                let _ = std::fs::remove_dir(self.path(at, &place)); // the failure before it is what is told
            }
        }
        made
    }

    /// Whether a cgroup that was there can be a container's: nothing lives in it, and it is not frozen.
    fn usable(&self, at: Where, place: &Place<'_>, directory: BorrowedFd<'_>) -> Result<()> {
        let refuse = |file: &str, value: &str| {
            let path = self.path(at, place).join(file);
            let why =
                format!("{}: reads {value}, expected an empty cgroup that is not frozen", path.display());
            Err(Error::usage(format_args!("{why}")))
        };
        for file in ["cgroup.freeze", "freezer.state"] {
            let state = get(directory, file).unwrap_or_default();
            if matches!(state.trim(), "1" | "FROZEN" | "FREEZING") {
                return refuse(file, state.trim());
            }
        }
        match tree::processes(directory).first() {
            Some(pid) => refuse("cgroup.procs", &pid.to_string()),
            None => Ok(()),
        }
    }

    /// Whether `cgroup` is what [`Cgroups::open`] gives where all of `place` is there.
    pub fn is_whole(&self, cgroup: &Cgroup, place: &Place<'_>) -> bool {
        (cgroup.v2.is_some() || self.v2.is_none()) && cgroup.v1.len() == self.v1_of(place).count()
    }

    /// Opens the cgroup at `place`, as far as it is there.
    pub fn open(&self, place: &Place<'_>) -> Result<Cgroup> {
        let mut cgroup = Cgroup::default();
        if place.path.is_empty() {
            return Ok(cgroup);
        }
        let present = |opened: nix::Result<OwnedFd>, at| match opened {
            Err(Errno::ENOENT) => Ok(None),
            result => result.map(Some).during("open", &*self.path(at, place)),
        };
        if let Some(v2) = &self.v2 {
            cgroup.v2 = present(openat(v2, place.path, DIRECTORY, Mode::empty()), Where::V2)?;
        }
        for (index, _) in self.v1_of(place) {
            let at = Where::V1(index);
            let opened = present(file::open(&self.path(at, place), DIRECTORY), at)?;
            cgroup.v1.extend(opened.map(|directory| (index, directory)));
        }
        Ok(cgroup)
    }
}

impl Cgroup {
    /// Goes to the cgroup `path` below this one, in every hierarchy or in that of a v1 controller. `path` cannot climb out,
    /// neither by words nor by links. Errors: `EOPNOTSUPP` when the container is in no such hierarchy.
    pub fn descend(&mut self, cgroups: &Cgroups, controller: Option<&str>, path: &CStr) -> Result<()> {
        let how = OpenHow::new().flags(DIRECTORY);
        let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let known = cgroups.known();
        let holds = |index: usize, controller: &str| {
            known.get(index).is_some_and(|h| h.name.split(',').any(|name| name == controller))
        };
        let v1 = self.v1.iter_mut().filter(|(index, _)| controller.is_none_or(|c| holds(*index, c)));
        let v2 = self.v2.iter_mut().filter(|_| controller.is_none_or(str::is_empty));
        let mut found = false;
        for directory in v2.chain(v1.map(|(_, directory)| directory)) {
            let opened = match openat2(&*directory, path, how) {
                // There are no links in this filesystem, and the words were looked at.
                Err(Errno::ENOSYS) => openat(&*directory, path, DIRECTORY, Mode::empty()),
                result => result,
            };
            *directory = opened.during("--cgroup: open", path)?;
            found = true;
        }
        if found { Ok(()) } else { Err(Errno::EOPNOTSUPP).during("--cgroup: open", path) }
    }

    /// The cgroup v2 directory, to start a process in or to attach a program to.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(AsFd::as_fd)
    }

    /// The cgroup v2 directory at or below this one in which a process is.
    pub fn directory_of(&self, pid: nix::unistd::Pid) -> Option<OwnedFd> {
        tree::find(self.directory()?, pid)
    }

    /// The directory where a controller is.
    pub fn at(&self, at: Where) -> Option<BorrowedFd<'_>> {
        match at {
            Where::V2 => self.directory(),
            Where::V1(index) => self.v1.iter().find(|(i, _)| *i == index).map(|(_, fd)| fd.as_fd()),
        }
    }

    /// What a file reads, where it is there.
    pub fn read(&self, at: Where, file: &str) -> Option<String> {
        get(self.at(at)?, file).ok()
    }

    /// Gives the cgroup v2, where all controllers are, to a user: the directory and the files that belong to who it is delegated to, by
    /// which it can be divided but not widened; cgroups(7), "Cgroup delegation: delegating a hierarchy to a less privileged user".
    pub fn give(&self, uid: u32) -> nix::Result<()> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let own = |name: &str, flags| nix::unistd::fchownat(directory, name, Some(uid.into()), None, flags);
        own("", AtFlags::AT_EMPTY_PATH)?;
        let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let listed = listed.as_deref().unwrap_or("cgroup.procs\ncgroup.subtree_control\ncgroup.threads");
        for name in listed.split_ascii_whitespace() {
            match own(name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(()) | Err(Errno::ENOENT) => {} // not every cgroup has each
                result => result?,
            }
        }
        Ok(())
    }

    /// Whether this cgroup v2 has handed controllers on to those below, and takes no process any more; cgroups(7), "no internal
    /// processes".
    pub fn is_divided(&self) -> bool {
        self.read(Where::V2, "cgroup.subtree_control").is_some_and(|on| !on.is_empty())
    }

    /// The files to which a process writes `0` to enter: of the v1 hierarchies, and of a cgroup `v2` where clone could not do
    /// it (`CLONE_INTO_CGROUP`).
    pub fn procs(&self, v2: Option<BorrowedFd<'_>>) -> Result<Vec<OwnedFd>> {
        let open = |directory: BorrowedFd<'_>| {
            openat(directory, c"cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
                .during("open", c"cgroup.procs")
        };
        v2.into_iter().chain(self.v1.iter().map(|(_, directory)| directory.as_fd())).map(open).collect()
    }

    /// A directory with all processes of the container, if it has one of its own: v2, or any v1 hierarchy.
    fn any(&self) -> Option<BorrowedFd<'_>> {
        self.directory().or_else(|| self.v1.first().map(|(_, directory)| directory.as_fd()))
    }

    /// All processes of the container, those in cgroups below its own included.
    pub fn processes(&self) -> Vec<nix::unistd::Pid> {
        self.any().map(tree::processes).unwrap_or_default()
    }
}

/// Reads a file of a cgroup.
fn get(directory: BorrowedFd<'_>, name: &str) -> nix::Result<String> {
    let file = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match read(&file, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            len => text.extend_from_slice(buffer.get(..len).unwrap_or_default()),
        }
    }
}

/// Writes a file of a cgroup: whole, in one call, as the kernel wants it.
fn put(directory: BorrowedFd<'_>, name: &str, value: &str) -> nix::Result<()> {
    let file = openat(directory, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&file, value.as_bytes()).map(drop)
}

/// Removes the directory `path` below `base`.
fn rmdir(base: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    unlinkat(base, path, UnlinkatFlags::RemoveDir)
}
