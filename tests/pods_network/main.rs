//! The network of pods under `mote supervise`: each test is a device of its own, in a network namespace that its thread has
//! made, and beside it is an "outside".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod bridge;
mod cni;
mod macvlan;
mod ports;
mod shared;

use common::pods::Supervisor;
use common::spec;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a server says: who it is, and who asks.
const WHO: &str = "#!/bin/busybox sh\nr=${REMOTE_ADDR%]}; echo; echo I am $(hostname), you are ${r##*:}\n";

/// A supervisor in a network namespace of its own.
struct Device {
    pods: Supervisor,
    outside: Option<Child>,
}

impl Device {
    /// The test's thread is in the new namespace, and so is all that it starts.
    #[track_caller]
    fn new(network: Value) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of the test's own");
        sh("ip link set lo up");
        let pods = Supervisor::new();
        let settings = pods.test.dir.join("init.json");
        fs::write(&settings, json!({"network": network}).to_string()).unwrap();
        let serve = pods.bundle("serve", &spec(&["busybox", "httpd", "-f", "-p", "80", "-h", "/www"]));
        website(&serve.join("rootfs/www"));
        pods.bundle("sleep", &spec(&["sleep", "1000"]));
        let pods = pods.with("--settings", &settings);
        Self { pods, outside: None }
    }

    /// A machine beside the device, on 192.0.2.0/24: it is .9, the device .1.
    fn outside(&mut self) {
        let child = Command::new("unshare").args(["-n", "sleep", "1000"]).spawn().unwrap();
        self.outside = Some(child);
        let pid = self.outside.as_ref().unwrap().id();
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == own) {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
        sh(&format!("ip link add up0 type veth peer name up0 netns {pid}"));
        sh("ip addr add 192.0.2.1/24 dev up0; ip link set up0 up");
        self.out("ip addr add 192.0.2.9/24 dev up0; ip link set up0 up; ip link set lo up");
    }

    /// Runs a command outside.
    #[track_caller]
    fn out(&self, command: &str) -> String {
        let pid = self.outside.as_ref().expect("an outside").id();
        sh(&format!("nsenter -t {pid} -n sh -c '{command}'"))
    }

    /// A pod of one container, with these annotations.
    #[track_caller]
    fn pod(&self, name: &str, image: &str, annotations: Value, ports: Value) {
        let container = json!({"name": "a", "image": image, "ports": ports});
        self.pods.manifest(
            name,
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}),
        );
    }

    /// Runs a command in the network of a pod.
    #[track_caller]
    fn inside(&self, pod: &str, command: &str) -> String {
        let pin = self.pods.run.join("netns").join(pod);
        sh(&format!("nsenter --net={} sh -c '{command}'", pin.display()))
    }

    /// What the server of the pod at `address` answers to a pod.
    #[track_caller]
    fn ask(&self, pod: &str, address: &str, port: u16) -> String {
        self.inside(pod, &ask(address, port))
    }

    /// The address of a pod's interface.
    #[track_caller]
    fn address(&self, pod: &str) -> String {
        let line = self.inside(pod, "ip -4 -o addr show eth0");
        let word = line.split_whitespace().nth(3).unwrap_or_else(|| panic!("no address: {line}"));
        word.split('/').next().unwrap().to_owned()
    }

    /// Starts the supervisor and waits until each of these pods runs.
    #[track_caller]
    fn start(&self, names: &[&str]) {
        self.pods.start();
        for name in names {
            self.pods.wait(&format!("{name}/a"), "running");
        }
    }

    /// Waits until the pod cannot be started, and gives the reason.
    #[track_caller]
    fn fails(&self, name: &str) -> String {
        let row = self.pods.wait(&format!("{name}/a"), "backoff");
        row["reason"].as_str().unwrap_or_else(|| panic!("no reason: {row}")).to_owned()
    }

    /// Waits until one of two pods runs and the other one cannot; gives the name of the one and the reason of the other.
    #[track_caller]
    fn one_of(&self, pods: [&str; 2]) -> (String, String) {
        let settled = |row: &Value| row["state"] == "running" || row["state"] == "backoff";
        let rows = pods.map(|pod| self.pods.wait_for(&format!("{pod}/a"), &settled));
        let of = |state: &str, key: &str| {
            let row = rows.iter().find(|row| row["state"] == state);
            row.unwrap_or_else(|| panic!("none of {pods:?} is {state}: {rows:?}"))[key]
                .as_str()
                .unwrap()
                .to_owned()
        };
        (of("running", "pod"), of("backoff", "reason"))
    }

    /// Ends the first process of a pod's container and waits for the next one.
    #[track_caller]
    fn restart(&self, name: &str) {
        let name = format!("{name}/a");
        let old = self.pods.container(&name)["pid"].clone();
        sh(&format!("kill -9 {old}"));
        self.pods.wait_for(&name, &|row| row["state"] == "running" && row["pid"] != old);
    }

    #[track_caller]
    fn stop(self) {
        self.pods.stop();
        self.stop_all();
    }

    /// After the supervisor has ended.
    #[track_caller]
    fn stop_all(self) {
        let left = sh("ip -o link | grep -v -e lo: -e up0 || true");
        assert_eq!(left, "", "interfaces are left");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut child) = self.outside.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a server has to show.
fn website(at: &Path) {
    fs::create_dir_all(at.join("cgi-bin")).unwrap();
    fs::write(at.join("cgi-bin/who"), WHO).unwrap();
    fs::set_permissions(at.join("cgi-bin/who"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Asks a server, several times while it is not there yet.
fn ask(address: &str, port: u16) -> String {
    let get = format!(
        "printf \"GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n\" | busybox nc -w 2 {address} {port} 2>/dev/null | grep -a \"I am\""
    );
    format!("for i in 1 2 3 4 5 6 7 8 9 10; do {get} && exit 0; sleep 0.2; done; echo no answer")
}

#[track_caller]
fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{command}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn bridge() -> Value {
    json!({"mote/network": "bridge"})
}

/// A busybox that serves outside.
struct Server(Child);

impl Server {
    fn new(device: &Device, port: u16) -> Self {
        let pid = device.outside.as_ref().expect("an outside").id();
        let at = device.pods.test.dir.join("www");
        website(&at);
        let command = format!("exec nsenter -t {pid} -n busybox httpd -f -p {port} -h {}", at.display());
        Self(Command::new("sh").args(["-c", &command]).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
