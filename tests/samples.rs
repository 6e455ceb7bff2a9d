//! `config.json` files as containerd, Docker and Podman wrote them (samples/), run through the whole life of a container.
//!
//! Only paths are adapted to the test, that of Docker's hook among them: the program is the engine's own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, without_namespace};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name and contents.
const SAMPLES: [(&str, &str); 5] = [
    ("containerd16-cri-container", include_str!("samples/containerd16-cri-container.json")),
    ("containerd16-cri-sandbox", include_str!("samples/containerd16-cri-sandbox.json")),
    ("docker20-bridge", include_str!("samples/docker20-bridge.json")),
    ("podman43-p1", include_str!("samples/podman43-p1.json")),
    ("podman43-p2", include_str!("samples/podman43-p2.json")),
];

/// Makes a bundle of a sample: the sources of its binds are files and directories of the test.
fn bundle(t: &Test, name: &str, mut config: Value) -> (PathBuf, Value) {
    let bundle = t.dir.join(name);
    let rootfs = bundle.join("rootfs");
    common::make_rootfs(&rootfs);
    fs::write(rootfs.join("pause"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(rootfs.join("pause"), fs::Permissions::from_mode(0o755)).unwrap();
    for (n, mount) in
        config["mounts"].as_array_mut().unwrap().iter_mut().filter(|m| m["type"] == "bind").enumerate()
    {
        let file =
            Path::new(mount["source"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        let source = bundle.join(format!("source.{n}.{file}"));
        if file == "shm" {
            fs::create_dir(&source).unwrap();
            fs::create_dir_all(rootfs.join("dev/shm")).unwrap();
        } else {
            fs::write(&source, format!("{file} of the test\n")).unwrap();
            // The sandbox has a read-only root, where no target can be made.
            fs::write(rootfs.join("etc").join(&file), "").unwrap();
        }
        mount["source"] = json!(source);
    }
    for hook in config.pointer_mut("/hooks/prestart").and_then(Value::as_array_mut).into_iter().flatten() {
        let program = bundle.join("hook");
        let args = hook["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect::<Vec<_>>();
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = '{}' ] && exec cat >'{}'\n",
            args[1..].join(" "),
            bundle.join("hooked").display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        hook["path"] = json!(program);
    }
    config["root"]["path"] = json!(rootfs);
    config["linux"]["cgroupsPath"] =
        json!(format!("/{}-{name}", t.dir.file_name().unwrap().to_str().unwrap()));
    common::write_config(&bundle, &config);
    (bundle, config)
}

/// Makes joined namespaces new ones.
fn own_namespaces(config: &mut Value) {
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        namespace.as_object_mut().unwrap().remove("path");
    }
}

#[test]
fn the_configs_of_engines_run_through_a_whole_life() {
    let t = Test::new();
    for (name, text) in SAMPLES {
        let mut config: Value = serde_json::from_str(text).unwrap();
        own_namespaces(&mut config);
        let (bundle, config) = bundle(&t, name, config);
        let id = t.create(&bundle);
        assert_eq!(t.status(&id), "created", "{name}");
        assert_eq!(t.state(&id)["annotations"], config["annotations"], "{name}");
        t.verb("start", &id).ok();
        assert_eq!(t.status(&id), "running", "{name}");
        check_inside(&t, name, &id, &config);
        if !config["hooks"].is_null() {
            let state: Value = serde_json::from_slice(&fs::read(bundle.join("hooked")).unwrap()).unwrap();
            assert_eq!(state["pid"].as_i64(), Some(t.pid(&id).as_raw().into()), "{name}: {state}");
        }
        let pid = t.pid(&id);
        t.mote(["kill", "--all", &id, "KILL"]).run().ok();
        t.wait_status(&id, "stopped");
        t.verb("delete", &id).ok();
        t.mote(["delete", "--force", &id]).run().ok();
        t.assert_gone(&id);
        common::reap(pid);
    }
    t.assert_nothing_left();
}

/// Compares what the running program has with its config, from outside.
fn check_inside(t: &Test, name: &str, id: &str, config: &Value) {
    let proc = PathBuf::from(format!("/proc/{}", t.pid(id)));
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap();
    for mount in config["mounts"].as_array().unwrap() {
        let (point, options) = (mount["destination"].as_str().unwrap(), mount["options"].as_array().unwrap());
        let last = config["mounts"].as_array().unwrap().iter().rfind(|m| m["destination"] == point).unwrap();
        if mount != last {
            continue; // covered: containerd gives a sandbox two mounts on /dev/shm
        }
        let line = mounts.lines().rfind(|l| l.split(' ').nth(4) == Some(point));
        let line = line.unwrap_or_else(|| panic!("{name}: nothing on {point}: {mounts}"));
        for flag in
            options.iter().filter_map(Value::as_str).filter(|o| ["nosuid", "noexec", "nodev"].contains(o))
        {
            assert!(
                line.split(' ').nth(5).unwrap().split(',').any(|o| o == flag),
                "{name}: no {flag}: {line}"
            );
        }
        if mount["type"] == "bind" && !point.ends_with("shm") {
            let path = proc.join("root").join(point.trim_start_matches('/'));
            let source = mount["source"].as_str().unwrap();
            assert_eq!(fs::read(path).unwrap(), fs::read(source).unwrap(), "{name}: {point}");
        }
    }
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let field = |f: &str| status.lines().find_map(|l| l.strip_prefix(f)).unwrap().trim().to_owned();
    let caps = config["process"]["capabilities"]["bounding"].as_array().unwrap().len();
    let held = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
    assert_eq!(held.count_ones() as usize, caps, "{name}: {status}");
    assert_eq!(field("NoNewPrivs:") == "1", config["process"]["noNewPrivileges"] == true, "{name}");
    let environ = fs::read(proc.join("environ")).unwrap();
    for entry in config["process"]["env"].as_array().unwrap() {
        let entry = entry.as_str().unwrap().as_bytes();
        assert!(environ.split(|b| *b == 0).any(|e| e == entry), "{name}: {entry:?}");
    }
    if let Some(score) = config["process"]["oomScoreAdj"].as_i64() {
        assert_eq!(
            fs::read_to_string(proc.join("oom_score_adj")).unwrap().trim(),
            score.to_string(),
            "{name}"
        );
    }
    let inside = |file: &str| {
        t.command("nsenter").arg(format!("--net={}", proc.join("ns/net").display())).args(["cat", file]).run()
    };
    for (key, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let read = inside(&format!("/proc/sys/{}", key.replace('.', "/")));
        let words: Vec<&str> = read.ok().split_whitespace().collect();
        assert_eq!(words.join(" "), value.as_str().unwrap(), "{name}: {key}");
    }
}

#[test]
fn containers_of_a_pod_join_the_namespaces_of_its_sandbox() {
    let t = Test::new();
    let parse = |n: usize| -> Value { serde_json::from_str(SAMPLES[n].1).unwrap() };
    let mut sandbox: Value = parse(1);
    own_namespaces(&mut sandbox);
    let (sandbox, _) = bundle(&t, "sandbox", sandbox);
    let sandbox = t.create(&sandbox);
    t.verb("start", &sandbox).ok();
    let pid = t.pid(&sandbox);
    // The container of containerd joins ipc, uts and network, the second one of Podman's pod pid too.
    for (n, name) in [(0, "container"), (4, "podman")] {
        let mut config = parse(n);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if let Some(path) = namespace["path"].as_str() {
                namespace["path"] = json!(format!("/proc/{pid}/ns/{}", path.rsplit('/').next().unwrap()));
            }
        }
        let joined: Vec<Value> = config["linux"]["namespaces"].as_array().unwrap().clone();
        let (bundle, _) = bundle(&t, name, config);
        let id = t.create(&bundle);
        t.verb("start", &id).ok();
        let own = t.pid(&id);
        for namespace in joined {
            let Some(path) = namespace["path"].as_str() else { continue };
            let file = path.rsplit('/').next().unwrap();
            let link = |p: String| fs::read_link(p).unwrap();
            assert_eq!(link(format!("/proc/{own}/ns/{file}")), link(path.to_owned()), "{name}: {file}");
        }
        t.mote(["delete", "--force", &id]).run().ok();
        common::reap(own);
    }
    assert_eq!(t.status(&sandbox), "running");
}

#[test]
fn a_sandbox_joins_a_network_namespace_pinned_by_a_bind_mount() {
    let t = Test::new();
    let mut config: Value = serde_json::from_str(SAMPLES[1].1).unwrap();
    let pin = t.dir.join("pin");
    fs::write(&pin, "").unwrap();
    without_namespace(&mut config, "network");
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network", "path": pin}));
    config["process"]["args"] = json!(["/bin/readlink", "/proc/self/ns/net"]);
    let (bundle, _) = bundle(&t, "sandbox", config);
    let make = format!(
        "unshare -n sh -c 'mount --bind /proc/self/ns/net {0}; readlink /proc/self/ns/net'",
        pin.display()
    );
    let out = t.run_bundle(&bundle).after_bash(&make).under(["unshare", "-m"]).run();
    let links: Vec<&str> = out.ok().lines().collect();
    assert_eq!((links.len(), links[0]), (2, links[1]), "{out}");
}

#[test]
fn all_of_this_goes_well_without_the_newer_calls_too() {
    mote_only!("others have other ways");
    common::again_without("clone3,openat2,mount_setattr,close_range,setns-many");
}
