//! The commands to a supervisor: exec, events, ps, stats, top.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::{read_until, spec};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A supervisor with one pod `web` of one container `a`, which runs.
fn shell() -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    let container = json!({"name": "a", "image": "shell", "env": [{"name": "FROM", "value": "manifest"}]});
    pods.pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [container]}));
    pods.start();
    pods.wait("web/a", "running");
    pods
}

fn events(pods: &Supervisor) -> Vec<Value> {
    let out = pods.mote(["events", "-o", "json"]).run();
    out.ok().lines().map(|line| serde_json::from_str(line).expect("an event is JSON")).collect()
}

#[test]
fn exec_runs_a_process_in_a_container_of_a_pod() {
    let pods = shell();
    let out = pods.mote(["exec", "web/a", "--", "sh", "-c", "echo $FROM; echo err >&2; exit 7"]).run();
    assert_eq!((out.code(), out.stdout.as_str(), out.stderr.as_str()), (7, "manifest\n", "err\n"));
    // In the container, not beside it.
    let out = pods.mote(["exec", "web/a", "cat", "/proc/1/cmdline"]).run();
    assert_eq!(out.ok(), "sleep\u{0}1000\u{0}");
    // By the id the OCI command does the same.
    assert_eq!(pods.oci(["exec", "web_a", "echo", "x"]).run().ok(), "x\n");
    pods.mote(["exec", "web/b", "true"]).run().fails_with(255, &["web_b", "does not exist"]);
    pods.mote(["exec", "../web/a", "true"]).run().fails_saying(&["expected <pod>/<container>"]);
    pods.mote(["exec", "web/a"]).run().fails_saying(&["expected a command"]);
    pods.stop();
}

#[test]
fn exec_passes_standard_input_when_it_is_asked_to() {
    let pods = shell();
    assert_eq!(pods.mote(["exec", "web/a", "cat"]).stdin("lost\n").run().ok(), "");
    assert_eq!(pods.mote(["exec", "-i", "web/a", "cat"]).stdin("kept\n").run().ok(), "kept\n");
    pods.stop();
}

#[test]
fn exec_gives_a_terminal_of_the_callers_size() {
    let pods = shell();
    let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child = Command::new(common::binary())
        .args(["exec", "-it", "--run"])
        .arg(&pods.run)
        .args(["web/a", "--", "sh", "-c", "tty; stty size; read x; echo got $x; exit 4"])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    let mut master = File::from(pty.master);
    let said = read_until(&mut master, "33 77\r\n");
    assert!(said.starts_with("/dev/pts/"), "{said:?}");
    master.write_all(b"typed\r").unwrap();
    read_until(&mut master, "got typed\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    pods.stop();
}

#[test]
fn every_start_and_end_is_recorded() {
    let pods = Supervisor::new();
    pods.bundle("fail", &spec(&["sh", "-c", "sleep 0.3; exit 3"]));
    let mut die = spec(&["sh", "-c", "kill -9 $$"]);
    common::without_namespace(&mut die, "pid"); // in which nobody could kill the first process
    pods.bundle("die", &die);
    pods.pod("job", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "fail"}]}));
    pods.pod("dead", json!({"restartPolicy": "Never", "containers": [{"name": "d", "image": "die"}]}));
    pods.pod("none", json!({"containers": [{"name": "e", "image": "missing"}]}));
    pods.start();
    pods.wait("job/c", "done");
    pods.wait("dead/d", "done");
    pods.wait("none/e", "backoff");
    let all = events(&pods);
    let of = |pod: &str, event: &str| {
        let mut found = all.iter().filter(|row| row["pod"] == pod && row["event"] == event);
        found.next().unwrap_or_else(|| panic!("no {event} of {pod}: {all:?}")).clone()
    };
    let (started, exited) = (of("job", "started"), of("job", "exited"));
    assert_eq!((&exited["code"], &exited["signal"]), (&json!(3), &Value::Null));
    assert_eq!(exited["pid"], started["pid"]);
    assert_eq!(exited["restarts"], 0);
    assert!(exited["time"].as_str() > exited["started"].as_str(), "{exited}");
    assert_eq!(of("dead", "exited")["signal"], 9);
    let reason = of("none", "failed")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("missing"), "{reason}");
    let numbers: Vec<_> = all.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");

    let text = pods.mote(["events"]).run();
    assert!(text.ok().lines().any(|line| line.contains(" exited   job/c: code 3, after 0s, pid ")), "{text}");
    let one = pods.mote(["events", "--tail", "1"]).run();
    assert_eq!(one.ok().lines().count(), 1, "{one}");
    pods.stop();
}

