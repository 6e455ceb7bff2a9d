//! The written rules of supervision: Kubernetes' semantics as a table (`table.rs`), and a model under random events
//! (`model.rs`). Both drive units and pod as `world.rs` does, with a script in the place of the kernel.

// A test may panic, that is how it fails.
#![allow(clippy::expect_used)]

mod model;
mod table;

use super::pod::{self, Phase, View};
use super::*;

/// A container of a simulated pod.
pub struct Container {
    pub name: String,
    pub conf: Conf,
    pub unit: Unit,
}

/// A pod without a kernel.
pub struct Sim {
    pub policy: RestartPolicy,
    pub containers: Vec<Container>,
    pub begun: bool,
    pub stop: Option<u64>,
    pub now_ms: u64,
    /// What has been asked of the kernel: when, what, for which container.
    pub log: Vec<(u64, String)>,
    /// The same, as it was decided, by places.
    pub acts: Vec<(usize, Action)>,
}

const NAMES: [&str; 5] = ["startup", "ready", "live", "post", "pre"];

/// A time in seconds, as the scripts have it, in milliseconds.
fn ms(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = format!("{part:0<3}");
    whole.parse::<u64>().expect(text) * 1000 + part.parse::<u64>().expect(text)
}

/// `p5,f2`: a letter and a number for each field that is not the default.
fn probe(text: &str) -> Probe {
    let mut probe = Probe::default();
    for field in text.split(',').filter(|field| !field.is_empty()) {
        let number = field[1..].parse().expect(field);
        match &field[..1] {
            "d" => probe.delay_s = number,
            "p" => probe.period_s = number,
            "t" => probe.timeout_s = number,
            "s" => probe.success = number,
            "f" => probe.failure = number,
            "g" => probe.grace_s = Some(number),
            _ => unreachable!("{field}"),
        }
    }
    probe
}

impl Sim {
    /// A manifest in short: `Always; init a; sidecar b startup:p1; main c live:p10 pre post`. In its first part may stand
    /// `grace=5 initial=1 max=300 reset=600 critical=3`, times in seconds.
    pub fn new(manifest: &str) -> Self {
        let mut parts = manifest.split(';').map(str::trim);
        let mut words = parts.next().expect("a policy").split_whitespace();
        let policy = match words.next().expect("a policy") {
            "Always" => RestartPolicy::Always,
            "OnFailure" => RestartPolicy::OnFailure,
            "Never" => RestartPolicy::Never,
            other => unreachable!("{other}"),
        };
        let mut base = Conf {
            role: Role::Main,
            policy,
            grace_ms: 30_000,
            back_off: BackOff { initial_ms: 1_000, max_ms: 300_000, reset_ms: 600_000 },
            critical_limit: 0,
            post_start: false,
            pre_stop: false,
            probes: [None; 3],
        };
        for word in words {
            let (key, value) = word.split_once('=').expect(word);
            let value_ms = u32::try_from(ms(value)).expect(word);
            match key {
                "grace" => base.grace_ms = value_ms,
                "initial" => base.back_off.initial_ms = value_ms,
                "max" => base.back_off.max_ms = value_ms,
                "reset" => base.back_off.reset_ms = value_ms,
                "critical" => base.critical_limit = value_ms / 1000,
                _ => unreachable!("{word}"),
            }
        }
        let container = |part: &str| {
            let mut words = part.split_whitespace();
            let role = match words.next().expect("a role") {
                "init" => Role::Init,
                "sidecar" => Role::Sidecar,
                "main" => Role::Main,
                other => unreachable!("{other}"),
            };
            let name = words.next().expect("a name").to_owned();
            let mut conf = Conf { role, policy: role.policy(policy), ..base };
            for word in words {
                let (key, value) = word.split_once(':').unwrap_or((word, ""));
                match NAMES.iter().position(|name| *name == key).expect(key) {
                    3 => conf.post_start = true,
                    4 => conf.pre_stop = true,
                    i => conf.probes[i] = Some(probe(value)),
                }
            }
            Container { name, conf, unit: Unit::new() }
        };
        let containers = parts.map(container).collect();
        let (log, acts) = (Vec::new(), Vec::new());
        Self { policy, containers, begun: false, stop: None, now_ms: 0, log, acts }
    }

