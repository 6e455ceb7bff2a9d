//! What somebody may ask of one pod while it is known: to stop, to run again.

use crate::name::Name;
use crate::supervise::{State, Unit};
use crate::world::World;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// To run again after it was stopped, or has ended.
    Start,
    /// To end, and to stay so until it is started.
    Stop {
        /// From SIGTERM to SIGKILL; the pod's own otherwise.
        grace_ms: Option<u64>,
    },
    /// To end, and to run again from its first container on.
    Restart {
        /// As above.
        grace_ms: Option<u64>,
    },
}

/// Has the pod `name` do it, or says why not. What takes time goes on after this.
pub fn obey(world: &mut World<'_>, order: Order, name: &Name, now_ms: u64) -> Result<(), &'static str> {
    let Some(p) = world.pods.iter().position(|pod| pod.name.as_str() == name.as_str()) else {
        return Err("there is none");
    };
    if !world.power.is_up() {
        return Err("everything is being stopped");
    }
    if world.pods.get(p).is_some_and(|pod| pod.leaving) {
        return Err("its manifest has changed or is gone; it is being removed");
    }
    let Some(pod) = world.pods.get_mut(p).filter(|pod| pod.failed.is_none()) else {
        return Err("its manifest is wrong, see mote ps");
    };
    let (again, grace_ms) = match order {
        Order::Start => (true, None),
        Order::Stop { grace_ms } => (false, Some(grace_ms.unwrap_or(pod.grace_ms))),
        Order::Restart { grace_ms } => (true, Some(grace_ms.unwrap_or(pod.grace_ms))),
    };
    // One that runs, or has not begun, needs no start.
    let needed = order != Order::Start || pod.stop.is_some() || is_done(world, p);
    if let Some(pod) = world.pods.get_mut(p).filter(|_| needed) {
        pod.again = again;
    }
    match grace_ms {
        Some(grace_ms) => world.stop_pod(p, grace_ms, now_ms),
        None => start_again(world, p, now_ms),
    }
    Ok(())
}

/// Whether all containers of pod `p` have ended for good, and what they have left is gone.
fn is_done(world: &World<'_>, p: usize) -> bool {
    let mut units = world.units.iter().filter(|row| row.pod == p);
    units.all(|row| row.unit.state == State::Done && row.forgetter == 0)
}

/// Lets pod `p` run again, from its first container on, if that was asked for and it has ended.
pub fn start_again(world: &mut World<'_>, p: usize, now_ms: u64) {
    let up = world.power.is_up();
    if !up || world.pods.get(p).is_none_or(|pod| !pod.again) || !is_done(world, p) {
        return;
    }
    if let Some(pod) = world.pods.get_mut(p) {
        (pod.again, pod.stop) = (false, None);
    }
    for row in world.units.iter_mut().filter(|row| row.pod == p) {
        let last = row.unit.last; // still how it ended last
        (row.unit, row.reason, row.changed_ms) = (Unit { last, ..Unit::new() }, None, now_ms);
    }
    world.settle(p, now_ms);
}
