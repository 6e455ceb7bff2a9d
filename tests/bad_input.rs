//! Wrong input gets one line that names the file and the place in it, exit code 1, and leaves nothing behind.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Output, Test, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Runs a bundle whose config.json has these bytes.
fn run_bytes(t: &Test, bytes: &[u8]) -> Output {
    let bundle = t.dir.join("bundle");
    if !bundle.exists() {
        common::make_rootfs(&bundle.join("rootfs"));
    }
    fs::write(bundle.join("config.json"), bytes).unwrap();
    // A runtime that overlooks what is wrong might do it to the caller's namespaces: they are ours.
    let own = ["unshare", "-m", "-u", "-i", "-n", "--propagation", "private"];
    t.run_bundle(&bundle).deadline(Duration::from_secs(20)).under(own).run()
}

fn refused(t: &Test, bytes: &[u8], words: &[&str]) {
    let out = run_bytes(t, bytes);
    out.fails_and_mote_says(&["config.json"]);
    out.fails_and_mote_says(words);
    t.assert_nothing_left();
}

#[test]
fn what_is_not_json_is_refused() {
    let t = Test::new();
    let whole = serde_json::to_string(&spec(&["true"])).unwrap();
    refused(&t, b"", &[]);
    refused(&t, b" \n\t", &[]);
    refused(&t, b"\0\0\0\0", &[]);
    refused(&t, b"nonsense", &[]);
    refused(&t, b"[]", &[]);
    refused(&t, b"\"text\"", &[]);
    refused(&t, b"12", &[]);
    refused(&t, b"{\"process\" {}}", &[]);
    refused(&t, b"{'process': {}}", &[]);
    if is_mote() {
        // runc reads one value and does not look at the rest.
        refused(&t, format!("{whole}x").as_bytes(), &[]);
        refused(&t, format!("{whole}{whole}").as_bytes(), &[]);
    }
    refused(&t, whole.replace(",", ",,").as_bytes(), &[]);
    refused(&t, whole.replace("true", "truth").as_bytes(), &[]);
    refused(&t, whole.replace('}', ",}").as_bytes(), &[]);
}

#[test]
fn a_truncated_config_is_refused_wherever_it_ends() {
    let t = Test::new();
    let whole = serde_json::to_vec(&spec(&["true"])).unwrap();
    for end in (1..whole.len()).step_by(if is_mote() { 13 } else { 101 }) {
        refused(&t, &whole[..end], &[]);
    }
}

#[test]
fn a_config_that_is_not_utf_8_is_refused() {
    let t = Test::new();
    let whole = serde_json::to_vec(&spec(&["echo", "MARK"])).unwrap();
    let at = whole.windows(4).position(|w| w == b"MARK").unwrap();
    for bytes in [&b"\xff\xfe\xfd\xfc"[..], b"\xc0\xafxx", b"\xed\xa0\x80x", b"\xf5\x80\x80\x80"] {
        let mut broken = whole.clone();
        broken[at..at + 4].copy_from_slice(bytes);
        if is_mote() {
            refused(&t, &broken, &[]);
        }
    }
    let utf16: Vec<u8> = whole.iter().flat_map(|b| [*b, 0]).collect();
    refused(&t, &utf16, &[]);
}

#[test]
fn an_empty_config_is_refused() {
    let t = Test::new();
    refused(&t, b"{}", &[]);
    refused(&t, b"{\"ociVersion\":\"1.0.2\"}", &[]);
    if is_mote() {
        refused(&t, b"null", &[]); // runc 1.1 panics
    }
}

#[test]
fn a_config_that_is_missing_or_unreadable_is_refused() {
    let t = Test::new();
    let bundle = t.dir.join("bundle");
    common::make_rootfs(&bundle.join("rootfs"));
    let config = bundle.join("config.json");
    t.run_bundle(&bundle).run().fails_saying(&["config.json"]);
    fs::create_dir(&config).unwrap();
    t.run_bundle(&bundle).run().fails_and_mote_says(&["config.json"]);
    fs::remove_dir(&config).unwrap();
    symlink("config.json", &config).unwrap();
    t.run_bundle(&bundle).run().fails_saying(&["config.json"]);
    fs::remove_file(&config).unwrap();
    symlink("/dev/null", &config).unwrap();
    t.run_bundle(&bundle).run().fails_and_mote_says(&["config.json"]);
    t.mote(["run", "-b", "/nonexistent/bundle"]).arg(t.id()).run().fails_saying(&["/nonexistent/bundle"]);
    t.mote(["run", "-b", "/etc/passwd"]).arg(t.id()).run().fails_saying(&["/etc/passwd"]);
    t.assert_nothing_left();
}

#[test]
fn a_config_that_is_a_fifo_or_a_device_does_not_hang() {
    mote_only!("runc reads /dev/zero until memory is out, and waits for a fifo's writer");
    let t = Test::new();
    let bundle = t.dir.join("bundle");
    common::make_rootfs(&bundle.join("rootfs"));
    let config = bundle.join("config.json");
    t.command("mkfifo").arg(&config).run().ok();
    t.run_bundle(&bundle).deadline(Duration::from_secs(10)).run().fails_saying(&["config.json"]);
    fs::remove_file(&config).unwrap();
    symlink("/dev/zero", &config).unwrap();
    t.run_bundle(&bundle).deadline(Duration::from_secs(10)).run().fails_saying(&["config.json"]);
    t.assert_nothing_left();
}

