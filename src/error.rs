//! What can go wrong, as what was attempted, on what, and why; the words are made when it is printed.

use std::ffi::CStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::process::describe;

/// How much of a path an error keeps; its end tells more than its beginning.
pub const PATH_TAIL: usize = 88;

/// One failure. Each prints as one line without control characters.
///
/// Behind a pointer: a result is passed in a register then, and `?` copies nothing.
#[derive(Debug)]
pub struct Error(Box<Fault>);

#[derive(Debug)]
enum Fault {
    /// The kernel refused `call` on `path`.
    Sys {
        /// The system call, or the operation made of several.
        call: &'static str,
        /// Why, in the kernel's words.
        errno: Errno,
        /// The last bytes of what it was called on; empty when there is nothing to name.
        path: Tail,
    },
    /// A file that mote reads (`config.json`, a manifest, `init.json`) is wrong.
    Config(Flaw),
    /// The command line asks for something that is not to be had, or a hook failed: which and how.
    Said(String),
    /// The container is not in a state, or not of a kind, in which this can be done.
    Container {
        /// The container.
        id: Box<str>,
        /// What is in the way, in the words that engines look for.
        why: &'static str,
    },
    /// The container's first process was killed before its program ran.
    Killed {
        /// By which signal; 0 where nobody could tell.
        signal: i32,
    },
    /// The container's first process failed before its program ran.
    Child {
        /// What it was doing, such as `mount "proc" on "/proc"`.
        what: String,
        /// Why, in the kernel's words.
        errno: Errno,
    },
}

const _: () = assert!(size_of::<Result<()>>() == size_of::<usize>());

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Where a file is wrong and what is allowed there.
#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The file.
    pub file: Box<str>,
    /// A JSON path such as `mounts[2].options[1]`, or a place in the text.
    pub field: Box<str>,
    /// What is wrong and what is allowed.
    pub why: Box<str>,
}

/// A wrong field of such a file, while the file is not known: the field's path, and what is wrong.
///
/// Behind a pointer: each `?` on the way out would copy the two strings otherwise, which took 12 KB of the binary.
pub type Wrong = Box<(String, String)>;

/// The end of a path, at most [`PATH_TAIL`] bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail(heapless::Vec<u8, PATH_TAIL>);

impl Tail {
    /// Keeps the end of `path`.
    pub fn new(path: &[u8]) -> Self {
        let kept = path.get(path.len().saturating_sub(PATH_TAIL)..).unwrap_or_default();
        Self(heapless::Vec::from_slice(kept).unwrap_or_default())
    }
}

// None of these is on the way of what goes well, so none is copied to where it is called.
impl Error {
    fn new(fault: Fault) -> Self {
        Self(Box::new(fault))
    }

    /// The kernel refused `call` on `path`.
    #[cold]
    #[inline(never)]
    pub fn refused(call: &'static str, errno: Errno, path: &[u8]) -> Self {
        Self::new(Fault::Sys { call, errno, path: Tail::new(path) })
    }

    /// A file that mote reads is wrong: the file, the field and what is allowed there.
    pub fn config(file: impl fmt::Display, field: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::flawed(&file, &field, &why)
    }

    #[cold]
    #[inline(never)]
    fn flawed(file: &dyn fmt::Display, field: &dyn fmt::Display, why: &dyn fmt::Display) -> Self {
        Self::new(Fault::Config(Flaw {
            file: file.to_string().into(),
            field: field.to_string().into(),
            why: why.to_string().into(),
        }))
    }

    /// A wrong field of `file`.
    #[expect(clippy::boxed_local, reason = "this is how it comes")]
    pub fn wrong(file: impl fmt::Display, wrong: Wrong) -> Self {
        Self::flawed(&file, &wrong.0, &wrong.1)
    }

    /// What is asked for is not to be had, in words that say why.
    #[cold]
    #[inline(never)]
    pub fn usage(why: fmt::Arguments<'_>) -> Self {
        Self::new(Fault::Said(fmt::format(why)))
    }

    /// A container that cannot do this now.
    #[cold]
    #[inline(never)]
    pub fn container(id: &str, why: &'static str) -> Self {
        Self::new(Fault::Container { id: id.into(), why })
    }

    /// The first process was killed before its program ran; by signal 0 where nobody could tell.
    #[cold]
    #[inline(never)]
    pub fn killed(signal: i32) -> Self {
        Self::new(Fault::Killed { signal })
    }

    /// The first process failed while it did `what`.
    #[cold]
    #[inline(never)]
    pub fn child(what: fmt::Arguments<'_>, errno: Errno) -> Self {
        Self::new(Fault::Child { what: fmt::format(what), errno })
    }

