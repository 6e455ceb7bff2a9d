//! The limit of open descriptors. PID 1 holds about six for each container, so with many of them it needs more than the 1024 that
//! everybody has; programs that it starts do not get more for that, as some of them close all that there could be.

use std::sync::OnceLock;

use mote::sys::process::{getrlimit, setrlimit};
use nix::sys::resource::Resource;

/// With this many containers the limit is raised: up to here 1024 are enough, whatever they do.
pub const MANY: usize = 64;

/// The limits as they were, once they have been raised.
static BEFORE: OnceLock<(u64, u64)> = OnceLock::new();

/// As many as the largest board needs.
const WANTED: u64 = 16 * 1024;

/// Raises the limit.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= WANTED || BEFORE.set((soft, hard)).is_err() {
        return;
    }
    let raised = setrlimit(Resource::RLIMIT_NOFILE, WANTED, hard.max(WANTED))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(errno) = raised {
        mote::warn!("limit of descriptors: {}; it stays at {soft}", mote::error::words(errno));
    }
}

/// Gives a child that is to run a program the limit of before.
pub fn restore() {
    if let Some((soft, hard)) = BEFORE.get() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard); // lower than now, so nothing forbids it
    }
}
