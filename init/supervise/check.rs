//! One probe of one container: when it is run, and what its results in a row say. As kubelet's prober has it
//! (`pkg/kubelet/prober/worker.go`): the first run when `initialDelaySeconds` have passed since the container's start, then one
//! each `periodSeconds`, counted from begin to begin; a run that takes longer than `timeoutSeconds` has failed; so many
//! equal results in a row as the threshold says change what is believed, fewer change nothing.

use super::NEVER;

/// What a run of a probe, or a hook, has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It succeeded.
    Good,
    /// It failed.
    Bad,
    /// It could not be run, which says nothing about the container.
    Unknown,
}

/// When a probe is run and how its results count; Kubernetes' fields of the same names, with its defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// `initialDelaySeconds`
    pub delay_s: u32,
    /// `periodSeconds`, at least 1
    pub period_s: u32,
    /// `timeoutSeconds`, at least 1
    pub timeout_s: u32,
    /// `successThreshold`, at least 1
    pub success: u32,
    /// `failureThreshold`, at least 1
    pub failure: u32,
    /// `terminationGracePeriodSeconds`, instead of the pod's when this probe ends the container
    pub grace_s: Option<u32>,
}

impl Default for Probe {
    fn default() -> Self {
        Self { delay_s: 0, period_s: 10, timeout_s: 1, success: 1, failure: 3, grace_s: None }
    }
}

impl Probe {
    /// `initialDelaySeconds` in milliseconds.
    pub fn delay_ms(&self) -> u64 {
        u64::from(self.delay_s) * 1000
    }

    /// `timeoutSeconds` in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        u64::from(self.timeout_s) * 1000
    }
}

/// Where a probe stands. `row` counts equal results in a row: good ones up from 1, bad ones down from -1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// There is none, or it is not its time.
    Off,
    /// It is run next at this time.
    Due {
        /// When.
        at_ms: u64,
        /// Results so far.
        row: i32,
    },
    /// It is running.
    Running {
        /// Since when.
        since_ms: u64,
        /// When it will have failed.
        until_ms: u64,
        /// Results so far.
        row: i32,
    },
}

impl Check {
    /// First run at `at_ms`.
    pub const fn armed(at_ms: u64) -> Self {
        Self::Due { at_ms, row: 0 }
    }

    /// When it is to be looked at.
    pub const fn deadline_ms(&self) -> u64 {
        match *self {
            Self::Off => NEVER,
            Self::Due { at_ms, .. } => at_ms,
            Self::Running { until_ms, .. } => until_ms,
        }
    }

    /// Whether a run of it is under way.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Begins a run that is due.
    pub fn begin(&mut self, probe: &Probe, now_ms: u64) {
        if let Self::Due { row, .. } = *self {
            let until_ms = now_ms.saturating_add(probe.timeout_ms());
            *self = Self::Running { since_ms: now_ms, until_ms, row };
        }
    }

    /// Ends a run; returns what is to be believed now, if its threshold has been reached.
    pub fn ended(&mut self, probe: &Probe, outcome: Outcome, now_ms: u64) -> Option<bool> {
        let Self::Running { since_ms, row, .. } = *self else { return None };
        let row = match outcome {
            Outcome::Good => row.max(0).saturating_add(1),
            Outcome::Bad => row.min(0).saturating_sub(1),
            Outcome::Unknown => row,
        };
        let next_ms = since_ms.saturating_add(u64::from(probe.period_s) * 1000);
        *self = Self::Due { at_ms: next_ms.max(now_ms), row };
        match outcome {
            Outcome::Good => (row.unsigned_abs() >= probe.success).then_some(true),
            Outcome::Bad => (row.unsigned_abs() >= probe.failure).then_some(false),
            Outcome::Unknown => None,
        }
    }
}
