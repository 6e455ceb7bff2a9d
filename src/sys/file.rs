//! File calls that nix has only with an allocated result.

use std::ffi::{CStr, OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;
use syscalls::{Sysno, syscall};

use super::checked;

/// Longest path that the kernel takes, with its NUL; `PATH_MAX` of limits.h.
pub const PATH_MAX: usize = 4096;

/// A descriptor of a process that is about to call `execve`, which closes all of them at once: dropping it costs no call.
/// From number 256 on it is closed, so that a long config does not run into RLIMIT_NOFILE.
#[derive(Debug)]
pub struct Passing(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Passing {
    fn from(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Passing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.0.as_raw_fd() >= 256 {
            // SAFETY: this is the one place that drops it, and nobody can look at it any more.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}

/// `openat(2)` from the working directory. musl's open(3), which nix has, adds a fcntl(2) for kernels that did not know
/// `O_CLOEXEC`.
pub fn open(path: &(impl nix::NixPath + ?Sized), flags: OFlag) -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// `faccessat(2)` from the working directory: whether this process, by its real ids, can do all of that with the file. musl's own
/// can ask for the effective ids, by a process of its own.
pub fn access(path: &CStr, what: AccessFlags) -> Result<(), Errno> {
    // SAFETY: `path` ends in NUL; the rest are integers.
    checked(unsafe { syscall!(Sysno::faccessat, libc::AT_FDCWD, path.as_ptr(), what.bits()) }).map(drop)
}

/// `readlinkat(2)`: the target of a symlink, cut at the buffer's end. An empty `path` reads the symlink that `dir` is
/// open on.
pub fn readlinkat(dir: BorrowedFd<'_>, path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (fd, path, len) = (dir.as_raw_fd(), path.as_ptr(), buffer.len());
    // SAFETY: `path` ends in NUL, and the kernel writes at most `len` bytes into a live slice of that length.
    checked(unsafe { syscall!(Sysno::readlinkat, fd, path, buffer.as_mut_ptr(), len) })
}

/// `readlinkat(2)` from the working directory.
pub fn readlink(path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (path, len) = (path.as_ptr(), buffer.len());
    // SAFETY: `path` ends in NUL, and the kernel writes at most `len` bytes into a live slice of that length.
    checked(unsafe { syscall!(Sysno::readlinkat, libc::AT_FDCWD, path, buffer.as_mut_ptr(), len) })
}

/// `statx(2)`: which file on which mount `path` leads to: the mount's number, the device's two, the inode's. Linux 5.8.
pub fn mount_and_inode(path: &CStr) -> Result<(u64, u32, u32, u64), Errno> {
    statx(libc::AT_FDCWD, path, 0)
}

/// The same of what `file` is open on.
pub fn mount_and_inode_of(file: BorrowedFd<'_>) -> Result<(u64, u32, u32, u64), Errno> {
    statx(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn statx(directory: i32, path: &CStr, flags: i32) -> Result<(u64, u32, u32, u64), Errno> {
    /// `struct statx`, as far as it is looked at.
    #[repr(C)]
    struct Statx {
        before: [u64; 4],
        inode: u64,
        between: [u64; 12],
        major: u32,
        minor: u32,
        mount: u64,
        after: [u64; 13],
    }
    const _: () = assert!(size_of::<Statx>() == 256);
    const STATX_INO: u32 = 0x100;
    const STATX_MNT_ID: u32 = 0x1000;
    // SAFETY: plain integers, for which all zeroes is a value.
    let mut found: Statx = unsafe { std::mem::zeroed() };
    let (path, mask) = (path.as_ptr(), STATX_INO | STATX_MNT_ID);
    // SAFETY: `path` ends in NUL, and the kernel writes a whole statx, which has 256 bytes and outlives the call.
    checked(unsafe { syscall!(Sysno::statx, directory, path, flags, mask, &raw mut found) })?;
    Ok((found.mount, found.major, found.minor, found.inode))
}

/// `fstatfs(2)`: the `ST_*` flags of the mount that `file` is on.
pub fn mount_flags(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    // `struct statfs` of 64-bit kernels, whose eleventh word these are.
    let mut found = [0_u64; 15];
    // SAFETY: the kernel writes a whole struct statfs, 120 bytes, into a live array of that size.
    checked(unsafe { syscall!(Sysno::fstatfs, file.as_raw_fd(), found.as_mut_ptr()) })?;
    Ok(found[10])
}

/// `getcwd(2)`: the working directory, with its NUL. One outside the root starts with `(unreachable)`.
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into a live slice of that length.
    let len = checked(unsafe { syscall!(Sysno::getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    buffer.get(..len).ok_or(Errno::ERANGE)
}

/// `write(2)` until all of it is written, waiting where the other side is slow.
pub fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => drop(poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `flock(2)`: waits for the exclusive lock on `file`, or lets it go for all copies of the descriptor.
pub fn flock(file: BorrowedFd<'_>, lock: bool) -> Result<(), Errno> {
    let operation = if lock { libc::LOCK_EX } else { libc::LOCK_UN };
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::flock, file.as_raw_fd(), operation) }).map(drop)
}

/// Whether somebody else has [`flock`]ed it, at this moment.
pub fn is_locked(file: BorrowedFd<'_>) -> bool {
    let try_to = |operation: i32| {
        // SAFETY: integers only.
        checked(unsafe { syscall!(Sysno::flock, file.as_raw_fd(), operation) })
    };
    match try_to(libc::LOCK_SH | libc::LOCK_NB) {
        Ok(_) => {
            let _ = try_to(libc::LOCK_UN); // cannot fail on an open descriptor
            false
        }
        Err(errno) => errno == Errno::EWOULDBLOCK,
    }
}

/// `fgetxattr(2)`: whether the file has the extended attribute `name`, of whatever value.
pub fn has_xattr(file: BorrowedFd<'_>, name: &CStr) -> bool {
    // SAFETY: `name` ends in NUL; with a size of 0 the kernel writes nothing to the null buffer.
    checked(unsafe { syscall!(Sysno::fgetxattr, file.as_raw_fd(), name.as_ptr(), 0, 0) }).is_ok()
}

/// `getdents64(2)`: calls `each` with the name of every entry of `directory` but `.` and `..`, and its type (`DT_DIR` and so on;
/// `DT_UNKNOWN` where the file system does not say), without allocating.
pub fn entries(
    directory: BorrowedFd<'_>,
    each: &mut dyn FnMut(&CStr, u8) -> Result<(), Errno>,
) -> Result<(), Errno> {
    /// `struct linux_dirent64`: inode, offset, length of the record (u16), type (u8), name.
    const LENGTH: usize = 16;
    const TYPE: usize = 18;
    const NAME: usize = 19;
    let mut buffer = [0_u8; 4096];
    loop {
        let (fd, room) = (directory.as_raw_fd(), buffer.len());
        // SAFETY: the kernel writes at most `room` bytes into a live array of that length.
        let len = checked(unsafe { syscall!(Sysno::getdents64, fd, buffer.as_mut_ptr(), room) })?;
        let mut rest = buffer.get(..len).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while let (Some([low, high]), Some(&kind)) = (rest.get(LENGTH..LENGTH + 2), rest.get(TYPE)) {
            let record = usize::from(u16::from_ne_bytes([*low, *high]));
            let name = rest.get(NAME..record).ok_or(Errno::EIO)?;
            let name = CStr::from_bytes_until_nul(name).map_err(|_| Errno::EIO)?;
            if !matches!(name.to_bytes(), b"." | b"..") {
                each(name, kind)?;
            }
            rest = rest.get(record..).unwrap_or_default();
        }
    }
}

/// The names in the directory at `path` but `.` and `..`, in no order. Instead of `std::fs::read_dir`, which brings libc's allocator
/// to life beside mote's. Errors: open(2), getdents64(2).
pub fn names(path: &(impl nix::NixPath + ?Sized)) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    entries(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.as_fd(), &mut |name, _| {
        names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        Ok(())
    })?;
    Ok(names)
}

/// `splice(2)`: moves at most `length` bytes into the pipe `to`, which it does not wait for. They are never anywhere else: who is
/// killed meanwhile has moved them or not. `from` is waited for unless it is `O_NONBLOCK`.
/// Errors: `EAGAIN` when there is nothing or no room, `EIO` of a pseudoterminal whose other side nobody has open, `EINVAL` of one
/// in the first of Linux 5.10, which cannot.
pub fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> Result<usize, Errno> {
    let (from, to, flags) = (from.as_raw_fd(), to.as_raw_fd(), libc::SPLICE_F_NONBLOCK);
    // SAFETY: integers, and no offsets.
    checked(unsafe { syscall!(Sysno::splice, from, 0, to, 0, length, flags) })
}

/// `FIONREAD`: how many bytes can be read from a pipe at once.
pub fn available(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut length: i32 = 0;
    // SAFETY: the kernel writes one int, which outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, pipe.as_raw_fd(), libc::FIONREAD, &raw mut length) })?;
    Ok(usize::try_from(length).unwrap_or(0))
}
