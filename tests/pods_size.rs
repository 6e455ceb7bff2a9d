//! What many containers cost the supervisor: memory and processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Resident kilobytes of the supervisor, as it says itself.
fn rss_kb(pods: &Supervisor) -> u64 {
    pods.ps()["supervisor"]["rss_kb"].as_u64().expect("rss_kb")
}

/// Runs `count` containers as `pods` has written them; the memory of a supervisor of one, which has gone through the same code, and of
/// theirs, in KB.
fn growth(pods: &Supervisor, count: usize) -> (u64, u64) {
    let one = Supervisor::new();
    one.sleeper();
    one.start();
    one.wait("web/a", "running");
    let _ = rss_kb(&one); // what an answer needs is there from here on
    std::thread::sleep(Duration::from_millis(1500)); // the first look at the manifests
    let before = rss_kb(&one);
    one.stop();
    pods.start();
    let running = |all: &Value| {
        all["containers"].as_array().unwrap().iter().filter(|row| row["state"] == "running").count()
    };
    let end = Instant::now() + Duration::from_secs(120);
    while running(&pods.ps()) != count {
        assert!(Instant::now() < end, "{} of {count} run\n{}", running(&pods.ps()), pods.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(1500));
    let after = rss_kb(pods);
    // No process per container but the container's own: those, and the log writer.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).unwrap();
    assert_eq!(children.split_whitespace().count(), count + 1, "{children}");
    assert_eq!(pods.ps()["supervisor"]["allocations"], 0);
    (before, after)
}

#[track_caller]
fn assert_small(what: &str, count: usize, (before, after): (u64, u64)) {
    let grown = after.saturating_sub(before);
    eprintln!("{what}: {before} KB with one, {after} KB with {count} containers: {grown} KB more");
    assert!(grown <= 4 * (count - 1) as u64, "{what}: {grown} KB for {count} containers");
}

#[test]
fn sixty_four_pods_of_one_container_take_four_kilobytes_each() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    for i in 0..64 {
        let containers = json!([{"name": "c", "image": "shell"}]);
        pods.pod(&format!("p{i}"), json!({"terminationGracePeriodSeconds": 0, "containers": containers}));
    }
    assert_small("64 pods of one", 64, growth(&pods, 64));
    pods.stop();
}

#[test]
fn a_pod_of_thirty_two_containers_takes_four_kilobytes_for_each() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    let containers: Vec<_> = (0..32).map(|i| json!({"name": format!("c{i}"), "image": "shell"})).collect();
    pods.pod("p", json!({"terminationGracePeriodSeconds": 0, "containers": containers}));
    assert_small("1 pod of 32", 32, growth(&pods, 32));
    pods.stop();
}
