//! The volumes of a pod, and the files that are made for its containers: made or found by a starter, opened, and bound into the
//! container by descriptor. Nothing of a volume is reached by a path that a container could bend.
//!
//! A pod's own volumes are made once and kept until the pod is removed: `<volumes>/<pod>/<name>` on the disk, which is a tmpfs of its
//! own where the disk is memory and there is a limit; those in memory and the files for its containers below `<run>/pods/<pod>`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mote::error::{During as _, Error, Result};
use mote::rootfs::walk::{self, Missing};
use mote::sys::file::{self, Passing};
use mote::sys::mount::{mount, mount_setattr};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{Gid, UnlinkatFlags, chown, unlinkat};

use crate::amend::Bind;
use crate::manifest::volumes::{HostKind, Propagation, ReadOnly, Source, Volume, VolumeMount};
use crate::manifest::{Container, Pod};
use crate::paths::Paths;
use crate::podinit;

/// Where programs expect memory that they share.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Where a pod has what is its own.
#[derive(Debug)]
pub struct Places {
    /// Its volumes on the disk.
    pub disk: PathBuf,
    /// What it has in memory.
    pub memory: PathBuf,
}

impl Places {
    /// Those of the pod `name`.
    pub fn new(paths: &Paths, name: &str) -> Self {
        Self {
            disk: Path::new(paths.volumes).join(name),
            memory: Path::new(paths.run).join("pods").join(name),
        }
    }

    /// Opens what `container` mounts, making what is to be made; as it is to be bound.
    pub fn open(&self, pod: &Pod, container: &Container, binds: &mut Vec<Bind>) -> Result<()> {
        for mount in &container.mounts {
            // The manifest's check has seen that there is one.
            let Some(volume) = pod.volumes.get(mount.volume) else { continue };
            binds.push(self.one(pod, volume, mount)?);
        }
        Ok(())
    }

    fn one(&self, pod: &Pod, volume: &Volume, mount: &VolumeMount) -> Result<Bind> {
        let root = match &volume.source {
            Source::Host { path, kind } => host(Path::new(path), *kind)?,
            // Where the disk is memory, too, a limit can be kept in the same way.
            Source::Disk { limit: limit @ Some(_) } if is_memory(&self.disk)? => {
                self.own(&self.disk, volume, pod, Some(*limit))?
            }
            Source::Disk { limit } => {
                if limit.is_some() && !self.disk.join(volume.name.as_str()).exists() {
                    let path = self.disk.display();
                    mote::warn!(
                        "{path}/{}: emptyDir.sizeLimit is not enforced: it is on a disk",
                        volume.name
                    );
                }
                self.own(&self.disk, volume, pod, None)?
            }
            Source::Memory { limit } => self.own(&self.memory.join("volumes"), volume, pod, Some(*limit))?,
        };
        let shown = match &mount.sub_path {
            None => Passing::from(root),
            Some(path) => {
                // A slash in front changes nothing here, as the volume is taken for the root.
                let text = CString::new(format!("/{path}")).unwrap_or_default();
                walk::resolve_or_make(root.as_fd(), &text, Missing::Directory)
                    .during("subPath", path.as_str())?
            }
        };
        let source = path_of(shown.as_fd());
        let mut options = vec!["rbind"];
        match mount.read_only {
            None => {}
            Some(ReadOnly::Top) => options.push("ro"),
            Some(ReadOnly::All) => options.push("rro"),
            Some(ReadOnly::IfPossible) => {
                // A change of nothing; Linux 5.12.
                let can = mount_setattr(shown.as_fd(), true, 0, 0, 0) != Err(Errno::ENOSYS);
                options.push(if can { "rro" } else { "ro" });
            }
        }
        options.push(match mount.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        });
        if mount.propagation != Propagation::None && !travels(shown.as_fd(), mount.propagation) {
            let why =
                "what is mounted here is not shared, so later mounts would not show (mount --make-shared)";
            return Err(Error::config(volume.name.as_str(), "mountPropagation", why));
        }
        // Kept open by going on without a close; the starter ends soon.
        std::mem::forget(shown);
        Ok(Bind { target: mount.path.clone(), source, options })
    }

    /// The shared memory of the containers of a pod, as they share ipc: the device's own, or as much as engines give.
    pub fn shared_memory(&self, pod: &Pod) -> Result<Bind> {
        let root = if pod.host_ipc {
            host(Path::new(SHARED_MEMORY), HostKind::Directory)?
        } else {
            let all = self.memory.join("volumes");
            private(&all)?;
            let _lock = lock(&all)?;
            // In no volume's name.
            let path = all.join(".shm");
            match nix::unistd::mkdir(&*path, Mode::S_IRWXU) {
                Err(Errno::EEXIST) => {}
                result => result.during("mkdir", &*path)?,
            }
            let device = |path: &Path| stat(path).map(|stat| stat.st_dev).during("stat", path);
            if device(&path)? == device(&all)? {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                let (kind, options) = (Some(Path::new("tmpfs")), Path::new("mode=1777,size=65536k"));
                mount(kind, &path, kind, flags, Some(options)).during("mount tmpfs", &*path)?;
            }
            file::open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
                .during("open", &*path)?
        };
        let source = path_of(root.as_fd());
        std::mem::forget(root); // open until the starter ends
        let options = vec!["bind", "rprivate", "nosuid", "nodev", "noexec"];
        Ok(Bind { target: SHARED_MEMORY.to_owned(), source, options })
    }

    /// A volume that is the pod's own; in memory with a limit.
    fn own(&self, all: &Path, volume: &Volume, pod: &Pod, memory: Option<Option<u64>>) -> Result<OwnedFd> {
        private(all)?;
        // Other containers of the pod may be starting.
        let _lock = lock(all)?;
        let path = all.join(volume.name.as_str());
        let open = || file::open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW);
        let made = match nix::unistd::mkdir(&*path, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => false,
            result => result.during("mkdir", &*path).map(|()| true)?,
        };
        let mounted = match memory {
            Some(limit)
                if stat(&*path).during("stat", &*path)?.st_dev == stat(all).during("stat", all)?.st_dev =>
            {
                let size = limit.map(|limit| format!("size={limit}"));
                let (kind, flags) = (Some(Path::new("tmpfs")), MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
                mount(kind, &path, kind, flags, size.as_deref().map(Path::new))
                    .during("mount tmpfs", &*path)?;
                true
            }
            _ => false,
        };
        if made || mounted {
            // As kubelet's: for everybody, and of the group whose the pod's volumes are.
            let mut mode = Mode::from_bits_truncate(0o777);
            if let Some(group) = pod.security.fs_group {
                chown(&*path, None, Some(Gid::from_raw(group))).during("chown", &*path)?;
                mode |= Mode::S_ISGID;
            }
            // By name, as the umask is not asked then.
            let mode = std::fs::Permissions::from_mode(mode.bits());
            std::fs::set_permissions(&path, mode).during("chmod", &*path)?;
        }
        open().during("open", &*path)
    }
}

