//! `execve(2)` with argument lists that were made before the clone.

use std::convert::Infallible;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

use nix::errno::Errno;

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
