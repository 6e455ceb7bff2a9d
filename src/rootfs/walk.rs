//! Paths of the container, resolved without ever leaving its root: symlinks in it are the container's to place.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use crate::sys::file::{PATH_MAX, Passing};

/// As many symlinks as the kernel follows in one path; path_resolution(7).
const LINKS_MAX: usize = 40;

/// What to make where a path ends at something that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: `ENOENT`.
    Fail,
    /// Directories all the way.
    Directory,
    /// Directories, and an empty file at the end.
    File,
    /// Directories, and no symlink may be on the way.
    Plain,
    /// Nothing; and what is there is opened for reading.
    Read,
}

/// How files of the image are read, any of which may be a fifo.
const READING: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// Opens `path` beneath `root` with `O_PATH`, following symlinks as if `root` were `/`.
pub fn resolve(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<Passing> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    // EAGAIN: something in the tree was renamed while `..` was resolved, and the kernel could not be sure.
    for _ in 0..64 {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => {}
            // Before Linux 5.6, or hidden by a seccomp filter around mote.
            Err(Errno::ENOSYS) => break,
            result => return result.map(Passing::from),
        }
    }
    walk(root, path, Missing::Fail)
}

/// Opens the file at `path` beneath `root` for reading.
pub fn open_file(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<OwnedFd> {
    match openat2(root, path, OpenHow::new().flags(READING).resolve(ResolveFlag::RESOLVE_IN_ROOT)) {
        Err(Errno::ENOSYS) => {
            let file = walk(root, path, Missing::Read)?;
            file.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)
        }
        result => result,
    }
}

/// As [`resolve_or_make`] for a directory whose path has no symlink in it.
/// Errors: `ELOOP` when it has one.
pub fn resolve_plain(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<Passing> {
    let plain = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    match openat2(root, path, how.resolve(plain)) {
        Err(Errno::ENOENT | Errno::ENOSYS) => walk(root, path, Missing::Plain),
        result => result.map(Passing::from),
    }
}

/// As [`resolve`], making what is missing.
pub fn resolve_or_make(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> nix::Result<Passing> {
    match resolve(root, path) {
        Err(Errno::ENOENT) => match make_last(root, path, missing) {
            Err(Errno::ENOENT | Errno::EEXIST) => walk(root, path, missing),
            result => result,
        },
        result => result,
    }
}

/// The usual case: only the last component is missing.
/// Errors: `ENOENT` and `EEXIST` (a symlink that leads nowhere) where it is not as simple as that.
fn make_last(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> nix::Result<Passing> {
    let (parent, name) = parent(root, path, Missing::Fail)?;
    make_new(parent.as_fd(), name, missing == Missing::File)?;
    open(parent.as_fd(), name)
}

/// The directory that `path` ends in, made with `missing`, and the name there.
/// Errors: `ENOENT` for a path that ends in no name.
fn parent<'p>(root: BorrowedFd<'_>, path: &'p CStr, missing: Missing) -> nix::Result<(Passing, &'p [u8])> {
    let bytes = path.to_bytes();
    let slash = bytes.iter().rposition(|&b| b == b'/').ok_or(Errno::ENOENT)?;
    let name = bytes.get(slash + 1..).unwrap_or_default();
    let mut parent: heapless::Vec<u8, PATH_MAX> = heapless::Vec::new();
    parent.extend_from_slice(bytes.get(..=slash).unwrap_or_default()).map_err(|_| Errno::ENAMETOOLONG)?;
    parent.push(0).map_err(|_| Errno::ENAMETOOLONG)?;
    let parent = CStr::from_bytes_with_nul(&parent).map_err(|_| Errno::ENOENT)?;
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::ENOENT);
    }
    let parent =
        if missing == Missing::Fail { resolve(root, parent) } else { resolve_or_make(root, parent, missing) };
    Ok((parent?, name))
}

