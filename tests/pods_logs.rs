//! Logs of pods: what is kept, what is dropped and says so, and how they are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// A supervisor with one container, `web/a`, that runs a script.
fn running(script: &str, policy: &str) -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh", "-c", script]));
    let container = json!({"name": "a", "image": "shell"});
    pods.pod(
        "web",
        json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}),
    );
    pods.start();
    pods
}

fn logs(pods: &Supervisor, options: &[&str]) -> String {
    pods.mote(["logs", "web/a"]).args(options).run().ok().to_owned()
}

#[test]
fn a_log_is_read_from_a_time_on_with_times_and_by_its_runs() {
    let script = "echo one; echo two; echo three >&2; sleep 1.2; echo late; sleep 1000";
    let pods = running(script, "Always");
    pods.wait_log("web/a", " stdout F late\n");
    assert_eq!(logs(&pods, &[]), "one\ntwo\nthree\nlate\n");
    assert_eq!(logs(&pods, &["--since", "1d"]), "one\ntwo\nthree\nlate\n");
    let late = pods.log("web/a").lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(logs(&pods, &["--since", &late]), "late\n");
    assert_eq!(logs(&pods, &["--since", &late[..19]]), "late\n");
    assert_eq!(logs(&pods, &["--since", "2999-01-01"]), "");
    assert_eq!(logs(&pods, &["--timestamps", "--tail", "1"]), format!("{late} late\n"));
    for (options, why) in [
        (&["--since", "yesterday"][..], "--since"),
        (&["--tail", "x"], "--tail"),
        (&["--previous"], "no run of it has ended yet"),
        (&["--previous", "--follow"], "--previous"),
    ] {
        pods.mote(["logs", "web/a"]).args(options).run().fails_saying(&[why]);
    }
    let first = pods.container("web/a")["pid"].as_i64().unwrap();
    let kill = |pid: i64| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    kill(first);
    pods.wait_for("web/a", &|row| {
        row["state"] == "running" && row["pid"].as_i64().is_some_and(|pid| pid != first)
    });
    let end = Instant::now() + Duration::from_secs(30);
    while logs(&pods, &[]).matches("three").count() < 2 {
        assert!(Instant::now() < end, "{}", logs(&pods, &[]));
        std::thread::sleep(Duration::from_millis(20));
    }
    // The run that was killed, and not what the present one has printed.
    assert_eq!(logs(&pods, &["-p"]), "one\ntwo\nthree\nlate\n");
    assert_eq!(logs(&pods, &["--previous", "--tail=1"]), "late\n");
    pods.stop();
}

/// What the kernel says of the supervisor's memory.
fn memory(pods: &Supervisor, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pods.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_flood_of_100_megabytes_is_bounded_marked_and_does_not_move_the_supervisor() {
    // Lines of 1000 bytes.
    let line = "0123456789".repeat(100);
    let script =
        format!("echo begin; sleep 1; yes {} | head -c 100000000; sleep 5; echo end; sleep 1000", &line[1..]);
    let pods = running(&script, "Never");
    pods.wait_log("web/a", " stdout F begin\n");
    let before = memory(&pods, "RssAnon:");
    let log = pods.wait_log("web/a", " stdout F end\n");
    let marker = "lines dropped here: more than 4194304 bytes a second";
    let marked = log.lines().rev().nth(1).unwrap();
    assert!(marked.contains(" stderr F mote: ") && marked.ends_with(marker), "{marked}");
    assert!(
        memory(&pods, "RssAnon:") <= before + 16,
        "{before} kB before, {} after",
        memory(&pods, "RssAnon:")
    );
    let directory = pods.logs.join("web/a");
    let files: Vec<u64> =
        fs::read_dir(&directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(files.len() == 2 && files.iter().all(|size| *size <= 262_144), "{files:?}");
    pods.stop();
}

#[test]
fn a_writer_that_is_killed_during_a_flood_loses_no_line() {
    // 8,000 lines in bursts: they fit in the files, and many are in the pipe when the writer dies.
    let script = "n=0; while [ $n -lt 8000 ]; do echo line $n; n=$((n+1)); [ $((n % 1000)) = 0 ] && sleep 0.5; done; \
                  echo end; sleep 1000";
    let pods = running(script, "Never");
    let writer = || -> Option<i32> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).ok()?;
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        children.find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "mote-logs\n")
        })
    };
    let mut killed = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while !pods.log("web/a").contains(" stdout F end\n") {
        assert!(Instant::now() < end, "{}", pods.said());
        if let Some(pid) = writer().filter(|pid| !killed.contains(pid)) {
            std::thread::sleep(Duration::from_millis(150 + 70 * killed.len() as u64 % 300));
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            killed.push(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(killed.len() >= 3, "{killed:?}");
    let text = logs(&pods, &[]);
    let mut lines: Vec<u32> =
        text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    lines.sort_unstable();
    let all = lines.len();
    lines.dedup();
    println!("{} writers killed, {} lines doubled", killed.len(), all - lines.len());
    assert_eq!(lines, (0..8000).collect::<Vec<_>>());
    pods.stop();
}
