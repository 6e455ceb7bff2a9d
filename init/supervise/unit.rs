//! What a container's life is told in: what its manifest says, where it stands, what happens to it and what is to be done.

use mote::sys::wait::How;

use super::NEVER;
use super::check::{Check, Outcome, Probe};
use crate::manifest::RestartPolicy;

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

impl From<How> for Status {
    fn from(how: How) -> Self {
        match how {
            How::Code(code) => Self::Code(code),
            How::Signal(signal) => Self::Signal(signal),
        }
    }
}

/// What a container is in its pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Of `initContainers`: ends before the next one begins.
    Init,
    /// Of `initContainers`, with `restartPolicy: Always`: runs as long as the pod does.
    Sidecar,
    /// Of `containers`.
    Main,
}

/// What a short-lived child does for a container. The first three are probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// `startupProbe`
    Startup,
    /// `readinessProbe`
    Readiness,
    /// `livenessProbe`
    Liveness,
    /// `lifecycle.postStart`
    PostStart,
    /// `lifecycle.preStop`
    PreStop,
}

impl Task {
    /// All, each at its own number.
    pub const ALL: [Self; 5] =
        [Self::Startup, Self::Readiness, Self::Liveness, Self::PostStart, Self::PreStop];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The probes, each at its own number.
    pub const PROBES: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
            Self::PostStart => "postStart",
            Self::PreStop => "preStop",
        }
    }
}

/// The delays between restarts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackOff {
    /// Before the second restart in a row; the first is immediate.
    pub initial_ms: u32,
    /// Where the doubling ends.
    pub max_ms: u32,
    /// A run of this length makes the next restart immediate again.
    pub reset_ms: u32,
}

/// What the manifest says about one container, as far as its supervision goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conf {
    /// What it is in its pod.
    pub role: Role,
    /// When it is started again; see [`Role::policy`].
    pub policy: RestartPolicy,
    /// From the wish to end it to SIGKILL.
    pub grace_ms: u32,
    /// Between its restarts.
    pub back_off: BackOff,
    /// So many failures in a row restart the device; 0: none do.
    pub critical_limit: u32,
    /// Whether it has a postStart hook.
    pub post_start: bool,
    /// Whether it has a preStop hook.
    pub pre_stop: bool,
    /// Its probes, at the numbers of their tasks.
    pub probes: [Option<Probe>; 3],
}

impl Role {
    /// The policy of a container in a pod with `policy`: a sidecar always runs, an init container only has to succeed.
    pub const fn policy(self, policy: RestartPolicy) -> RestartPolicy {
        match (self, policy) {
            (Self::Sidecar, _) => RestartPolicy::Always,
            (Self::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
            (Self::Init | Self::Main, policy) => policy,
        }
    }
}

/// How the end of a container is being brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Its preStop hook is at work.
    Hook {
        /// Whether SIGTERM may follow at once.
        turn: bool,
    },
    /// It waits for containers that must end before it.
    Turn,
    /// It has got SIGTERM.
    Term,
    /// It has got SIGKILL.
    Kill,
}

/// What follows the end of a container that is being stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing.
    End,
    /// A restart, if its policy wants one after such an exit.
    Policy,
    /// A restart whatever the exit code, except under `Never`: a probe has found that it is not well.
    Restart,
}

/// A wish to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Halt {
    /// From now to SIGKILL.
    pub grace_ms: u64,
    /// Whether SIGTERM may be sent already; otherwise it waits for [`Event::Turn`].
    pub turn: bool,
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
        /// A stop was asked for meanwhile.
        stop: Option<Halt>,
    },
    /// Its program runs.
    Up {
        /// Since when.
        since_ms: u64,
        /// Its process.
        pid: i32,
        /// Its postStart hook is at work.
        hook: bool,
    },
    /// It will be started again.
    Backoff {
        /// When.
        until_ms: u64,
    },
    /// It is being ended.
    Stopping {
        /// Its process.
        pid: i32,
        /// Since when it has been up.
        since_ms: u64,
        /// How.
        step: Step,
        /// The end of this step; [`NEVER`] of the last one.
        until_ms: u64,
        /// What follows.
        then: Then,
    },
    /// Ended for good.
    Done,
}

/// One container's supervision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Where it stands.
    pub state: State,
    /// How often its program has run.
    pub runs: u32,
    /// Failures in a row.
    pub failures: u32,
    /// The delay before the next restart.
    pub delay_ms: u32,
    /// How it ended last.
    pub last: Option<Status>,
    /// Its postStart hook and its startup probe have succeeded in this run.
    pub started: bool,
    /// Whether that was so in any run: those who wait for a sidecar wait no longer.
    pub passed: bool,
    /// It is started and its readiness probe says so, too.
    pub ready: bool,
    /// Its probes.
    pub checks: [Check; 3],
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Its turn to run has come.
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
    /// A probe or a hook has ended by itself.
    TaskEnded(Task, Outcome),
    /// Time has passed.
    Tick,
    /// The container is to end and stay so. A later one with less grace hastens it.
    Stop(Halt),
    /// Those that must end before it have ended.
    Turn,
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Fork a starter.
    Start,
    /// Kill the starter; its end comes as `Started` or `StartFailed`.
    KillStarter,
    /// Fork a child for this task; should that fail, it has ended as [`Outcome::Unknown`].
    Run(Task),
    /// Kill the child of this task; its end is no event.
    EndTask(Task),
    /// Send SIGTERM to the container.
    Terminate,
    /// Send SIGKILL to the container.
    Kill,
    /// Remove what an ended container leaves behind.
    Forget,
    /// Restart the device: a critical container has failed too often.
    Critical,
}

/// What one event leads to, in this order: at most the ends of four tasks and three more.
pub type Actions = heapless::Vec<Action, 8>;

impl Unit {
    /// A container that has not run.
    pub const fn new() -> Self {
        Self {
            state: State::Waiting,
            runs: 0,
            failures: 0,
            delay_ms: 0,
            last: None,
            started: false,
            passed: false,
            ready: false,
            checks: [Check::Off; 3],
        }
    }

    /// When the unit wants a `Tick`.
    pub fn deadline_ms(&self) -> u64 {
        let own = match self.state {
            State::Starting { limit_ms, .. } => limit_ms,
            State::Backoff { until_ms } | State::Stopping { until_ms, .. } => until_ms,
            State::Waiting | State::Up { .. } | State::Done => NEVER,
        };
        self.checks.iter().map(Check::deadline_ms).fold(own, u64::min)
    }

    /// Its process, if it has one that runs.
    pub const fn pid(&self) -> Option<i32> {
        match self.state {
            State::Up { pid, .. } | State::Stopping { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Whether it is on its way to `Done`, or there.
    pub const fn is_ending(&self) -> bool {
        matches!(
            self.state,
            State::Done | State::Starting { stop: Some(_), .. } | State::Stopping { then: Then::End, .. }
        )
    }

    /// Whether it has ended well and for good.
    pub fn has_succeeded(&self) -> bool {
        self.state == State::Done && self.last == Some(Status::Code(0))
    }

    /// Whether SIGTERM waits for an [`Event::Turn`].
    pub const fn waits_for_turn(&self) -> bool {
        matches!(
            self.state,
            State::Starting { stop: Some(Halt { turn: false, .. }), .. }
                | State::Stopping { step: Step::Turn | Step::Hook { turn: false }, .. }
        )
    }
}