#[test]
fn a_config_of_100_mb_is_refused_at_once() {
    mote_only!("runc reads any size");
    let t = Test::new();
    let bundle = t.dir.join("bundle");
    common::make_rootfs(&bundle.join("rootfs"));
    let mut file = fs::File::create(bundle.join("config.json")).unwrap();
    let block = vec![b' '; 1 << 20];
    file.write_all(serde_json::to_string(&spec(&["true"])).unwrap().as_bytes()).unwrap();
    for _ in 0..100 {
        file.write_all(&block).unwrap();
    }
    drop(file);
    // It must not even be read: 64 MB of address space are enough to refuse.
    let out = t.run_bundle(&bundle).deadline(Duration::from_secs(10)).after_bash("ulimit -v 65536").run();
    out.fails_saying(&["config.json"]);
    t.assert_nothing_left();
}

#[test]
fn deep_nesting_is_refused() {
    let t = Test::new();
    let whole = serde_json::to_string(&spec(&["true"])).unwrap();
    for depth in [20_000, 200_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            refused(&t, deep.as_bytes(), &[]);
            refused(&t, open.repeat(depth).as_bytes(), &[]);
            for field in ["\"unknown\"", "\"annotations\"", "\"windows\""] {
                refused(&t, format!("{{{field}:{deep},{}", &whole[1..]).as_bytes(), &[]);
            }
            refused(&t, whole.replace("\"uid\":0", &format!("\"uid\":{deep}")).as_bytes(), &[]);
        }
    }
}

/// Maps with keys of their own.
const MAPS: [&str; 6] = [
    "annotations",
    "linux.sysctl",
    "linux.netDevices",
    "linux.timeOffsets",
    "linux.resources.rdma",
    "linux.resources.unified",
];

/// Every place in a config: its path in words and as a JSON pointer.
fn places(value: &Value, path: &str, pointer: &str, all: &mut Vec<(String, String)>) {
    if !path.is_empty() {
        all.push((path.to_owned(), pointer.to_owned()));
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let inner_path = match path {
                    "" => key.to_owned(),
                    _ if MAPS.contains(&path) => format!("{path}[\"{key}\"]"),
                    _ => format!("{path}.{key}"),
                };
                places(inner, &inner_path, &format!("{pointer}/{key}"), all);
            }
        }
        Value::Array(list) => {
            for (n, inner) in list.iter().enumerate() {
                places(inner, &format!("{path}[{n}]"), &format!("{pointer}/{n}"), all);
            }
        }
        _ => {}
    }
}

/// What is read at each place of a config, by its JSON pointer: the types of src/spec.rs, gone through from the top.
fn types() -> Vec<(String, String)> {
    let text = [include_str!("../src/spec.rs"), include_str!("../src/spec/resources.rs")].concat();
    let mut fields: Vec<(&str, &str, &str)> = Vec::new();
    let mut of = "";
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            of = rest.split([' ', '<']).next().unwrap();
        } else if let Some((kind, key)) = line.strip_suffix("\",").and_then(|line| line.split_once(" = \"")) {
            fields.push((of, key, kind.split_once(": ").unwrap().1));
        }
    }
    let mut all = vec![(String::new(), "Spec".to_owned())];
    let mut next = 0;
    while next < all.len() {
        let (pointer, kind) = all[next].clone();
        next += 1;
        let inner = |outer: &str| kind.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
        if let Some(inner) = inner("Option<") {
            all[next - 1].1 = inner.to_owned();
            next -= 1;
        } else if let Some(inner) = inner("List<") {
            all.push((format!("{pointer}/0"), inner.to_owned()));
        } else if let Some(inner) = inner("Pairs<'a, ") {
            all.push((format!("{pointer}/*"), inner.to_owned()));
        } else {
            let name = kind.split('<').next().unwrap();
            let own = fields.iter().filter(|(of, ..)| *of == name);
            all.extend(own.map(|(_, key, kind)| (format!("{pointer}/{key}"), (*kind).to_owned())));
        }
    }
    all
}

/// What stands at a pointer whose `*` is the first key of a map.
fn at<'v>(config: &'v Value, pointer: &str) -> Option<&'v Value> {
    pointer.split('/').skip(1).try_fold(config, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        Value::Object(map) if key == "*" => map.values().next(),
        other => other.get(key),
    })
}

