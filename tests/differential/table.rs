//! Some 200 bundles (cases.rs), each under mote, runc and crun: what the container prints and how it ends must be the same, but
//! for the rows of the last table in docs/differences.md. A difference that has no row fails the test, and so does a row
//! without its difference.
//!
//! Each bundle is made anew for each runtime, at the same place. A thread with a mount namespace of its own is a host: with
//! cgroup v2 alone, or with v1 alone, since crun 1.8 refuses a mixture.

use super::cases::CASES;
use super::common::{self, Output, Test, spec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

/// What the runtimes see of cgroups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Host {
    V1,
    V2,
}

/// The first component of the cgroup paths in the cases.
const PARENT: &str = "mote-differential";

const OTHERS: [(&str, &str); 2] = [("runc", "/usr/sbin/runc"), ("crun", "/usr/bin/crun")];

const FUNCTIONS: &str = r#"
m() { awk -v p="$1" '$5 == p { $1 = $2 = $3 = ""; sub(/^ +/, ""); print }' /proc/self/mountinfo; }
n() { [ "$(readlink /proc/self/ns/$1)" = "$(echo "$HOST_NS" | grep "^$1:")" ] && echo "$1 host" || echo "$1 new"; }
s() { grep "^$1" /proc/self/status; }
c() { d=/sys/fs/cgroup/$1; shift; for f; do cat "$d/$f"; done; }
"#;

/// How a bundle ended.
#[derive(PartialEq)]
struct End {
    code: Option<i32>,
    printed: String,
    words: &'static str,
}

#[test]
fn two_hundred_bundles_end_as_under_runc_and_crun_but_for_what_is_listed() {
    if !common::is_mote() || OTHERS.iter().any(|(_, path)| !Path::new(path).exists()) {
        common::skipped("mote, runc and crun are compared");
        return;
    }
    let listed = listed();
    let lanes = [(Host::V2, 0), (Host::V2, 1), (Host::V1, 0)];
    let lane = |(host, part): (Host, usize)| {
        thread::spawn(move || {
            become_host(host);
            let of_host: Vec<_> = CASES.iter().filter(|c| c.1 == host).collect();
            let parts = if host == Host::V2 { 2 } else { 1 };
            let mine = of_host.into_iter().enumerate().filter(|(n, _)| n % parts == part);
            let t = Test::new();
            let found = mine.map(|(_, case)| (case.0, differences(&t, case))).collect::<Vec<_>>();
            remove_parents();
            found
        })
    };
    let threads: Vec<_> = lanes.into_iter().map(lane).collect();
    let found: BTreeMap<&str, Vec<(&str, String)>> =
        threads.into_iter().flat_map(|thread| thread.join().expect("a lane")).collect();
    assert_eq!(found.len(), CASES.len(), "two cases have the same name");
    assert!(CASES.len() >= 150);

    let mut wrong = String::new();
    for (name, differences) in &found {
        let names: Vec<&str> = differences.iter().map(|(other, _)| *other).collect();
        let expected = listed.get(*name).map(String::as_str).unwrap_or_default();
        if names.join(", ") != expected {
            let _ = writeln!(wrong, "{name}: differs from [{}], listed are [{expected}]", names.join(", "));
            differences.iter().for_each(|(_, text)| wrong.push_str(text));
        }
    }
    let unknown: Vec<_> = listed.keys().filter(|name| !found.contains_key(name.as_str())).collect();
    assert!(unknown.is_empty(), "docs/differences.md lists bundles that are none: {unknown:?}");
    assert!(wrong.is_empty(), "docs/differences.md is not what was found:\n{wrong}");
}

/// The rows of the table: the bundle, and from which it differs.
fn listed() -> BTreeMap<String, String> {
    let text = include_str!("../../docs/differences.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")).filter(|line| line.contains(": "));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        assert!(cells.len() == 3 && !cells[2].trim().is_empty(), "no reason: {row}");
        (cells[0].to_owned(), cells[1].to_owned())
    })
    .collect()
}

/// Gives this thread a mount namespace with these cgroups only.
fn become_host(host: Host) {
    const NONE: Option<&str> = None;
    const TOP: &str = "/sys/fs/cgroup";
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).expect("private mounts");
    umount2(TOP, MntFlags::MNT_DETACH).expect("umount /sys/fs/cgroup");
    let new = |kind, place: &str, options| {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options).expect(place)
    };
    if host == Host::V2 {
        return new("cgroup2", TOP, NONE);
    }
    // A tmpfs of our own: crun makes directories in it where it expects the mount of cgroup v2.
    new("tmpfs", TOP, Some("mode=755"));
    for name in own.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty()) {
        let place = format!("{TOP}/{}", name.trim_start_matches("name="));
        fs::create_dir(&place).expect(&place);
        new("cgroup", &place, Some(name));
    }
}

/// The runtimes from which mote differs, each with both ends as text.
fn differences(t: &Test, case: &(&str, Host, &str, &str)) -> Vec<(&'static str, String)> {
    let mote = end(t, case, common::binary());
    let others = OTHERS.iter().map(|(name, path)| (*name, end(t, case, Path::new(path))));
    others
        .filter(|(_, other)| other.0 != mote.0)
        .map(|(name, other)| (name, format!("  mote: {}\n  {name}: {}\n", mote.1, other.1)))
        .collect()
}

