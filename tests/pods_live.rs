//! Manifests that come, change and go while their pods run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// A pod of one container that says `word` at its begin and end.
fn saying(word: &str) -> Value {
    let script = format!("trap 'echo {word} ends; exit 0' TERM; echo {word}; while :; do sleep 0.1; done");
    json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "c", "image": "shell", "command": ["sh", "-c", script]}],
    })
}

fn supervisor() -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh"]));
    pods
}

#[track_caller]
fn until(what: &str, pods: &Supervisor, wish: &dyn Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !wish() {
        assert!(Instant::now() < end, "{what}: {}\n{}", pods.ps(), pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_pod(pods: &Supervisor, name: &str) -> bool {
    pods.ps()["pods"].as_array().unwrap().iter().any(|row| row["pod"] == name)
}

#[test]
fn a_manifest_that_comes_is_run_and_one_that_goes_is_forgotten() {
    let pods = supervisor();
    pods.pod("old", saying("old"));
    pods.start();
    let old = pods.wait("old/c", "running");
    pods.pod("new", saying("new"));
    pods.wait("new/c", "running");
    pods.wait_log("new/c", "stdout F new\n");
    fs::remove_file(pods.manifests.join("new.json")).unwrap();
    until("new is still there", &pods, &|| !has_pod(&pods, "new"));
    let all = pods.ps();
    assert!(all["containers"].as_array().unwrap().iter().all(|row| row["pod"] != "new"), "{all}");
    assert!(pods.log("new/c").ends_with("stdout F new ends\n"), "its logs stay: {}", pods.log("new/c"));
    for left in ["netns/new", "new_c", "manifests/new.json"] {
        assert!(!pods.run.join(left).exists(), "{left} is left");
    }
    // Whoever was not meant has not been touched.
    assert_eq!(pods.container("old/c")["pid"], old["pid"]);
    assert_eq!(pods.container("old/c")["restarts"], 0);
    pods.stop();
}

#[test]
fn a_changed_manifest_replaces_its_pod() {
    let pods = supervisor();
    pods.pod("web", saying("one"));
    pods.start();
    let first = pods.wait("web/c", "running");
    pods.wait_log("web/c", "stdout F one\n");
    pods.pod("web", saying("two"));
    let log = pods.wait_log("web/c", "stdout F two\n");
    let words: Vec<_> = log.lines().filter_map(|line| line.split_once(" F ")).map(|(_, word)| word).collect();
    assert_eq!(words, ["one", "one ends", "two"], "the old one has ended before the new one begins");
    let row = pods.wait_for("web/c", &|row| row["state"] == "running" && row["pid"] != first["pid"]);
    assert_eq!(row["restarts"], 0, "it is another pod: {row}");
    // Touched is not changed.
    pods.pod("web", saying("two"));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(pods.container("web/c")["pid"], row["pid"]);
    pods.stop();
}

#[test]
fn a_pod_may_get_other_containers_and_another_name() {
    let pods = supervisor();
    pods.pod("web", saying("one"));
    pods.start();
    pods.wait("web/c", "running");
    let container = |name: &str| json!({"name": name, "image": "shell", "command": ["sleep", "1000"]});
    let spec = json!({
        "terminationGracePeriodSeconds": 0,
        "initContainers": [{"name": "i", "image": "shell", "command": ["true"]}],
        "containers": [container("a"), container("b")],
    });
    let named =
        |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    pods.manifest("web", &named("web"));
    pods.wait("web/b", "running");
    assert_eq!(pods.wait("web/i", "done")["code"], 0);
    pods.manifest("web", &named("other"));
    pods.wait("other/b", "running");
    assert!(!has_pod(&pods, "web"));
    pods.stop();
}

#[test]
fn a_manifest_that_becomes_wrong_leaves_its_pod_as_it_was() {
    let pods = supervisor();
    pods.pod("web", saying("one"));
    pods.start();
    let row = pods.wait("web/c", "running");
    // The copy of what was accepted is made soon after the boot.
    until("no copy", &pods, &|| pods.run.join("manifests/web.json").exists());
    fs::write(pods.manifests.join("web.json"), "{").unwrap();
    until("nothing is said", &pods, &|| pods.pod_row("web")["reason"].is_string());
    assert_eq!(pods.container("web/c")["pid"], row["pid"]);
    // It restarts as it was accepted.
    let pid = i32::try_from(row["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    pods.wait_for("web/c", &|now| now["state"] == "running" && now["pid"] != row["pid"]);
    pods.pod("web", saying("one"));
    until("still wrong", &pods, &|| pods.pod_row("web")["reason"].is_null());
    pods.stop();
}

#[test]
fn a_wrong_manifest_that_is_mended_is_run() {
    let pods = supervisor();
    fs::write(pods.manifests.join("web.json"), "{").unwrap();
    pods.start();
    assert_eq!(pods.pod_row("web")["state"], "failed");
    pods.pod("web", saying("one"));
    pods.wait("web/c", "running");
    assert!(pods.pod_row("web")["reason"].is_null());
    fs::remove_file(pods.manifests.join("web.json")).unwrap();
    fs::write(pods.manifests.join("bad.json"), "[]").unwrap();
    until("bad is not told of", &pods, &|| has_pod(&pods, "bad") && !has_pod(&pods, "web"));
    fs::remove_file(pods.manifests.join("bad.json")).unwrap();
    until("bad is still told of", &pods, &|| !has_pod(&pods, "bad"));
    pods.stop();
}

#[test]
fn dotfiles_and_files_of_editors_are_left_aside() {
    let pods = supervisor();
    pods.pod("web", saying("one"));
    pods.start();
    let row = pods.wait("web/c", "running");
    let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": saying("x")})
        .to_string();
    for name in [".x.json", "x.json~", "x.json.swp", "4913", "x.yaml"] {
        fs::write(pods.manifests.join(name), &other).unwrap();
    }
    // Written in place, as some editors do, and whole only in the end.
    let web = fs::read(pods.manifests.join("web.json")).unwrap();
    fs::write(pods.manifests.join("web.json"), web).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!has_pod(&pods, "x"));
    assert_eq!(pods.container("web/c")["pid"], row["pid"]);
    pods.stop();
}

#[test]
fn a_name_that_is_taken_and_a_cycle_are_refused_and_come_right_later() {
    let pods = supervisor();
    pods.pod("web", saying("one"));
    pods.start();
    pods.wait("web/c", "running");
    let named = |name: &str, annotations: Value| {
        let metadata = json!({"name": name, "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": saying(name)})
    };
    pods.manifest("again", &named("web", json!({})));
    until("no word of the name", &pods, &|| pods.said().contains("web.json has the same name"));
    pods.manifest("loop", &named("loop", json!({"mote/after": "loop"})));
    until("no word of the cycle", &pods, &|| pods.said().contains("in a cycle: loop loop"));
    pods.manifest("loop", &named("loop", json!({"mote/after": "web"})));
    pods.wait("loop/c", "running");
    // With the first of that name gone, the second has it.
    fs::remove_file(pods.manifests.join("web.json")).unwrap();
    pods.wait_log("web/c", "stdout F web\n");
    pods.stop();
}

#[test]
fn reload_looks_at_everything_and_a_hundred_changes_leave_nothing() {
    let pods = supervisor();
    pods.start();
    pods.mote(["reload"]).run().ok();
    let fds = || fs::read_dir(format!("/proc/{}/fd", pods.pid())).unwrap().count();
    let nothing = |pods: &Supervisor| pods.ps()["pods"].as_array().unwrap().is_empty();
    let round = |n: usize| {
        pods.pod("web", json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "shell", "command": ["sh", "-c", format!("echo round {n}; exec sleep 1000")]}],
        }));
        pods.mote(["reload"]).run().ok();
        pods.wait_log("web/c", &format!("round {n}\n"));
        fs::remove_file(pods.manifests.join("web.json")).unwrap();
        pods.mote(["reload"]).run().ok();
        until("web stays", &pods, &|| nothing(&pods));
    };
    round(0);
    let anonymous = || pods.ps()["supervisor"]["anonymous_kb"].as_u64().unwrap();
    let (before, memory) = (fds(), anonymous());
    (1..10).for_each(round);
    assert!(fds() <= before, "{} descriptors, {before} before", fds());
    // What it logs is the supervisor's only allocation, and that is given back.
    assert!(anonymous() <= memory + 8, "{} KB, {memory} KB before", anonymous());
    pods.stop();
}