/// The same with what cannot be had together, or not on every host: enough to ask for the type of each field.
fn fuller() -> Value {
    let mut config = full();
    config["process"]["user"]["username"] = json!("x");
    config["domainname"] = json!("x");
    config["mounts"][0]["options"] = json!(["nosuid"]);
    config["linux"]["namespaces"][0]["path"] = json!("/x");
    config["mounts"][0]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["mounts"][0]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["rootfsPropagation"] = json!("slave");
    config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1, "nanosecs": 1}});
    config["linux"]["netDevices"] = json!({"eth0": {"name": "x"}});
    config["linux"]["personality"]["flags"] = json!(["x"]);
    config["linux"]["resources"] = json!({
        "devices": [{"allow": false, "type": "c", "major": 1, "minor": 1, "access": "r"}],
        "memory": {
            "limit": 1, "reservation": 1, "swap": 1, "kernel": 1, "kernelTCP": 1, "swappiness": 1,
            "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true,
        },
        "cpu": {
            "shares": 1, "quota": 1, "burst": 1, "period": 1, "realtimeRuntime": 1, "realtimePeriod": 1, "idle": 1,
            "cpus": "0", "mems": "0",
        },
        "pids": {"limit": 1},
        "blockIO": {
            "weight": 10, "leafWeight": 10,
            "weightDevice": [{"major": 1, "minor": 1, "weight": 10, "leafWeight": 10}],
            "throttleReadBpsDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleWriteBpsDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleReadIOPSDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleWriteIOPSDevice": [{"major": 1, "minor": 1, "rate": 1}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
        "rdma": {"mlx": {"hcaHandles": 1, "hcaObjects": 1}},
        "unified": {"memory.max": "1"},
    });
    config
}

#[test]
fn no_field_is_left_out_of_these_tests() {
    let config = fuller();
    let missing: Vec<String> = types()
        .into_iter()
        .map(|(pointer, _)| pointer)
        .filter(|pointer| at(&config, pointer).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(types().len() > 250, "{}", types().len());
}

/// The spec with nearly every field that the runtime reads.
fn full() -> Value {
    let mut config = spec(&["true"]);
    config["process"]["user"]["additionalGids"] = json!([5]);
    config["process"]["user"]["umask"] = json!(18);
    config["process"]["oomScoreAdj"] = json!(100);
    config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
    config["process"]["consoleSize"] = json!({"height": 1, "width": 1});
    config["annotations"] = json!({"a": "b"});
    config["process"]["apparmorProfile"] = json!("unconfined");
    config["process"]["selinuxLabel"] = json!("");
    config["linux"]["mountLabel"] = json!("");
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    config["linux"]["namespaces"][1]["path"] = json!("/proc/self/ns/net");
    config["linux"]["cgroupsPath"] = json!("/x");
    config["process"]["scheduler"] = json!({
        "policy": "SCHED_OTHER", "nice": 1, "priority": 0, "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 0, "deadline": 0, "period": 0,
    });
    config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
    config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    config["linux"]["devices"] = json!([{
        "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 1,
    }]);
    config["linux"]["intelRdt"] = json!({
        "closID": "gold", "schemata": ["L2:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20",
        "enableMonitoring": true, "enableCMT": true, "enableMBM": true,
    });
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        config["hooks"][kind] =
            json!([{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 1}]);
    }
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/x", "listenerMetadata": "x",
        "syscalls": [{
            "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 0,
            "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
        }],
    });
    config["linux"]["personality"] = json!({"domain": "LINUX", "flags": []});
    config["linux"]["memoryPolicy"] =
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    config
}

/// One mapping of ids.
fn ids(inside: u64, outside: u64, size: u64) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": size}])
}

/// Puts a value in a place, making the objects on the way.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        at = match at {
            Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
            other => &mut other[key],
        };
    }
    *at = value;
}

#[test]
fn a_wrong_type_is_named_by_its_json_path_in_every_field() {
    let t = Test::new();
    let config = fuller();
    let mut all = Vec::new();
    places(&config, "", "", &mut all);
    assert!(all.len() > 250, "{}", all.len());
    let types = types();
    let mut wrong = Vec::new();
    let bad = [json!("text"), json!(-7), json!(true), json!([[]]), json!({"x": {}}), json!(1.5)];
    for (n, (path, pointer)) in all.into_iter().enumerate() {
        let mut of_map = pointer.clone();
        if let Some(map) = MAPS.iter().find(|map| path.starts_with(&format!("{map}[\""))) {
            let above = format!("/{}/", map.replace('.', "/"));
            let below = pointer[above.len()..].find('/').map_or("", |at| &pointer[above.len() + at..]);
            of_map = format!("{above}*{below}");
        }
        let read =
            |(at, kind): &&(String, String)| *at == of_map || kind == "Present" && of_map.starts_with(at);
        if types.iter().find(read).is_some_and(|(_, kind)| kind == "Present") {
            continue; // anything will do
        }
        // Four of them each, as it takes long.
        for bad in bad.iter().cycle().skip(n).take(4) {
            let good = config.pointer(&pointer).unwrap();
            let same = good.is_string() && bad.is_string() || good.is_boolean() && bad.is_boolean();
            // Of a signed number the range is a matter of its own.
            let here = |(at, kind): &(String, String)| *at == of_map && matches!(&**kind, "i32" | "i64");
            let signed = *bad == -7 && types.iter().any(here);
            // An array of objects may say that its element is wrong; an object with strange keys ignores them.
            if same || signed || good.is_object() && bad.is_object() {
                continue;
            }
            let mut broken = config.clone();
            *broken.pointer_mut(&pointer).unwrap() = bad.clone();
            let out = run_bytes(&t, &serde_json::to_vec(&broken).unwrap());
            if out.status.code() != Some(1) || is_mote() && out.stderr.lines().count() != 1 {
                wrong.push(format!("{path} = {bad}: {out}"));
            } else if is_mote() && !(out.stderr.contains("config.json") && out.stderr.contains(&path)) {
                wrong.push(format!("{path} = {bad}: says {:?}", out.stderr));
            }
        }
        if !is_mote() && wrong.len() > 500 {
            break;
        }
    }
    t.assert_nothing_left();
    if is_mote() {
        assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(40)]);
    }
}

