//! The network of pods under `mote supervise`: each test is a device of its own, in a network namespace that its thread has
//! made, and beside it is an "outside".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

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

    #[track_caller]
    fn stop(self) {
        self.pods.stop();
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

#[test]
fn two_pods_on_the_bridge_reach_each_other_and_the_outside() {
    let mut device = Device::new(json!({}));
    device.outside();
    device.pod("one", "serve", bridge(), json!([]));
    device.pod("two", "serve", bridge(), json!([]));
    device.pod("alone", "sleep", json!({}), json!([]));
    device.pods.start();
    for pod in ["one/a", "two/a", "alone/a"] {
        device.pods.wait(pod, "running");
    }
    let (one, two) = (device.address("one"), device.address("two"));
    assert_ne!(one, two);
    assert_eq!(device.ask("one", &two, 80), format!("I am two, you are {one}"));
    assert_eq!(device.ask("two", &one, 80), format!("I am one, you are {two}"));
    device.inside("one", &format!("busybox ping -c1 -W2 {two}"));
    // The device reaches them, and outside they seem to be the device.
    assert_eq!(sh(&ask(&one, 80)), "I am one, you are 10.190.0.1");
    let server = Server::new(&device, 7);
    let said = device.ask("one", "192.0.2.9", 7);
    assert!(said.ends_with(", you are 192.0.2.1"), "{said}");
    drop(server);
    // A pod without the annotation has lo alone.
    assert_eq!(device.inside("alone", "ip -o link | wc -l"), "1");
    device.stop();
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
