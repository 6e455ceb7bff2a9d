//! Namespaces: new ones, the caller's, and ones joined by path.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec, without_namespace};
use serde_json::{Value, json};
use std::fs;

/// Names in `linux.namespaces` and below /proc/self/ns.
const ALL: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn own(file: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{file}")).unwrap().to_string_lossy().into_owned()
}

/// The namespaces of the container's program, by the names of the files.
fn inside(t: &Test, edit: impl FnOnce(&mut Value)) -> Vec<String> {
    let script = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done";
    let text = t.sh(script, |c| {
        c.as_object_mut().unwrap().remove("hostname");
        edit(c);
    });
    let links: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(links.len(), ALL.len(), "{text}");
    links
}

fn add(config: &mut Value, namespace: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
}

#[test]
fn every_listed_namespace_is_new() {
    let t = Test::new();
    let links = inside(&t, |c| add(c, json!({"type": "cgroup"})));
    for ((kind, file), link) in ALL.iter().zip(links) {
        assert_ne!(link, own(file), "{kind}");
    }
}

#[test]
fn a_namespace_that_is_not_listed_is_the_caller_s() {
    let t = Test::new();
    let links = inside(&t, |_| ());
    assert_eq!(links[5], own("cgroup"), "runc spec lists no cgroup namespace");
    for (n, (kind, file)) in ALL.iter().enumerate().filter(|(_, (k, _))| !matches!(*k, "mount" | "cgroup")) {
        let links = inside(&t, |c| {
            without_namespace(c, kind);
            if *kind == "network" {
                // sysfs belongs to a network namespace.
                c["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "sysfs" && m["type"] != "cgroup");
            }
            if *kind == "ipc" {
                c["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "mqueue");
            }
        });
        assert_eq!(links[n], own(file), "{kind}");
        for (m, (other, file)) in ALL.iter().enumerate().filter(|(m, _)| *m != n && *m != 5) {
            assert_ne!(links[m], own(file), "{other} without {kind}");
        }
    }
}

#[test]
fn namespaces_are_joined_by_path() {
    let t = Test::new();
    let mut config = spec(&["sleep", "1000"]);
    add(&mut config, json!({"type": "cgroup"}));
    let holder = t.detached(&config);
    let pid = t.pid(&holder);
    for (n, (kind, file)) in ALL.iter().enumerate().filter(|(_, (k, _))| *k != "mount") {
        let path = format!("/proc/{pid}/ns/{file}");
        let expected = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
        let links = inside(&t, |c| {
            without_namespace(c, kind);
            add(c, json!({"type": kind, "path": path}));
        });
        assert_eq!(links[n], expected, "{kind}");
        for (m, (other, file)) in ALL.iter().enumerate().filter(|(m, _)| *m != n && *m != 5) {
            assert_ne!(links[m], own(file), "{other} while joining {kind}");
        }
    }
    assert_eq!(t.status(&holder), "running");
}

#[test]
fn all_namespaces_but_mount_are_joined_at_once() {
    let t = Test::new();
    let mut config = spec(&["sleep", "1000"]);
    add(&mut config, json!({"type": "cgroup"}));
    let holder = t.detached(&config);
    let pid = t.pid(&holder);
    let expected =
        |file: &str| fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().to_string_lossy().into_owned();
    let links = inside(&t, |c| {
        c["linux"]["namespaces"] = json!([{"type": "mount"}]);
        for (kind, file) in ALL.iter().filter(|(k, _)| *k != "mount") {
            add(c, json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
        }
    });
    for (n, (kind, file)) in ALL.iter().enumerate() {
        if *kind == "mount" {
            assert_ne!(links[n], expected(file));
            assert_ne!(links[n], own(file));
        } else {
            assert_eq!(links[n], expected(file), "{kind}");
        }
    }
}

#[test]
fn a_mount_namespace_is_joined_by_path_and_becomes_the_container_s() {
    let t = Test::new();
    let mut config = spec(&["readlink", "/proc/self/ns/mnt"]);
    without_namespace(&mut config, "mount");
    let bundle = t.bundle("b", &config);
    // A process with a mount namespace of its own, given up to the container as runc does.
    let holder = "unshare -m --propagation private sleep 1000 & holder=$!
        until [ \"$(readlink /proc/$holder/ns/mnt)\" != \"$(readlink /proc/self/ns/mnt)\" ]; do sleep 0.01; done
        sed -i \"s|HOLDER|$holder|\" $1; shift; readlink /proc/$holder/ns/mnt; \"$@\"; code=$?; kill $holder; exit $code";
    add(&mut config, json!({"type": "mount", "path": "/proc/HOLDER/ns/mnt"}));
    common::write_config(&bundle, &config);
    let config = bundle.join("config.json");
    let run = t.run_bundle(&bundle).under(["bash", "-c", holder, "bash", config.to_str().unwrap()]);
    let out = run.under(["unshare", "-m", "--propagation", "private"]).run();
    let links: Vec<&str> = out.ok().lines().collect();
    assert_eq!((links.len(), links[0]), (2, links[1]), "{out}");
}

#[test]
fn the_caller_s_own_mount_namespace_is_not_joined() {
    mote_only!("runc pivots the caller's namespace, be it the host's");
    let t = Test::new();
    let mut config = spec(&["true"]);
    without_namespace(&mut config, "mount");
    add(&mut config, json!({"type": "mount", "path": "/proc/self/ns/mnt"}));
    let bundle = t.bundle("b", &config);
    let out = t.run_bundle(&bundle).under(["unshare", "-m", "--propagation", "private"]).run();
    out.fails_saying(&["linux.namespaces"]);
    t.assert_nothing_left();
}

#[test]
fn a_pinned_network_namespace_is_joined_and_has_its_interfaces() {
    let t = Test::new();
    let holder = t.detached(&spec(&["sleep", "1000"]));
    let pid = t.pid(&holder);
    let path = format!("/proc/{pid}/ns/net");
    t.command("nsenter").arg(format!("--net={path}")).args(["ip", "link", "set", "lo", "up"]).run();
    let text = t.sh("ip addr show lo; readlink /proc/self/ns/net", |c| {
        without_namespace(c, "network");
        add(c, json!({"type": "network", "path": path}));
    });
    assert!(text.contains(&fs::read_link(&path).unwrap().to_string_lossy().into_owned()), "{text}");
}

#[test]
fn a_new_pid_namespace_makes_the_program_pid_1() {
    let t = Test::new();
    assert_eq!(t.sh("echo $$", |_| ()), "1\n");
    let pid: i32 = t.sh("echo $$", |c| without_namespace(c, "pid")).trim().parse().unwrap();
    assert!(pid > 1);
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let t = Test::new();
    let text = t.sh("ip addr show lo", |_| ());
    assert!(text.contains("inet 127.0.0.1/8") && text.contains(",UP"), "{text}");
}

#[test]
fn the_hostname_is_set_inside_and_not_outside() {
    let t = Test::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text =
        t.sh("hostname; cat /proc/sys/kernel/hostname", |c| c["hostname"] = json!("mote-test.example"));
    assert_eq!(text, "mote-test.example\nmote-test.example\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn a_hostname_without_a_uts_namespace_is_refused() {
    let t = Test::new();
    let mut config = spec(&["true"]);
    without_namespace(&mut config, "uts");
    t.run(&config).fails_and_mote_says(&["hostname"]);
    t.assert_nothing_left();
}

#[test]
fn wrong_namespaces_are_refused() {
    let t = Test::new();
    let cases = [
        (json!({"type": "network", "path": "/nonexistent/net"}), "/nonexistent/net"),
        (json!({"type": "network", "path": "/proc/self/ns/uts"}), "network"),
        (json!({"type": "network", "path": "/etc/passwd"}), "network"),
        (json!({"type": "nosuch"}), "linux.namespaces[4]"),
        (json!({"type": ""}), "linux.namespaces[4]"),
        (json!({"type": "uts"}), "linux.namespaces[4]"),
        (json!({"path": "/proc/self/ns/net"}), "linux.namespaces[4]"),
    ];
    for (namespace, word) in cases {
        let mut config = spec(&["true"]);
        without_namespace(&mut config, "network");
        add(&mut config, namespace.clone());
        t.run(&config).fails_and_mote_says(&[word]);
        t.assert_nothing_left();
    }
}

#[test]
fn a_relative_namespace_path_is_refused() {
    mote_only!("runc opens it in whatever directory it stands");
    let t = Test::new();
    let mut config = spec(&["true"]);
    without_namespace(&mut config, "network");
    add(&mut config, json!({"type": "network", "path": "proc/self/ns/net"}));
    t.run(&config).fails_saying(&["linux.namespaces[4].path"]);
    t.assert_nothing_left();
}
