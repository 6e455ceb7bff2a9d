//! The log writer, killed again and again while it works: no line is lost and none stands twice, for those who read the files and
//! for those who follow them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// How many writers are killed.
const KILLS: usize = 300;

/// Numbered lines on both outputs: short ones, some that come in two parts with time between, some longer than a piece of a log. It
/// prints more slowly than its log may grow, and pauses so that the pipe is empty at times and full at others.
const SCRIPT: &str = r#"
long=$(head -c 5000 /dev/zero | tr '\0' x); n=0
while [ ! -e /stop ]; do
    echo "line $n"; echo "error $n" >&2
    case $((n % 50)) in
        0) printf 'part'; usleep 2000; echo "ed $n";;
        1) echo "$long$n";;
        2) usleep 3000;;
        3) printf 'begun '; usleep 100; echo "$n" >&2; echo "$n";;
    esac
    n=$((n + 1))
    [ $((n % 400)) = 0 ] && usleep 60000
done
printf 'end'; usleep 1000; printf ' of %s' $n
"#;

/// The log writer of the supervisor, once there is one that is not among `killed`.
fn writer(pods: &Supervisor, last: Option<Pid>) -> Pid {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).unwrap();
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        let is_writer = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "mote-logs\n")
        };
        if let Some(pid) = children.find(is_writer).map(Pid::from_raw).filter(|pid| Some(*pid) != last) {
            return pid;
        }
        assert!(Instant::now() < end, "no log writer\n{}", pods.said());
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[allow(unsafe_code)]
fn ptrace(request: libc::c_uint, pid: Pid, data: libc::c_uint) -> bool {
    // SAFETY: these requests read and write no memory of ours.
    unsafe { libc::ptrace(request as _, pid.as_raw(), 0, data as usize) != -1 }
}

/// Lets `pid` go on to its system call stop number `stops` (each call has one before and one after) and from there by `steps`
/// instructions, then kills it. Where it has ended before, it has ended.
fn kill_at(pid: Pid, stops: usize, steps: usize) {
    if !ptrace(libc::PTRACE_SEIZE, pid, 0) {
        return;
    }
    let stopped = || matches!(waitpid(pid, Some(WaitPidFlag::__WALL)), Ok(status) if !matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)));
    let mut alive = ptrace(libc::PTRACE_INTERRUPT, pid, 0) && stopped();
    for k in 0..stops + steps {
        let request = if k < stops { libc::PTRACE_SYSCALL } else { libc::PTRACE_SINGLESTEP };
        alive = alive && ptrace(request, pid, 0) && stopped();
    }
    kill(pid, Signal::SIGKILL).unwrap();
    while alive {
        alive = stopped();
    }
}

#[test]
fn a_writer_that_is_killed_anywhere_loses_no_line_and_doubles_none() {
    let pods = Supervisor::new();
    let bundle = pods.bundle("shell", &spec(&["sh", "-c", SCRIPT]));
    let container = json!({"name": "a", "image": "shell"});
    pods.pod("web", json!({"restartPolicy": "Never", "containers": [container]}));
    pods.start();
    pods.wait_log("web/a", " stdout F line 0\n");
    let follower = pods.mote(["logs", "--follow", "web/a"]).deadline(Duration::from_secs(120)).spawn();
    let mut last = None;
    let mut seed = 12345_usize;
    for i in 0..KILLS {
        let pid = writer(&pods, last);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = seed >> 33;
        match i % 4 {
            // At each stop of a few rounds in turn; by the instruction behind one; at any time.
            0 => kill_at(pid, 1 + i / 4, 0),
            1 | 2 => kill_at(pid, random % 40, random / 64 % 700),
            _ => {
                std::thread::sleep(Duration::from_micros(random as u64 % 4000));
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        last = Some(pid);
    }
    fs::write(bundle.join("rootfs/stop"), "").unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !pods.log("web/a").contains(" stdout F end of ") {
        assert!(Instant::now() < end, "{}", pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    let printed = |text: &str| -> usize {
        text.lines().find_map(|line| line.strip_prefix("end of ")).unwrap_or("0").parse().unwrap()
    };
    let followed = || fs::read_to_string(&follower.out).unwrap();
    while printed(&followed()) == 0 {
        assert!(Instant::now() < end, "the follower does not see the end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = followed();
    let count = printed(&text);
    println!("{KILLS} writers killed, {count} lines");
    assert!(count > 1000, "{count}");
    let _ = kill(follower.pid(), Signal::SIGTERM);
    let _ = follower.wait();
    let long = "x".repeat(5000);
    // What each kind of line should be, in this order; a wrong one is shown with those around it.
    let mut all = text.lines().filter(|line| !line.starts_with("mote: "));
    let check = |kind: &str, numbers: &mut dyn Iterator<Item = usize>| {
        let there = text.lines().filter_map(|line| line.strip_prefix(kind)?.parse::<usize>().ok());
        let (there, want): (Vec<_>, Vec<_>) = (there.collect(), numbers.collect());
        let differ = there.iter().zip(&want).position(|(a, b)| a != b);
        let around = differ.map(|at| (&there[at.saturating_sub(2)..(at + 3).min(there.len())], want[at]));
        assert!(there == want, "{kind}: {} lines instead of {}, from {around:?} on", there.len(), want.len());
    };
    check("line ", &mut (0..count));
    check("error ", &mut (0..count));
    check("parted ", &mut (0..count).step_by(50));
    check(&long, &mut (1..count).step_by(50));
    check("begun ", &mut (3..count).step_by(50));
    check("", &mut (3..count).step_by(50)); // on the other output meanwhile
    let known = |line: &str| {
        let kinds = ["line ", "error ", "parted ", "begun ", "end of ", &long, ""];
        kinds.iter().any(|kind| line.strip_prefix(kind).is_some_and(|number| number.parse::<usize>().is_ok()))
    };
    let torn = all.find(|line| !known(line));
    assert_eq!(torn, None);
    assert!(!text.contains("dropped here"), "{text}");
    // And what is left in the files is the end of that.
    let kept = pods.mote(["logs", "web/a"]).run();
    assert!(text.ends_with(kept.ok()));
    let raw = fs::read_to_string(pods.logs.join("web/a/0.log")).unwrap();
    assert_eq!(raw.matches(" F:end ").count(), 1, "one run has ended");
    assert!(raw.ends_with(" stdout F:end \n"));
    pods.stop();
}
