//! The one place that waits for children: PID 1's own and the orphans of all others.
//!
//! An end is recorded before the process is reaped: as long as it is a zombie, its number is nobody else's, and whoever reads
//! the record finds the process that it is about.

use mote::sys::wait;
use nix::errno::Errno;

use crate::world::World;

/// How many are reaped before PID 1 looks who else wants something.
const AT_ONCE: usize = 16;

/// Reaps every child that has ended.
pub fn all(world: &mut World, now_ms: u64) {
    while some(world, now_ms) {}
}

/// Reaps children that have ended, of which one SIGCHLD may stand for many. Whether there may be more.
pub fn some(world: &mut World, now_ms: u64) -> bool {
    for _ in 0..AT_ONCE {
        let ended = wait::peek_any().and_then(|ended| match ended {
            Some(ended) => {
                world.will_end(ended);
                wait::reap_one(ended.pid)
            }
            None => Ok(None),
        });
        match ended {
            Ok(Some(ended)) => world.ended(ended, now_ms),
            Ok(None) => {
                world.power.childless = false;
                return false;
            }
            Err(Errno::EINTR) => {}
            Err(_) => {
                world.power.childless = true;
                return false;
            }
        }
    }
    true
}