#[test]
fn a_wrong_value_is_named_by_its_json_path() {
    mote_only!("runc names no path, and takes some of these");
    let t = Test::new();
    let cases: &[(&str, Value, &str)] = &[
        ("/process/user/uid", json!(4_294_967_296u64), "process.user.uid"),
        ("/process/user/uid", json!(4_294_967_295u64), "process.user.uid"),
        ("/process/user/gid", json!(1e99), "process.user.gid"),
        ("/process/user/additionalGids", json!([1, -1]), "process.user.additionalGids[1]"),
        ("/process/user/umask", json!(0o1000), "process.user.umask"),
        ("/process/env/0", json!("PA\u{0}TH=x"), "process.env[0]"),
        ("/process/env/1", json!("NOEQUALS"), "process.env[1]"),
        ("/process/env/1", json!("=x"), "process.env[1]"),
        ("/process/args/0", json!("tr\u{0}ue"), "process.args[0]"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/rlimits/0/soft", json!(-1), "process.rlimits[0].soft"),
        ("/process/rlimits/0/type", json!("RLIMIT_NOSUCH"), "process.rlimits[0].type"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/oomScoreAdj", json!(-1001), "process.oomScoreAdj"),
        ("/root/path", json!(""), "root.path"),
        ("/root/path", json!("ro\u{0}otfs"), "root.path"),
        ("/hostname", json!("x".repeat(65)), "hostname"),
        ("/hostname", json!("a\u{0}b"), "hostname"),
        ("/mounts/2/options/1", json!("no\u{0}exec"), "mounts[2].options[1]"),
        ("/mounts/1/destination", json!(""), "mounts[1].destination"),
        ("/mounts/1/source", json!("a\u{0}b"), "mounts[1].source"),
        ("/linux/namespaces/1/type", json!("net"), "linux.namespaces[1].type"),
        ("/linux/namespaces/1/type", json!("pid"), "linux.namespaces[1]"),
        ("/linux/namespaces/1/path", json!("relative"), "linux.namespaces[1].path"),
        ("/linux/maskedPaths/1", json!("relative"), "linux.maskedPaths[1]"),
        ("/linux/readonlyPaths/0", json!("../x"), "linux.readonlyPaths[0]"),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!("nonsense"), "ociVersion"),
        ("/ociVersion", json!(""), "ociVersion"),
        ("/ociVersion", json!("1"), "ociVersion"),
        ("/ociVersion", json!("1.x"), "ociVersion"),
        ("/ociVersion", json!("1.0.0 "), "ociVersion"),
        ("/annotations", json!({"": "x"}), "annotations[\"\"]"),
        ("/process/apparmorProfile", json!("a\nb"), "process.apparmorProfile"),
        ("/process/selinuxLabel", json!("a\u{0}b"), "process.selinuxLabel"),
        ("/linux/devices/0/type", json!("a"), "linux.devices[0].type: \"a\" is none of c, u, b, p"),
        ("/linux/devices/0/type", json!(""), "linux.devices[0].type"),
        ("/linux/devices/0/path", json!(""), "linux.devices[0].path"),
        ("/linux/devices/0/path", json!("dev/x"), "linux.devices[0].path"),
        ("/linux/devices/0/path", json!("/"), "linux.devices[0].path"),
        ("/linux/devices/0/path", json!("/dev/.."), "linux.devices[0].path"),
        ("/linux/devices/0/path", json!("/dev/x/"), "linux.devices[0].path"),
        ("/linux/devices/0/path", json!("/dev/a\u{0}b"), "linux.devices[0].path"),
        ("/linux/devices/0/major", json!(4096), "linux.devices[0].major"),
        ("/linux/devices/0/major", json!(-1), "linux.devices[0].major"),
        ("/linux/devices/0/major", Value::Null, "linux.devices[0].major: missing"),
        ("/linux/devices/0/minor", json!(1_048_576), "linux.devices[0].minor"),
        ("/linux/devices/0/minor", json!(-1), "linux.devices[0].minor"),
        ("/linux/devices/0/minor", Value::Null, "linux.devices[0].minor: missing"),
        ("/linux/devices/0/type", json!("p"), "linux.devices[0].major: a fifo has no numbers"),
        ("/linux/devices/0/fileMode", json!(0o1_000_000), "linux.devices[0].fileMode"),
        ("/linux/devices/0/uid", json!(4_294_967_295u64), "linux.devices[0].uid"),
        ("/linux/devices/0/gid", json!(4_294_967_296u64), "linux.devices[0].gid"),
        ("/root/path", json!("a\u{0}b"), "root.path"),
        ("/domainname", json!("x".repeat(65)), "domainname"),
        ("/process/args", json!([]), "process.args: missing"),
        ("/process/args", json!([""]), "process.args[0]"),
        ("/process/cwd", json!("/a\u{0}"), "process.cwd"),
        ("/process/rlimits/0/soft", json!(4096), "process.rlimits[0].soft"),
        ("/process/consoleSize/height", json!(65536), "process.consoleSize.height"),
        ("/process/consoleSize/width", json!(-1), "process.consoleSize.width"),
        ("/process/user/umask", json!(-1), "process.user.umask"),
        ("/process/oomScoreAdj", json!(2_147_483_648u64), "process.oomScoreAdj"),
        ("/linux/rootfsPropagation", json!("both"), "linux.rootfsPropagation: \"both\" is none of"),
        ("/linux/cgroupsPath", json!("/a/../b"), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/"), "linux.cgroupsPath"),
        ("/linux/maskedPaths/0", json!("/a\u{0}"), "linux.maskedPaths[0]"),
        ("/linux/namespaces/0/type", json!(""), "linux.namespaces[0].type"),
        ("/linux/namespaces/1/path", json!("/a\u{0}"), "linux.namespaces[1].path"),
        ("/mounts/1/destination", json!("/"), "mounts[1].destination"),
        ("/mounts/1/type", json!(""), "mounts[1].type"),
        ("/mounts/1", json!({"destination": "/x", "type": "bind"}), "mounts[1].source"),
        ("/hooks/prestart/0", json!({}), "hooks.prestart[0].path"),
        ("/hooks/createRuntime/0/path", json!("bin/true"), "hooks.createRuntime[0].path"),
        ("/hooks/createContainer/0/path", json!("/a\u{0}"), "hooks.createContainer[0].path"),
        ("/hooks/startContainer/0/args/0", json!("a\u{0}"), "hooks.startContainer[0].args[0]"),
        ("/hooks/poststart/0/env/0", json!("a\u{0}"), "hooks.poststart[0].env[0]"),
        ("/hooks/poststop/0/timeout", json!(0), "hooks.poststop[0].timeout"),
        ("/hooks/poststop/0/timeout", json!(-1), "hooks.poststop[0].timeout"),
        ("/linux/uidMappings", ids(0, 0, 1), "linux.uidMappings: needs a namespace of type user"),
        ("/linux/gidMappings", ids(0, 0, 1), "linux.gidMappings: needs a namespace of type user"),
        ("/linux/timeOffsets", json!({"boottime": {}}), "linux.timeOffsets: needs a namespace of type time"),
        ("/linux/seccomp/defaultAction", json!("SCMP_ACT_NOSUCH"), "linux.seccomp.defaultAction"),
        ("/linux/seccomp/defaultAction", json!(""), "linux.seccomp.defaultAction"),
        ("/linux/seccomp/defaultErrnoRet", json!(70_000), "linux.seccomp.defaultErrnoRet"),
        ("/linux/seccomp/architectures/0", json!("SCMP_ARCH_NOSUCH"), "linux.seccomp.architectures[0]"),
        ("/linux/seccomp/flags/0", json!("SECCOMP_FILTER_FLAG_NOSUCH"), "linux.seccomp.flags[0]"),
        ("/linux/seccomp/syscalls/0/names", json!([]), "linux.seccomp.syscalls[0].names"),
        ("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_NOSUCH"), "linux.seccomp.syscalls[0].action"),
        ("/linux/seccomp/syscalls/0/args/0/index", json!(6), "linux.seccomp.syscalls[0].args[0].index"),
        (
            "/linux/seccomp/syscalls/0/args/0/op",
            json!("SCMP_CMP_NOSUCH"),
            "linux.seccomp.syscalls[0].args[0].op",
        ),
        ("/linux/resources/devices/0/type", json!("x"), "linux.resources.devices[0].type"),
        ("/linux/resources/devices/0/major", json!(-2), "linux.resources.devices[0].major"),
        ("/linux/resources/devices/0/minor", json!(1 << 20), "linux.resources.devices[0].minor"),
        ("/linux/resources/devices/0/access", json!("rwx"), "linux.resources.devices[0].access"),
        ("/linux/resources/memory/limit", json!(-2), "linux.resources.memory.limit"),
        ("/linux/resources/memory/swappiness", json!(201), "linux.resources.memory.swappiness"),
        (
            "/linux/resources/memory",
            json!({"limit": 2 << 20, "swap": 1 << 20}),
            "linux.resources.memory.swap",
        ),
        ("/linux/resources/cpu/quota", json!(-2), "linux.resources.cpu.quota"),
        ("/linux/resources/cpu/idle", json!(2), "linux.resources.cpu.idle"),
        ("/linux/resources/cpu/cpus", json!("all"), "linux.resources.cpu.cpus"),
        ("/linux/resources/cpu/mems", json!("x"), "linux.resources.cpu.mems"),
        ("/linux/resources/pids/limit", json!(-2), "linux.resources.pids.limit"),
        ("/linux/resources/blockIO/weight", json!(9), "linux.resources.blockIO.weight"),
        ("/linux/resources/blockIO/weight", json!(1001), "linux.resources.blockIO.weight"),
        (
            "/linux/resources/blockIO/throttleReadBpsDevice",
            json!([{"major": 4096, "minor": 0, "rate": 1}]),
            "linux.resources.blockIO.throttleReadBpsDevice[0]",
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "2 MB", "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        ("/linux/resources/unified", json!({"../x": "1"}), "linux.resources.unified[\"../x\"]"),
        (
            "/linux/resources/unified",
            json!({"cgroup.procs": "1"}),
            "linux.resources.unified[\"cgroup.procs\"]",
        ),
        ("/linux/intelRdt", json!({"closID": ".."}), "linux.intelRdt.closID"),
        ("/linux/intelRdt", json!({"closID": "a/b"}), "linux.intelRdt.closID"),
        ("/linux/intelRdt", json!({"closID": "info"}), "linux.intelRdt.closID"),
        ("/linux/intelRdt", json!({"closID": "a\u{0}"}), "linux.intelRdt"),
        ("/linux/intelRdt", json!({"l3CacheSchema": "MB:0=1"}), "linux.intelRdt.l3CacheSchema"),
        ("/linux/intelRdt", json!({"l3CacheSchema": "L3"}), "linux.intelRdt.l3CacheSchema"),
        ("/linux/intelRdt", json!({"memBwSchema": "L3:0=1"}), "linux.intelRdt.memBwSchema"),
        ("/linux/intelRdt", json!({"memBwSchema": "MB:0=1\nMB:1=1"}), "linux.intelRdt.memBwSchema"),
        ("/linux/intelRdt", json!({"schemata": ["L3:0=1", ""]}), "linux.intelRdt.schemata[1]"),
        ("/linux/intelRdt", json!({"schemata": ["L3:0=1\nL2:0=1"]}), "linux.intelRdt.schemata[0]"),
        ("/linux/netDevices", json!({"": {}}), "linux.netDevices[\"\"]"),
        ("/linux/netDevices", json!({"..": {}}), "linux.netDevices[\"..\"]"),
        ("/linux/netDevices", json!({"a b": {}}), "linux.netDevices[\"a b\"]"),
        ("/linux/netDevices", json!({"0123456789abcdef": {}}), "linux.netDevices[\"0123456789abcdef\"]"),
        ("/linux/netDevices", json!({"eth0": {"name": "a/b"}}), "linux.netDevices[\"eth0\"].name"),
        ("/linux/netDevices", json!({"eth0": {"name": "eth%d"}}), "linux.netDevices[\"eth0\"].name"),
        ("/linux/netDevices", json!({"eth0": {"name": "a\u{0}"}}), "linux.netDevices[\"eth0\"].name"),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "x"}, "eth1": {"name": "x"}}),
            "linux.netDevices[\"eth1\"].name: another device has this name already",
        ),
        ("/linux/netDevices", json!({"nosuch0": {}}), "linux.netDevices[\"nosuch0\"]: no such device"),
        ("/linux/mountLabel", json!("a\"b"), "linux.mountLabel"),
        ("/linux/mountLabel", json!("a\nb"), "linux.mountLabel"),
        ("/linux/sysctl", json!({"kernel.hostname": "x"}), "linux.sysctl[\"kernel.hostname\"]"),
        ("/linux/sysctl", json!({"net.a.b": "1", "net/a/b": "2"}), "linux.sysctl[\"net/a/b\"]: stands twice"),
        ("/linux/sysctl", json!({"net.a.b": "1\u{0}"}), "linux.sysctl[\"net.a.b\"]"),
        ("/process/scheduler", json!({}), "process.scheduler.policy: missing"),
        ("/process/scheduler/policy", json!("SCHED_NORMAL"), "none of SCHED_OTHER, SCHED_FIFO, SCHED_RR"),
        ("/process/scheduler/policy", json!("sched_other"), "process.scheduler.policy"),
        ("/process/scheduler/policy", json!("SCHED_FIFO"), "process.scheduler.priority"),
        ("/process/scheduler/nice", json!(20), "process.scheduler.nice"),
        ("/process/scheduler/nice", json!(-21), "process.scheduler.nice"),
        ("/process/scheduler/nice", json!(2_147_483_648u64), "process.scheduler.nice"),
        ("/process/scheduler/priority", json!(1), "process.scheduler.priority"),
        ("/process/scheduler/priority", json!(-1), "process.scheduler.priority"),
        ("/process/scheduler", json!({"policy": "SCHED_RR", "priority": 100}), "process.scheduler.priority"),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 0}), "process.scheduler.priority"),
        ("/process/scheduler/flags", json!(["SCHED_FLAG_RECLAIM", "x"]), "process.scheduler.flags[1]: \"x\""),
        ("/process/scheduler/flags", json!([""]), "process.scheduler.flags[0]"),
        ("/process/scheduler/runtime", json!(1), "process.scheduler.runtime"),
        ("/process/scheduler/deadline", json!(1), "process.scheduler.deadline"),
        ("/process/scheduler/period", json!(1), "process.scheduler.period"),
        ("/process/scheduler", json!({"policy": "SCHED_DEADLINE"}), "process.scheduler.runtime"),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999}),
            "process.scheduler.deadline",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2000, "period": 1999}),
            "process.scheduler.period",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 9_223_372_036_854_775_808u64}),
            "process.scheduler.deadline",
        ),
        ("/process/ioPriority", json!({}), "process.ioPriority.class: missing"),
        ("/process/ioPriority/class", json!("IOPRIO_CLASS_NONE"), "process.ioPriority.class"),
        ("/process/ioPriority/priority", json!(8), "process.ioPriority.priority"),
        ("/process/ioPriority/priority", json!(-1), "process.ioPriority.priority"),
        ("/process/execCPUAffinity/initial", json!("0,"), "process.execCPUAffinity.initial"),
        ("/process/execCPUAffinity/initial", json!("all"), "process.execCPUAffinity.initial"),
        ("/process/execCPUAffinity/final", json!("1-0"), "process.execCPUAffinity.final"),
        ("/process/execCPUAffinity/final", json!("1024"), "process.execCPUAffinity.final"),
        ("/linux/personality", json!({}), "linux.personality.domain: missing"),
        ("/linux/personality/domain", json!("BSD"), "none of LINUX, LINUX32"),
        ("/linux/personality/flags", json!(["ADDR_NO_RANDOMIZE"]), "linux.personality.flags[0]"),
        ("/linux/memoryPolicy", json!({"nodes": "0"}), "linux.memoryPolicy.mode: missing"),
        ("/linux/memoryPolicy/mode", json!("MPOL_NEAREST"), "linux.memoryPolicy.mode"),
        ("/linux/memoryPolicy/mode", json!("MPOL_DEFAULT"), "linux.memoryPolicy.nodes"),
        ("/linux/memoryPolicy/mode", json!("MPOL_LOCAL"), "linux.memoryPolicy.nodes"),
        ("/linux/memoryPolicy/nodes", json!(""), "linux.memoryPolicy.nodes: missing"),
        ("/linux/memoryPolicy/nodes", json!("0-"), "linux.memoryPolicy.nodes"),
        ("/linux/memoryPolicy/flags/0", json!("MPOL_F_NOSUCH"), "linux.memoryPolicy.flags[0]"),
        (
            "/linux/memoryPolicy/flags",
            json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]),
            "linux.memoryPolicy.flags",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}),
            "linux.memoryPolicy.flags",
        ),
    ];
    for (pointer, bad, path) in cases {
        let mut broken = full();
        broken["linux"]["namespaces"][1].as_object_mut().unwrap().remove("path");
        if pointer.ends_with("namespaces/1/path") {
            broken["linux"]["namespaces"][1]["path"] = json!("");
        }
        put(&mut broken, pointer, bad.clone());
        refused(&t, &serde_json::to_vec(&broken).unwrap(), &[path]);
    }
}

