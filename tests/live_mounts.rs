//! `mounts add` and `mounts remove`: mounts of a container that runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Output, Test, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// A container that does nothing for long.
fn sleeper(t: &Test, edit: impl FnOnce(&mut Value)) -> String {
    let mut config = spec(&["sleep", "1000"]);
    config["root"]["readonly"] = json!(false);
    edit(&mut config);
    t.detached(&config)
}

fn mounts(t: &Test, word: &str, id: &str, list: &Value) -> Output {
    let file = t.dir.join("mounts.json");
    fs::write(&file, list.to_string()).unwrap();
    t.mote(["mounts", word, id]).arg(file).run()
}

/// What a script in the container prints.
#[track_caller]
fn sh(t: &Test, id: &str, script: &str) -> String {
    t.mote(["exec", id, "sh", "-c", script]).run().ok().to_owned()
}

#[test]
fn mounts_come_to_a_container_that_runs_and_go_again() {
    mote_only!("runc has no such command, and crun 1.8 neither");
    let t = Test::new();
    fs::create_dir(t.dir.join("data")).unwrap();
    fs::write(t.dir.join("data/file"), "from the host\n").unwrap();
    let data = t.dir.join("data").display().to_string();
    let id = sleeper(&t, |_| ());
    let list = json!([
        {"destination": "/new/place", "type": "bind", "source": data, "options": ["bind", "ro", "nosuid"]},
        {"destination": "/mnt/one", "type": "bind", "source": format!("{data}/file"), "options": ["bind"]},
        {"destination": "/new/tmp", "type": "tmpfs", "source": "tmp", "options": ["size=64k", "mode=700", "noexec"]},
    ]);
    assert_eq!(mounts(&t, "add", &id, &list).ok(), "");
    assert_eq!(sh(&t, &id, "cat /new/place/file /mnt/one"), "from the host\nfrom the host\n");
    assert_eq!(sh(&t, &id, "(: >/new/place/x) 2>/dev/null || echo refused"), "refused\n");
    let shown = sh(&t, &id, "awk '$5 ~ /^\\/(new|mnt)/ { print $5, $6 }' /proc/self/mountinfo");
    assert_eq!(shown, "/new/place ro,nosuid,relatime\n/mnt/one rw,relatime\n/new/tmp rw,noexec,relatime\n");
    assert_eq!(sh(&t, &id, "stat -c %a /new/tmp; df -k /new/tmp | awk 'END { print $2 }'"), "700\n64\n");
    // The host sees none of it.
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!("{}/", t.dir.display())));

    assert_eq!(mounts(&t, "remove", &id, &json!({"mounts": list})).ok(), "");
    assert_eq!(sh(&t, &id, "grep -c -e /new -e /mnt /proc/self/mountinfo || true"), "0\n");
    // What is not mounted cannot be unmounted; the first that fails is named.
    mounts(&t, "remove", &id, &json!([list[1]])).fails_saying(&[
        "mounts[0]: unmount",
        "/mnt/one",
        "invalid argument",
    ]);
}

#[test]
fn they_come_to_a_container_in_a_user_namespace() {
    mote_only!("as above");
    let t = Test::new();
    fs::write(t.dir.join("file"), "from the host\n").unwrap();
    let id = sleeper(&t, |c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for field in ["uidMappings", "gidMappings"] {
            c["linux"][field] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        }
        common::add_mount(c, "/tmp", "tmpfs", "tmp", &[]);
    });
    let list = json!([
        {"destination": "/tmp/a/b", "type": "tmpfs", "source": "tmp"},
        {"destination": "/tmp/f", "type": "bind", "source": t.dir.join("file"), "options": ["bind"]},
    ]);
    mounts(&t, "add", &id, &list).ok();
    assert_eq!(
        sh(&t, &id, "stat -c %u /tmp/a /tmp/a/b; cat /tmp/f; touch /tmp/a/b/x && echo wrote"),
        "0\n0\nfrom the host\nwrote\n"
    );
    mounts(&t, "remove", &id, &list).ok();
    assert_eq!(sh(&t, &id, "grep -c ' /tmp/[af]' /proc/self/mountinfo || true"), "0\n");
}

#[test]
fn targets_stay_inside_and_what_is_wrong_is_named() {
    mote_only!("as above");
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let rootfs = t.state(&id)["rootfs"].as_str().unwrap().to_owned();
    symlink("/tmp", format!("{rootfs}/out")).unwrap();
    symlink("../../../../../../tmp", format!("{rootfs}/up")).unwrap();
    let name = format!("mote-{}", std::process::id());
    for link in ["out", "up"] {
        let place = format!("/{link}/{name}");
        let list = json!([{"destination": place, "type": "tmpfs", "source": "tmp"}]);
        mounts(&t, "add", &id, &list).ok();
        assert!(!std::path::Path::new("/tmp").join(&name).exists(), "made on the host");
        assert_eq!(sh(&t, &id, &format!("grep -c ' /tmp/{name} ' /proc/self/mountinfo")), "1\n");
        mounts(&t, "remove", &id, &list).ok();
    }
    let one = |more: Value| {
        let mut mount = json!({"destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind"]});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([mount])
    };
    for (list, words) in [
        (
            one(json!({"source": "/nosuch.mote"})),
            ["mounts[0]: mount \"/nosuch.mote\" on \"/mnt\"", "no such file"],
        ),
        (one(json!({"destination": ""})), ["mounts[0].destination", "missing, or empty"]),
        (one(json!({"destination": "/"})), ["mounts[0].destination", "the root itself"]),
        (one(json!({"options": ["bind", "size=1"]})), ["mounts[0].options", "a bind mount has no option"]),
        (one(json!({"options": ["bind", "idmap"]})), ["mounts[0]", "for the creation of a container"]),
        (one(json!({"type": "cgroup", "options": []})), ["mounts[0]", "for the creation of a container"]),
        (one(json!({"type": 7})), ["mounts[0].type", "expected a string"]),
        (json!("x"), ["the document", "expected an object"]),
    ] {
        let out = mounts(&t, "add", &id, &list);
        out.fails_saying(&words);
        assert_eq!(out.stderr.lines().count(), 1, "{out}");
    }
    assert_eq!(sh(&t, &id, "grep -c ' /mnt' /proc/self/mountinfo || true"), "0\n");
    t.mote(["mounts", "move", &id, "x"]).run().fails_saying(&["mounts: expected add or remove"]);
    t.mote(["mounts", "add", &id, "/nosuch.mote"]).run().fails_saying(&["/nosuch.mote", "no such file"]);
    t.mote(["mounts", "add", &id]).run().fails_saying(&["mounts: expected add|remove"]);
    t.mote(["mounts", "add", "nobody", "/dev/null"]).run().fails_saying(&["container does not exist"]);
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    mounts(&t, "add", &id, &one(json!({}))).fails_saying(&["container not running"]);
}
