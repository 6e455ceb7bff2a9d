//! The written rules of `supervise.rs`, as tables and as a model under random events.

use super::*;

const FAILED: Event = Event::Exited(Status::Code(1));
const STOP: Event = Event::Stop { grace_ms: 5_000 };

/// Runs `events` on a new unit; each is (time, event).
fn run(policy: RestartPolicy, events: &[(u64, Event)]) -> (Unit, Vec<Action>) {
    let mut unit = Unit::new(policy);
    let mut actions = Vec::new();
    for &(now_ms, event) in events {
        let (next, action) = step(unit, event, now_ms);
        unit = next;
        actions.push(action);
    }
    (unit, actions)
}

#[test]
fn the_first_restart_is_immediate_and_the_next_wait_longer_and_longer() {
    let (mut unit, _) = run(RestartPolicy::Always, &[(0, Event::Begin), (1, Event::Started { pid: 7 })]);
    let (mut now, mut waits) = (10, Vec::new());
    for _ in 0..12 {
        let (next, action) = step(unit, FAILED, now);
        unit = next;
        waits.push(match unit.state {
            State::Starting { .. } => 0,
            State::Backoff { until_ms } => until_ms - now,
            other => unreachable!("{other:?}"),
        });
        if action != Action::Start {
            now = unit.deadline_ms();
            assert_eq!(step(unit, Event::Tick, now - 1), (unit, Action::None), "not a moment early");
            let (next, action) = step(unit, Event::Tick, now);
            assert_eq!(action, Action::Start);
            unit = next;
        }
        unit = step(unit, Event::Started { pid: 7 }, now).0;
        now += 10;
    }
    let s = 1_000;
    assert_eq!(
        waits,
        [0, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 300 * s]
    );
    assert_eq!(unit.runs, 13);
    // A long run makes it immediate again.
    let (unit, action) = step(unit, FAILED, now + RESTART_RESET_MS);
    assert_eq!((action, unit.delay_ms), (Action::Start, RESTART_DELAY_MS));
}

#[test]
fn the_policy_decides_over_a_restart() {
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, status, action) in [
        (Always, Status::Code(0), Action::Start),
        (Always, Status::Signal(9), Action::Start),
        (OnFailure, Status::Code(0), Action::Forget),
        (OnFailure, Status::Code(3), Action::Start),
        (OnFailure, Status::Signal(15), Action::Start),
        (OnFailure, Status::Unknown, Action::Start),
        (Never, Status::Code(0), Action::Forget),
        (Never, Status::Code(1), Action::Forget),
        (Never, Status::Signal(9), Action::Forget),
    ] {
        let events = [(0, Event::Begin), (5, Event::Started { pid: 7 }), (9, Event::Exited(status))];
        let (unit, actions) = run(policy, &events);
        assert_eq!(actions[2], action, "{policy:?} {status:?}");
        assert_eq!(unit.last, Some(status));
        assert_eq!(unit.state == State::Done, action == Action::Forget);
    }
}

#[test]
fn a_failed_start_is_tried_again_under_every_policy_but_never_at_once() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
        let (unit, actions) = run(policy, &[(0, Event::Begin), (7, Event::StartFailed)]);
        assert_eq!((unit.state, actions[1]), (State::Backoff { until_ms: 1_007 }, Action::None));
        assert_eq!(unit.runs, 0);
    }
}

#[test]
fn a_starter_that_hangs_is_killed_and_its_container_counts_if_it_was_made() {
    let (unit, actions) = run(RestartPolicy::Always, &[(0, Event::Begin), (START_LIMIT_MS, Event::Tick)]);
    assert_eq!(actions[1], Action::KillStarter);
    assert_eq!(unit.deadline_ms(), NEVER, "killed once");
    assert!(matches!(step(unit, Event::Started { pid: 3 }, 60_001).0.state, State::Up { pid: 3, .. }));
    assert!(matches!(step(unit, Event::StartFailed, 60_001).0.state, State::Backoff { .. }));
}