#[test]
fn what_goes_wrong_only_with_namespaces_of_their_own_is_named() {
    mote_only!("runc names no path, and takes some of these");
    let t = Test::new();
    let cases: &[(&str, Value, &str)] = &[
        ("/linux/uidMappings", json!([]), "linux.uidMappings: missing"),
        ("/linux/gidMappings", Value::Null, "linux.gidMappings: missing"),
        ("/linux/uidMappings", ids(0, 0, 0), "linux.uidMappings[0].size"),
        ("/linux/gidMappings", ids(0, 4_294_967_295, 2), "linux.gidMappings[0].size"),
        ("/linux/uidMappings", ids(4_294_967_296, 0, 1), "linux.uidMappings[0].containerID"),
        ("/linux/uidMappings", ids(5, 0, 1), "process.user.uid"),
        ("/linux/timeOffsets", json!({"realtime": {"secs": 1}}), "linux.timeOffsets[\"realtime\"]"),
        (
            "/linux/timeOffsets",
            json!({"monotonic": {"nanosecs": 1_000_000_000}}),
            "linux.timeOffsets[\"monotonic\"].nanosecs",
        ),
    ];
    for (pointer, bad, path) in cases {
        let mut broken = spec(&["true"]);
        for kind in ["user", "time"] {
            broken["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": kind}));
        }
        broken["linux"]["uidMappings"] = ids(0, 0, 1000);
        broken["linux"]["gidMappings"] = ids(0, 0, 1000);
        put(&mut broken, pointer, bad.clone());
        refused(&t, &serde_json::to_vec(&broken).unwrap(), &[path]);
    }
}

