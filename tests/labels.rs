//! AppArmor's profile and SELinux's label. Where the module is off, which is so on the machines that run this most, a label is
//! refused in words that Podman knows, and nothing is made.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, skipped, spec};
use serde_json::json;
use std::fs;
use std::path::Path;

fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

#[test]
fn a_profile_needs_apparmor() {
    if apparmor() {
        return skipped("AppArmor is on here");
    }
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["process"]["apparmorProfile"] = json!("container-default");
    t.run(&config)
        .fails_and_mote_says(&["process.apparmorProfile", "`/proc/thread-self/attr/apparmor/exec`"]);
    t.assert_nothing_left();
}

#[test]
fn a_label_needs_selinux() {
    if selinux() {
        return skipped("SELinux is on here");
    }
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2");
    t.run(&config).fails_and_mote_says(&["process.selinuxLabel", "`/proc/thread-self/attr/exec`"]);
    config["process"].as_object_mut().unwrap().remove("selinuxLabel");
    if common::is_mote() {
        // runc has the kernel refuse the option.
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
        t.run(&config).fails_saying(&["linux.mountLabel", "SELinux is off"]);
    }
    t.assert_nothing_left();
}

#[test]
fn empty_labels_are_none() {
    let t = Test::new();
    let text = t.sh("echo ran", |c| {
        c["process"]["apparmorProfile"] = json!("");
        c["process"]["selinuxLabel"] = json!("");
        c["linux"]["mountLabel"] = json!("");
    });
    assert_eq!(text, "ran\n");
}

#[test]
fn to_be_unconfined_needs_no_apparmor() {
    mote_only!("runc 1.1 refuses it");
    let t = Test::new();
    assert_eq!(t.sh("echo ran", |c| c["process"]["apparmorProfile"] = json!("unconfined")), "ran\n");
}

#[test]
fn a_label_of_exec_needs_its_module_too() {
    mote_only!("runc 1.1 has other words, and refuses to be unconfined");
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    config["process"]["apparmorProfile"] = json!("unconfined");
    let id = t.detached(&config);
    assert_eq!(t.mote(["exec", &id, "echo", "ran"]).run().ok(), "ran\n", "the container's own profile");
    for (option, label, on, path) in [
        ("--apparmor", "nosuch", apparmor(), "`/proc/thread-self/attr/apparmor/exec`"),
        ("--process-label", "a:b:c:d", selinux(), "`/proc/thread-self/attr/exec`"),
    ] {
        if !on {
            let out = t.mote(["exec", option, label, &id, "echo", "ran"]).run();
            assert_eq!((out.code(), out.stdout.as_str()), (255, ""), "{out}");
            assert!(out.stderr.contains(path), "{out}");
        }
    }
}
