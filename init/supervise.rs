//! The life of one container, decided without the kernel: (unit, event, now) -> (unit, action).
//!
//! | state | what it means | events that may come |
//! | --- | --- | --- |
//! | `Waiting` | known, nothing tried yet | `Begin`, `Stop` |
//! | `Starting` | a starter child is at work; the container may exist but has not been reported | `Started`, `StartFailed`, `Tick`, `Stop` |
//! | `Up` | its program runs | `Exited`, `Stop` |
//! | `Backoff` | it ended or could not be started, and will be tried again at `until_ms` | `Tick`, `Stop` |
//! | `Stopping` | asked to end; killed at `kill_at_ms` | `Exited`, `Tick`, `Stop` |
//! | `Done` | it ended and stays so | `Stop` |
//!
//! Any other event leaves the unit as it is: a late report or a second `Stop` is no reason for PID 1 to stumble.
//!
//! Restarts follow kubelet: the first is immediate, then the delay doubles from `RESTART_DELAY_MS` up to
//! `RESTART_DELAY_MAX_MS` (kubelet: 10 s to 5 min), and a run of `RESTART_RESET_MS` makes the next one immediate
//! again (kubelet: 10 min). A container that could not be started at all is tried again under every policy, as kubelet
//! does, and never without a delay: nothing was learnt that would make the next try go better at once.

use crate::manifest::RestartPolicy;
use mote::board::{RESTART_DELAY_MAX_MS, RESTART_DELAY_MS, RESTART_RESET_MS};

/// How long a starter may take: it reads slow storage, but a container that takes longer is not going to start.
pub const START_LIMIT_MS: u64 = 60_000;

/// How a container ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody saw how, or it never ran.
    Unknown,
}

/// Where a container stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Known, nothing tried yet.
    Waiting,
    /// A starter is at work.
    Starting {
        /// When the starter is killed; [`NEVER`] once it has been.
        limit_ms: u64,
        /// A stop was asked for meanwhile, with this grace.
        stop: Option<u64>,
    },
    /// Its program runs.
    Up {
        /// Since when.
        since_ms: u64,
        /// Its process.
        pid: i32,
    },
    /// It will be started again.
    Backoff {
        /// When.
        until_ms: u64,
    },
    /// Asked to end.
    Stopping {
        /// Its process.
        pid: i32,
        /// When it is killed; [`NEVER`] once it has been.
        kill_at_ms: u64,
    },
    /// Ended for good.
    Done,
}

/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// One container's supervision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Where it stands.
    pub state: State,
    /// When it is started again.
    pub policy: RestartPolicy,
    /// How often its program has run.
    pub runs: u32,
    /// The delay before the next restart.
    pub delay_ms: u64,
    /// How it ended last.
    pub last: Option<Status>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The pod is to run.
    Begin,
    /// The starter reported the container's process.
    Started {
        /// Its number.
        pid: i32,
    },
    /// The starter ended without a container.
    StartFailed,
    /// The container's process has ended.
    Exited(Status),
    /// Time has passed.
    Tick,
    /// The container is to end.
    Stop {
        /// From SIGTERM to SIGKILL.
        grace_ms: u64,
    },
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Fork a starter.
    Start,
    /// Kill the starter; its end comes as `Started` or `StartFailed`.
    KillStarter,
    /// Send SIGTERM to the container.
    Terminate,
    /// Send SIGKILL to the container.
    Kill,
    /// Remove what an ended container leaves behind.
    Forget,
}

impl Unit {
    /// A container that has not run.
    pub const fn new(policy: RestartPolicy) -> Self {
        Self { state: State::Waiting, policy, runs: 0, delay_ms: 0, last: None }
    }

    /// When the unit wants a `Tick`.
    pub fn deadline_ms(&self) -> u64 {
        match self.state {
            State::Starting { limit_ms, .. } => limit_ms,
            State::Backoff { until_ms } => until_ms,
            State::Stopping { kill_at_ms, .. } => kill_at_ms,
            State::Waiting | State::Up { .. } | State::Done => NEVER,
        }
    }

