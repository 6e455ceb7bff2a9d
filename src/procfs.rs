//! The host's procfs by a descriptor: what is written to it cannot end up in another file, whatever has been mounted where.
//! Allocates nothing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::write;

use crate::sys::file;

/// The root of a procfs.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Opens `/proc` of the calling process, before it goes where `/proc` is somebody else's.
    /// Errors: `ENOTSUP` when that is no procfs, or not the root of one.
    pub fn open() -> nix::Result<Self> {
        /// `PROC_ROOT_INO` of the kernel's include/linux/proc_fs.h.
        const ROOT_INODE: u64 = 1;
        let root = file::open(c"/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
        match is_procfs(root.as_fd())? && fstat(&root)?.st_ino == ROOT_INODE {
            true => Ok(Self(root)),
            false => Err(Errno::ENOTSUP),
        }
    }

    /// Opens the file `path` below it, which must be the procfs's own and not something mounted over it (`EXDEV`).
    pub fn file(&self, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let own =
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let flags = flags | OFlag::O_CLOEXEC;
        match openat2(&self.0, path, OpenHow::new().flags(flags).resolve(own)) {
            // Hidden by a seccomp filter around mote.
            Err(Errno::ENOSYS) => self.file_by_parts(path, flags),
            result => result,
        }
    }

    /// The same a component at a time, none of which may lead up or be a link, but for `self`, which is the kernel's; in the
    /// end it must be of the same mount.
    fn file_by_parts(&self, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let way = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = None;
        let mut parts = path.to_bytes().split(|&b| b == b'/').peekable();
        while let Some(part) = parts.next() {
            let from = directory.as_ref().unwrap_or(&self.0);
            let flags = if parts.peek().is_some() { way } else { flags };
            let follow = directory.is_none() && matches!(part, b"self" | b"thread-self");
            let flags = if follow { flags } else { flags | OFlag::O_NOFOLLOW };
            let opened = match part {
                b"" | b".." => return Err(Errno::EXDEV),
                part => openat(from, part, flags, Mode::empty())?,
            };
            directory = Some(opened);
        }
        let file = directory.ok_or(Errno::ENOENT)?;
        let mount = |file: &OwnedFd| file::mount_and_inode_of(file.as_fd()).map(|(mount, ..)| mount);
        if is_procfs(file.as_fd())? && mount(&file)? == mount(&self.0)? {
            Ok(file)
        } else {
            Err(Errno::EXDEV)
        }
    }

    /// Opens a namespace by its link, such as `self/ns/time_for_children`. What it leads to is nowhere below: setns(2) is
    /// to be told the kind.
    pub fn namespace(&self, path: &CStr) -> nix::Result<OwnedFd> {
        openat(&self.0, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Writes a number.
    pub fn write_number(&self, path: &CStr, number: i32) -> nix::Result<()> {
        let mut digits = heapless::String::<12>::new();
        std::fmt::Write::write_fmt(&mut digits, format_args!("{number}")).map_err(|_| Errno::ERANGE)?;
        self.write(path, digits.as_bytes())
    }

    /// Writes to a file of it, in one call.
    pub fn write(&self, path: &CStr, value: &[u8]) -> nix::Result<()> {
        write(self.file(path, OFlag::O_WRONLY)?, value).map(drop)
    }
}

impl From<Procfs> for OwnedFd {
    fn from(proc: Procfs) -> Self {
        proc.0
    }
}

fn is_procfs(file: BorrowedFd<'_>) -> nix::Result<bool> {
    Ok(fstatfs(file)?.filesystem_type() == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_below_or_not_procfs_s_own_is_not_written() {
        let Ok(proc) = Procfs::open() else { unreachable!() };
        assert_eq!(proc.write(c"self/oom_score_adj", b"0"), Ok(()));
        assert_eq!(proc.write(c"self/nosuch", b"0"), Err(Errno::ENOENT));
        assert_eq!(proc.write(c"/proc/self/oom_score_adj", b"0"), Err(Errno::EXDEV), "absolute");
        assert_eq!(proc.write(c"../dev/null", b"0"), Err(Errno::EXDEV));
        assert_eq!(proc.write(c"self/root/dev/null", b"0"), Err(Errno::ELOOP), "a magic link");
    }

    #[test]
    fn a_component_at_a_time_leads_nowhere_else_either() {
        let Ok(proc) = Procfs::open() else { unreachable!() };
        let open = |path| proc.file_by_parts(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC).map(drop);
        assert_eq!(open(c"self/oom_score_adj"), Ok(()));
        assert_eq!(open(c"sys/kernel/ostype"), Ok(()));
        assert_eq!(open(c"self/nosuch"), Err(Errno::ENOENT));
        for outside in [c"/proc/self/oom_score_adj", c"../dev/null", c"sys/../../dev/null", c"self//status"] {
            assert_eq!(open(outside), Err(Errno::EXDEV), "{outside:?}");
        }
        assert_eq!(open(c"self/root/dev/null"), Err(Errno::ENOTDIR), "a magic link");
        assert_eq!(open(c"self/fd/0"), Err(Errno::ELOOP), "a magic link");
        assert_eq!(open(c"mounts"), Err(Errno::ELOOP));
    }
}