    fn views(&self) -> impl DoubleEndedIterator<Item = View<'_>> + Clone {
        self.containers.iter().enumerate().map(|(i, c)| (i, &c.conf, &c.unit))
    }

    pub fn phase(&self) -> Phase {
        pod::phase(self.policy, self.views())
    }

    pub fn is_ready(&self) -> bool {
        pod::is_ready(self.views())
    }

    /// Puts an event to container `i`, then to the others what follows for them.
    pub fn event(&mut self, i: usize, event: Event) {
        self.put(i, event);
        self.settle();
    }

    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "the rules of the pod come to no end");
            let Some((i, event)) = pod::next(self.begun, self.stop, self.views()) else { return };
            self.put(i, event);
        }
    }

    fn put(&mut self, i: usize, event: Event) {
        let container = &mut self.containers[i];
        let (unit, actions) = step(&container.conf, container.unit, event, self.now_ms);
        container.unit = unit;
        for action in actions {
            let name = &container.name;
            let task = |task: Task| NAMES[task as usize];
            let words = match action {
                Action::Start => format!("start {name}"),
                Action::KillStarter => format!("killstarter {name}"),
                Action::Run(t) => format!("run {name}.{}", task(t)),
                Action::EndTask(t) => format!("end {name}.{}", task(t)),
                Action::Terminate => format!("term {name}"),
                Action::Kill => format!("kill {name}"),
                Action::Forget => format!("forget {name}"),
                Action::Critical => format!("critical {name}"),
            };
            self.log.push((self.now_ms, words));
            self.acts.push((i, action));
        }
    }

    /// Lets time pass; whatever becomes due up to then, at `until_ms` too, is done in its moment.
    pub fn advance(&mut self, until_ms: u64) {
        loop {
            let due = self.containers.iter().map(|c| c.unit.deadline_ms()).min().unwrap_or(NEVER);
            if due > until_ms {
                self.now_ms = self.now_ms.max(until_ms);
                return;
            }
            self.now_ms = self.now_ms.max(due);
            for i in 0..self.containers.len() {
                if self.containers[i].unit.deadline_ms() <= self.now_ms {
                    self.event(i, Event::Tick);
                }
            }
        }
    }

    /// Does what one word of a script says.
    pub fn act(&mut self, words: &[&str]) {
        let whole = |sim: &Self, name: &str| {
            sim.containers.iter().position(|c| c.name == name).unwrap_or_else(|| unreachable!("{name}"))
        };
        let task = |sim: &Self, name: &str| {
            let (container, task) = name.split_once('.').expect(name);
            let tasks = [Task::Startup, Task::Readiness, Task::Liveness, Task::PostStart, Task::PreStop];
            let task = tasks[NAMES.iter().position(|name| *name == task).expect(task)];
            (whole(sim, container), task)
        };
        match *words {
            ["begin"] => {
                self.begun = true;
                self.settle();
            }
            ["stop", grace] => {
                self.stop = Some(self.stop.unwrap_or(NEVER).min(ms(grace)));
                // As world.rs has it: a later wish with less grace goes to everybody.
                for i in 0..self.containers.len() {
                    if self.containers[i].unit.is_ending() {
                        let halt = Halt { grace_ms: ms(grace), turn: false };
                        self.put(i, Event::Stop(halt));
                    }
                }
                self.settle();
            }
            ["up", name] => {
                let i = whole(self, name);
                let pid = 1 + i32::try_from(i).expect("a small number");
                self.event(i, Event::Started { pid });
            }
            ["nostart", name] => self.event(whole(self, name), Event::StartFailed),
            ["exit", name, code] => {
                let status = Status::Code(code.parse().expect(code));
                self.event(whole(self, name), Event::Exited(status));
            }
            ["signal", name, number] => {
                let status = Status::Signal(number.parse().expect(number));
                self.event(whole(self, name), Event::Exited(status));
            }
            ["ok", name] | ["bad", name] | ["unknown", name] => {
                let outcome = match words[0] {
                    "ok" => Outcome::Good,
                    "bad" => Outcome::Bad,
                    _ => Outcome::Unknown,
                };
                let (i, task) = task(self, name);
                self.event(i, Event::TaskEnded(task, outcome));
            }
            [] => {}
            _ => unreachable!("{words:?}"),
        }
    }

    /// What a check of a script asks for: `phase`, `pod`, a container's state, or its readiness.
    pub fn look(&self, what: &str) -> String {
        if what == "phase" {
            return self.phase().word().to_owned();
        }
        if what == "pod" {
            return if self.is_ready() { "ready" } else { "unready" }.to_owned();
        }
        let (name, field) = what.split_once('.').unwrap_or((what, "state"));
        let container =
            self.containers.iter().find(|c| c.name == name).unwrap_or_else(|| unreachable!("{name}"));
        let unit = container.unit;
        match field {
            "ready" => unit.ready.to_string(),
            "started" => unit.started.to_string(),
            "runs" => unit.runs.to_string(),
            "state" => match unit.state {
                State::Waiting => "waiting",
                State::Starting { .. } => "starting",
                State::Up { .. } => "up",
                State::Backoff { .. } => "backoff",
                State::Stopping { .. } => "stopping",
                State::Done => "done",
            }
            .to_owned(),
            _ => unreachable!("{field}"),
        }
    }
}
