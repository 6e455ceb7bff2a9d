//! Containers that do what none should: the supervisor stays as it was and says one line.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// A supervisor with the pod `web` of one container `a` that runs `script`.
fn running(script: &str, policy: &str) -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh", "-c", script]));
    let a = json!({"name": "a", "image": "shell"});
    pods.pod("web", json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [a]}));
    pods.start();
    pods
}

/// Memory of the supervisor in kB and its processor time in ticks of 10 ms.
fn cost(pods: &Supervisor) -> (u64, u64) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pods.pid())).unwrap();
    let status = read("status");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let stat = read("stat");
    let ticks = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
    (
        anonymous.trim().trim_end_matches(" kB").parse().unwrap(),
        ticks.map(|n| n.parse::<u64>().unwrap()).sum(),
    )
}

#[test]
fn a_gigabyte_without_a_newline_is_bounded() {
    let pods = running("sleep 1; head -c 1000000000 /dev/zero; echo; sleep 3; echo end; sleep 1000", "Never");
    pods.wait("web/a", "running");
    let (before, _) = cost(&pods);
    pods.wait_log("web/a", " stdout F end\n");
    let (after, _) = cost(&pods);
    assert!(after <= before + 16, "{before} kB before, {after} after");
    let directory = pods.logs.join("web/a");
    let sizes: Vec<u64> =
        fs::read_dir(&directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() <= 2 && sizes.iter().all(|size| *size <= 262_144), "{sizes:?}");
    // One line, in pieces of the size that CRI has.
    assert!(pods.log("web/a").lines().all(|line| line.len() < 17_000));
    pods.stop();
}

#[test]
fn bytes_that_are_no_text_are_logged_as_they_are() {
    let pods = running(r"printf 'a\0b\n\0\n\377\n'; echo end; sleep 1000", "Never");
    pods.wait_log("web/a", " stdout F end\n");
    let out = std::process::Command::new(common::binary());
    let out = { out }.arg("logs").arg("--run").arg(&pods.run).arg("web/a").output().unwrap();
    assert_eq!(out.stdout, b"a\0b\n\0\n\xff\nend\n");
    pods.stop();
}

#[test]
fn a_container_that_closes_its_output_runs_on_and_costs_nothing() {
    let pods = running("echo here; exec >&- 2>&- </dev/null; sleep 1000", "Never");
    pods.wait_log("web/a", " stdout F here\n");
    std::thread::sleep(Duration::from_millis(200));
    let (_, before) = cost(&pods);
    std::thread::sleep(Duration::from_secs(1));
    let (_, after) = cost(&pods);
    // A loop over a closed pipe takes all there is; two busy cores leave it a tenth at least.
    assert!(after - before < 8, "{} ticks in a second", after - before);
    assert_eq!(pods.container("web/a")["state"], "running");
    pods.stop();
}

#[test]
fn what_a_container_leaves_behind_ends_with_it() {
    let pods = running("sleep 777 & sleep 778 & echo $!; exit 0", "Never");
    let row = pods.wait("web/a", "done");
    assert_eq!(row["code"], 0);
    let left = pods.test.command("pgrep").args(["-f", "^sleep 77[78]$"]).run();
    assert_eq!(left.stdout, "", "{left}");
    pods.stop();
}

#[test]
fn a_bundle_that_vanishes_is_said_and_comes_back() {
    let pods = running("echo run; sleep 1000", "Always");
    let pid = pods.wait("web/a", "running")["pid"].as_i64().unwrap();
    let (there, gone) = (pods.bundles.join("shell"), pods.bundles.join("away"));
    fs::rename(&there, &gone).unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    let said = format!("open({}): no such file or directory", there.join("config.json").display());
    pods.wait_for("web/a", &|row: &Value| row["state"] == "backoff" && row["reason"] == said);
    fs::rename(&gone, &there).unwrap();
    let again = pods.wait("web/a", "running");
    assert_ne!(again["pid"], pid);
    pods.stop();
}