/// Whether a directory, which is made, is on a file system in memory; statfs(2).
fn is_memory(path: &Path) -> Result<bool> {
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    private(path)?;
    let kind = statfs(path).during("statfs", path)?.filesystem_type();
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

/// Unmounts the volumes in `all`.
fn unmount(all: &Path) {
    for name in file::names(all).unwrap_or_default() {
        while umount2(&*all.join(&name), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
    }
}

/// Makes a directory that only root can look into.
pub fn private(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path).during("mkdir", path)
}

/// Keeps other children away from a directory while they would make the same.
pub fn lock(dir: &Path) -> Result<Flock<OwnedFd>> {
    let file = file::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY).during("open", dir)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during("flock", dir)
}

/// By what path a descriptor of this process is bound: what a path of the volume leads to may be changed any time.
pub fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens something of the device, as far as it is of this `kind`.
fn host(path: &Path, kind: HostKind) -> Result<OwnedFd> {
    let open = || file::open(path, OFlag::O_PATH);
    let found = match (open(), kind) {
        (Err(Errno::ENOENT), HostKind::Any | HostKind::DirectoryOrCreate) => {
            let made = std::fs::DirBuilder::new().mode(0o755).recursive(true).create(path);
            made.during("mkdir", path)?;
            open()
        }
        (Err(Errno::ENOENT), HostKind::FileOrCreate) => {
            // Another one may be quicker.
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o644)).during("open", path)?;
            open()
        }
        (result, _) => result,
    };
    let found = found.during("hostPath: open", path)?;
    let is = fstat(&found).during("fstat", path)?.st_mode & libc::S_IFMT;
    let (want, words) = match kind {
        HostKind::Any => return Ok(found),
        HostKind::Directory | HostKind::DirectoryOrCreate => (libc::S_IFDIR, "a directory"),
        HostKind::File | HostKind::FileOrCreate => (libc::S_IFREG, "a regular file"),
        HostKind::Socket => (libc::S_IFSOCK, "a socket"),
        HostKind::CharDevice => (libc::S_IFCHR, "a character device"),
        HostKind::BlockDevice => (libc::S_IFBLK, "a block device"),
    };
    if is == want {
        Ok(found)
    } else {
        Err(Error::config(path.display(), "hostPath.type", format!("expected {words}")))
    }
}

/// Whether mounts made on what `shown` is on travel as they should; mount_namespaces(7).
fn travels(shown: BorrowedFd<'_>, how: Propagation) -> bool {
    let text = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let info = text(format!("/proc/self/fdinfo/{}", shown.as_raw_fd()));
    let Some(id) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim) else {
        return false;
    };
    let mounts = text("/proc/self/mountinfo".to_owned());
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id)).unwrap_or("");
    let mut optional = line.split(' ').skip(6).take_while(|word| *word != "-");
    optional.any(|word| {
        word.starts_with("shared:") || how == Propagation::HostToContainer && word.starts_with("master:")
    })
}

