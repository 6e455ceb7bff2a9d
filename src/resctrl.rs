//! Groups of the resctrl filesystem (`linux.intelRdt`): made before the container's first process, which enters by a descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{UnlinkatFlags, read, unlinkat, write};

use crate::error::{During, Error, Result};
use crate::json::Str;
use crate::plan::Rdt;
use crate::sys::file;

/// Where it is mounted, if it is at all.
const MOUNT: &CStr = c"/sys/fs/resctrl";

/// A group that a container is to be in. Dropped, it is taken back as far as it was made for it, unless
/// [`Group::keep`] was called.
#[derive(Debug)]
pub struct Group {
    root: OwnedFd,
    /// Directories, in the order they were made.
    made: Vec<CString>,
    /// What goes with the container, below the mount point; may be empty.
    own: CString,
    /// Where the first process writes itself, in order.
    tasks: Vec<OwnedFd>,
}

/// Opens the mount point.
/// Errors: `ENODEV` when there is none.
pub fn open() -> nix::Result<OwnedFd> {
    /// `RDTGROUP_SUPER_MAGIC`
    const RESCTRL: FsType = FsType(0x0765_5821);
    let root = file::open(MOUNT, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(|_| Errno::ENODEV)?;
    if fstatfs(&root)?.filesystem_type() == RESCTRL { Ok(root) } else { Err(Errno::ENODEV) }
}

/// Makes the group that the plan wants below `root`, or checks the one that is there.
pub fn make(root: OwnedFd, rdt: &Rdt<'_>) -> Result<Group> {
    let mut group = Group { root, made: Vec::new(), own: CString::default(), tasks: Vec::new() };
    group.prepare(rdt).map_err(|(what, errno)| {
        let name = rdt.group.to_string_lossy();
        let said = last_status(group.root.as_fd()).map(|said| format!(" ({said})")).unwrap_or_default();
        Error::child(format_args!("linux.intelRdt: group \"{name}\": {what}{said}"), errno)
    })?;
    Ok(group)
}

/// Where a process that joins a container writes itself: the `tasks` of its groups.
pub fn tasks(groups: &[Str<'_>]) -> Result<Vec<OwnedFd>> {
    let tasks = |root: &OwnedFd, group: &Str<'_>| {
        let path = format!("{}/tasks", group.decode());
        let file = openat(root, path.as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        file.during("linux.intelRdt: open", path.as_str())
    };
    match groups.is_empty() {
        true => Ok(Vec::new()),
        false => {
            let root = open().during("open", MOUNT)?;
            groups.iter().map(|group| tasks(&root, group)).collect()
        }
    }
}

/// Changes what a container's group, the first of `groups`, may use.
pub fn update(groups: &[Str<'_>], schemata: &str) -> Result<()> {
    let group = groups
        .first()
        .ok_or_else(|| Error::usage(format_args!("linux.intelRdt: the container has no group")))?;
    change(&open().during("open", MOUNT)?, &group.decode(), schemata)
}

fn change(root: &OwnedFd, group: &str, schemata: &str) -> Result<()> {
    let path = format!("{group}/schemata");
    let file = openat(root, path.as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    // One that is written as a whole and refused changes nothing that stands before what is wrong.
    file.and_then(|file| write(file, schemata.as_bytes())).map(drop).map_err(|errno| {
        let said = last_status(root.as_fd()).map(|said| format!(" ({said})")).unwrap_or_default();
        Error::child(format_args!("linux.intelRdt: group \"{group}\": write schemata{said}"), errno)
    })
}

/// Removes a group that goes with its container. One that is gone is fine.
pub fn remove(own: &CStr) {
    if let (false, Ok(root)) = (own.is_empty(), open()) {
        let _ = unlinkat(&root, own, UnlinkatFlags::RemoveDir); // it may be gone, or the filesystem with it
    }
}

impl Group {
    fn prepare(&mut self, rdt: &Rdt<'_>) -> std::result::Result<(), (&'static str, Errno)> {
        let at = |what| move |errno| (what, errno);
        let directory = |root: &OwnedFd| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(root, rdt.group, flags, Mode::empty())
        };
        let found = match (rdt.own, directory(&self.root)) {
            // Nobody has asked for this name, so it is somebody else's.
            (true, Ok(_)) => return Err(("make", Errno::EEXIST)),
            (false, Err(Errno::ENOENT)) if rdt.schemata.is_empty() => return Err(("open", Errno::ENOENT)),
            (_, Err(Errno::ENOENT)) => {
                self.mkdir(rdt.group).map_err(at("make"))?;
                directory(&self.root).map_err(at("open"))?
            }
            (_, found) => {
                let found = found.map_err(at("open"))?;
                if !rdt.expected.is_empty() {
                    let now = text(found.as_fd(), c"schemata").map_err(at("read schemata"))?;
                    if !has(&now, &rdt.expected.to_string_lossy()) {
                        return Err(("its schemata are not those of the config", Errno::EEXIST));
                    }
                }
                found
            }
        };
        let open = |path: &CStr| openat(&found, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        if !rdt.schemata.is_empty() {
            let file = open(c"schemata").map_err(at("open schemata"))?;
            write(file, rdt.schemata.to_bytes()).map_err(at("write schemata"))?;
        }
        self.tasks.push(open(c"tasks").map_err(at("open tasks"))?);
        if rdt.own {
            self.own = rdt.group.into();
        }
        if let Some(monitor) = rdt.monitor {
            let below =
                |path: &[u8]| CString::new([rdt.group.to_bytes(), b"/", path].concat()).unwrap_or_default();
            let path = below(monitor.to_bytes());
            self.mkdir(&path).map_err(at("make a monitoring group"))?;
            let tasks = [monitor.to_bytes(), b"/tasks\0"].concat();
            let tasks = CStr::from_bytes_until_nul(&tasks).unwrap_or_default();
            self.tasks.push(open(tasks).map_err(at("open the monitoring group's tasks"))?);
            if !rdt.own {
                self.own = path;
            }
        }
        Ok(())
    }

    fn mkdir(&mut self, path: &CStr) -> nix::Result<()> {
        mkdirat(&self.root, path, Mode::from_bits_truncate(0o755))?;
        self.made.push(path.into());
        Ok(())
    }

    /// Where the first process writes itself, in order.
    pub fn tasks(&self) -> &[OwnedFd] {
        &self.tasks
    }

    /// What goes with the container; for [`remove`].
    pub fn own(&self) -> &CStr {
        &self.own
    }

    /// Leaves the group there.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            let _ = unlinkat(&self.root, path.as_c_str(), UnlinkatFlags::RemoveDir); // as much as can be taken back
        }
    }
}

/// Why the kernel refused the last command, in its words.
fn last_status(root: BorrowedFd<'_>) -> Option<String> {
    let said = text(root, c"info/last_cmd_status").ok()?;
    let line = said.lines().next()?.trim();
    (!line.is_empty() && line != "ok").then(|| line.to_owned())
}

/// The beginning of a file; those of resctrl are short.
fn text(directory: BorrowedFd<'_>, path: &CStr) -> nix::Result<String> {
    let file = openat(directory, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut bytes = [0; 4096];
    let length = read(file, &mut bytes)?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// Whether a `schemata` file has all that `wanted` lines say. The kernel pads names and values.
fn has(now: &str, wanted: &str) -> bool {
    let same = |a: &str, b: &str| {
        let plain = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
        plain(a) == plain(b)
    };
    let share = |line: &str, resource: &str, domain: &str, value: &str| {
        let Some((name, shares)) = line.split_once(':') else { return false };
        let found = |part: &str| part.split_once('=').is_some_and(|(d, v)| same(d, domain) && same(v, value));
        name.trim() == resource.trim() && shares.split(';').any(found)
    };
    wanted.lines().all(|line| {
        let (resource, shares) = line.split_once(':').unwrap_or_default();
        shares.split(';').filter(|part| !part.trim().is_empty()).all(|part| {
            let (domain, value) = part.split_once('=').unwrap_or_default();
            now.lines().any(|line| share(line, resource, domain, value))
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "that is how a test fails")]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A directory with the files of resctrl that the code touches. What the kernel would put into a directory that
    /// is made is not there, so only groups that exist are whole.
    fn fake(name: &str) -> (PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("mote-resctrl-{name}-{}", std::process::id()));
        for group in [".", "gold"] {
            fs::create_dir_all(path.join(group).join("mon_groups/c1")).unwrap();
            fs::remove_dir(path.join(group).join("mon_groups/c1")).unwrap();
            fs::write(path.join(group).join("tasks"), "").unwrap();
            fs::write(path.join(group).join("schemata"), "    MB:0= 20;1= 70\n    L3:0=00ff;1=0c0\n")
                .unwrap();
        }
        fs::create_dir_all(path.join("info")).unwrap();
        fs::write(path.join("info/last_cmd_status"), "mask f00f has non-consecutive 1-bits\n").unwrap();
        let root = fs::File::open(&path).unwrap().into();
        (path, root)
    }

    fn rdt(group: &'static CStr) -> Rdt<'static> {
        Rdt { group, own: false, schemata: c"", expected: c"", monitor: None }
    }

    #[test]
    fn a_group_that_is_there_is_joined_and_stays() {
        let (path, root) = fake("join");
        let group = make(root, &rdt(c"gold")).unwrap();
        assert_eq!((group.tasks().len(), group.own()), (1, c""));
        drop(group);
        assert!(path.join("gold").exists());
        let (_, root) = fake("join");
        assert_eq!(make(root, &rdt(c".")).unwrap().tasks().len(), 1);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_group_that_is_missing_or_different_is_refused() {
        let (path, root) = fake("refuse");
        let error = make(root.try_clone().unwrap(), &rdt(c"silver")).unwrap_err().to_string();
        assert!(error.contains("group \"silver\"") && error.contains("no such file"), "{error}");
        let other = Rdt { schemata: c"L3:0=f\n", expected: c"L3:0=f\n", ..rdt(c"gold") };
        let error = make(root.try_clone().unwrap(), &other).unwrap_err().to_string();
        assert!(error.contains("not those of the config"), "{error}");
        let own = Rdt { own: true, ..rdt(c"gold") };
        let error = make(root, &own).unwrap_err().to_string();
        assert!(error.contains("file exists"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn schemata_are_written_and_the_kernel_is_quoted() {
        let (path, root) = fake("write");
        let same = Rdt {
            schemata: c"L3:1=C0;0=ff\nMB:0=20\n",
            expected: c"L3:1=C0;0=ff\nMB:0=20\n",
            ..rdt(c"gold")
        };
        make(root.try_clone().unwrap(), &same).unwrap().keep();
        let now = fs::read_to_string(path.join("gold/schemata")).unwrap();
        assert!(now.starts_with("L3:1=C0;0=ff\nMB:0=20\n"), "{now}");
        // A new one has no files here, so it fails, is taken back, and says what the kernel said last.
        let new = Rdt { schemata: c"L3:0=f00f\n", own: true, ..rdt(c"c1") };
        let error = make(root, &new).unwrap_err().to_string();
        assert!(error.contains("(mask f00f has non-consecutive 1-bits)"), "{error}");
        assert!(!path.join("c1").exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn schemata_of_a_group_are_changed_later() {
        let (path, root) = fake("change");
        change(&root, "gold", "L3:0=f\n").unwrap();
        assert!(fs::read_to_string(path.join("gold/schemata")).unwrap().starts_with("L3:0=f\n"));
        let error = change(&root, "silver", "L3:0=f\n").unwrap_err().to_string();
        assert!(error.contains("group \"silver\": write schemata (mask f00f"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_monitoring_group_that_cannot_be_entered_is_taken_back() {
        let (path, root) = fake("monitor");
        let plan = Rdt { monitor: Some(c"mon_groups/c1"), ..rdt(c"gold") };
        assert!(make(root, &plan).is_err());
        assert!(path.join("gold/mon_groups").exists() && !path.join("gold/mon_groups/c1").exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn schemata_are_compared_by_what_they_say() {
        let now = "    MB:0= 20;1= 70\n    L3:0=00ff;1=0c0\n";
        for wanted in ["L3:0=ff;1=c0\n", "L3:1=C0\n", "MB:1=70\n", "MB:0=20;1=70\nL3:0=0ff;\n", ""] {
            assert!(has(now, wanted), "{wanted}");
        }
        for wanted in ["L3:0=fe\n", "L3:2=ff\n", "L2:0=ff\n", "MB:0=21\n", "L3:0=ff\nMB:0=1\n", "L3\n=x"] {
            assert!(!has(now, wanted) || wanted == "L3\n=x", "{wanted}");
        }
    }
}
