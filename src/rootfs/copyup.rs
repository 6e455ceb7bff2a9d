//! `tmpcopyup`: a tmpfs begins with a copy of what it covers. Runs in the child: no allocation.
//!
//! Nothing is followed and nothing is looked up twice: each file is reached by its name in a directory that is open.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{fchown, fchownat, read, symlinkat, write};

use crate::sys::file::{PATH_MAX, entries, readlinkat};

/// How deep directories may nest: each takes descriptors and a part of the stack.
const DEPTH_MAX: usize = 100;

/// Opens a file of `directory` for reading.
pub fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Copies everything in the directory `from` to the directory `to`, with owners, modes and times.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    directory(from, to, 0)
}

fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> nix::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::ELOOP);
    }
    entries(from, &mut |name, _| {
        let found = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT);
        let mode = Mode::from_bits_truncate(found.st_mode & 0o7777);
        if kind == SFlag::S_IFDIR {
            mkdirat(to, name, Mode::S_IRWXU)?;
            let (source, copy) = (open(from, name, OFlag::O_DIRECTORY)?, open(to, name, OFlag::O_DIRECTORY)?);
            directory(source.as_fd(), copy.as_fd(), depth + 1)?;
            fchown(&copy, Some(found.st_uid.into()), Some(found.st_gid.into()))?;
            fchmod(&copy, mode)?;
        } else if kind == SFlag::S_IFREG {
            let source = open(from, name, OFlag::empty())?;
            // It may be another one by now.
            if fstat(&source)?.st_mode & libc::S_IFMT != libc::S_IFREG {
                return Err(Errno::ESTALE);
            }
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let copy = openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
            content(&source, &copy)?;
            fchown(&copy, Some(found.st_uid.into()), Some(found.st_gid.into()))?;
            fchmod(&copy, mode)?;
        } else {
            if kind == SFlag::S_IFLNK {
                let mut buffer = [0; PATH_MAX];
                let len = readlinkat(from, name, &mut buffer)?;
                let target = buffer.get(..len).filter(|_| len < PATH_MAX).ok_or(Errno::ENAMETOOLONG)?;
                symlinkat(target, to, name)?;
            } else {
                // umask(2) is 0 here.
                mknodat(to, name, kind, mode, found.st_rdev)?;
            }
            let (owner, group) = (Some(found.st_uid.into()), Some(found.st_gid.into()));
            fchownat(to, name, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        times(to, name, &found)
    })
}

fn content(from: &OwnedFd, to: &OwnedFd) -> nix::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let len = match read(from, &mut buffer) {
            Ok(0) => return Ok(()),
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        let mut rest = buffer.get(..len).unwrap_or_default();
        while !rest.is_empty() {
            let written = write(to, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

fn times(to: BorrowedFd<'_>, name: &CStr, found: &FileStat) -> nix::Result<()> {
    let accessed = TimeSpec::new(found.st_atime, found.st_atime_nsec);
    let modified = TimeSpec::new(found.st_mtime, found.st_mtime_nsec);
    utimensat(to, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}
