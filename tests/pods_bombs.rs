//! Bombs of every kind beside each other: what they can take is their own. In a file of its own, as nothing else would have a fair
//! measure beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::{Supervisor, ask};
use common::spec;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, Instant};

#[test]
fn bombs_of_every_kind_leave_the_supervisor_as_it_was() {
    let pods = Supervisor::new();
    let script = |text: &str| spec(&["sh", "-c", text]);
    let pod = |name: &str, text: &str, more: Value, container: Value| {
        pods.bundle(name, &script(text));
        let mut one = json!({"name": "c", "image": name});
        one.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        let mut spec = json!({"terminationGracePeriodSeconds": 0, "containers": [one]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pods.pod(name, spec);
    };
    let none = || json!({});
    pod("well", "sleep 1000", none(), none());
    pods.start();
    pods.wait("well/c", "running");
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", pods.pid())).unwrap().count();
    let anonymous = || ask(&pods).0[0]["anonymous_kb"].as_u64().unwrap();
    // Each waits until it is looked at.
    let ready = |text: &str| format!("until [ -e /dev/shm/go ]; do sleep 0.1; done; {text}; sleep 1000");
    pod("forks", &ready("f() { f & f & while :; do :; done; }; f & exec tail -f /dev/null"), none(), none());
    pod("hog", &ready("tail /dev/zero"), none(), json!({"resources": {"limits": {"memory": "32Mi"}}}));
    pod(
        "files",
        &ready("i=3; while [ $i -lt 1000 ]; do eval \"exec $i</dev/null\"; i=$((i+1)); done"),
        none(),
        none(),
    );
    pod("zombies", &ready("while :; do sh -c 'true &'; done"), json!({"hostPID": true}), none());
    pod("logs", &ready("yes"), none(), none());
    let privileged = json!({"securityContext": {"privileged": true}});
    pod(
        "mounts",
        &ready("i=0; while [ $i -lt 2000 ]; do mount -t tmpfs x /mnt; i=$((i+1)); done"),
        none(),
        privileged,
    );
    let bombs = ["forks", "hog", "files", "zombies", "logs", "mounts"];
    for name in bombs {
        pods.wait(&format!("{name}/c"), "running");
    }
    let (files_before, memory_before) = (fds(), anonymous());
    for name in bombs {
        let pid = pods.container(&format!("{name}/c"))["pid"].to_string();
        std::fs::write(format!("/proc/{pid}/root/dev/shm/go"), "").unwrap();
    }
    // While they go off, however long that takes here.
    let of = |name: &str| format!("/proc/{}", pods.container(&format!("{name}/c"))["pid"]);
    let mounted = || std::fs::read_to_string(of("mounts") + "/mountinfo").unwrap_or_default().lines().count();
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < Duration::from_secs(4)
        || mounted() < 200 && begin.elapsed() < Duration::from_secs(60)
    {
        times.push(ask(&pods).1);
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let (files, memory) = (fds(), anonymous());
    // They have gone off.
    let opened = std::fs::read_dir(of("files") + "/fd").unwrap().count();
    let out = pods.mote(["stats", "-o", "json"]).run();
    let stats: Value = serde_json::from_str(out.ok()).unwrap();
    let processes = |name: &str| {
        let row = stats["containers"].as_array().unwrap().iter().find(|row| row["pod"] == name);
        row.and_then(|row| row["pids"].as_u64()).unwrap_or(0)
    };
    assert!(mounted() >= 200 && opened > 900, "{} mounts, {opened} descriptors", mounted());
    assert!(processes("forks") > 100, "{stats}");
    let _ = writeln!(
        std::io::stderr(),
        "ps beside six bombs: {} times, median {median:?}, worst {worst:?}; {files_before} descriptors, then {files}; \
         {memory_before} kB, then {memory}",
        times.len()
    );
    assert!(median < Duration::from_millis(100), "median {median:?}");
    // One of them may be at its start again.
    assert!(files <= files_before + bombs.len(), "{files_before} descriptors, then {files}");
    assert!(memory <= memory_before + 16, "{memory_before} kB, then {memory}");
    let score =
        std::fs::read_to_string(format!("/proc/{}/oom_score_adj", pods.container("well/c")["pid"])).unwrap();
    assert_eq!(score, "0\n");
    assert_eq!(pods.container("well/c")["restarts"], 0);
    pods.mote(["exec", "well/c", "--", "true"]).run().ok();
    pods.stop();
}
