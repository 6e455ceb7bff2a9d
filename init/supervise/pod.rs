//! What the containers of a pod have to do with each other, decided without the kernel: which of them is to be started or
//! stopped next, and in which phase the pod is.
//!
//! As Kubernetes has it (Pod Lifecycle, Init Containers, Sidecar Containers): init containers run in the order of the
//! manifest, each to its successful end; a sidecar among them is waited for until it has started. Then all containers
//! begin together. The pod ends when all of those have ended for good, or an init container has failed for good: sidecars
//! then end in reverse order, each when all containers and the sidecars after it have ended, and all within one grace period.

use super::{Conf, Event, Halt, Role, State, Status, Unit};
use crate::manifest::RestartPolicy;

/// What the rules look at: place, manifest and state of one container.
pub type View<'a> = (usize, &'a Conf, &'a Unit);

/// Kubernetes' `status.phase`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not all of its containers have been started once.
    Pending,
    /// They have, and at least one runs or will run again.
    Running,
    /// All have ended well, for good.
    Succeeded,
    /// All have ended for good, at least one with a failure.
    Failed,
}

impl Phase {
    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The next event for one of a pod's `units`, which stand in the order of the manifest; `None` when nothing is to be done. To be
/// asked again after each event, until nothing is.
///
/// `begun`: the pod may run (what it comes after is there). `stop`: the pod is to end, with this grace.
pub fn next<'a>(
    begun: bool,
    stop: Option<u64>,
    units: impl DoubleEndedIterator<Item = View<'a>> + Clone,
) -> Option<(usize, Event)> {
    let grace_ms = stop.or_else(|| {
        let (_, conf, _) = units.clone().next()?;
        is_over(units.clone()).then(|| conf.grace_ms.into())
    });
    if let Some(grace_ms) = grace_ms {
        return stop_next(grace_ms, units);
    }
    if !begun {
        return None;
    }
    for (i, conf, unit) in units {
        match (conf.role, unit.state) {
            (_, State::Waiting) => return Some((i, Event::Begin)),
            (Role::Init, _) if !unit.has_succeeded() => return None,
            (Role::Sidecar, _) if !unit.passed => return None,
            _ => {}
        }
    }
    None
}

/// Whether no main container will run any more.
fn is_over<'a>(mut units: impl Iterator<Item = View<'a>> + Clone) -> bool {
    let done = |unit: &Unit| unit.state == State::Done;
    let failed = |(_, conf, unit): View<'_>| conf.role == Role::Init && done(unit) && !unit.has_succeeded();
    units.clone().any(failed) || units.all(|(_, conf, unit)| conf.role != Role::Main || done(unit))
}

fn stop_next<'a>(
    grace_ms: u64,
    units: impl DoubleEndedIterator<Item = View<'a>> + Clone,
) -> Option<(usize, Event)> {
    let mut turn = units.clone().all(|(_, conf, unit)| conf.role != Role::Main || unit.state == State::Done);
    for (i, conf, unit) in units.rev() {
        let turn_of_this = turn || conf.role != Role::Sidecar;
        if !unit.is_ending() {
            return Some((i, Event::Stop(Halt { grace_ms, turn: turn_of_this })));
        }
        if turn_of_this && unit.waits_for_turn() {
            return Some((i, Event::Turn));
        }
        // An init container, which may be at work, is not waited for: kuberuntime_termination_order.go.
        turn &= unit.state == State::Done || conf.role == Role::Init;
    }
    None
}

/// Whether all containers that serve are ready: Kubernetes' condition `ContainersReady`.
pub fn is_ready<'a>(mut units: impl Iterator<Item = View<'a>>) -> bool {
    units.all(|(_, conf, unit)| conf.role == Role::Init || unit.ready)
}

/// The pod's phase; the rules are kubelet's `getPhase` (pkg/kubelet/kubelet_pods.go).
pub fn phase<'a>(policy: RestartPolicy, units: impl Iterator<Item = View<'a>> + Clone) -> Phase {
    let (mut pending, mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0, 0);
    for (_, conf, unit) in units.clone() {
        let ran = unit.last.is_some_and(|last| last != Status::Unknown) || unit.runs > 0;
        match conf.role {
            Role::Init if unit.has_succeeded() => {}
            Role::Init if policy == RestartPolicy::Never && unit.state == State::Done && ran => {
                return Phase::Failed;
            }
            Role::Init => pending += 1,
            Role::Sidecar if unit.pid().is_some() => running += 1,
            Role::Sidecar => pending += usize::from(!unit.passed && unit.state != State::Done),
            Role::Main if unit.pid().is_some() => running += 1,
            Role::Main if ran => {
                stopped += 1;
                succeeded += usize::from(unit.last == Some(Status::Code(0)));
            }
            Role::Main => waiting += 1,
        }
    }
    let again = |(_, conf, unit): View<'_>| conf.role == Role::Main && unit.state != State::Done;
    match () {
        () if pending > 0 || waiting > 0 || running + stopped == 0 => Phase::Pending,
        // The containers are between two runs, or one of them still runs.
        () if running > 0 || units.clone().any(again) => Phase::Running,
        () if stopped == succeeded => Phase::Succeeded,
        () => Phase::Failed,
    }
}
