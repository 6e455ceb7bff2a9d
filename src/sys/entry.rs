//! Where the program begins: C's `main`, without Rust's own start-up.
//!
//! That start-up aborts when descriptors 0 to 2 are closed and `/dev/null` cannot be opened, and this is what the first
//! process meets in an initramfs without `/dev/console`: the kernel would panic. It also ignores SIGPIPE, which a
//! container would inherit. Without it `std::env::args()` is empty on musl, so the arguments are passed on.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// Makes `run`, a `fn(&[OsString]) -> i32`, the program; its result is the exit code.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// C's `main`.
        #[allow(unsafe_code, reason = "the linker must find it by this name; no other item may have it")]
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: std::ffi::c_int, argv: *const *const std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: this is main, and these are its arguments.
            let args = unsafe { $crate::sys::entry::arguments(argc, argv) };
            // At once: std has nothing buffered that would have to be flushed, as nothing here uses its output.
            $crate::sys::process::exit_now($run(&args))
        }

        // The test harness has a main of its own.
        #[cfg(test)]
        const _: fn(&[std::ffi::OsString]) -> i32 = $run;
    };
}

/// How many of the descriptors 0 to 2 are closed. A file that is opened next becomes one of them.
pub fn closed_standard() -> Result<usize, Errno> {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the kernel reads and writes the three entries of a live array.
    Errno::result(unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) })?;
    Ok(fds.iter().filter(|fd| fd.revents & libc::POLLNVAL != 0).count())
}

/// Opens `/dev/null` as whichever of the descriptors 0 to 2 is closed: another file opened as one of them would be
/// taken for it.
pub fn open_standard() -> Result<(), Errno> {
    for _ in 0..closed_standard()? {
        let null = open(c"/dev/null", OFlag::O_RDWR, Mode::empty())?;
        std::mem::forget(null); // the lowest number that is free, so one of the three
    }
    Ok(())
}

/// What `arguments` was called with.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// The arguments of C's `main`, which live as long as the process; null where it was not called.
pub(super) fn raw_arguments() -> *const *const c_char {
    ARGUMENTS.load(Relaxed)
}

/// The arguments as owned strings.
///
/// # Safety
/// `argv` is that of C's `main`: `argc` pointers to strings that end in NUL.
#[doc(hidden)]
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    ARGUMENTS.store(argv.cast_mut(), Relaxed);
    let one = |i| {
        // SAFETY: i < argc, and the caller promises that so many strings are there.
        let arg = unsafe { CStr::from_ptr(*argv.add(i)) };
        OsStr::from_bytes(arg.to_bytes()).to_os_string()
    };
    (0..usize::try_from(argc).unwrap_or(0)).map(one).collect()
}
