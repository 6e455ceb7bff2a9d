//! What pods have to do with each other, and with the device: `mote/after`, `mote/critical`, the delays between restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Writes a pod of one container that runs `script`.
fn pod(pods: &Supervisor, name: &str, annotations: Value, policy: &str, script: &str) {
    let command = ["sh", "-c", script];
    let spec = json!({
        "restartPolicy": policy,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "shell", "command": command}],
    });
    let metadata = json!({"name": name, "annotations": annotations});
    pods.manifest(name, &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
}

fn supervisor() -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh"]));
    pods
}

#[test]
fn a_pod_comes_after_those_that_are_ready_or_have_succeeded() {
    let pods = supervisor();
    // The names alone would have it the other way round.
    pod(&pods, "a", json!({"mote/after": "job, web"}), "Always", "echo begins; sleep 1000");
    pod(&pods, "job", json!({}), "Never", "sleep 0.7; echo over");
    pod(&pods, "web", json!({}), "Always", "sleep 1000");
    pods.start();
    assert_eq!(pods.container("a/c")["state"], "waiting");
    pods.wait("a/c", "running");
    let time = |container: &str, text: &str| {
        let log = pods.wait_log(container, text);
        log.split(' ').next().unwrap().to_owned()
    };
    assert!(time("job/c", "over") < time("a/c", "begins"));
    pods.stop();
}

#[test]
fn a_pod_whose_predecessor_fails_or_is_missing_waits() {
    let pods = supervisor();
    pod(&pods, "a", json!({"mote/after": "job"}), "Always", "sleep 1000");
    pod(&pods, "b", json!({"mote/after": "nobody"}), "Always", "sleep 1000");
    pod(&pods, "job", json!({}), "Never", "exit 1");
    pods.start();
    pods.wait("job/c", "done");
    std::thread::sleep(Duration::from_millis(300));
    for waiting in ["a/c", "b/c"] {
        assert_eq!(pods.container(waiting)["state"], "waiting");
    }
    pods.stop();
}

#[test]
fn a_cycle_is_refused_by_name_and_the_others_run() {
    let pods = supervisor();
    pod(&pods, "a", json!({"mote/after": "b"}), "Always", "sleep 1000");
    pod(&pods, "b", json!({"mote/after": "c"}), "Always", "sleep 1000");
    pod(&pods, "c", json!({"mote/after": "a"}), "Always", "sleep 1000");
    pod(&pods, "free", json!({}), "Always", "sleep 1000");
    pods.start();
    pods.wait("free/c", "running");
    for (name, path) in [("a", "a b c a"), ("b", "b c a b"), ("c", "c a b c")] {
        let row = pods.pod_row(name);
        let want = format!("metadata.annotations[\"mote/after\"]: in a cycle: {path}");
        assert_eq!((&row["state"], &row["reason"]), (&json!("failed"), &json!(want)), "{row}");
    }
    let all = pods.ps();
    assert_eq!(all["containers"].as_array().unwrap().len(), 1, "{all}");
    pods.stop();
}

#[test]
fn delays_between_restarts_are_those_of_the_annotations() {
    let pods = supervisor();
    let annotations = json!({"mote/backoff-initial": "50ms", "mote/backoff-max": "100ms"});
    pod(&pods, "fast", annotations, "Always", "exit 1");
    pods.start();
    let begin = Instant::now();
    pods.wait_for("fast/c", &|row| row["restarts"].as_u64() >= Some(8));
    // By the board's delays it would take over a minute.
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    pods.stop();
}

/// On a device it is the device that restarts; here the supervisor ends.
#[test]
fn a_critical_pod_ends_everything_at_its_limit() {
    let pods = supervisor();
    pod(&pods, "other", json!({}), "Always", "sleep 1000");
    let annotations =
        json!({"mote/critical": "true", "mote/critical-limit": "3", "mote/backoff-initial": "50ms"});
    pod(&pods, "vital", annotations, "Always", "exit 1");
    pods.spawn();
    let end = Instant::now() + Duration::from_secs(20);
    while pods.is_alive() || !pods.said().contains("all pods have ended") {
        assert!(Instant::now() < end, "{}", pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = pods.said();
    assert!(said.contains("vital/c: critical, and failed 3 times in a row"), "{said}");
}
