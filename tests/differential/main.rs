//! The same bundle under mote and under Debian's runc: what the program sees must be the same, but for what
//! docs/differences.md lists.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod table;

use common::{Test, spec};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Runs the bundle under a runtime, always with the same id, on a host with cgroup v2 only.
fn seen(t: &Test, runtime: &Path, bundle: &Path, id: &str) -> String {
    let root = t.dir.join("root");
    let host = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup";
    let run = t.command(runtime).arg("--root").arg(root).args(["run", "-b"]).arg(bundle).arg(id);
    let out = run.after_bash(host).under(["unshare", "-m"]).run();
    out.ok();
    assert_eq!(out.stderr, "", "{out}");
    out.stdout
}

/// Replaces what differs from one run to the next: the parent's id of a mount by where that is, numbers of devices, sizes of
/// memory, counters, times, numbers of processes (runc starts more of them), the file that stdout is.
fn normal(text: &str) -> Vec<String> {
    let is_mount = |line: &str| line.contains(" - ") && line.starts_with(|c: char| c.is_ascii_digit());
    let word = |line: &str, n: usize| line.split(' ').nth(n).unwrap_or_default().to_owned();
    let points: HashMap<String, String> =
        text.lines().filter(|l| is_mount(l)).map(|l| (word(l, 0), word(l, 4))).collect();
    let mut lines = Vec::new();
    // The order of mounts is not seen by a program, what is mounted where is.
    let (mut mounts, mut others): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| is_mount(l));
    mounts.sort_by_key(|l| l.split(' ').nth(4));
    others.append(&mut mounts);
    for line in others {
        let words: Vec<&str> = line.split_whitespace().collect();
        if is_mount(line) {
            let mut words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            words[1] = points.get(&words[1]).map_or("outside".into(), |point| format!("below {point}:"));
            if words[2].starts_with("0:") {
                words[2] = "0:N".into();
            }
            lines.push(words[1..].join(" "));
        } else if let Some(mask) = line.strip_prefix("SigIgn:") {
            // The C library's posix_spawn, with which this test starts both, leaves signals 32 and 33 ignored.
            lines
                .push(format!("SigIgn: {:x}", u64::from_str_radix(mask.trim(), 16).unwrap() & !(0b11 << 31)));
        } else if let Some((key, _)) = line.split_once(':').filter(|(k, _)| {
            k.starts_with("Vm")
                || k.starts_with("Rss")
                || k.ends_with("ctxt_switches")
                || matches!(*k, "SigQ" | "HugetlbPages" | "Tgid" | "Pid" | "NStgid" | "NSpid")
        }) {
            lines.push(key.to_owned());
        } else if words.len() >= 9 && words[0].len() == 10 {
            // A line of ls -l: no size and no time; a link into /proc/N/fd is ls's own directory.
            let rest: Vec<String> = words[5..].iter().map(|w| (*w).to_owned()).collect();
            let name =
                rest.join(" ").split_once(':').map_or(rest.join(" "), |(_, r)| r[2..].trim().to_owned());
            let name = name.split("pipe:[").next().unwrap().to_owned();
            let name = match name.split_once(" -> ") {
                Some((link, file)) if file.contains("/out.") || file.contains("/err.") => {
                    format!("{link} -> OUTPUT")
                }
                _ => name,
            };
            lines.push(format!("{} {} {} {} {name}", words[0], words[1], words[2], words[3]));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Takes out what docs/differences.md documents, each by its number there.
fn documented(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    if line.contains(" - ") && words.contains(&"/sys/fs/cgroup") {
        // 1: the container's own cgroup alone, under the name that the host's mount has.
        return [&words[..3], &words[4..6]].concat().join(" ");
    }
    if line.contains(" - ") && words.contains(&"/null") {
        // 2: the host's null device over masked files, not the container's.
        return [&words[..2], &words[3..5]].concat().join(" ");
    }
    if words.len() > 5 && words[0].starts_with('l') && ["0", "1", "2"].contains(&words[4]) {
        // 3: the caller's standard input and output, not pipes to the runtime.
        return format!("{} {} {}", words[0], words[2], words[4]);
    }
    if words[0].starts_with("dr") && words.last() == Some(&"/proc") {
        return "dr-xr-xr-x /proc".into(); // as many links as there are processes
    }
    line.to_owned()
}

fn compare(t: &Test, config: &Value) {
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
    compare(&t, &spec(&["sh", "-c", &format!("{SCRIPT}; true")]));
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
    compare(&t, &config);
}

#[test]
fn a_container_without_masks_sees_what_it_sees_under_runc() {
    let t = Test::new();
    let script = "ls -ld / /proc /proc/sys /sys /dev /dev/shm /dev/pts /dev/mqueue; cat /proc/self/mountinfo /proc/self/oom_score_adj; ip addr | grep -v link";
    let mut config = spec(&["sh", "-c", script]);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["process"]["capabilities"] = json!({});
    compare(&t, &config);
}

/// How many instructions the device program of `config` has under a runtime, on a host with cgroup v2 only: the longest that
/// it loads, as runc tries the kernel with short ones first.
fn instructions(t: &Test, runtime: &Path, config: &Value) -> usize {
    let id = t.id();
    let (bundle, trace) = (t.bundle(&id, config), t.dir.join("trace"));
    // crun 1.8 raises RLIMIT_MEMLOCK, which a root without CAP_SYS_RESOURCE must not: it is told that it has.
    let raised = runtime.ends_with("crun").then_some(["-e", "inject=prlimit64:retval=0"]);
    let host = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup";
    let run = t.command("strace").args(["-f", "-qq", "-e", "trace=bpf,prlimit64"]);
    let run = run.args(raised.into_iter().flatten()).arg("-o").arg(&trace);
    let run = run.arg(runtime).arg("--root").arg(t.dir.join("root")).args(["run", "-b"]).arg(&bundle).arg(id);
    run.after_bash(host).under(["unshare", "-m"]).run().ok();
    let trace = std::fs::read_to_string(trace).unwrap();
    let loads = trace.lines().filter(|line| line.contains("BPF_PROG_TYPE_CGROUP_DEVICE"));
    let counts = loads.filter_map(|line| line.split_once("insn_cnt=")?.1.split(',').next()?.parse().ok());
    counts.max().unwrap_or_else(|| panic!("{} has loaded no device program:\n{trace}", runtime.display()))
}

#[test]
fn the_device_program_for_dockers_list_has_at_most_half_of_the_others_instructions() {
    mote_only!("mote, runc and crun are compared");
    let t = Test::new();
    let mut config = spec(&["true"]);
    let sample = include_str!("../samples/docker20-bridge.json");
    let docker: Value = serde_json::from_str(sample).unwrap();
    config["linux"]["resources"]["devices"] = docker["linux"]["resources"]["devices"].clone();
    let of = |runtime: &str| instructions(&t, Path::new(runtime), &config);
    let (mote, runc, crun) =
        (of(common::binary().to_str().unwrap()), of("/usr/sbin/runc"), of("/usr/bin/crun"));
    eprintln!("instructions for Docker's list of devices: mote {mote}, runc {runc}, crun {crun}");
    assert!(mote * 2 <= runc && mote * 2 <= crun, "mote {mote}, runc {runc}, crun {crun}");
}
