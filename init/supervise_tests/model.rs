//! The rules that hold whatever happens: random pods under random events, possible and impossible ones, beside a model of what
//! the kernel would be doing.
//!
//! 1. At most one starter and one process per container; at most one child per task; tasks only beside a process.
//! 2. Nothing is started after a stop, and nothing that has not been asked for is killed.
//! 3. SIGTERM comes before SIGKILL, each at most once in a run.
//! 4. Events that the world cannot send in a situation change nothing.
//! 5. Init containers never run beside a later one or a main container; a main container only after all of them have
//!    succeeded and all sidecars have started once.
//! 6. When a pod is being stopped a sidecar gets SIGTERM only after the containers and sidecars after it have ended, or the grace is over.
//! 7. Once everything that runs has ended, a stopped pod is done; nothing in it has a deadline.
//! 8. Delays stay within their bounds, and a restart after a short run is never earlier than its delay.

use super::*;

/// A pseudo-random sequence (SplitMix64), the same in every run.
struct Random(u64);
impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next(from.len() as u64)).unwrap_or(0)]
    }
    fn chance(&mut self, one_in: u64) -> bool {
        self.next(one_in) == 0
    }
}

/// What the kernel would have for one container.
#[derive(Clone, Copy, Default, Debug)]
struct Kernel {
    starter: bool,
    process: bool,
    tasks: [bool; 5],
    termed: bool,
    killed: bool,
    up_ms: u64,
    /// The earliest allowed time of the next start.
    not_before_ms: u64,
}

fn manifest(random: &mut Random) -> String {
    let mut text = random.pick(&["Always", "OnFailure", "Never"]).to_owned();
    text += random.pick(&["", " grace=5", " grace=0", " critical=3"]);
    text += random.pick(&["", " initial=0.1 max=2 reset=20"]);
    let extras = ["", " post", " pre", " post pre"];
    let probes =
        ["", " startup:p3,f2", " live:p2,f2,t3", " ready:d1,p2,s2", " startup:p1 live:p1,f1,g1 ready:p1"];
    for i in 0..random.next(4) {
        if random.chance(2) {
            text += &format!("; init i{i}");
        } else {
            text += &format!("; sidecar s{i}{}{}", random.pick(&extras), random.pick(&probes));
        }
    }
    for i in 0..1 + random.next(3) {
        text += &format!("; main m{i}{}{}", random.pick(&extras), random.pick(&probes));
    }
    text
}

/// Applies what was asked of the kernel since the last call, checking rules 1 to 3, 5 and 8.
fn apply(sim: &mut Sim, kernels: &mut [Kernel], context: &str) {
    for (i, action) in std::mem::take(&mut sim.acts) {
        let over_ms = sim.stop.map_or(NEVER, |_| 0);
        let kernel = &mut kernels[i];
        let role = sim.containers[i].conf.role;
        match action {
            Action::Start => {
                assert!(!kernel.starter && !kernel.process, "{context}: a second start of {i}");
                assert!(sim.stop.is_none() && sim.begun, "{context}: {i} started though stopped");
                assert!(sim.now_ms >= kernel.not_before_ms, "{context}: {i} restarted too early");
                *kernel = Kernel { starter: true, ..Kernel::default() };
                if role != Role::Sidecar || sim.containers[i].unit.runs == 0 {
                    for (earlier, other) in sim.containers.iter().take(i).enumerate() {
                        match other.conf.role {
                            Role::Init => assert!(
                                other.unit.has_succeeded() && !kernels[earlier].process,
                                "{context}: {i} before init {earlier} has succeeded"
                            ),
                            Role::Sidecar => {
                                assert!(other.unit.passed, "{context}: {i} before sidecar {earlier}");
                            }
                            Role::Main => {}
                        }
                    }
                }
            }
            Action::KillStarter => assert!(kernel.starter, "{context}"),
            Action::Run(task) => {
                let running = &mut kernel.tasks[task as usize];
                assert!(kernel.process && !*running, "{context}: {task:?} of {i} twice, or of nobody");
                *running = true;
            }
            Action::EndTask(task) => {
                assert!(std::mem::take(&mut kernel.tasks[task as usize]), "{context}: {task:?} of {i}");
            }
            Action::Terminate => {
                assert!(kernel.process && !kernel.termed && !kernel.killed, "{context}: SIGTERM to {i}");
                kernel.termed = true;
            }
            Action::Kill => {
                assert!(kernel.process && kernel.termed && !kernel.killed, "{context}: SIGKILL to {i}");
                kernel.killed = true;
            }
            Action::Forget => {
                assert!(!kernel.process && !kernel.starter, "{context}");
                assert_eq!(sim.containers[i].unit.state, State::Done, "{context}");
            }
            Action::Critical => assert!(sim.containers[i].conf.critical_limit > 0, "{context}"),
        }
        let _ = over_ms;
    }
    for (i, (container, kernel)) in sim.containers.iter().zip(kernels.iter()).enumerate() {
        let unit = &container.unit;
        assert_eq!(unit.pid().is_some(), kernel.process, "{context}: {i} {:?}", unit.state);
        assert_eq!(matches!(unit.state, State::Starting { .. }), kernel.starter, "{context}: {i}");
        assert!(kernel.process || kernel.tasks == [false; 5], "{context}: a task of nobody, {i}");
        assert!(unit.delay_ms <= container.conf.back_off.max_ms, "{context}: {i}");
        assert!(!unit.ready || (unit.started && kernel.process), "{context}: {i} ready");
        for (k, check) in unit.checks.iter().enumerate() {
            assert_eq!(check.is_running(), kernel.tasks[k], "{context}: {i} {check:?}");
        }
    }
}

