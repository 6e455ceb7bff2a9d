//! `linux.devices`: nodes besides the default ones, in /dev and elsewhere.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// Type, major, minor (both hexadecimal), permissions, user, group of each path.
fn nodes(t: &Test, paths: &str, devices: &Value) -> Vec<String> {
    let text = t.sh(&format!("stat -c '%F %t %T %a %u %g' {paths}"), |c| {
        c["linux"]["devices"] = devices.clone();
        c["root"]["readonly"] = json!(false);
    });
    text.lines().map(str::to_owned).collect()
}

#[test]
fn devices_are_made_as_the_config_says() {
    let t = Test::new();
    let found = nodes(
        &t,
        "/dev/fuse /dev/sda7 /dev/below/u /run/pipe /node",
        &json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/sda7", "type": "b", "major": 8, "minor": 1000, "fileMode": 0o060_660, "uid": 0, "gid": 6},
            {"path": "/dev/below/u", "type": "u", "major": 1, "minor": 5},
            {"path": "/run/pipe", "type": "p", "fileMode": 0o622, "uid": 1000, "gid": 1000},
            {"path": "/node", "type": "c", "major": 4095, "minor": 1_048_575, "fileMode": 0},
        ]),
    );
    assert_eq!(found[0], "character special file a e5 640 7 8");
    assert_eq!(found[1], "block special file 8 3e8 660 0 6");
    assert_eq!(found[2], "character special file 1 5 666 0 0");
    assert_eq!(found[3], "fifo 0 0 622 1000 1000");
    assert_eq!(found[4], "character special file fff fffff 0 0 0");
}

#[test]
fn a_device_outside_dev_works() {
    let t = Test::new();
    let text = t.sh("head -c 3 /run/zero | od -An -tx1", |c| {
        c["linux"]["devices"] = json!([{"path": "/run/zero", "type": "c", "major": 1, "minor": 5}]);
        c["root"]["readonly"] = json!(false);
    });
    assert_eq!(text.trim(), "00 00 00");
}

#[test]
fn ptmx_of_the_host_is_left_out_for_the_container_s_own() {
    let t = Test::new();
    let text = t.sh("readlink /dev/ptmx; ls /dev/fuse", |c| {
        c["linux"]["devices"] = json!([
            {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666, "uid": 0, "gid": 0},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
        ]);
    });
    assert_eq!(text, "pts/ptmx\n/dev/fuse\n");
}

#[test]
fn a_default_device_that_the_config_has_too_is_the_config_s() {
    mote_only!("runc 1.1 lets nobody use a default device that is in linux.devices");
    let t = Test::new();
    let found = nodes(
        &t,
        "/dev/null /dev/zero",
        &json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 9, "gid": 9}]),
    );
    assert_eq!(found, ["character special file 1 3 600 9 9", "character special file 1 5 666 0 0"]);
}

#[test]
fn a_file_in_the_place_of_a_device_is_refused_and_stays() {
    mote_only!("runc 1.1 takes whatever is there for the device");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["root"]["readonly"] = json!(false);
    config["linux"]["devices"] =
        json!([{"path": "/srv/node", "type": "c", "major": 1, "minor": 5, "uid": 7}]);
    let bundle = t.bundle("b", &config);
    let node = bundle.join("rootfs/srv/node");
    fs::create_dir(bundle.join("rootfs/srv")).unwrap();
    let outside = t.dir.join("outside");
    fs::write(&outside, "untouched").unwrap();
    let refused = |what: &str| {
        t.run_bundle(&bundle).run().fails_saying(&["linux.devices[0]", "/srv/node", "file exists"]);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "{what}");
        t.assert_nothing_left();
    };
    fs::write(&node, "a file").unwrap();
    refused("a file");
    assert_eq!(fs::read_to_string(&node).unwrap(), "a file");
    fs::remove_file(&node).unwrap();
    for target in [outside.to_str().unwrap(), "/dev/zero", "nosuch"] {
        symlink(target, &node).unwrap();
        refused("a symlink");
        fs::remove_file(&node).unwrap();
    }
    for (kind, numbers) in [("c", "1 3"), ("b", "1 5"), ("p", "")] {
        t.command("mknod").arg(&node).arg(kind).args(numbers.split_whitespace()).run().ok();
        refused("another device");
        fs::remove_file(&node).unwrap();
    }
    // The right one is taken as it is.
    t.command("mknod").args(["-m", "604"]).arg(&node).args(["c", "1", "5"]).run().ok();
    t.run_bundle(&bundle).run().ok();
    let out = t.command("stat").args(["-c", "%a %u"]).arg(&node).run();
    assert_eq!(out.ok(), "604 0\n");
}

