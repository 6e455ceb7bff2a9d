//! The life of one container, decided without the kernel: (conf, unit, event, now) -> (unit, actions). What the containers of
//! a pod have to do with each other is in `supervise/pod.rs`, a probe's own part in `supervise/check.rs`.
//!
//! | state | what it means | events that may come |
//! | --- | --- | --- |
//! | `Waiting` | known, not its turn yet | `Begin`, `Stop` |
//! | `Starting` | a starter child is at work; the container may exist but has not been reported | `Started`, `StartFailed`, `Tick`, `Stop`, `Turn` |
//! | `Up` | its program runs; with `hook` its postStart hook, too, and nothing is probed yet | `Exited`, `TaskEnded`, `Tick`, `Stop` |
//! | `Backoff` | it ended or could not be started, and will be tried again at `until_ms` | `Tick`, `Stop` |
//! | `Stopping` | it is being ended, see [`Step`] | `Exited`, `TaskEnded`, `Tick`, `Stop`, `Turn` |
//! | `Done` | it ended and stays so | `Stop` |
//!
//! Any other event leaves the unit as it is: a late report or a second `Stop` is no reason for PID 1 to stumble. Two events tell
//! of one task (a probe or a hook) at most: of one that was taken back with [`Action::EndTask`] nothing is told any more.
//!
//! Restarts follow kubelet: the first is immediate, then the delay doubles from the initial one up to the greatest
//! (kubelet: 10 s to 5 min), and a run of `reset_ms` makes the next one immediate again (kubelet: 10 min). A container
//! that could not be started at all is tried again under every policy, as kubelet does, and never without a delay: nothing
//! was learnt that would make the next try go better at once.
//!
//! The end of a container is kubelet's `killContainer`: within one grace period the preStop hook, the wait for its turn, SIGTERM;
//! at its end SIGKILL. What hook and wait have used up is made good to [`TERM_LEAST_MS`] between the two signals.

pub mod check;
pub mod pod;
mod unit;

use crate::manifest::RestartPolicy;
use check::Check;
pub use check::{Outcome, Probe};
pub use unit::{Action, Actions, BackOff, Conf, Event, Halt, Role, State, Status, Step, Task, Then, Unit};

/// How long a starter may take: it reads slow storage, but a container that takes longer is not going to start.
pub const START_LIMIT_MS: u64 = 60_000;

/// From SIGTERM to SIGKILL at least, when hook or turn have used up the grace; kubelet's `minimumGracePeriodInSeconds`.
pub const TERM_LEAST_MS: u64 = 2_000;

/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// One step of a unit's life.
pub fn step(conf: &Conf, unit: Unit, event: Event, now_ms: u64) -> (Unit, Actions) {
    let mut life = Life { conf, unit, now_ms, actions: Actions::new() };
    match event {
        Event::Begin => {
            if unit.state == State::Waiting {
                life.start();
            }
        }
        Event::Started { pid } => life.started(pid),
        Event::StartFailed => life.start_failed(),
        Event::Exited(status) => life.exited(status),
        Event::TaskEnded(task, outcome) => life.task_ended(task, outcome),
        Event::Tick => life.tick(),
        Event::Stop(halt) => life.stop(halt),
        Event::Turn => life.turn(),
    }
    (life.unit, life.actions)
}

/// A step in the making.
struct Life<'c> {
    conf: &'c Conf,
    unit: Unit,
    now_ms: u64,
    actions: Actions,
}

