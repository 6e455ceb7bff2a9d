//! Pods under a supervisor in a sandbox that hides system calls which there is another way for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn sh(script: &str) -> Value {
    json!(["sh", "-c", script])
}

/// What a pod can ask for that takes system calls of its own: a shared pid namespace with its first process, a volume in memory,
/// probes and hooks, which join the container, a terminal, a user.
#[test]
fn a_pod_has_all_it_asks_for() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    pods.pod(
        "p",
        json!({
            "shareProcessNamespace": true,
            "terminationGracePeriodSeconds": 2,
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 4242},
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            "initContainers": [{
                "name": "first",
                "image": "shell",
                "command": sh("echo of first >/v/file"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}]
            }],
            "containers": [
                {
                    "name": "c",
                    "image": "shell",
                    "command": sh("cat /v/file; id; trap 'cat /v/stop; exit' TERM; while :; do sleep 0.05; done"),
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "readinessProbe": {"exec": {"command": sh("grep -q posted /v/file")}, "periodSeconds": 1},
                    "lifecycle": {
                        "postStart": {"exec": {"command": sh("echo posted >>/v/file")}},
                        "preStop": {"exec": {"command": sh("echo stopping >/v/stop")}}
                    }
                },
                {"name": "t", "image": "shell", "tty": true, "command": sh("tty; echo $(cat /proc/1/comm); exec sleep 1234")}
            ]
        }),
    );
    pods.start();
    pods.wait("p/first", "done");
    pods.wait_for("p/c", &|row| row["ready"] == true);
    pods.wait_log("p/c", "of first");
    pods.wait_log("p/c", "uid=1000");
    pods.wait_log("p/t", "/dev/pts/");
    pods.wait_log("p/t", "mote-pod");
    let out =
        pods.mote(["exec", "p/c", "--", "sh", "-c", "id -G; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).run();
    assert!(out.ok().starts_with("1000 4242\n") && out.ok().contains("sleep 1234"), "{out}");

    let old = pods.container("p/t");
    let pid = i32::try_from(old["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    pods.wait_for("p/t", &|row| row["state"] == "running" && row["pid"] != old["pid"]);
    pods.mote(["pod", "stop", "p"]).run().ok();
    pods.wait("p/c", "done");
    pods.wait_log("p/c", "stopping");
    pods.stop();
}

#[test]
fn and_so_where_calls_are_missing() {
    let all = "clone3,openat2,mount_setattr,close_range,setns-many,faccessat2,fchmodat2,fsopen,keyctl,sched_setattr,pidfd_getfd";
    common::again_without(all);
    common::again_without("memfd_create");
}