#[test]
fn a_field_that_is_missing_is_named() {
    mote_only!("runc takes most of these for empty");
    let t = Test::new();
    for (parent, field, path) in [
        ("", "ociVersion", "ociVersion"),
        ("", "process", "process"),
        ("", "root", "root"),
        ("/process", "args", "process.args"),
        ("/process", "cwd", "process.cwd"),
        ("/root", "path", "root.path"),
        ("/mounts/1", "destination", "mounts[1].destination"),
        ("/linux/namespaces/0", "type", "linux.namespaces[0].type"),
        ("/process/rlimits/0", "type", "process.rlimits[0].type"),
    ] {
        let mut broken = spec(&["true"]);
        broken.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
        refused(&t, &serde_json::to_vec(&broken).unwrap(), &[path]);
    }
}

#[test]
fn what_is_not_supported_is_refused_and_not_ignored() {
    mote_only!("runc supports these");
    let t = Test::new();
    let cases: &[(&str, &str, Value)] =
        &[("/linux", "uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}]))];
    for (parent, field, value) in cases {
        let mut broken = spec(&["true"]);
        broken.pointer_mut(parent).unwrap()[*field] = value.clone();
        refused(&t, &serde_json::to_vec(&broken).unwrap(), &[field]);
    }
}

#[test]
fn a_group_of_resctrl_needs_the_filesystem() {
    mote_only!("runc 1.1 runs without it");
    if Path::new("/sys/fs/resctrl/schemata").exists() {
        return common::skipped("resctrl is mounted here");
    }
    let t = Test::new();
    for rdt in
        [json!({}), json!({"closID": "gold"}), json!({"schemata": ["L3:0=f"], "enableMonitoring": true})]
    {
        let mut config = spec(&["true"]);
        config["linux"]["intelRdt"] = rdt;
        refused(&t, &serde_json::to_vec(&config).unwrap(), &["linux.intelRdt", "no resctrl filesystem"]);
    }
}

#[test]
fn a_key_given_twice_is_not_two_values() {
    let t = Test::new();
    let whole = serde_json::to_string(&spec(&["sh", "-c", "hostname"])).unwrap();
    let twice = whole.replace("\"hostname\":\"runc\"", "\"hostname\":\"first\",\"hostname\":\"second\"");
    let out = run_bytes(&t, twice.as_bytes());
    // Refused, or the last wins as in Go; the parts of the runtime must not disagree.
    assert!(out.status.code() == Some(1) || out.stdout == "second\n", "{out}");
}

#[test]
fn a_missing_rootfs_is_named() {
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["root"]["path"] = json!("nosuchroot");
    let bundle = t.bundle("b", &config);
    t.run_bundle(&bundle).run().fails_saying(&["nosuchroot"]);
    t.assert_nothing_left();
    config["root"]["path"] = json!("config.json");
    common::write_config(&bundle, &config);
    t.run_bundle(&bundle).run().fails_and_mote_says(&["config.json"]);
    t.assert_nothing_left();
}

#[test]
fn a_rootfs_that_is_a_symlink_is_refused() {
    mote_only!("runc follows it");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    fs::rename(bundle.join("rootfs"), bundle.join("real")).unwrap();
    for target in ["real", "/", "/nonexistent", "rootfs"] {
        let _ = fs::remove_file(bundle.join("rootfs"));
        symlink(target, bundle.join("rootfs")).unwrap();
        t.run_bundle(&bundle).run().fails_saying(&["root"]);
        t.assert_nothing_left();
    }
}

#[test]
fn a_rootfs_that_is_empty_is_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    fs::remove_dir_all(bundle.join("rootfs")).unwrap();
    fs::create_dir(bundle.join("rootfs")).unwrap();
    let out = t.run_bundle(&bundle).run();
    out.fails_with_any(&["no such file or directory", "executable file not found"]);
    t.assert_nothing_left();
}

#[test]
fn wrong_ids_are_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let long = "a".repeat(5000);
    let ids = [
        "",
        ".",
        "..",
        "a/b",
        "/etc",
        "../x",
        "../../../../tmp/x",
        "a b",
        "a\nb",
        "a\u{1b}[31mb",
        "ü",
        "a%2fb",
        "a:b",
        "a*",
        &long,
        "a\\b",
        "a;b",
        "~",
    ];
    for id in ids {
        for verb in ["create", "run"] {
            let out = t.mote([verb, "-b"]).arg(&bundle).arg("--").arg(id).run();
            assert_ne!(out.code(), 0, "{out}");
            if is_mote() {
                out.fails();
                assert!(out.stderr.len() < 600, "an endless line: {out}");
            }
        }
        for verb in ["state", "start", "kill", "delete"] {
            t.mote([verb, "--", id]).run().fails();
        }
        t.mote(["delete", "--force", "--", id]).run();
        t.assert_nothing_left();
    }
}

