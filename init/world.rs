//! Everything PID 1 knows, in tables of a fixed size: pods, their containers, and what is under way for them. The tables lie in
//! the program's zeroed memory, of which a page costs nothing until it is used.
//!
//! `supervise.rs` decides, this file carries out: an event goes in, the action comes back and is done at once.

use std::os::fd::{AsFd as _, BorrowedFd};

use mote::sys::process::{pidfd_open, pidfd_send_signal};
use mote::sys::wait::{self, Ended};
use mote::{error, info, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;

use crate::control::Control;
use crate::history::{self, History, Record, What};
use crate::line::Line;
use crate::live::{self, Live};
use crate::logs::{self, Logs};
use crate::manifest::RestartPolicy;
use crate::order;
use crate::paths::Paths;
use crate::pods;
use crate::poll::{Poll, Token};
use crate::power::{self, Kind, Power};
use crate::start::{self, Report};
use crate::supervise::pod::{self, Phase, View};
use crate::supervise::{self, Action, Event, Halt, NEVER, Outcome, State, Status, Task};
use crate::task;
use crate::watchdog::Watchdog;
use mote::board::MAX_CONTAINERS;

mod ends;
mod rows;

pub use rows::{FILE_BYTES, PodRow, Pods, Reason, Starter, TABLES, UnitRow, Units};

/// How many starters are at work at once. When hundreds of containers end together, hundreds of starters would leave no processor
/// to whoever asks PID 1 what is going on.
const STARTERS: usize = 8;

/// A starter that has been at work for longer waits for something else than a processor, and keeps nobody waiting.
const SLOW_MS: u64 = 1_000;

/// How long after the kernel's start the boot waits for slow containers.
pub const BOOT_MS: u64 = 15_000;

/// The tables and what works on them.
#[derive(Debug)]
pub struct World<'t> {
    /// Where everything is.
    pub paths: &'static Paths,
    /// All pods, the failed ones included.
    pub pods: &'t mut Pods,
    /// All containers.
    pub units: &'t mut Units,
    /// What PID 1 waits for.
    pub poll: Poll,
    /// The log writer.
    pub logs: Logs,
    /// The control socket.
    pub control: Control,
    /// The way down.
    pub power: Power,
    /// What restarts the device when PID 1 hangs.
    pub watchdog: Watchdog,
    /// What has become of the containers.
    pub history: History,
    /// Manifests that change.
    pub live: Live,
    /// Ends of processes that nobody knew while some starter had not reported yet.
    strangers: heapless::Deque<Ended, 64>,
    /// When the boot ends though containers are still being started; [`NEVER`] once it has ended.
    boot_until_ms: u64,
    /// When a container that waits for its turn has it at the latest.
    turn_ms: u64,
}

/// A record of now about the container of `row`.
fn record<'r>(pods: &'r Pods, row: &'r UnitRow, kind: What) -> Record<&'r str> {
    Record {
        number: 0,
        at_ns: history::now_ns(),
        started_ns: row.started_ns,
        kind,
        pid: row.unit.pid().unwrap_or(0),
        code: -1,
        signal: 0,
        restarts: row.unit.runs.saturating_sub(1),
        oom_kills: 0,
        pod: pods.get(row.pod).map_or("", |pod| pod.name.as_str()),
        container: row.name.as_str(),
        reason: "",
    }
}

impl<'t> World<'t> {
    /// A world with nothing under way. At `boot_until_ms` its boot is over though containers are still being started.
    pub fn new(paths: &'static Paths, pods: &'t mut Pods, units: &'t mut Units, boot_until_ms: u64) -> Self {
        Self {
            paths,
            pods,
            units,
            poll: Poll::new(),
            logs: Logs::new(),
            control: Control::new(),
            power: Power::new(),
            watchdog: Watchdog::none(),
            history: History::new(),
            live: Live::new(),
            strangers: heapless::Deque::new(),
            boot_until_ms,
            turn_ms: NEVER,
        }
    }

