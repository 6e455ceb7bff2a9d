//! The one place that waits for children: PID 1's own and the orphans of all others.

//!
//! An end is recorded before the process is reaped: as long as it is a zombie, its number is nobody else's, and whoever reads
//! the record finds the process that it is about.

use mote::sys::wait;
use nix::errno::Errno;

use crate::world::World;

/// Reaps every child that has ended. One SIGCHLD may stand for many of them.
pub fn all(world: &mut World, now_ms: u64) {
    loop {
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
                return;
            }
            Err(Errno::EINTR) => {}
            Err(_) => {
                world.power.childless = true;
                return;
            }
        }
    }
}