    /// The kernel's reason, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match *self.0 {
            Fault::Sys { errno, .. } | Fault::Child { errno, .. } => Some(errno),
            _ => None,
        }
    }

    /// The signal by which the first process was killed before its program ran, where it is known.
    pub fn signal(&self) -> Option<i32> {
        match *self.0 {
            Fault::Killed { signal } if signal != 0 => Some(signal),
            _ => None,
        }
    }

    /// Whether it was for the state of the container.
    pub fn is_of_state(&self) -> bool {
        matches!(*self.0, Fault::Container { .. })
    }

    /// Whether the command line is to blame, or what it asks for.
    pub fn is_usage(&self) -> bool {
        matches!(*self.0, Fault::Said(_))
    }

    /// Where a file is wrong, if that is it.
    pub fn flaw(&self) -> Option<&Flaw> {
        match &*self.0 {
            Fault::Config(flaw) => Some(flaw),
            _ => None,
        }
    }
}

/// Says what a refused system call was for.
pub trait During<T> {
    /// Names the call and what it was made on.
    fn during(self, call: &'static str, on: impl AsPath) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, Errno> {
    fn during(self, call: &'static str, on: impl AsPath) -> Result<T> {
        self.map_err(|errno| Error::refused(call, errno, on.bytes()))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, call: &'static str, on: impl AsPath) -> Result<T> {
        self.map_err(|e| Error::refused(call, errno_of(&e), on.bytes()))
    }
}

/// The kernel's reason for a failure of std's.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// What an error can name: paths in any of their types.
pub trait AsPath {
    /// The path's bytes.
    fn bytes(&self) -> &[u8];
}
impl<T: AsPath + ?Sized> AsPath for &T {
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}
impl AsPath for Path {
    fn bytes(&self) -> &[u8] {
        self.as_os_str().as_bytes()
    }
}
impl AsPath for CStr {
    fn bytes(&self) -> &[u8] {
        self.to_bytes()
    }
}
impl AsPath for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and paths come from strangers: whatever they hold, the message stays one line.
        let f = &mut OneLine(f);
        match &*self.0 {
            Fault::Sys { call, errno, path: Tail(path) } if path.is_empty() => {
                write!(f, "{call}: {}", words(*errno))
            }
            Fault::Sys { call, errno, path: Tail(path) } => {
                let cut = if path.is_full() { "..." } else { "" };
                write!(f, "{call}({cut}{}): {}", String::from_utf8_lossy(path), words(*errno))
            }
            Fault::Config(flaw) => write!(f, "{}: {}: {}", flaw.file, flaw.field, flaw.why),
            Fault::Said(why) => f.write_str(why),
            Fault::Container { id, why } => write!(f, "{id}: {why}"),
            Fault::Killed { signal } => {
                write!(f, "the container's first process was killed by signal {signal}")
            }
            Fault::Child { what, errno } => write!(f, "{what}: {}", words(*errno)),
        }
    }
}

impl std::error::Error for Error {}

/// The errno in words. Where engines look for a text (`permission denied`, `no such file or directory`) they look
/// for it in Go's lower case, so these are lower case.
pub fn words(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "no such file or directory",
        Errno::EACCES => "permission denied",
        Errno::EPERM => "operation not permitted",
        Errno::ENOTDIR => "not a directory",
        Errno::EISDIR => "is a directory",
        Errno::ESRCH => "no such process",
        Errno::EEXIST => "file exists",
        Errno::EINVAL => "invalid argument",
        Errno::ENOSPC => "no space left on device",
        Errno::ENOEXEC => "exec format error",
        Errno::EOPNOTSUPP => "operation not supported",
        Errno::ENOSYS => "function not implemented (needs Linux 5.10, and no filter that hides system calls)",
        other => describe(other),
    }
}

/// Writes one character, a control character escaped: what strangers name must not move the cursor or fake a line.
pub fn put_visible(out: &mut impl fmt::Write, c: char) -> fmt::Result {
    if c.is_control() { c.escape_default().try_for_each(|c| out.write_char(c)) } else { out.write_char(c) }
}

/// Writes control characters escaped.
struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| put_visible(self.0, c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_reads_like_a_line_of_strace() {
        let refused: Result<()> = Err(Errno::EINVAL).during("setns", c"/run/x/netns/web");
        let Err(error) = refused else { unreachable!() };
        assert_eq!(error.to_string(), "setns(/run/x/netns/web): invalid argument");
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        let refused: Result<()> = Err(Errno::ENOENT).during("open", "x".repeat(100).as_str());
        let Err(error) = refused else { unreachable!() };
        assert_eq!(error.to_string(), format!("open(...{}): no such file or directory", "x".repeat(88)));
    }

    #[test]
    fn a_message_is_one_line_whatever_the_names_hold() {
        let error = Error::config("a\nb", "x\u{1b}[31m", "w");
        assert_eq!(error.to_string(), "a\\nb: x\\u{1b}[31m: w");
    }
}