#[test]
fn strange_ids_that_are_allowed_work() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    for tail in ["_", "+", "-x", ".y", "A.b_C+d-9"] {
        t.mote(["run", "-b"]).arg(&bundle).arg(format!("{}{tail}", t.id())).run().ok();
    }
    t.assert_nothing_left();
}

#[test]
fn delete_with_dots_in_the_id_does_not_climb_out_of_the_state_root() {
    let t = Test::new();
    let victim = t.dir.join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("state.json"), "{}").unwrap();
    for id in ["../victim", "./../victim", "..", "."] {
        let _ = t.mote(["delete", "--force", id]).run();
        assert!(victim.join("state.json").exists(), "{id}");
        assert!(t.root.exists(), "{id}");
    }
}

#[test]
fn a_state_file_that_is_broken_is_one_line_and_can_be_deleted_by_force() {
    mote_only!("runc has other files and other words");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let id = t.create(&bundle);
    let file = fs::read_dir(t.root.join(&id))
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "json"));
    let file = file.expect("a state file");
    let good = fs::read(&file).unwrap();
    let pid = t.pid(&id);
    for bytes in [&b""[..], b"{", b"{}", b"[]", b"\xff\xff", &good[..good.len() / 2]] {
        fs::write(&file, bytes).unwrap();
        for verb in ["state", "start", "kill", "delete"] {
            t.verb(verb, &id).fails();
        }
        let out = t.mote(["list"]).run();
        assert!(matches!(out.code(), 0 | 1) && out.stderr.lines().count() <= 1, "{out}");
    }
    fs::write(&file, &good).unwrap();
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    t.assert_nothing_left();
}

