//! Init containers, sidecars, probes and lifecycle hooks, with real containers under `mote supervise`. The rules in all their
//! cases stand in `init/supervise_tests/`; here is what needs a kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// A container of the bundle `shell` that runs `script`.
fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "shell", "command": ["sh", "-c", script]})
}

/// The same with more fields.
fn with(mut container: Value, fields: Value) -> Value {
    let more = fields.as_object().unwrap().clone();
    container.as_object_mut().unwrap().extend(more);
    container
}

/// A supervisor with the bundle `shell`.
fn supervisor() -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh"]));
    pods
}

/// Runs until it is asked to end.
const SERVE: &str = "trap 'echo ended; exit 0' TERM; echo serving; while :; do sleep 0.1; done";

/// When the line with `text` was printed.
#[track_caller]
fn time_of(pods: &Supervisor, container: &str, text: &str) -> String {
    let log = pods.wait_log(container, text);
    let line = log.lines().find(|line| line.contains(text)).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

fn phase(pods: &Supervisor, pod: &str) -> (String, bool) {
    let row = pods.pod_row(pod);
    (row["phase"].as_str().unwrap_or_default().to_owned(), row["ready"] == true)
}

#[track_caller]
fn wait_phase(pods: &Supervisor, pod: &str, want: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while phase(pods, pod).0 != want {
        assert!(Instant::now() < end, "{pod} is not {want}: {}\n{}", pods.ps(), pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn wait_ready(pods: &Supervisor, pod: &str, want: bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while phase(pods, pod).1 != want {
        assert!(Instant::now() < end, "{pod}: ready is not {want}: {}\n{}", pods.ps(), pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn init_containers_run_one_after_the_other_before_the_containers() {
    let pods = supervisor();
    pods.pod(
        "web",
        json!({
            "initContainers": [shell("one", "sleep 0.3; echo over"), shell("two", "echo begins; sleep 0.3; echo over")],
            "containers": [shell("main", SERVE)],
        }),
    );
    pods.start();
    pods.wait("web/main", "running");
    let [one, two, over, main] = [("one", "over"), ("two", "begins"), ("two", "over"), ("main", "serving")]
        .map(|(container, text)| time_of(&pods, &format!("web/{container}"), text));
    assert!(one < two && two < over && over < main, "{one} {two} {over} {main}");
    assert_eq!(pods.container("web/one")["state"], "done");
    wait_ready(&pods, "web", true);
    assert_eq!(phase(&pods, "web").0, "Running");
    pods.stop();
}

#[test]
fn under_never_a_failed_init_container_fails_the_pod() {
    let pods = supervisor();
    pods.pod(
        "web",
        json!({
            "restartPolicy": "Never",
            "initContainers": [shell("one", "exit 3"), shell("two", "echo never")],
            "containers": [shell("main", "echo never")],
        }),
    );
    pods.start();
    wait_phase(&pods, "web", "Failed");
    assert_eq!(pods.container("web/one")["code"], 3);
    pods.stop();
    assert_eq!(pods.log("web/two") + &pods.log("web/main"), "");
}

#[test]
fn a_sidecar_is_there_before_during_and_after_the_container() {
    let pods = supervisor();
    let sidecar = |name| with(shell(name, SERVE), json!({"restartPolicy": "Always"}));
    pods.pod(
        "job",
        json!({
            "restartPolicy": "Never",
            "initContainers": [sidecar("first"), sidecar("second")],
            "containers": [shell("main", "echo begins; sleep 0.5; echo over")],
        }),
    );
    pods.start();
    wait_phase(&pods, "job", "Succeeded");
    let time = |container: &str, text: &str| time_of(&pods, &format!("job/{container}"), text);
    let order =
        [time("main", "begins"), time("main", "over"), time("second", "ended"), time("first", "ended")];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(pods.container("job/first")["state"], "done");
    pods.stop();
}

#[test]
fn a_sidecar_that_ends_is_restarted_even_under_never() {
    let pods = supervisor();
    pods.pod(
        "web",
        json!({
            "restartPolicy": "Never",
            "initContainers": [with(shell("side", "sleep 0.2; exit 0"), json!({"restartPolicy": "Always"}))],
            "containers": [shell("main", SERVE)],
        }),
    );
    pods.start();
    pods.wait_for("web/side", &|row| row["restarts"].as_u64() >= Some(2));
    assert_eq!(pods.container("web/main")["restarts"], 0);
    pods.stop();
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() {
    let pods = supervisor();
    let probe = json!({"exec": {"command": ["test", "!", "-e", "$(BAD)"]}, "periodSeconds": 1, "failureThreshold": 2});
    let env = json!([{"name": "BAD", "value": "/dev/shm/bad"}]);
    pods.pod(
        "web",
        json!({
            "terminationGracePeriodSeconds": 5,
            "containers": [with(
                shell("main", "trap 'echo ended; exit 0' TERM; echo up; sleep 0.5; touch /dev/shm/bad; while :; do sleep 0.1; done"),
                json!({"livenessProbe": probe, "env": env}),
            )],
        }),
    );
    pods.start();
    let row = pods.wait_for("web/main", &|row| row["restarts"].as_u64() >= Some(1));
    assert_eq!(row["code"], 0, "it was asked to end: {row}");
    assert!(pods.said().contains("web/main: livenessProbe: test ended with 1"), "{}", pods.said());
    pods.stop();
}

#[test]
fn a_probe_that_hangs_is_ended_with_what_it_runs() {
    let pods = supervisor();
    let probe = json!({"exec": {"command": ["sleep", "7777.25"]}, "periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 1});
    pods.pod("web", json!({"containers": [with(shell("main", SERVE), json!({"readinessProbe": probe}))]}));
    pods.start();
    let pid = pods.wait("web/main", "running")["pid"].as_i64().unwrap();
    // The tests run beside each other: only processes of this container count.
    let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    let sleeping = || {
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let is = |path: &std::path::Path| {
            fs::read(path.join("cmdline")).is_ok_and(|line| line == b"sleep\x007777.25\0")
                && fs::read_link(path.join("ns/pid")).is_ok_and(|own| own == namespace)
        };
        all.filter(|path| is(path)).count()
    };
    let wait = |count| {
        let end = Instant::now() + Duration::from_secs(20);
        while sleeping() != count {
            assert!(Instant::now() < end, "{} of {count} probes\n{}", sleeping(), pods.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(1);
    wait(0);
    wait(1);
    assert_eq!(phase(&pods, "web"), ("Running".to_owned(), false));
    assert_eq!(pods.container("web/main")["restarts"], 0, "readiness restarts nothing");
    pods.stop();
}

#[test]
fn http_and_tcp_are_asked_in_the_pods_own_network() {
    let pods = supervisor();
    let serve =
        "mkdir -p /dev/shm/w; echo good >/dev/shm/w/good; exec busybox httpd -f -p 8080 -h /dev/shm/w";
    let http = |path: &str| json!({"httpGet": {"port": "web", "path": path}, "periodSeconds": 1});
    let pod = |readiness: Value, liveness: Value| {
        json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [with(
                shell("main", serve),
                json!({
                    "ports": [{"name": "web", "containerPort": 8080}],
                    "readinessProbe": readiness,
                    "livenessProbe": liveness,
                }),
            )],
        })
    };
    let tcp = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1, "initialDelaySeconds": 1, "failureThreshold": 2});
    pods.pod("good", pod(http("/good"), tcp.clone()));
    // Same port, another network namespace.
    pods.pod("missing", pod(http("/missing"), tcp));
    let closed = json!({"tcpSocket": {"port": 8081}, "periodSeconds": 1, "initialDelaySeconds": 1, "failureThreshold": 2});
    pods.pod("closed", pod(http("/good"), closed));
    pods.start();
    wait_ready(&pods, "good", true);
    pods.wait_for("closed/main", &|row| row["restarts"].as_u64() >= Some(1));
    assert!(!phase(&pods, "missing").1, "404 is no success");
    assert_eq!(pods.container("good/main")["restarts"], 0);
    let refused = "closed/main: livenessProbe: connect(127.0.0.1:8081): Connection refused";
    for want in ["missing/main: readinessProbe: the answer is 404", refused] {
        let end = Instant::now() + Duration::from_secs(20);
        while !pods.said().contains(want) {
            assert!(Instant::now() < end, "{}", pods.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    pods.stop();
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let pods = supervisor();
    let exec = |file: &str| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": 30});
    // The liveness probe would end it at once.
    let liveness = json!({"exec": {"command": ["test", "-e", "/dev/shm/up"]}, "periodSeconds": 1, "failureThreshold": 1});
    pods.pod(
        "slow",
        json!({"containers": [with(
            shell("main", "trap 'exit 0' TERM; sleep 2; touch /dev/shm/up; while :; do sleep 0.1; done"),
            json!({"startupProbe": exec("/dev/shm/up"), "livenessProbe": liveness}),
        )]}),
    );
    pods.start();
    pods.wait("slow/main", "running");
    assert!(!phase(&pods, "slow").1);
    wait_ready(&pods, "slow", true);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(pods.container("slow/main")["restarts"], 0);
    pods.stop();
}

#[test]
fn hooks_run_after_the_start_and_before_sigterm() {
    let pods = supervisor();
    let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    pods.pod(
        "web",
        json!({
            "terminationGracePeriodSeconds": 10,
            "containers": [with(
                shell("main", "trap 'cat /dev/shm/hooks; exit 0' TERM; while :; do sleep 0.1; done"),
                json!({"lifecycle": {
                    "postStart": exec("sleep 0.5; echo posted >>/dev/shm/hooks"),
                    "preStop": exec("sleep 0.5; echo stopping >>/dev/shm/hooks"),
                }}),
            )],
        }),
    );
    pods.start();
    pods.wait("web/main", "running");
    wait_ready(&pods, "web", true);
    pods.stop();
    let log = pods.log("web/main");
    let printed: Vec<_> = log.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(printed, ["posted", "stopping"], "{log}");
}

#[test]
fn a_failing_post_start_hook_ends_the_container() {
    let pods = supervisor();
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}});
    pods.pod("web", json!({"restartPolicy": "Never", "containers": [with(shell("main", SERVE), hook)]}));
    pods.start();
    pods.wait("web/main", "done");
    assert!(pods.said().contains("web/main: postStart: false ended with 1"), "{}", pods.said());
    pods.stop();
}

#[test]
fn a_pre_stop_sleep_and_sigterm_share_the_grace() {
    let pods = supervisor();
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1000}}}});
    pods.pod(
        "web",
        json!({"terminationGracePeriodSeconds": 1, "containers": [with(shell("main", SERVE), hook)]}),
    );
    pods.start();
    pods.wait_log("web/main", "serving");
    let begin = Instant::now();
    pods.stop();
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "{took:?}");
    assert!(pods.log("web/main").ends_with(" ended\n"), "{}", pods.log("web/main"));
}
