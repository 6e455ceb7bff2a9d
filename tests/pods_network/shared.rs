//! What containers of a pod share, and what they do not.

use super::*;

/// What each container of a pod sees.
const LOOK: &str =
    "for kind in net ipc uts pid mnt; do readlink /proc/self/ns/$kind; done; hostname; sleep 1000";

fn seen(device: &Device, name: &str) -> Vec<String> {
    device.pods.wait_for(name, &|row| row["state"] == "running");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let out = device.pods.mote(["logs", name]).run();
        let lines: Vec<String> = out.stdout.lines().map(str::to_owned).collect();
        if lines.len() == 6 {
            return lines;
        }
        assert!(Instant::now() < end, "{out}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn containers_of_a_pod_share_network_ipc_and_host_name() {
    let device = Device::new(json!({}));
    device.pods.bundle("look", &spec(&["sh", "-c", LOOK]));
    let containers = json!([{"name": "a", "image": "look"}, {"name": "b", "image": "look"}]);
    let pod = |name: &str, extra: Value| {
        let mut all = json!({"terminationGracePeriodSeconds": 0, "containers": containers});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        device.pods.pod(name, all);
    };
    pod("pair", json!({"hostname": "box"}));
    pod("other", json!({}));
    pod("host", json!({"hostNetwork": true}));
    device.pods.start();
    let own: Vec<String> = ["net", "ipc", "uts"]
        .iter()
        .map(|kind| {
            fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    let (a, b, other) = (seen(&device, "pair/a"), seen(&device, "pair/b"), seen(&device, "other/a"));
    assert_eq!(a[..3], b[..3], "network, ipc, uts");
    assert_eq!((a[5].as_str(), b[5].as_str(), other[5].as_str()), ("box", "box", "other"));
    for place in 0..3 {
        assert_ne!(a[place], own[place]);
        assert_ne!(a[place], other[place], "pods share nothing");
    }
    assert!(a[3] != b[3] && a[4] != b[4], "processes and mounts are each container's own");
    // In the device's network a pod has the device's name, too.
    let (host, second) = (seen(&device, "host/a"), seen(&device, "host/b"));
    assert_eq!((&host[0], &host[2]), (&own[0], &own[2]));
    assert_eq!(host[1], second[1]);
    assert_ne!(host[1], own[1]);
    assert_eq!(host[5], nix::unistd::gethostname().unwrap().to_str().unwrap());
    // They are the pinned ones, and outlive their containers.
    for (kind, place) in [("netns", 0), ("ipcns", 1), ("utsns", 2)] {
        use std::os::unix::fs::MetadataExt;
        let number = fs::metadata(device.pods.run.join(kind).join("pair")).unwrap().ino();
        assert!(a[place].ends_with(&format!("[{number}]")), "{kind}");
    }
    let pins = ["netns", "ipcns", "utsns"].map(|kind| device.pods.run.join(kind).join("pair"));
    for pin in &pins[..] {
        // Lost by mistake: what the supervisor holds is pinned again.
        sh(&format!("umount -l {}", pin.display()));
    }
    device.restart("pair");
    let again = device.pods.mote(["logs", "pair/a"]).run().stdout;
    let end = Instant::now() + Duration::from_secs(10);
    while device.pods.mote(["logs", "pair/a"]).run().stdout.lines().count() < 12 {
        assert!(Instant::now() < end, "{again}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let out = device.pods.mote(["logs", "pair/a"]).run().stdout;
    let again: Vec<&str> = out.lines().skip(6).collect();
    assert_eq!(again[..3], b[..3], "the pod is in two namespaces now");
    device.stop();
}

#[test]
fn containers_of_a_pod_share_memory_and_message_queues() {
    let device = Device::new(json!({}));
    let write = "echo shared >/dev/shm/x; : >/dev/mqueue/q; sleep 1000";
    let read = "until [ -e /dev/shm/x ] && [ -e /dev/mqueue/q ]; do sleep 0.05; done; cat /dev/shm/x; \
        stat -f -c '%s %b' /dev/shm | { read size blocks; echo $((size * blocks)); }; ls -ld /dev/shm; sleep 1000";
    device.pods.bundle("write", &spec(&["sh", "-c", write]));
    device.pods.bundle("read", &spec(&["sh", "-c", read]));
    device.pods.bundle(
        "look",
        &spec(&[
            "sh",
            "-c",
            "ls /dev/shm /dev/mqueue | wc -w; stat -c %d /dev/shm; readlink /proc/self/ns/ipc; sleep 1000",
        ]),
    );
    let pod = |name: &str, extra: Value, containers: Value| {
        let mut all = json!({"terminationGracePeriodSeconds": 0, "containers": containers});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        device.pods.pod(name, all);
    };
    pod("pair", json!({}), json!([{"name": "a", "image": "write"}, {"name": "b", "image": "read"}]));
    pod("alone", json!({}), json!([{"name": "a", "image": "look"}]));
    pod("host", json!({"hostIPC": true}), json!([{"name": "a", "image": "look"}]));
    device.pods.start();
    let log = device.pods.wait_log("pair/b", "/dev/shm\n");
    let text = log.lines().map(|line| line.split(" F ").nth(1).unwrap()).collect::<Vec<_>>();
    assert_eq!(text[..2], ["shared", "67108864"], "{log}");
    assert!(text[2].starts_with("drwxrwxrwt"), "{log}");
    // What one has left is there for its successor.
    let old = device.pods.container("pair/b")["pid"].clone();
    sh(&format!("kill -9 {old}"));
    device.pods.wait_for("pair/b", &|row| row["state"] == "running" && row["pid"] != old);
    let lines = |name: &str| {
        let log = device.pods.wait_log(name, "ipc:[");
        log.lines().map(|line| line.split(" F ").nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (alone, host) = (lines("alone/a"), lines("host/a"));
    assert!(alone[0].trim_end().ends_with('2'), "shared with another pod: {alone:?}"); // the two headings of ls
    let number = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().dev().to_string()
    };
    assert_eq!(host[1], number("/dev/shm"));
    assert_ne!(alone[1], number("/dev/shm"));
    let own = fs::read_link("/proc/thread-self/ns/ipc").unwrap();
    assert_eq!(host[2], own.to_str().unwrap());
    assert_ne!(alone[2], host[2]);
    device.stop();
}