#[test]
fn a_full_disk_is_one_line_and_leaves_nothing() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let disk = t.dir.join("disk");
    fs::create_dir(&disk).unwrap();
    for (what, options) in [("no blocks", "size=4k"), ("no inodes", "size=1m,nr_inodes=2")] {
        let id = t.id();
        let script = format!(
            "mount -t tmpfs -o {options} it {disk} && {{ cat /dev/zero >{disk}/filler; }} 2>/dev/null; \"$@\"; code=$?; ls {disk}; exit $code",
            disk = disk.display()
        );
        let mote = t.bare().arg("--root").arg(&disk).args(["run", "-b"]).arg(&bundle).arg(&id);
        let out = mote.under(["unshare", "-m", "bash", "-c", &script, "bash"]).run();
        let line = out.fails();
        assert!(
            !is_mote() || line.contains("No space left on device") || line.contains("no space left"),
            "{what}: {out}"
        );
        assert_eq!(out.stdout, "filler\n", "{what} left something: {out}");
        t.assert_nothing_left();
    }
}

#[test]
fn a_state_root_that_cannot_be_made_is_named() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    for root in ["/proc/nosuch", "/etc/passwd/x", "/etc/passwd"] {
        let out = t.bare().args(["--root", root, "run", "-b"]).arg(&bundle).arg(t.id()).run();
        out.fails_and_mote_says(&[root]);
    }
    assert!(Path::new("/etc/passwd").is_file());
    t.assert_nothing_left();
}