fn end(t: &Test, case: &(&str, Host, &str, &str), runtime: &Path) -> (End, String) {
    let bundle = t.dir.join("bundle");
    let _ = fs::remove_dir_all(&bundle);
    make_bundle(&bundle, case);
    let id = t.id();
    let run = t.command(runtime).arg("--root").arg(&t.root).args(["run", "--bundle"]).arg(&bundle).arg(&id);
    let out = run.run();
    if runtime != common::binary() {
        clean_up_after(t, runtime, &id);
    }
    let place = bundle.display().to_string();
    let printed: Vec<String> = out
        .stdout
        .replace(&place, "BUNDLE")
        .replace(&id, "ID")
        // The mode that a tmpfs has of what it covers is among its options under mote, and set later by the others.
        .replace(",mode=755", "")
        .split_inclusive(char::is_whitespace)
        .map(|word| {
            let known = ["shared:", "master:"].into_iter().find(|kind| word.starts_with(kind));
            known.map_or(word.to_owned(), |kind| format!("{kind}N "))
        })
        .collect();
    let words =
        if case.0.starts_with("program: ") && out.status.code() != Some(0) { reason(&out) } else { "" };
    // crun ends with 255 or with 1 when a hook fails, as its two processes happen to run.
    let code =
        out.status.code().map(|code| if case.0.starts_with("hooks: ") && code == 255 { 1 } else { code });
    (End { code, printed: printed.concat(), words }, out.to_string())
}

/// Takes away what runc and crun leave of a container that could not be made.
fn clean_up_after(t: &Test, runtime: &Path, id: &str) {
    let _ = t.command(runtime).arg("--root").arg(&t.root).args(["delete", "--force", id]).run();
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path());
    for parent in hierarchies.chain([top.to_owned()]) {
        let _ = fs::remove_dir(parent.join(id));
    }
}

/// Takes away the cgroups that the paths of two cases had above them: all three runtimes leave those.
fn remove_parents() {
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (name, own) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let mount = Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name="));
        for place in [mount.join(PARENT), mount.join(own.trim_start_matches('/')).join(PARENT)] {
            let _ = fs::remove_dir(place); // most hierarchies have none, or the other lane's
        }
    }
}

/// The words that engines look for in what is said of a program that does not start.
fn reason(out: &Output) -> &'static str {
    // Warnings may stand before it. Both words for what is missing lead to exit code 127.
    let text = out.stderr.to_lowercase().replace("executable file not found", "no such file or directory");
    let last = text.lines().last().unwrap_or_default();
    let known = ["no such file or directory", "permission denied", "exec format error"];
    known.into_iter().find(|words| last.contains(words)).unwrap_or("other words")
}

fn make_bundle(bundle: &Path, (_, host, change, probe): &(&str, Host, &str, &str)) {
    let (rootfs, data) = (bundle.join("rootfs"), bundle.join("data"));
    common::make_rootfs(&rootfs);
    fs::create_dir(rootfs.join("root0700")).unwrap();
    fs::set_permissions(rootfs.join("root0700"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("loop", rootfs.join("etc/loop")).unwrap();
    symlink("/mnt", rootfs.join("linked")).unwrap();
    symlink("../../../mnt", rootfs.join("climbs")).unwrap();
    write_program(&rootfs.join("etc/text"), "echo run by the shell\n");
    write_program(&rootfs.join("etc/script"), "#!/bin/sh\necho script \"$@\"\n");
    write_program(&rootfs.join("etc/lost"), "#!/nosuch\n");
    fs::create_dir_all(data.join("dir")).unwrap();
    fs::write(data.join("dir/inside"), "inside\n").unwrap();
    fs::write(data.join("file"), "root:x:0:0:bound:/:/bin/sh\n").unwrap();
    let hook = "#!/bin/sh\nread -r state\ncase $state in *'\"pid\"'*) state=ok;; esac\necho \"$0 $2 $A $state\" | sed 's,.*/,,' >\"$1\"\n";
    write_program(&data.join("hook"), hook);

    let text = change.replace("$DIR", &data.display().to_string());
    let patch: Option<Value> = serde_json::from_str(&text).ok().filter(Value::is_object);
    let Some(patch) = patch else {
        fs::write(bundle.join("config.json"), text).unwrap();
        return;
    };
    let mut config = spec(&["sh", "-c", &format!("{FUNCTIONS}{probe}")]);
    if probe.starts_with("[\"") || *probe == "[]" {
        config["process"]["args"] = serde_json::from_str(probe).unwrap();
    }
    if *host == Host::V2 {
        // crun 1.8 raises RLIMIT_MEMLOCK for device rules on cgroup v2, which a root without CAP_SYS_RESOURCE must not.
        config["linux"]["resources"] = json!({});
    }
    let host_ns: Vec<String> = fs::read_dir("/proc/thread-self/ns")
        .unwrap()
        .map(|e| fs::read_link(e.unwrap().path()).unwrap().display().to_string())
        .collect();
    let env = config["process"]["env"].as_array_mut().unwrap();
    env.push(json!(format!("HOST_NS={}", host_ns.join("\n"))));
    merge(&mut config, &patch);
    common::write_config(bundle, &config);
}

fn write_program(path: &PathBuf, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// RFC 7396, and keys with a `+`, whose list goes behind what there is.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_suffix('+') {
            target[list].as_array_mut().unwrap().extend(value.as_array().unwrap().iter().cloned());
        } else if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
