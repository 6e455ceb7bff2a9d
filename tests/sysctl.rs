//! `linux.sysctl` changes the container's namespaces and never the host, whatever stands in for /proc.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, is_mote, spec, without_namespace};
use serde_json::{Value, json};
use std::fs;

/// A config that joins a namespace by its path.
fn joining(kind: &str, path: &str) -> Value {
    let mut config = spec(&["true"]);
    without_namespace(&mut config, kind);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": kind, "path": path}));
    config.as_object_mut().unwrap().remove("hostname");
    config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "sysfs" && m["type"] != "mqueue");
    config
}

#[test]
fn a_namespace_that_is_joined_must_not_be_the_host_s() {
    let t = Test::new();
    let mut cases = vec![("network", "net", "net.ipv4.ip_default_ttl", "77")];
    if is_mote() {
        // runc looks at the network namespace alone.
        cases.extend([("ipc", "ipc", "kernel.msgmax", "7777"), ("uts", "uts", "kernel.domainname", "x")]);
    }
    for (kind, file, name, value) in cases {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&path).unwrap();
        for namespace in [format!("/proc/self/ns/{file}"), format!("/proc/{}/ns/{file}", std::process::id())]
        {
            let mut config = joining(kind, &namespace);
            config["linux"]["sysctl"] = json!({name: value});
            t.run(&config).fails_and_mote_says(&["linux.sysctl", name, "the host's own namespace"]);
            assert_eq!(fs::read_to_string(&path).unwrap(), before, "{name} of the host");
            t.assert_nothing_left();
        }
    }
}

#[test]
fn the_names_of_the_host_s_own_uts_namespace_stay() {
    mote_only!("runc sets the host's name");
    let t = Test::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for field in ["hostname", "domainname"] {
        let mut config = joining("uts", "/proc/self/ns/uts");
        config[field] = json!("changed");
        t.run(&config).fails_saying(&[field, "the host's own namespace"]);
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    t.assert_nothing_left();
}

#[test]
fn a_namespace_of_another_container_that_is_joined_is_changed() {
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "100"]));
    let pid = t.pid(&id);
    let mut config = joining("network", &format!("/proc/{pid}/ns/net"));
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "77"});
    t.run(&config).ok();
    let out = t
        .command("nsenter")
        .args(["-t", &pid.to_string(), "-n", "cat", "/proc/sys/net/ipv4/ip_default_ttl"])
        .run();
    assert_eq!(out.ok(), "77\n");
}

#[test]
fn names_can_have_slashes() {
    let t = Test::new();
    let text = t.sh("cd /proc/sys; cat kernel/shm_rmid_forced net/ipv4/conf/lo/forwarding net/ipv4/ip_default_ttl", |c| {
        c["linux"]["sysctl"] = json!({
            "kernel/shm_rmid_forced": "1", "net/ipv4/conf/lo/forwarding": "1", "net.ipv4.ip_default_ttl": "7",
        });
    });
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", "1", "7"]);
}

#[test]
fn a_value_that_the_kernel_refuses_is_named() {
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "nonsense"});
    t.run(&config).fails_and_mote_says(&[
        "linux.sysctl",
        "/proc/sys/net/ipv4/ip_default_ttl",
        "invalid argument",
    ]);
    config["linux"]["sysctl"] = json!({"net.ipv4.nosuch": "1"});
    t.run(&config).fails_and_mote_says(&[
        "linux.sysctl",
        "/proc/sys/net/ipv4/nosuch",
        "no such file or directory",
    ]);
    t.assert_nothing_left();
}

#[test]
fn what_is_mounted_over_proc_is_not_written_to() {
    mote_only!("runc 1.1 writes to whatever is there (CVE-2019-16884 and others)");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["linux"]["sysctl"] = json!({"kernel.shmmni": "77"});
    let bundle = t.bundle("b", &config);
    let trap = t.dir.join("trap");
    fs::create_dir_all(trap.join("sys/kernel")).unwrap();
    fs::create_dir_all(trap.join("kernel")).unwrap();
    for file in ["sys/kernel/shmmni", "kernel/shmmni", "shmmni"] {
        fs::write(trap.join(file), "untouched").unwrap();
    }
    let over = |from: &std::path::Path, over: &str| {
        let script = format!("mount --bind {} {over}", from.display());
        t.run_bundle(&bundle).after_bash(&script).under(["unshare", "-m"]).run()
    };
    over(&trap, "/proc/sys").fails_saying(&["linux.sysctl", "shmmni"]);
    over(&trap.join("kernel"), "/proc/sys/kernel").fails_saying(&["linux.sysctl", "shmmni"]);
    // The file of another ipc namespace is another one, over which nothing is mounted.
    over(&trap.join("shmmni"), "/proc/sys/kernel/shmmni").ok();
    over(&trap, "/proc").fails();
    for file in ["sys/kernel/shmmni", "kernel/shmmni", "shmmni"] {
        assert_eq!(fs::read_to_string(trap.join(file)).unwrap(), "untouched", "{file}");
    }
    t.assert_nothing_left();
}
