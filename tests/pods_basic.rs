//! `mote supervise`: pods on any Linux host, as PID 1 of a device would run them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn a_pod_runs_logs_and_ends_with_its_supervisor() {
    let pods = Supervisor::new();
    pods.bundle(
        "shell",
        &spec(&["sh", "-c", "echo hello $A; trap 'echo bye; exit 0' TERM; sleep 1000 & wait"]),
    );
    let container = json!({"name": "a", "image": "shell", "env": [{"name": "A", "value": "world"}]});
    pods.pod("web", json!({"containers": [container]}));
    pods.start();
    let row = pods.wait("web/a", "running");
    let pid = row["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("PPid:\t{}\n", pods.pid())), "not the supervisor's own child: {status}");
    pods.wait_log("web/a", " stdout F hello world\n");
    assert_eq!(pods.mote(["logs", "web/a"]).run().ok(), "hello world\n");
    let out = pods.stop();
    assert!(out.stderr.contains("web/a: ended with code 0"), "{out}");
    assert!(pods.log("web/a").ends_with(" stdout F bye\n"), "{}", pods.log("web/a"));
}

#[test]
fn a_container_that_ends_is_restarted_by_policy() {
    let pods = Supervisor::new();
    pods.bundle("fail", &spec(&["sh", "-c", "exit 3"]));
    let containers = json!([{"name": "c", "image": "fail"}]);
    for policy in ["Always", "OnFailure", "Never"] {
        let name = policy.to_lowercase();
        pods.pod(&name, json!({"restartPolicy": policy, "containers": containers}));
    }
    pods.start();
    let again = |row: &serde_json::Value| row["restarts"].as_u64() >= Some(2) && row["code"] == 3;
    pods.wait_for("always/c", &again);
    pods.wait_for("onfailure/c", &again);
    let row = pods.wait("never/c", "done");
    assert_eq!((&row["restarts"], &row["code"]), (&json!(0), &json!(3)));
    pods.stop();
}

#[test]
fn what_is_wrong_with_one_manifest_is_said_and_the_others_run() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    pods.pod(
        "good",
        json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "image": "shell"}]}),
    );
    pods.pod("bad", json!({"containers": [{"name": "a", "image": "../x"}]}));
    pods.start();
    pods.wait("good/a", "running");
    let row = pods.pod_row("bad");
    assert_eq!(row["state"], "failed");
    assert!(row["reason"].as_str().unwrap().starts_with("bad.json: spec.containers[0].image: "), "{row}");
    pods.stop();
}

#[test]
fn a_directory_has_one_supervisor() {
    let pods = Supervisor::new();
    pods.start();
    pods.command().run().fails_saying(&["another supervisor is at work here"]);
    pods.stop();
    pods.start();
    pods.stop();
}

#[test]
fn what_ignores_sigterm_is_killed_after_its_grace() {
    let pods = Supervisor::new();
    pods.bundle("deaf", &spec(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]));
    pods.pod(
        "deaf",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "a", "image": "deaf"}]}),
    );
    pods.start();
    pods.wait("deaf/a", "running");
    let begin = Instant::now();
    let out = pods.stop();
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    assert!(out.stderr.contains("deaf/a: killed by signal 9"), "{out}");
}

#[test]
fn a_second_signal_ends_the_grace() {
    let pods = Supervisor::new();
    pods.bundle("deaf", &spec(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]));
    pods.pod(
        "deaf",
        json!({"terminationGracePeriodSeconds": 3600, "containers": [{"name": "a", "image": "deaf"}]}),
    );
    pods.start();
    pods.wait("deaf/a", "running");
    kill(pods.pid(), Signal::SIGINT).unwrap();
    pods.wait("deaf/a", "stopping");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(pods.container("deaf/a")["state"], "stopping", "the first signal gives the grace");
    let out = pods.stop();
    assert!(out.stderr.contains("killing what has not ended"), "{out}");
    assert!(out.stderr.contains("deaf/a: killed by signal 9"), "{out}");
}

#[test]
fn the_successor_of_a_killed_supervisor_takes_over() {
    let pods = Supervisor::new();
    pods.sleeper();
    pods.start();
    let old = pods.wait("web/a", "running")["pid"].as_i64().unwrap();
    pods.crash();
    pods.start();
    let new = pods.wait("web/a", "running")["pid"].as_i64().unwrap();
    assert_ne!(old, new);
    let old = Pid::from_raw(i32::try_from(old).unwrap());
    common::reap(old); // it had become this process's child
    assert!(kill(old, None).is_err(), "the old container still runs");
    pods.stop();
}

/// The cgroups that belong to a supervisor, in every hierarchy.
fn cgroups(pods: &Supervisor) -> Vec<PathBuf> {
    let name = format!("mote={}", pods.run.to_str().unwrap().trim_matches('/').replace('/', "="));
    let mut found = Vec::new();
    let mut todo = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((at, depth)) = todo.pop() {
        let entries = fs::read_dir(&at).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name() == name.as_str() {
                found.push(entry.path());
            } else if depth < 4 {
                todo.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

#[test]
fn the_successor_of_a_killed_supervisor_ends_what_no_manifest_names_any_more() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh", "-c", "sleep 1000 & sleep 1001"]));
    let pod = |names: &[&str]| {
        let containers: Vec<_> = names.iter().map(|name| json!({"name": name, "image": "shell"})).collect();
        json!({"terminationGracePeriodSeconds": 0, "containers": containers})
    };
    pods.pod("gone", pod(&["a", "b"]));
    pods.pod("less", pod(&["a", "b"]));
    pods.start();
    let running = ["gone/a", "gone/b", "less/b"].map(|name| {
        Pid::from_raw(i32::try_from(pods.wait(name, "running")["pid"].as_i64().unwrap()).unwrap())
    });
    pods.crash();
    assert!(!cgroups(&pods).is_empty());
    fs::remove_file(pods.manifests.join("gone.json")).unwrap();
    pods.pod("less", pod(&["a"]));
    pods.start();
    for old in running {
        common::reap(old); // it had become this process's child
        assert!(kill(old, None).is_err(), "{old} still runs");
    }
    pods.wait("less/a", "running");
    for left in cgroups(&pods).iter().map(|path| path.join("pods")) {
        assert!(!left.join("gone").exists() && !left.join("less/b").exists(), "{left:?}");
    }
    pods.stop();
    assert_eq!(cgroups(&pods), Vec::<PathBuf>::new());
}

#[test]
fn a_stray_child_of_a_container_is_reaped() {
    let pods = Supervisor::new();
    let mut config = spec(&["sh", "-c", "(setsid sleep 0.2 &) ; sleep 1000"]);
    common::without_namespace(&mut config, "pid");
    pods.bundle("fork", &config);
    pods.pod(
        "fork",
        json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "image": "fork"}]}),
    );
    pods.start();
    pods.wait("fork/a", "running");
    std::thread::sleep(Duration::from_millis(600));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).unwrap();
    let zombies: Vec<_> = children
        .split_whitespace()
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")))
        .collect();
    assert!(zombies.is_empty(), "{zombies:?}");
    pods.stop();
}

#[test]
fn without_the_manifests_nothing_begins() {
    let pods = Supervisor::new();
    fs::remove_dir(&pods.manifests).unwrap();
    pods.command().run().fails_saying(&["open(", "manifests", "no such file or directory"]);
}