#[test]
fn no_order_of_events_breaks_the_rules() {
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let manifest = manifest(&mut random);
        let mut sim = Sim::new(&manifest);
        let mut kernels = vec![Kernel::default(); sim.containers.len()];
        let mut stop_until_ms = NEVER;
        for round in 0..150 {
            let context = format!("seed {seed} round {round} ({manifest})");
            let due = sim.containers.iter().map(|c| c.unit.deadline_ms()).min().unwrap_or(NEVER);
            let pause = random.pick(&[0, 1, 200, 1_000, 7_000, 100_000]);
            // Never past a deadline in one go: what is due is done in its moment.
            sim.advance(due.min(sim.now_ms + pause));
            apply(&mut sim, &mut kernels, &context);
            let i = usize::try_from(random.next(kernels.len() as u64)).unwrap_or(0);
            let task = random.pick(&[
                Task::Startup,
                Task::Readiness,
                Task::Liveness,
                Task::PostStart,
                Task::PreStop,
            ]);
            let outcome = random.pick(&[Outcome::Good, Outcome::Good, Outcome::Bad, Outcome::Unknown]);
            let event = match random.next(12) {
                0 => Event::Begin,
                1..4 => Event::Started { pid: 7 },
                4 => Event::StartFailed,
                5 => Event::Exited(Status::Code(0)),
                6 => Event::Exited(Status::Code(1)),
                7 => Event::Exited(Status::Signal(9)),
                8..11 => Event::TaskEnded(task, outcome),
                _ => {
                    if !sim.begun {
                        sim.act(&["begin"]);
                    } else if random.chance(12) {
                        let grace = random.pick(&["0", "5", "30"]);
                        sim.act(&["stop", grace]);
                        stop_until_ms = stop_until_ms.min(sim.now_ms + ms(grace));
                    }
                    apply(&mut sim, &mut kernels, &context);
                    continue;
                }
            };
            let kernel = &mut kernels[i];
            let possible = match event {
                Event::Started { .. } | Event::StartFailed => kernel.starter,
                Event::Exited(_) => kernel.process,
                Event::TaskEnded(task, _) => kernel.tasks[task as usize],
                _ => false, // the pod's rules alone send it
            };
            if !possible {
                let container = &sim.containers[i];
                if event == Event::Begin && container.unit.state == State::Waiting {
                    continue;
                }
                let (next, actions) = step(&container.conf, container.unit, event, sim.now_ms);
                assert!(
                    next == container.unit && actions.is_empty(),
                    "{context}: {event:?} in {:?}",
                    container.unit
                );
                continue;
            }
            let unit = sim.containers[i].unit;
            match event {
                Event::Started { .. } => {
                    (kernel.starter, kernel.process, kernel.up_ms) = (false, true, sim.now_ms);
                }
                Event::StartFailed => {
                    kernel.starter = false;
                    kernel.not_before_ms = sim.now_ms + u64::from(unit.delay_ms.max(1));
                }
                Event::Exited(_) => {
                    kernel.process = false;
                    let reset_ms = sim.containers[i].conf.back_off.reset_ms;
                    if sim.now_ms - kernel.up_ms < u64::from(reset_ms) {
                        kernel.not_before_ms = sim.now_ms + u64::from(unit.delay_ms);
                    }
                }
                Event::TaskEnded(task, _) => kernel.tasks[task as usize] = false,
                _ => {}
            }
            sim.event(i, event);
            apply(&mut sim, &mut kernels, &context);
            // Rule 6, at every moment: who has got SIGTERM as a sidecar has nobody left behind it.
            if sim.stop.is_some() && sim.now_ms < stop_until_ms {
                for (s, container) in sim.containers.iter().enumerate() {
                    let by_stop = matches!(
                        container.unit.state,
                        State::Stopping { step: Step::Turn | Step::Hook { turn: false }, .. }
                    );
                    if by_stop {
                        assert!(!kernels[s].termed, "{context}: sidecar {s} before its turn");
                    }
                }
            }
        }
        // Rule 7.
        let context = format!("seed {seed} at its end ({manifest})");
        sim.act(&["stop", "5"]);
        apply(&mut sim, &mut kernels, &context);
        for _ in 0..1_000 {
            let Some(i) = kernels.iter().position(|kernel| kernel.starter || kernel.process) else { break };
            if kernels[i].starter {
                kernels[i].starter = false;
                sim.event(i, Event::StartFailed);
            } else if kernels[i].killed || (kernels[i].termed && random.chance(3)) {
                kernels[i].process = false;
                sim.event(i, Event::Exited(Status::Signal(9)));
            } else {
                let due = sim.containers[i].unit.deadline_ms();
                let late = kernels.iter().position(|kernel| kernel.killed && kernel.process);
                match late {
                    Some(k) => {
                        kernels[k].process = false;
                        sim.event(k, Event::Exited(Status::Signal(9)));
                    }
                    None => {
                        assert!(due != NEVER, "{context}: {i} waits for ever: {:?}", sim.containers[i].unit);
                        sim.advance(due);
                    }
                }
            }
            apply(&mut sim, &mut kernels, &context);
        }
        for container in &sim.containers {
            assert_eq!(container.unit.state, State::Done, "{context}: {}", container.name);
            assert_eq!(container.unit.deadline_ms(), NEVER, "{context}");
        }
    }
}
