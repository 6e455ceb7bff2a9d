//! Standard output and standard error without std's: no lock, no buffer, and an error where std's `print` would panic.

use crate::error::{During, Result};
use crate::sys::file::write_all;
use crate::sys::terminal::{STDERR, STDOUT};

/// Writes to standard output, all of it.
pub fn print(text: &str) -> Result<()> {
    write_all(STDOUT, text.as_bytes()).during("write", "standard output")
}

/// Writes one line to standard error. Where it is closed nobody asked.
pub fn complain(line: &str) {
    let _ = write_all(STDERR, format!("{line}\n").as_bytes());
}