#[test]
fn a_stop_goes_from_term_to_kill_and_ends_in_done() {
    let events = [
        (0, Event::Begin),
        (1, Event::Started { pid: 7 }),
        (2, STOP),
        (5_001, Event::Tick),
        (5_002, Event::Tick),
    ];
    let (unit, actions) = run(RestartPolicy::Always, &events);
    assert_eq!(actions[2..], [Action::Terminate, Action::None, Action::Kill]);
    let (unit, action) = step(unit, Event::Exited(Status::Signal(9)), 5_003);
    assert_eq!((unit.state, action), (State::Done, Action::Forget));
}

#[test]
fn a_stop_while_starting_waits_for_the_report() {
    let (unit, actions) = run(RestartPolicy::Always, &[(0, Event::Begin), (1, STOP)]);
    assert_eq!(actions[1], Action::KillStarter);
    assert_eq!(step(unit, Event::StartFailed, 2).0.state, State::Done);
    let (unit, action) = step(unit, Event::Started { pid: 4 }, 2);
    assert_eq!((unit.state, action), (State::Stopping { pid: 4, kill_at_ms: 5_002 }, Action::Terminate));
}

/// A pseudo-random sequence (SplitMix64), the same in every run.
struct Random(u64);
impl Random {
    fn next<T: TryFrom<u64> + Default>(&mut self, below: u64) -> T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        T::try_from((z ^ (z >> 31)) % below).unwrap_or_default()
    }
}

/// What the outside world would look like: at most one starter and one process, and nothing starts after a stop.
#[test]
fn no_order_of_events_breaks_the_rules() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let policy =
            [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][random.next::<usize>(3)];
        let mut unit = Unit::new(policy);
        let (mut now, mut starter, mut process, mut stopped, mut ended) = (0, false, false, false, false);
        for _ in 0..200 {
            now += [0, 1, 500, 20_000, 700_000][random.next::<usize>(5)];
            let event = match random.next::<u8>(8) {
                0 => Event::Begin,
                1 => Event::Started { pid: 1 + random.next::<i32>(100) },
                2 => Event::StartFailed,
                3 => Event::Exited(Status::Code(random.next(2))),
                4 => Event::Exited(Status::Signal(9)),
                5 if random.next::<u8>(10) == 0 => Event::Stop { grace_ms: random.next(60_000) },
                _ => Event::Tick,
            };
            // Events that the world cannot send in this situation are sent all the same: they must change nothing.
            let possible = match event {
                Event::Started { .. } | Event::StartFailed => starter,
                Event::Exited(_) => process,
                Event::Begin | Event::Tick | Event::Stop { .. } => true,
            };
            let (next, action) = step(unit, event, now);
            if !possible {
                assert_eq!(
                    (next, action),
                    (unit, Action::None),
                    "seed {seed}: {event:?} in {:?}",
                    unit.state
                );
                continue;
            }
            match event {
                Event::Started { .. } => (starter, process) = (false, true),
                Event::StartFailed => starter = false,
                Event::Exited(_) => process = false,
                Event::Stop { .. } => stopped = true,
                Event::Begin | Event::Tick => {}
            }
            match action {
                Action::Start => {
                    assert!(!starter && !process && !stopped && !ended, "seed {seed}: a second start");
                    starter = true;
                }
                Action::KillStarter => assert!(starter, "seed {seed}"),
                Action::Terminate | Action::Kill => assert!(process && stopped, "seed {seed}"),
                Action::Forget => assert!(!process && !starter && next.state == State::Done, "seed {seed}"),
                Action::None => {}
            }
            ended |= next.state == State::Done;
            assert_eq!(next.pid().is_some(), process, "seed {seed}: {:?}", next.state);
            assert_eq!(
                matches!(next.state, State::Starting { .. }),
                starter,
                "seed {seed}: {:?}",
                next.state
            );
            assert!(next.delay_ms <= RESTART_DELAY_MAX_MS && next.runs >= unit.runs);
            if let State::Backoff { until_ms } = next.state {
                assert!(until_ms > now || event == Event::Tick || next == unit, "seed {seed}");
            }
            unit = next;
        }
    }
}
