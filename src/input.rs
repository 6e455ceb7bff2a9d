//! Files that mote is told by: config.json, manifests, init.json. Read whole, once, and only if they can be meant so.

use std::io::Read as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use crate::error::{During, Result};
use crate::sys::file;

/// What stands at a path.
#[derive(Debug)]
pub enum Input {
    /// A file of a sane size.
    Text(Vec<u8>),
    /// One that is larger than allowed.
    TooLarge,
    /// A directory, a device, a fifo.
    NotRegular,
}

/// Reads the file at `path`, of at most `max` bytes: also one that grows meanwhile.
pub fn read(path: &Path, max: u64) -> Result<Input> {
    // O_NONBLOCK: a fifo in the place of the file must not hold anybody up.
    let file = file::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).during("open", path)?;
    let stat = fstat(&file).during("fstat", path)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(Input::NotRegular);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > max {
        return Ok(Input::TooLarge);
    }
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    std::fs::File::from(file).take(max + 1).read_to_end(&mut text).during("read", path)?;
    Ok(if text.len() as u64 > max { Input::TooLarge } else { Input::Text(text) })
}