    /// Its process, if it has one that runs.
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Up { pid, .. } | State::Stopping { pid, .. } => Some(pid),
            _ => None,
        }
    }
}

/// One step of a unit's life.
pub fn step(unit: Unit, event: Event, now_ms: u64) -> (Unit, Action) {
    let to = |state, action| (Unit { state, ..unit }, action);
    match (unit.state, event) {
        (State::Waiting, Event::Begin) => start(unit, now_ms),
        (State::Waiting | State::Backoff { .. }, Event::Stop { .. }) => to(State::Done, Action::None),
        (State::Backoff { until_ms }, Event::Tick) if now_ms >= until_ms => start(unit, now_ms),

        (State::Starting { stop, .. }, Event::Started { pid }) => {
            let unit = Unit { runs: unit.runs.saturating_add(1), ..unit };
            match stop {
                None => (Unit { state: State::Up { since_ms: now_ms, pid }, ..unit }, Action::None),
                Some(grace_ms) => terminate(unit, pid, grace_ms, now_ms),
            }
        }
        (State::Starting { stop: Some(_), .. }, Event::StartFailed) => to(State::Done, Action::Forget),
        (State::Starting { stop: None, .. }, Event::StartFailed) => {
            let delay_ms = unit.delay_ms.max(RESTART_DELAY_MS);
            back_off(Unit { delay_ms, last: Some(Status::Unknown), ..unit }, now_ms)
        }
        (State::Starting { limit_ms, stop }, Event::Tick) if now_ms >= limit_ms => {
            to(State::Starting { limit_ms: NEVER, stop }, Action::KillStarter)
        }
        (State::Starting { stop: None, .. }, Event::Stop { grace_ms }) => {
            to(State::Starting { limit_ms: NEVER, stop: Some(grace_ms) }, Action::KillStarter)
        }

        (State::Up { since_ms, .. }, Event::Exited(status)) => {
            let unit = Unit { last: Some(status), ..unit };
            let again = match unit.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => status != Status::Code(0),
                RestartPolicy::Never => false,
            };
            if !again {
                return (Unit { state: State::Done, ..unit }, Action::Forget);
            }
            if now_ms.saturating_sub(since_ms) >= RESTART_RESET_MS || unit.delay_ms == 0 {
                return start(Unit { delay_ms: RESTART_DELAY_MS, ..unit }, now_ms);
            }
            back_off(unit, now_ms)
        }
        (State::Up { pid, .. }, Event::Stop { grace_ms }) => terminate(unit, pid, grace_ms, now_ms),

        (State::Stopping { .. }, Event::Exited(status)) => {
            (Unit { state: State::Done, last: Some(status), ..unit }, Action::Forget)
        }
        (State::Stopping { pid, kill_at_ms }, Event::Tick) if now_ms >= kill_at_ms => {
            to(State::Stopping { pid, kill_at_ms: NEVER }, Action::Kill)
        }
        _ => (unit, Action::None),
    }
}

fn start(unit: Unit, now_ms: u64) -> (Unit, Action) {
    let state = State::Starting { limit_ms: now_ms.saturating_add(START_LIMIT_MS), stop: None };
    (Unit { state, ..unit }, Action::Start)
}

fn terminate(unit: Unit, pid: i32, grace_ms: u64, now_ms: u64) -> (Unit, Action) {
    let state = State::Stopping { pid, kill_at_ms: now_ms.saturating_add(grace_ms) };
    (Unit { state, ..unit }, Action::Terminate)
}

/// Waits the unit's delay and doubles it.
fn back_off(unit: Unit, now_ms: u64) -> (Unit, Action) {
    let state = State::Backoff { until_ms: now_ms.saturating_add(unit.delay_ms) };
    (Unit { state, delay_ms: (unit.delay_ms * 2).min(RESTART_DELAY_MAX_MS), ..unit }, Action::None)
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