#[test]
fn symlinks_on_the_way_to_a_device_stay_inside_the_rootfs() {
    let t = Test::new();
    let outside = t.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    let mut config = spec(&["true"]);
    config["root"]["readonly"] = json!(false);
    config["linux"]["devices"] = json!([{"path": "/link/node", "type": "c", "major": 1, "minor": 5}]);
    let bundle = t.bundle("b", &config);
    symlink(&outside, bundle.join("rootfs/link")).unwrap();
    let _ = t.run_bundle(&bundle).run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn devices_are_there_with_a_bound_dev_as_well() {
    mote_only!("runc makes none then");
    let t = Test::new();
    let dev = t.dir.join("dev");
    fs::create_dir(&dev).unwrap();
    let mut config = spec(&["stat", "-c", "%t %T", "/dev/node", "/dev/null"]);
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    add_mount(&mut config, "/dev", "bind", dev.to_str().unwrap(), &["rbind"]);
    config["linux"]["devices"] = json!([{"path": "/dev/node", "type": "c", "major": 1, "minor": 7}]);
    t.command("mknod").arg(dev.join("null")).args(["c", "1", "3"]).run().ok();
    assert_eq!(t.run(&config).ok(), "1 7\n1 3\n");
}

#[test]
fn a_device_without_a_rule_cannot_be_opened() {
    let t = Test::new();
    if is_mote() && !std::path::Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        return common::skipped("no cgroup v2 to put a device program on");
    }
    let text = t.sh("cat /dev/kmsg0 2>&1 >/dev/null; true", |c| {
        c["linux"]["devices"] = json!([{"path": "/dev/kmsg0", "type": "c", "major": 1, "minor": 11}]);
        c["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
    });
    assert!(text.contains("Operation not permitted"), "{text}");
}

#[test]
fn in_a_user_namespace_the_host_s_device_is_bound() {
    mote_only!("runc 1.1 binds whatever has the path, a fifo too");
    let t = Test::new();
    let with = |devices: Value| {
        let mut config = spec(&["stat", "-c", "%F %t %T", "/dev/null", "/dev/kmsg", "/run/pipe"]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for field in ["uidMappings", "gidMappings"] {
            config["linux"][field] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        }
        config["linux"]["devices"] = devices;
        config["root"]["readonly"] = json!(false);
        let bundle = t.bundle(&format!("b{}", t.id()), &config);
        t.command("chown").args(["-R", "100000:100000"]).arg(bundle.join("rootfs")).run().ok();
        t.command("chmod").arg("755").arg(&t.dir).run().ok();
        t.run_bundle(&bundle).run()
    };
    let own = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3});
    let pipe = json!({"path": "/run/pipe", "type": "p", "uid": 5, "gid": 5});
    let good = with(json!([own, {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}, pipe]));
    let wrong = with(json!([own, {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 9}, pipe]));
    let missing = with(json!([own, {"path": "/dev/nosuch.mote", "type": "c", "major": 1, "minor": 9}, pipe]));
    assert_eq!(good.ok(), "character special file 1 3\ncharacter special file 1 b\nfifo 0 0\n");
    wrong.fails_saying(&["linux.devices[1]", "/dev/kmsg"]);
    missing.fails_saying(&["linux.devices[1]", "/dev/nosuch.mote", "no such file or directory"]);
    t.assert_nothing_left();
}