#[test]
fn records_outlive_a_supervisor_that_is_killed() {
    let pods = shell();
    let before = events(&pods);
    pods.crash();
    pods.start();
    pods.wait("web/a", "running");
    let after = events(&pods);
    assert_eq!(after[..before.len()], before[..]);
    assert!(after.len() > before.len() && after[before.len()]["event"] == "started", "{after:?}");
    pods.stop();
}

#[test]
fn events_are_followed_as_they_happen() {
    let pods = shell();
    let follow = pods.mote(["events", "-f", "-o", "json"]).spawn();
    let pid = follow.pid();
    let killed = Command::new("kill").args(["-9", &pods.container("web/a")["pid"].to_string()]).status();
    assert!(killed.unwrap().success());
    pods.wait_for("web/a", &|row| row["restarts"] == 1 && row["state"] == "running");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let said = std::fs::read_to_string(&follow.out).unwrap();
        if said.contains(r#""signal":9"#) && said.matches(r#""event":"started""#).count() == 2 {
            break;
        }
        assert!(Instant::now() < end, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(pid, Signal::SIGKILL).unwrap();
    let _ = follow.wait();
    pods.stop();
}

#[test]
fn ps_is_wide_or_watched() {
    let pods = shell();
    let out = pods.mote(["ps", "-o", "wide"]).run();
    let heading = out.ok().lines().next().unwrap();
    assert!(heading.starts_with("POD  CONTAINER  STATE") && heading.contains("STARTED"), "{out}");
    assert!(!out.ok().contains('\u{1b}'), "coloured, though it goes to no terminal: {out}");
    pods.mote(["ps", "-o", "yaml"]).run().fails_saying(&["--output: expected json or wide"]);

    let watch = pods.mote(["ps", "-w"]).spawn();
    let end = Instant::now() + Duration::from_secs(10);
    let wait = |what: &dyn Fn(&str) -> bool| {
        loop {
            let said = std::fs::read_to_string(&watch.out).unwrap();
            if what(&said) {
                break;
            }
            assert!(Instant::now() < end, "{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&|said| said.contains("supervisor: "));
    let pid = pods.container("web/a")["pid"].to_string();
    let status = Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(status.success());
    wait(&|said| said.lines().filter(|line| line.starts_with("web  a          running")).count() >= 2);
    kill(watch.pid(), Signal::SIGKILL).unwrap();
    let _ = watch.wait();
    pods.stop();
}

#[test]
fn stats_tell_what_a_container_uses() {
    let pods = Supervisor::new();
    pods.bundle("busy", &spec(&["sh", "-c", "while :; do :; done"]));
    pods.bundle("idle", &spec(&["sleep", "1000"]));
    let limits = json!({"limits": {"memory": "64Mi"}});
    let busy = json!({"name": "busy", "image": "busy", "resources": limits});
    let idle = json!({"name": "idle", "image": "idle"});
    pods.pod("p", json!({"terminationGracePeriodSeconds": 0, "containers": [idle, busy]}));
    pods.start();
    pods.wait("p/busy", "running");
    pods.wait("p/idle", "running");
    let out = pods.mote(["stats", "-o", "json"]).run();
    let all: Value = serde_json::from_str(out.ok()).unwrap();
    let of = |name: &str| {
        let all = all["containers"].as_array().unwrap();
        all.iter().find(|row| row["container"] == name).unwrap_or_else(|| panic!("{all:?}")).clone()
    };
    let (busy, idle) = (of("busy"), of("idle"));
    assert!(busy["cpu_milli"].as_u64() > Some(50), "{busy}");
    assert!(idle["cpu_milli"].as_u64() < Some(50), "{idle}");
    assert_eq!((&busy["pids"], &busy["memory_limit_bytes"]), (&json!(1), &json!(64 << 20)));
    assert!(busy["memory_bytes"].as_u64() > Some(0), "{busy}");

    let out = pods.mote(["stats", "p/idle"]).run();
    assert_eq!(out.ok().lines().count(), 2, "{out}");
    pods.mote(["stats", "nobody"]).run().fails_saying(&["no container of \"nobody\" runs"]);
    // The busiest first, whatever the order in the manifest.
    let out = pods.mote(["top", "-n", "2", "--interval", "300ms"]).run();
    let rows: Vec<_> = out.ok().lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(rows, ["CONTAINER", "busy", "idle", "CONTAINER", "busy", "idle"], "{out}");
    pods.stop();
}

#[test]
fn a_pod_is_limited_as_before_when_its_container_is_restarted() {
    let pods = Supervisor::new();
    pods.bundle("sleeper", &spec(&["sleep", "1000"]));
    let meta = json!({"name": "p", "annotations": {"mote/backoff-initial": "2s", "mote/backoff-max": "2s"}});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "image": "sleeper"}]});
    pods.manifest("p", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}));
    pods.start();
    // The cgroup of the pod where processes are counted.
    let group = |row: &Value| {
        let all = std::fs::read_to_string(format!("/proc/{}/cgroup", row["pid"])).unwrap();
        let v1 = all.lines().find_map(|line| Some(line.split_once(":pids:")?.1));
        let v2 = || all.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let own =
            v1.map_or_else(|| format!("/sys/fs/cgroup{}", v2()), |at| format!("/sys/fs/cgroup/pids{at}"));
        PathBuf::from(own).parent().unwrap().to_owned()
    };
    let most = |group: &Path| std::fs::read_to_string(group.join("pids.max")).unwrap();
    let end = |row: &Value| {
        let pid = i32::try_from(row["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    };

    let row = pods.wait("p/a", "running");
    let (group, limit) = (group(&row), most(&group(&row)));
    assert_ne!(limit, "max\n");
    end(&row);
    let row = pods.wait_for("p/a", &|row| row["state"] == "running" && row["restarts"] == 1);
    assert_eq!(most(&group), limit);
    end(&row);
    // Somebody takes it away while nothing runs in it.
    pods.wait("p/a", "backoff");
    let _ = std::fs::remove_dir(group.join("a"));
    std::fs::remove_dir(&group).unwrap();
    pods.wait_for("p/a", &|row| row["state"] == "running" && row["restarts"] == 2);
    assert_eq!(most(&group), limit);
    pods.stop();
}

#[test]
fn a_pod_is_stopped_started_and_restarted() {
    let pods = shell();
    let old = pods.container("web/a")["pid"].clone();
    pods.mote(["pod", "stop", "web"]).run().ok();
    let row = pods.container("web/a");
    assert_eq!((&row["state"], &row["pid"]), (&json!("done"), &Value::Null));
    assert_eq!(pods.pod_row("web")["stopped"], true);
    pods.mote(["pod", "stop", "web"]).run().ok(); // has nothing to do
    pods.mote(["pod", "start", "web"]).run().ok();
    let new = pods.wait("web/a", "running")["pid"].clone();
    assert_ne!(old, new);
    pods.mote(["pod", "start", "web"]).run().ok(); // as above
    assert_eq!(pods.container("web/a")["pid"], new);

    pods.mote(["pod", "restart", "web"]).run().ok();
    let other = |row: &Value| row["state"] == "running" && row["pid"] != new;
    assert_eq!(pods.wait_for("web/a", &other)["restarts"], 0, "a new life of the pod");
    // In one breath: what was asked last counts, and a starter that is killed in the middle leaves no process that keeps the
    // next one from its cgroup.
    for _ in 0..40 {
        pods.mote(["pod", "stop", "--no-wait", "web"]).run().ok();
        pods.mote(["pod", "start", "web"]).run().ok();
    }
    pods.wait("web/a", "running");
    pods.mote(["pod", "stop", "nobody"]).run().fails_saying(&["pod nobody: there is none"]);
    pods.mote(["pod", "stop", "../x"]).run().fails_saying(&["expected 1 to 63 of a-z"]);
    pods.mote(["pod", "stop"]).run().fails_saying(&["stop: expected the name of a pod"]);
    pods.mote(["pod", "dance", "web"]).run().fails_saying(&["expected ls, describe, start"]);
    pods.stop();
}

#[test]
fn the_grace_of_a_stop_can_be_given() {
    let pods = Supervisor::new();
    pods.bundle("deaf", &spec(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]));
    pods.pod(
        "deaf",
        json!({"terminationGracePeriodSeconds": 600, "containers": [{"name": "a", "image": "deaf"}]}),
    );
    pods.start();
    pods.wait("deaf/a", "running");
    let begin = Instant::now();
    pods.mote(["pod", "stop", "deaf", "--grace", "1"]).run().ok();
    assert!((1..8).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    pods.mote(["pod", "stop", "deaf", "--grace", "99999999"])
        .run()
        .fails_saying(&["grace_s from 0 to 86400"]);
    pods.stop();
}

#[test]
fn pods_are_listed_and_described() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    pods.bundle("fail", &spec(&["sh", "-c", "exit 3"]));
    let a = json!({"name": "a", "image": "shell"});
    let b = json!({"name": "b", "image": "fail"});
    pods.pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [a, b]}));
    pods.manifest("evil", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\u{1b}[2J"}}));
    pods.start();
    pods.wait("web/a", "running");
    pods.wait_for("web/b", &|row| row["restarts"].as_u64() >= Some(1));
    let out = pods.mote(["pod", "ls"]).run();
    let row = out.ok().lines().find(|line| line.starts_with("web ")).unwrap();
    assert!(row.contains(" Running ") && row.ends_with(" web.json"), "{out}");
    assert!(out.stdout.contains("evil  Invalid  -"), "{out}");
    let all: Value = serde_json::from_str(pods.mote(["pod", "ls", "-o", "json"]).run().ok()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");

    let out = pods.mote(["pod", "describe", "web"]).run();
    for text in [
        "Pod web:\n",
        "  File:      web.json\n",
        "Container b:\n",
        "  Code:      3\n",
        "Events:\n",
        " exited   web/b: code 3, after ",
    ] {
        assert!(out.ok().contains(text), "no {text:?}: {out}");
    }
    let out = pods.mote(["pod", "describe", "web", "-o", "json"]).run();
    let web: Value = serde_json::from_str(out.ok()).unwrap();
    assert_eq!((&web["pod"]["pod"], web["containers"].as_array().map(Vec::len)), (&json!("web"), Some(2)));
    assert!(web["events"].as_array().unwrap().len() >= 4, "{web}");
    let out = pods.mote(["pod", "describe", "evil"]).run();
    assert!(out.ok().contains("metadata.name: expected") && !out.stdout.contains('\u{1b}'), "{out}");
    pods.mote(["pod", "describe", "nobody"]).run().fails_saying(&["there is no pod nobody"]);
    pods.stop();
}

#[test]
fn attach_types_to_a_container_and_shows_what_it_prints() {
    let pods = Supervisor::new();
    let echo = "echo early; while read line; do echo \"got $line\"; [ \"$line\" = end ] && exit 5; done; echo eof; sleep 1000";
    pods.bundle("echo", &spec(&["sh", "-c", echo]));
    let always = json!({"name": "always", "image": "echo", "stdin": true});
    let once = json!({"name": "once", "image": "echo", "stdin": true, "stdinOnce": true});
    let none = json!({"name": "none", "image": "echo"});
    let containers = json!([always, once, none]);
    pods.pod(
        "p",
        json!({"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": containers}),
    );
    pods.start();
    pods.wait_log("p/always", "early");
    pods.wait_log("p/none", "eof"); // /dev/null

    // Who types may come and go.
    let attach = |name: &str, typed: &str| pods.mote(["attach", "-i", name]).stdin(typed).spawn();
    let first = attach("p/always", "one\n");
    pods.wait_log("p/always", " got one\n");
    let second = attach("p/always", "two\nend\n");
    let (first, second) = (first.wait(), second.wait());
    assert_eq!(pods.wait("p/always", "done")["code"], 5);
    assert_eq!(first.ok(), "got one\ngot two\ngot end\n", "{first}");
    assert!(second.ok().ends_with("got two\ngot end\n") && !second.stdout.contains("early"), "{second}");
    assert!(!pods.log("p/always").contains("eof"), "{}", pods.log("p/always"));

    // With stdinOnce the end of the first is the end of the input.
    let first = attach("p/once", "one\n");
    pods.wait_log("p/once", " eof\n");
    pods.mote(["attach", "-i", "p/once"])
        .run()
        .fails_saying(&["p/once: somebody has used its standard input"]);
    kill(first.pid(), Signal::SIGTERM).unwrap();
    let _ = first.wait();

    pods.mote(["attach", "-i", "p/none"]).run().fails_saying(&["p/none: has no standard input"]);
    pods.mote(["attach", "p/always"]).run().fails_saying(&["p/always: it does not run"]);
    pods.mote(["attach", "p/other"]).run().fails_saying(&["there is no such container"]);
    pods.stop();
}

#[test]
fn a_pod_is_removed_with_its_manifest() {
    let pods = shell();
    pods.bundle("other", &spec(&["sleep", "1000"]));
    pods.pod(
        "keep",
        json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "b", "image": "other"}]}),
    );
    pods.mote(["reload"]).run().ok();
    let kept = pods.wait("keep/b", "running")["pid"].clone();
    pods.mote(["pod", "rm", "nobody"]).run().fails_saying(&["there is no pod nobody"]);
    pods.mote(["pod", "rm", "web"]).run().ok();
    let all = pods.ps();
    let names: Vec<_> = all["pods"].as_array().unwrap().iter().map(|row| row["pod"].clone()).collect();
    assert_eq!(names, ["keep"], "{all}");
    assert!(!pods.manifests.join("web.json").exists());
    assert_eq!(pods.container("keep/b")["pid"], kept, "another pod was touched");
    pods.stop();
}

#[test]
fn tables_are_coloured_on_a_terminal_alone() {
    let pods = shell();
    let on_terminal = |no_color: &str| {
        let pty = openpty(None, None).unwrap();
        let mut child = Command::new(common::binary())
            .args(["ps", "--run"])
            .arg(&pods.run)
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .stdout(Stdio::from(pty.slave))
            .spawn()
            .unwrap();
        let said = read_until(&mut File::from(pty.master), "supervisor: ");
        assert!(child.wait().unwrap().success());
        said
    };
    assert!(on_terminal("").contains("\u{1b}[32mrunning\u{1b}[0m"));
    assert!(!on_terminal("1").contains('\u{1b}'));
    assert!(!pods.mote(["ps"]).run().ok().contains('\u{1b}'));
    pods.stop();
}