/// Removes what the pod `name` has in memory, and with `disk` its volumes there as well. None of its containers runs any more.
pub fn remove(paths: &Paths, name: &str, disk: bool) -> Result<()> {
    podinit::end(paths, name)?;
    let places = Places::new(paths, name);
    unmount(&places.memory.join("volumes"));
    unmount(&places.disk);
    remove_tree(&places.memory)?;
    if let Some(all) = places.memory.parent() {
        let _ = std::fs::remove_dir(all); // other pods may have something there
    }
    if disk { remove_tree(&places.disk) } else { Ok(()) }
}

/// Removes the volumes on the disk of pods that are none of those `known`, and what a removal that was cut short has left.
pub fn sweep(paths: &Paths, known: &dyn Fn(&str) -> bool) {
    for name in file::names(paths.volumes).unwrap_or_default() {
        if name.to_str().is_some_and(|name| !known(name)) {
            let path = Path::new(paths.volumes).join(&name);
            unmount(&path);
            if let Err(e) = remove_tree(&path) {
                mote::warn!("{e}; the volumes of a pod that is gone stay");
            }
        }
    }
}

/// Removes what pods that are none of those `known` have in memory: of a supervisor that was killed.
pub fn sweep_memory(paths: &Paths, known: &dyn Fn(&str) -> bool) {
    for name in file::names(&Path::new(paths.run).join("pods")).unwrap_or_default() {
        if let Some(name) = name.to_str().filter(|name| !known(name))
            && let Err(e) = remove(paths, name, false)
        {
            mote::warn!("{e}; what pod {name} had in memory stays");
        }
    }
}

/// Removes a directory with all in it, however deep: containers have made it, so nothing of it is followed, and no depth takes
/// more memory or descriptors than another. One that is not there is fine.
fn remove_tree(path: &Path) -> Result<()> {
    // Nobody finds a half by its name.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = path.with_file_name(format!(".{name}.{}", std::process::id()));
    match renameat(nix::fcntl::AT_FDCWD, path, nix::fcntl::AT_FDCWD, &*gone) {
        Err(Errno::ENOENT) => return Ok(()),
        result => result.during("rename", path)?,
    }
    let open = || file::open(&*gone, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW);
    let top = open().during("open", &*gone)?;
    let mut count = 0_u64;
    // What is below a directory is moved up beside it, until there is nothing below anything.
    loop {
        let mut found = false;
        let reread =
            openat(&top, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let flat = reread.and_then(|all| {
            file::entries(all.as_fd(), &mut |name, _| {
                found = true;
                remove_one(top.as_fd(), name, &mut count)
            })
        });
        flat.during("unlink", &*gone)?;
        if !found {
            break;
        }
    }
    unlinkat(nix::fcntl::AT_FDCWD, &*gone, UnlinkatFlags::RemoveDir).during("rmdir", &*gone)
}

/// Removes the entry `name` of `top`; what is in it, if it is a directory, comes to `top` under names that are numbers.
fn remove_one(top: BorrowedFd<'_>, name: &CStr, count: &mut u64) -> nix::Result<()> {
    match unlinkat(top, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        result => return result,
    }
    if unlinkat(top, name, UnlinkatFlags::RemoveDir).is_ok() {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = openat(top, name, flags, Mode::empty())?;
    file::entries(directory.as_fd(), &mut |inner, _| {
        match unlinkat(&directory, inner, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => {}
            result => return result,
        }
        loop {
            *count += 1;
            let new = format!("{count}");
            // One that is not empty is in the way; a container may have chosen the name, too.
            match renameat(&directory, inner, top, new.as_str()) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                result => return result,
            }
        }
    })?;
    unlinkat(top, name, UnlinkatFlags::RemoveDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_however_deep_and_nothing_that_it_names() {
        // In memory, as a disk takes seconds for so many renames.
        let base = Path::new("/dev/shm").join(format!("mote-tree-{}", std::process::id()));
        let tree = base.join("tree");
        assert!(std::fs::create_dir_all(&tree).is_ok());
        assert!(std::fs::write(base.join("kept"), "x").is_ok());
        let Ok(mut here) = file::open(&tree, OFlag::O_PATH | OFlag::O_DIRECTORY) else { unreachable!() };
        // Deeper than there may be descriptors, or bytes in a path.
        for i in 0..3000 {
            let name = if i % 2 == 0 { c"1" } else { c"a name that is a little longer" };
            assert!(nix::sys::stat::mkdirat(&here, name, Mode::S_IRWXU).is_ok());
            assert!(nix::unistd::symlinkat(&base.join("kept"), &here, c"link").is_ok());
            assert!(nix::unistd::symlinkat(&base, &here, c"2").is_ok());
            let Ok(next) = openat(&here, name, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) else {
                unreachable!()
            };
            here = next;
        }
        drop(here);
        let removed = remove_tree(&tree);
        assert!(removed.is_ok(), "{removed:?}");
        let left: Vec<_> =
            std::fs::read_dir(&base).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert!(remove_tree(&tree).is_ok(), "again");
        let _ = std::fs::remove_dir_all(&base);
    }
}
