//! The one place that waits for children: PID 1's own and the orphans of all others.

use mote::sys::wait;
use nix::errno::Errno;

use crate::world::World;

/// Reaps every child that has ended. One SIGCHLD may stand for many of them.
pub fn all(world: &mut World, now_ms: u64) {
    loop {
        match wait::reap_any() {
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