    /// The containers of pod `p`, in the order of its manifest.
    pub fn views(&self, p: usize) -> impl DoubleEndedIterator<Item = View<'_>> + Clone {
        let rows = self.units.iter().enumerate().filter(move |(_, row)| row.pod == p);
        rows.map(|(i, row)| (i, &row.conf, &row.unit))
    }

    /// The phase of pod `p`.
    pub fn phase(&self, p: usize) -> Phase {
        let policy = self.pods.get(p).map_or(RestartPolicy::Always, |pod| pod.policy);
        pod::phase(policy, self.views(p))
    }

    /// Whether all containers of pod `p` that serve are ready.
    pub fn is_ready(&self, p: usize) -> bool {
        pod::is_ready(self.views(p))
    }

    /// Lets every pod run whose time has come.
    pub fn begin(&mut self, now_ms: u64) {
        for p in 0..self.pods.len() {
            let waits = |pod: &&mut PodRow| !pod.begun && pod.failed.is_none() && pod.stop.is_none();
            if self.pods.get_mut(p).as_ref().is_some_and(waits)
                && order::may_begin(self, p)
                && let Some(pod) = self.pods.get_mut(p)
            {
                pod.begun = true;
                self.settle(p, now_ms);
            }
        }
    }

    /// Ends pod `p` within `grace_ms`; a second call can only hasten it.
    pub fn stop_pod(&mut self, p: usize, grace_ms: u64, now_ms: u64) {
        let Some(pod) = self.pods.get_mut(p) else { return };
        let again = pod.stop.is_some();
        pod.stop = Some(pod.stop.unwrap_or(NEVER).min(grace_ms));
        for i in 0..self.units.len() {
            let hasten = self.units.get(i).is_some_and(|row| row.pod == p && row.unit.is_ending());
            if hasten && again {
                self.step(i, Event::Stop(Halt { grace_ms, turn: false }), now_ms);
            }
        }
        self.settle(p, now_ms);
    }

    /// Does what the containers of pod `p` have to do because of each other.
    pub fn settle(&mut self, p: usize, now_ms: u64) {
        loop {
            let Some(pod) = self.pods.get(p) else { return };
            let Some((i, event)) = pod::next(pod.begun, pod.stop, self.views(p)) else {
                pods::start_again(self, p, now_ms);
                return live::left(self, p);
            };
            self.step(i, event, now_ms);
        }
    }

    /// Puts `event` to container `i`, does what follows from it, and what follows from that for its pod.
    pub fn event(&mut self, i: usize, event: Event, now_ms: u64) {
        self.step(i, event, now_ms);
        if let Some(row) = self.units.get(i) {
            self.settle(row.pod, now_ms);
        }
        self.begin(now_ms);
    }

    fn step(&mut self, i: usize, event: Event, now_ms: u64) {
        let Some(row) = self.units.get_mut(i) else { return };
        let before = row.unit;
        let (unit, actions) = supervise::step(&row.conf, before, event, now_ms);
        row.unit = unit;
        if std::mem::discriminant(&unit.state) != std::mem::discriminant(&before.state) {
            row.changed_ms = now_ms;
            self.tell(i, now_ms);
            if matches!(unit.state, State::Stopping { .. }) {
                self.note(i, What::Stopping);
            }
        }
        for action in actions {
            self.act(i, action, now_ms);
        }
    }

    fn act(&mut self, i: usize, action: Action, now_ms: u64) {
        let Some(row) = self.units.get(i) else { return };
        let signal = |fd: Option<BorrowedFd<'_>>, signal| {
            // ESRCH: it has ended, which waitid is about to say.
            let _ = fd.map(|fd| pidfd_send_signal(fd, signal));
        };
        match action {
            Action::Start if self.may_start(now_ms) => self.start(i, now_ms),
            Action::Start => self.queue(i, true),
            Action::KillStarter if row.queued => {
                self.start_failed(i, Line::of(format_args!("not started")), now_ms)
            }
            Action::KillStarter => signal(row.starter.as_ref().map(|s| s.pidfd.as_fd()), libc::SIGKILL),
            Action::Run(task) => match task::fork(self, i, task) {
                Ok(running) => self.set_task(i, task, Some(running)),
                Err(errno) => {
                    let (pod, name) = (self.pod_name(row.pod), &row.name);
                    warn!("{pod}/{name}: {}: fork: {}", task.word(), mote::error::words(errno));
                    self.step(i, Event::TaskEnded(task, Outcome::Unknown), now_ms);
                }
            },
            Action::EndTask(task) => {
                let running = row.tasks.get(task as usize).and_then(Option::as_ref);
                signal(running.map(|running| running.pidfd.as_fd()), libc::SIGTERM);
                self.set_task(i, task, None);
            }
            Action::Terminate => signal(row.pidfd.as_ref().map(|fd| fd.as_fd()), libc::SIGTERM),
            Action::Kill => {
                warn!("{}/{}: did not end in time; killing it", self.pod_name(row.pod), row.name);
                signal(row.pidfd.as_ref().map(|fd| fd.as_fd()), libc::SIGKILL);
            }
            // What is left is removed by the next start as well, so a fork that fails loses nothing.
            Action::Forget => {
                if let Ok(pid) = start::fork_forget(self, i)
                    && let Some(row) = self.units.get_mut(i)
                {
                    row.forgetter = pid.as_raw();
                }
            }
            Action::Critical => {
                let (pod, name) = (self.pod_name(row.pod), &row.name);
                error!("{pod}/{name}: critical, and failed {} times in a row", row.unit.failures);
                let kind = if self.paths.device { Kind::Reboot } else { Kind::Leave };
                power::request(self, kind, now_ms);
            }
        }
    }

    /// Whether one more starter may be at work now.
    fn may_start(&self, now_ms: u64) -> bool {
        self.starters().filter(|(_, starter)| now_ms < starter.since_ms + SLOW_MS).count() < STARTERS
    }

    fn queue(&mut self, i: usize, queued: bool) {
        if let Some(row) = self.units.get_mut(i) {
            row.queued = queued;
        }
    }

    fn start(&mut self, i: usize, now_ms: u64) {
        self.queue(i, false);
        if let Err(errno) = start::fork(self, i, now_ms) {
            self.start_failed(i, Line::of(format_args!("fork: {}", mote::error::words(errno))), now_ms);
        }
    }

    fn set_task(&mut self, i: usize, task: Task, running: Option<task::Running>) {
        let place = self.units.get_mut(i).and_then(|row| row.tasks.get_mut(task as usize));
        if let Some(place) = place {
            *place = running;
        }
    }

    /// Logs what has become of container `i`.
    fn tell(&self, i: usize, now_ms: u64) {
        let Some(row) = self.units.get(i) else { return };
        let (pod, name) = (self.pod_name(row.pod), &row.name);
        let ended = |f: &dyn Fn(std::fmt::Arguments<'_>)| match row.unit.last {
            Some(Status::Code(code)) => f(format_args!("ended with code {code}")),
            Some(Status::Signal(signal)) => f(format_args!("killed by signal {signal}")),
            Some(Status::Unknown) => {
                f(format_args!("{}", row.reason.as_ref().map_or("gone", |r| r.as_str())))
            }
            None => f(format_args!("not started")),
        };
        match row.unit.state {
            State::Up { pid, .. } => info!("{pod}/{name}: running, pid {pid}"),
            State::Starting { .. } if row.unit.runs > 0 => {
                ended(&|how| info!("{pod}/{name}: {how}; restarting"))
            }
            State::Backoff { until_ms } => {
                let wait_ms = until_ms.saturating_sub(now_ms);
                ended(&|how| warn!("{pod}/{name}: {how}; next try in {wait_ms} ms"));
            }
            State::Stopping { .. } => info!("{pod}/{name}: stopping"),
            State::Done => ended(&|how| info!("{pod}/{name}: {how}")),
            State::Waiting | State::Starting { .. } => {}
        }
    }

    /// The name of pod `i`.
    pub fn pod_name(&self, i: usize) -> &str {
        self.pods.get(i).map_or("", |pod| pod.name.as_str())
    }

    fn start_failed(&mut self, i: usize, reason: Reason, now_ms: u64) {
        self.end_starter(i);
        if let Some(row) = self.units.get_mut(i) {
            row.reason = Some(reason);
        }
        self.note(i, What::Failed);
        self.event(i, Event::StartFailed, now_ms);
    }

    /// Takes the report of the starter of container `i`, if there is one.
    pub fn report(&mut self, i: usize, now_ms: u64) {
        let starter = self.units.get(i).and_then(|row| row.starter.as_ref());
        let Some((report, master)) = starter.and_then(|starter| Report::receive(starter.report.as_fd()))
        else {
            return;
        };
        let (pid, netns) = match report {
            Report::Failed(reason) => return self.start_failed(i, reason, now_ms),
            Report::Started { pid, netns } => (pid, netns),
        };
        // Reaped before the report was read? Looked up now: without a starter the strangers are forgotten.
        let ended = self.strangers.iter().find(|ended| ended.pid == pid).copied();
        self.end_starter(i);
        let Some(row) = self.units.get_mut(i) else { return };
        if let Some(pod) = self.pods.get_mut(row.pod) {
            pod.netns = netns;
            if self.boot_until_ms == NEVER {
                pod.hold(self.paths); // at boot when all are started
            }
        }
        row.reason = None;
        if let Some(master) = master {
            row.tty.begin(master);
            logs::began(self, i);
        }
        let Some(row) = self.units.get_mut(i) else { return };
        row.pidfd = pidfd_open(Pid::from_raw(pid)).ok().filter(|fd| wait::is_child(fd.as_fd()));
        let alive = row.pidfd.is_some();
        (row.started_ns, row.recorded) = (history::now_ns(), false);
        self.event(i, Event::Started { pid }, now_ms);
        self.note(i, What::Started);
        if !alive {
            // It is not among the strangers when they were too many.
            if !ended.is_some_and(|ended| self.unit_ended(ended, now_ms)) {
                self.exited(i, Status::Unknown, now_ms);
            }
        }
    }

    /// The starter's part is over, whether it has been reaped yet or not.
    fn end_starter(&mut self, i: usize) {
        self.queue(i, false);
        if let Some(starter) = self.units.get_mut(i).and_then(|row| row.starter.take()) {
            self.poll.remove(starter.report.as_fd());
        }
        if self.units.iter().all(|row| row.starter.is_none()) {
            self.strangers.clear(); // nobody is left to whom they could belong
        }
    }

    /// Starts watching the starter of container `i`.
    pub fn watch_starter(&mut self, i: usize, starter: Starter) -> Result<(), Errno> {
        if self.poll.is_open() {
            self.poll.add(starter.report.as_fd(), Token::Report(i))?;
        }
        if let Some(row) = self.units.get_mut(i) {
            row.starter = Some(starter);
        }
        Ok(())
    }

    /// The starters at work, each with its container's place.
    fn starters(&self) -> impl Iterator<Item = (usize, &Starter)> {
        self.units.iter().enumerate().filter_map(|(i, row)| Some((i, row.starter.as_ref()?)))
    }

    /// Waits until the first of the starters has reported, or `limit_ms` have passed.
    pub fn pause(&self, limit_ms: u16) {
        let mut reports = heapless::Vec::<_, MAX_CONTAINERS>::new();
        reports.extend(
            self.starters().map(|(_, starter)| PollFd::new(starter.report.as_fd(), PollFlags::POLLIN)),
        );
        let _ = poll(&mut reports, limit_ms); // a pause, no more
    }

    /// Makes what PID 1 waits by, and watches the starters that are at work already: those of the boot do not wait for it.
    pub fn open_poll(&mut self) -> Result<(), Errno> {
        self.poll.open()?;
        self.starters().try_for_each(|(i, starter)| self.poll.add(starter.report.as_fd(), Token::Report(i)))
    }

    /// Time has passed: whatever is due is done.
    pub fn tick(&mut self, now_ms: u64) {
        for i in 0..self.units.len() {
            if self.units.get(i).is_some_and(|row| row.unit.deadline_ms() <= now_ms) {
                self.event(i, Event::Tick, now_ms);
            }
        }
        self.turn_ms = NEVER;
        for i in 0..self.units.len() {
            if self.units.get(i).is_some_and(|row| row.queued) {
                if !self.may_start(now_ms) {
                    let slow = self.starters().map(|(_, starter)| starter.since_ms + SLOW_MS);
                    self.turn_ms = slow.filter(|at_ms| now_ms < *at_ms).min().unwrap_or(NEVER);
                    break;
                }
                self.start(i, now_ms);
            }
        }
    }

    /// Whether the boot is over; true once. It is over when each container has been tried, or when that takes long.
    pub fn is_booted(&mut self, now_ms: u64) -> bool {
        let tried = self.units.iter().all(|row| row.starter.is_none() && !row.queued);
        let over = self.boot_until_ms != NEVER && (tried || self.boot_until_ms <= now_ms);
        if over {
            self.boot_until_ms = NEVER;
        }
        over
    }

    /// When something is due next; [`NEVER`] when nothing is.
    pub fn deadline_ms(&self) -> u64 {
        let units = self.units.iter().map(|row| row.unit.deadline_ms()).min().unwrap_or(NEVER);
        let units = units.min(self.boot_until_ms).min(self.turn_ms);
        units
            .min(self.live.deadline_ms())
            .min(self.logs.deadline_ms())
            .min(self.control.deadline_ms())
            .min(self.power.deadline_ms())
            .min(self.watchdog.deadline_ms())
    }
}
