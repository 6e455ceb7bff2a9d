//! The same bundle under mote and under Debian's runc: what the program sees must be the same, but for what
//! docs/differences.md lists.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Runs the bundle under a runtime, always with the same id.
fn seen(t: &Test, runtime: &Path, bundle: &Path, id: &str) -> String {
    let root = t.dir.join("root");
    let out = t.command(runtime).arg("--root").arg(root).args(["run", "-b"]).arg(bundle).arg(id).run();
    out.ok();
    assert_eq!(out.stderr, "", "{out}");
    out.stdout
}

/// Replaces what differs from one run to the next: ids of mounts and devices by the order in which they appear, sizes of
/// memory, counters, times, the file that stdout is.
fn normal(text: &str) -> Vec<String> {
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut number = |kind: &str, id: &str| {
        let next = ids.len();
        format!("{kind}{}", ids.entry(format!("{kind}{id}")).or_insert(next))
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_mount = words.contains(&"-") && words.first().is_some_and(|w| w.parse::<u32>().is_ok());
        if is_mount {
            let mut words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            words[0] = number("mount", &words[0]);
            words[1] = number("mount", &words[1]);
            if words[2].starts_with("0:") {
                words[2] = number("dev", &words[2]);
            }
            lines.push(words.join(" "));
        } else if let Some(mask) = line.strip_prefix("SigIgn:") {
            // The C library's posix_spawn, with which this test starts both, leaves signals 32 and 33 ignored.
            lines
                .push(format!("SigIgn: {:x}", u64::from_str_radix(mask.trim(), 16).unwrap() & !(0b11 << 31)));
        } else if let Some((key, _)) = line.split_once(':').filter(|(k, _)| {
            k.starts_with("Vm")
                || k.starts_with("Rss")
                || k.ends_with("ctxt_switches")
                || matches!(*k, "SigQ" | "HugetlbPages")
        }) {
            lines.push(key.to_owned());
        } else if words.len() >= 9 && words[0].len() == 10 {
            // A line of ls -l: no size and no time; a link into /proc/N/fd is ls's own directory.
            let rest: Vec<String> = words[5..].iter().map(|w| (*w).to_owned()).collect();
            let name =
                rest.join(" ").split_once(':').map_or(rest.join(" "), |(_, r)| r[2..].trim().to_owned());
            let name = name.split("pipe:[").next().unwrap().to_owned();
            let name = if name.contains("/out.") {
                name.split(" -> ").next().unwrap().to_owned() + " -> OUT"
            } else {
                name
            };
            let name = if name.contains("/err.") {
                name.split(" -> ").next().unwrap().to_owned() + " -> ERR"
            } else {
                name
            };
            lines.push(format!("{} {} {} {} {name}", words[0], words[1], words[2], words[3]));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn compare(t: &Test, config: &Value, documented: impl Fn(&str) -> String) {
    let bundle = t.bundle(&t.id(), config);
    let id = t.id();
    let runc = normal(&seen(t, Path::new("/usr/sbin/runc"), &bundle, &id));
    let mote = normal(&seen(t, common::binary(), &bundle, &id));
    let runc: Vec<String> = runc.iter().map(|l| documented(l)).collect();
    let mote: Vec<String> = mote.iter().map(|l| documented(l)).collect();
    let mut differ: Vec<String> =
        runc.iter().filter(|l| !mote.contains(l)).map(|l| format!("runc: {l}")).collect();
    differ.extend(mote.iter().filter(|l| !runc.contains(l)).map(|l| format!("mote: {l}")));
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(mote, runc, "the same lines in another order");
}

const SCRIPT: &str =
    "id; hostname; cat /proc/self/status /proc/self/mountinfo; ls -l /dev /proc/self/fd 2>/dev/null";

#[test]
fn a_container_of_the_default_spec_sees_what_it_sees_under_runc() {
    let t = Test::new();
    compare(&t, &spec(&["sh", "-c", &format!("{SCRIPT}; true")]), str::to_owned);
}

#[test]
fn a_container_of_another_user_sees_what_it_sees_under_runc() {
    let t = Test::new();
    let mut config = spec(&[
        "sh",
        "-c",
        &format!("umask; pwd; env; ulimit -a; cat /proc/self/cgroup | wc -l; {SCRIPT}; true"),
    ]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 63});
    config["process"]["cwd"] = json!("/tmp");
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["oomScoreAdj"] = json!(300);
    config["root"]["readonly"] = json!(false);
    compare(&t, &config, str::to_owned);
}

#[test]
fn a_container_without_masks_sees_what_it_sees_under_runc() {
    let t = Test::new();
    let script = "ls -ld / /proc /proc/sys /sys /dev /dev/shm /dev/pts /dev/mqueue; cat /proc/self/mountinfo /proc/self/oom_score_adj; ip addr | grep -v link";
    let mut config = spec(&["sh", "-c", script]);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["process"]["capabilities"] = json!({});
    compare(&t, &config, str::to_owned);
}
