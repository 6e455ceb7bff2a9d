//! `execve(2)` with argument lists that were made before the clone.

use std::convert::Infallible;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

/// A list of strings in the form that `execve` takes: pointers, the last one null.
#[derive(Debug)]
pub struct CStrList<'a> {
    pointers: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> CStrList<'a> {
    /// An empty list with room for `capacity` strings.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut pointers = Vec::with_capacity(capacity.saturating_add(1));
        pointers.push(std::ptr::null());
        Self { pointers, strings: PhantomData }
    }

    /// Adds one string at the end.
    pub fn push(&mut self, string: &'a CStr) {
        let last = self.pointers.len() - 1;
        self.pointers.insert(last, string.as_ptr());
    }

    /// Puts one string in the place of the first that begins with `name`, or at the end.
    pub fn put(&mut self, name: &[u8], string: &'a CStr) {
        let found = self.iter().position(|other| other.to_bytes().starts_with(name));
        match found {
            Some(at) => self.pointers[at] = string.as_ptr(),
            None => self.push(string),
        }
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + '_ {
        // SAFETY: every pointer but the last came out of a `&'a CStr` in `push`.
        self.pointers.iter().filter(|p| !p.is_null()).map(|&p| unsafe { CStr::from_ptr(p) })
    }
}

/// `execve(2)`: on success this program is gone.
pub fn execve(path: &CStr, args: &CStrList<'_>, env: &CStrList<'_>) -> Result<Infallible, Errno> {
    // SAFETY: `path` ends in NUL; both lists are null-terminated arrays of strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Err(Errno::last())
}

/// `execveat(2)` of what `image` is open on, with the arguments of this process and its environment, to which `more` is
/// added. Its name, which is a descriptor's otherwise, is set by the one who continues.
/// Errors: `EINVAL` where there are no arguments.
pub fn again(image: BorrowedFd<'_>, more: &CStr) -> Result<Infallible, Errno> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let args = super::entry::raw_arguments();
    if args.is_null() {
        return Err(Errno::EINVAL);
    }
    let mut env = vec![more.as_ptr()];
    // SAFETY: C's `environ` is a null-terminated array of strings; this process has one thread, which does not change it.
    let mut next = unsafe { environ };
    // SAFETY: as above.
    while let Some(&entry) = unsafe { next.as_ref() }.filter(|entry| !entry.is_null()) {
        env.push(entry);
        // SAFETY: it was not the last one.
        next = unsafe { next.add(1) };
    }
    env.push(std::ptr::null());
    let (fd, empty, flags) = (image.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: `args` is that of main; `env` is a null-terminated array of strings that outlive the call.
    let result = unsafe { syscall!(Sysno::execveat, fd, empty, args, env.as_ptr(), flags) };
    Err(result.map_or_else(|e| Errno::from_raw(e.into_raw()), |_| Errno::EIO))
}