/// As [`resolve_or_make`], but for a symlink at the end, which is itself what is meant.
pub fn resolve_or_make_nofollow(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> nix::Result<Passing> {
    let (parent, name) = parent(root, path, Missing::Directory)?;
    match open(parent.as_fd(), name) {
        Err(Errno::ENOENT) => make(parent.as_fd(), name, missing == Missing::File),
        result => result,
    }
}

/// Makes the symlink `path` with this target. The same one may be there already.
/// Errors: `EEXIST` when something else is.
pub fn make_symlink(root: BorrowedFd<'_>, path: &CStr, target: &CStr) -> nix::Result<()> {
    let (parent, name) = parent(root, path, Missing::Directory)?;
    match nix::unistd::symlinkat(target, parent.as_fd(), name) {
        Err(Errno::EEXIST) => {
            let mut buffer = [0; PATH_MAX];
            let there = open(parent.as_fd(), name)?;
            // What is no symlink cannot be read as one.
            if read_link(there.as_fd(), &mut buffer) == Ok(target) { Ok(()) } else { Err(Errno::EEXIST) }
        }
        result => result,
    }
}

/// Resolves component by component: none is followed by the kernel, so none can lead out while it is looked at.
fn walk(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> nix::Result<Passing> {
    // Where we are, as components without symlinks below `root`; what is still to go.
    let mut done: heapless::Vec<u8, PATH_MAX> = heapless::Vec::new();
    let mut rest: heapless::Vec<u8, PATH_MAX> =
        heapless::Vec::from_slice(path.to_bytes()).map_err(|_| Errno::ENAMETOOLONG)?;
    let mut here = reopen(root, &done)?;
    let mut links = 0;
    loop {
        let start = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
        let name = rest.get(start..).unwrap_or_default().split(|&b| b == b'/').next().unwrap_or_default();
        let name: heapless::Vec<u8, 256> =
            heapless::Vec::from_slice(name).map_err(|_| Errno::ENAMETOOLONG)?;
        let end = start + name.len();
        let last = rest.get(end..).unwrap_or_default().iter().all(|&b| b == b'/');
        match name.as_slice() {
            b"" => return Ok(here),
            b"." => {}
            b".." => {
                done.truncate(done.iter().rposition(|&b| b == b'/').unwrap_or(0));
                here = reopen(root, &done)?;
            }
            name => {
                let next = match (open(here.as_fd(), name), missing) {
                    (Err(Errno::ENOENT), Missing::Directory | Missing::Plain) => {
                        make(here.as_fd(), name, false)?
                    }
                    (Err(Errno::ENOENT), Missing::File) => make(here.as_fd(), name, last)?,
                    (result, _) => result?,
                };
                if SFlag::from_bits_truncate(fstat(&next)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK {
                    links += 1;
                    if links > LINKS_MAX || missing == Missing::Plain {
                        return Err(Errno::ELOOP);
                    }
                    let mut buffer = [0; PATH_MAX];
                    let target = read_link(next.as_fd(), &mut buffer)?.to_bytes();
                    if target.first() == Some(&b'/') {
                        done.clear();
                        here = reopen(root, &done)?;
                    }
                    replace_front(&mut rest, end, target)?;
                    continue;
                }
                if last && missing == Missing::Read {
                    return openat(&here, name, READING | OFlag::O_NOFOLLOW, Mode::empty())
                        .map(Passing::from);
                }
                here = next;
                done.push(b'/')
                    .and_then(|()| done.extend_from_slice(name).map_err(|_| 0))
                    .map_err(|_| Errno::ENAMETOOLONG)?;
            }
        }
        replace_front(&mut rest, end, b"")?;
    }
}

/// Puts `front` in the place of the first `len` bytes.
fn replace_front(text: &mut heapless::Vec<u8, PATH_MAX>, len: usize, front: &[u8]) -> nix::Result<()> {
    let mut new: heapless::Vec<u8, PATH_MAX> = heapless::Vec::new();
    new.extend_from_slice(front).map_err(|_| Errno::ENAMETOOLONG)?;
    new.extend_from_slice(text.get(len..).unwrap_or_default()).map_err(|_| Errno::ENAMETOOLONG)?;
    *text = new;
    Ok(())
}

/// Opens `done` again from the root; only directories that were gone through before.
fn reopen(root: BorrowedFd<'_>, done: &[u8]) -> nix::Result<Passing> {
    let mut here = open(root, b".")?;
    for name in done.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        here = open(here.as_fd(), name)?;
    }
    Ok(here)
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> nix::Result<Passing> {
    openat(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).map(Passing::from)
}

/// Makes an empty file in `dir`, if nothing is there, and opens what is, without following a symlink.
pub fn make_file(dir: BorrowedFd<'_>, name: &CStr) -> nix::Result<Passing> {
    make(dir, name.to_bytes(), true)
}

/// Makes a directory or an empty file in `dir` and opens it. Somebody else may have been faster.
fn make(dir: BorrowedFd<'_>, name: &[u8], file: bool) -> nix::Result<Passing> {
    match make_new(dir, name, file) {
        Ok(()) | Err(Errno::EEXIST) => open(dir, name),
        Err(errno) => Err(errno),
    }
}

/// Makes a directory or an empty file that was not there.
fn make_new(dir: BorrowedFd<'_>, name: &[u8], file: bool) -> nix::Result<()> {
    if file {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(dir, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
    } else {
        mkdirat(dir, name, Mode::from_bits_truncate(0o755))
    }
}

/// The target of the symlink that `link` is open on.
pub fn read_link<'b>(link: BorrowedFd<'_>, buffer: &'b mut [u8; PATH_MAX]) -> nix::Result<&'b CStr> {
    let len = crate::sys::file::readlinkat(link, c"", buffer)?;
    *buffer.get_mut(len).ok_or(Errno::ENAMETOOLONG)? = 0;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::ENAMETOOLONG)
}