impl Life<'_> {
    fn act(&mut self, action: Action) {
        let _ = self.actions.push(action); // there is room, see Actions
    }

    fn after(&self, ms: u64) -> u64 {
        self.now_ms.saturating_add(ms)
    }

    fn start(&mut self) {
        self.unit.state = State::Starting { limit_ms: self.after(START_LIMIT_MS), stop: None };
        self.act(Action::Start);
    }

    fn started(&mut self, pid: i32) {
        let State::Starting { stop, .. } = self.unit.state else { return };
        self.unit.runs = self.unit.runs.saturating_add(1);
        let hook = self.conf.post_start && stop.is_none();
        self.unit.state = State::Up { since_ms: self.now_ms, pid, hook };
        match stop {
            Some(halt) => self.end(halt, Then::End),
            None if hook => self.act(Action::Run(Task::PostStart)),
            None => self.settle(),
        }
    }

    fn start_failed(&mut self) {
        let State::Starting { stop, .. } = self.unit.state else { return };
        if stop.is_some() {
            self.unit.state = State::Done;
            return self.act(Action::Forget);
        }
        self.unit.last = Some(Status::Unknown);
        self.unit.delay_ms = self.unit.delay_ms.max(self.conf.back_off.initial_ms);
        self.fail(false);
        self.back_off();
    }

    /// Waits the unit's delay and doubles it.
    fn back_off(&mut self) {
        let delay_ms = self.unit.delay_ms;
        self.unit.state = State::Backoff { until_ms: self.after(delay_ms.into()) };
        self.unit.delay_ms = delay_ms.saturating_mul(2).min(self.conf.back_off.max_ms);
    }

    /// Counts a failure; `last` when no other try follows.
    fn fail(&mut self, last: bool) {
        self.unit.failures = self.unit.failures.saturating_add(1);
        if self.conf.critical_limit > 0 && (last || self.unit.failures >= self.conf.critical_limit) {
            self.act(Action::Critical);
        }
    }

    /// The program runs and its postStart hook has succeeded.
    fn settle(&mut self) {
        if self.conf.probes.first().is_some_and(Option::is_some) {
            self.arm(Task::Startup);
        } else {
            self.has_started();
        }
    }

    fn has_started(&mut self) {
        self.unit.started = true;
        self.unit.passed = true;
        self.unit.ready = !self.arm(Task::Readiness);
        self.arm(Task::Liveness);
    }

    /// Has a probe begin, after its initial delay from the container's start; returns whether there is such a probe.
    fn arm(&mut self, task: Task) -> bool {
        let State::Up { since_ms, .. } = self.unit.state else { return false };
        let Some((Some(probe), check)) = at(self.conf, &mut self.unit, task) else { return false };
        *check = Check::armed(since_ms.saturating_add(probe.delay_ms()).max(self.now_ms));
        true
    }

    fn task_ended(&mut self, task: Task, outcome: Outcome) {
        match (task, self.unit.state) {
            (Task::PostStart, State::Up { since_ms, pid, hook: true }) => {
                self.unit.state = State::Up { since_ms, pid, hook: false };
                if outcome == Outcome::Good {
                    self.settle();
                } else {
                    self.end(Halt { grace_ms: self.conf.grace_ms.into(), turn: true }, Then::Policy);
                }
            }
            (Task::PreStop, State::Stopping { step: Step::Hook { turn }, pid, since_ms, until_ms, then }) => {
                self.unit.state = State::Stopping { step: Step::Turn, pid, since_ms, until_ms, then };
                if turn {
                    self.terminate(true);
                }
            }
            (Task::Startup | Task::Readiness | Task::Liveness, State::Up { .. }) => {
                self.probed(task, outcome);
            }
            _ => {}
        }
    }

    /// A probe has ended, or its time is up.
    fn probed(&mut self, task: Task, outcome: Outcome) {
        let now_ms = self.now_ms;
        let Some((Some(probe), check)) = at(self.conf, &mut self.unit, task) else { return };
        let Some(good) = check.ended(&probe, outcome, now_ms) else { return };
        let grace_ms = probe.grace_s.map_or(u64::from(self.conf.grace_ms), |s| u64::from(s) * 1000);
        match (task, good) {
            (Task::Readiness, good) => self.unit.ready = good,
            (Task::Startup, true) => {
                *check = Check::Off;
                self.has_started();
            }
            (Task::Startup | Task::Liveness, false) => {
                self.end(Halt { grace_ms, turn: true }, Then::Restart);
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        match self.unit.state {
            State::Starting { limit_ms, stop } if self.now_ms >= limit_ms => {
                self.unit.state = State::Starting { limit_ms: NEVER, stop };
                self.act(Action::KillStarter);
            }
            State::Backoff { until_ms } if self.now_ms >= until_ms => self.start(),
            State::Stopping { step, until_ms, pid, since_ms, then } if self.now_ms >= until_ms => {
                match step {
                    Step::Hook { .. } => {
                        self.act(Action::EndTask(Task::PreStop));
                        self.terminate(true);
                    }
                    Step::Turn => self.terminate(true),
                    Step::Term | Step::Kill => {
                        self.unit.state =
                            State::Stopping { step: Step::Kill, until_ms: NEVER, pid, since_ms, then };
                        self.act(Action::Kill);
                    }
                }
            }
            State::Up { .. } => Task::PROBES.into_iter().for_each(|task| self.tick_probe(task)),
            _ => {}
        }
    }

    fn tick_probe(&mut self, task: Task) {
        let now_ms = self.now_ms;
        let Some((Some(probe), check)) = at(self.conf, &mut self.unit, task) else { return };
        if check.deadline_ms() > now_ms {
            return;
        }
        if check.is_running() {
            self.act(Action::EndTask(task));
            self.probed(task, Outcome::Bad);
        } else {
            check.begin(&probe, now_ms);
            self.act(Action::Run(task));
        }
    }

    fn stop(&mut self, halt: Halt) {
        match self.unit.state {
            State::Waiting | State::Backoff { .. } => self.unit.state = State::Done,
            State::Starting { stop: None, .. } => {
                self.unit.state = State::Starting { limit_ms: NEVER, stop: Some(halt) };
                self.act(Action::KillStarter);
            }
            State::Starting { stop: Some(old), limit_ms } => {
                let grace_ms = old.grace_ms.min(halt.grace_ms);
                let stop = Some(Halt { grace_ms, turn: old.turn || halt.turn });
                self.unit.state = State::Starting { stop, limit_ms };
            }
            State::Up { .. } => self.end(halt, Then::End),
            State::Stopping { step, pid, since_ms, until_ms, .. } => {
                let least_ms = if step == Step::Kill { NEVER } else { self.after(halt.grace_ms) };
                let until_ms = until_ms.min(least_ms);
                self.unit.state = State::Stopping { step, pid, since_ms, until_ms, then: Then::End };
            }
            State::Done => {}
        }
    }

    fn turn(&mut self) {
        match self.unit.state {
            State::Starting { stop: Some(halt), limit_ms } => {
                self.unit.state = State::Starting { stop: Some(Halt { turn: true, ..halt }), limit_ms };
            }
            State::Stopping { step: Step::Hook { .. }, pid, since_ms, until_ms, then } => {
                let step = Step::Hook { turn: true };
                self.unit.state = State::Stopping { step, pid, since_ms, until_ms, then };
            }
            State::Stopping { step: Step::Turn, .. } => self.terminate(true),
            _ => {}
        }
    }

    /// Begins the end of a container that is up.
    fn end(&mut self, halt: Halt, then: Then) {
        let State::Up { since_ms, pid, .. } = self.unit.state else { return };
        self.end_tasks();
        self.unit.ready = false;
        let hook = self.conf.pre_stop && halt.grace_ms > 0;
        let step = if hook { Step::Hook { turn: halt.turn } } else { Step::Turn };
        let until_ms = self.after(halt.grace_ms);
        self.unit.state = State::Stopping { step, pid, since_ms, until_ms, then };
        if hook {
            self.act(Action::Run(Task::PreStop));
        } else if halt.turn {
            self.terminate(false);
        }
    }

    /// Sends SIGTERM; `late` when some of the grace may have been used up.
    fn terminate(&mut self, late: bool) {
        let State::Stopping { pid, since_ms, until_ms, then, .. } = self.unit.state else { return };
        let least_ms = if late { self.after(TERM_LEAST_MS) } else { 0 };
        let until_ms = until_ms.max(least_ms);
        self.unit.state = State::Stopping { step: Step::Term, pid, since_ms, until_ms, then };
        self.act(Action::Terminate);
    }

    /// Takes back what is at work for the container.
    fn end_tasks(&mut self) {
        match self.unit.state {
            State::Up { hook: true, .. } => self.act(Action::EndTask(Task::PostStart)),
            State::Stopping { step: Step::Hook { .. }, .. } => self.act(Action::EndTask(Task::PreStop)),
            _ => {}
        }
        for task in Task::PROBES {
            let Some((_, check)) = at(self.conf, &mut self.unit, task) else { continue };
            if std::mem::replace(check, Check::Off).is_running() {
                self.act(Action::EndTask(task));
            }
        }
    }

    fn exited(&mut self, status: Status) {
        let (since_ms, then) = match self.unit.state {
            State::Up { since_ms, .. } => (since_ms, Then::Policy),
            State::Stopping { since_ms, then, .. } => (since_ms, then),
            _ => return,
        };
        self.end_tasks();
        (self.unit.started, self.unit.ready, self.unit.last) = (false, false, Some(status));
        let good = status == Status::Code(0);
        let again = match (then, self.conf.policy) {
            (Then::End, _) | (_, RestartPolicy::Never) => false,
            (Then::Restart, _) | (_, RestartPolicy::Always) => true,
            (Then::Policy, RestartPolicy::OnFailure) => !good,
        };
        let long = self.now_ms.saturating_sub(since_ms) >= self.conf.back_off.reset_ms.into();
        if long {
            self.unit.failures = 0;
        }
        if then != Then::End && (!good || again) {
            self.fail(!again);
        }
        if !again {
            self.unit.state = State::Done;
            self.act(Action::Forget);
        } else if long || self.unit.delay_ms == 0 {
            self.unit.delay_ms = self.conf.back_off.initial_ms;
            self.start();
        } else {
            self.back_off();
        }
    }
}

/// The probe of a task and where it stands.
fn at<'u>(conf: &Conf, unit: &'u mut Unit, task: Task) -> Option<(Option<Probe>, &'u mut Check)> {
    let i = task as usize;
    Some((*conf.probes.get(i)?, unit.checks.get_mut(i)?))
}

#[cfg(test)]
#[path = "supervise_tests/mod.rs"]
mod tests;
