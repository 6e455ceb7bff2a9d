//! Kernels and sandboxes that lack a system call: what can be done in another way is done with the same result, what
//! cannot fails with one line that names the kernel needed. The attacks on mounts do this for themselves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, spec};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What Linux 5.10 need not have, or a sandbox around mote hides, and there is another way for.
const OPTIONAL: &[&str] = &[
    "clone3",
    "openat2",
    "mount_setattr",
    "close_range",
    "setns-many",
    "faccessat2",
    "fchmodat2",
    "fsopen",
    "memfd_create",
    "keyctl",
    "sched_setattr",
    "pidfd_getfd",
];

/// What there is no other way for, and since when Linux has had it.
const NEEDED: &[&str] = &["open_tree", "move_mount", "pidfd_open", "pidfd_send_signal", "execveat"];

/// Each by itself, and all at once but for `memfd_create`, which stands in for `mount_setattr`.
fn each_and_all() -> Vec<String> {
    let all: Vec<_> = OPTIONAL.iter().filter(|call| **call != "memfd_create").copied().collect();
    OPTIONAL.iter().map(ToString::to_string).chain([all.join(",")]).collect()
}

/// What a container sees, without what is different each time: numbers of mounts and devices, and of the filter.
fn seen(text: &str) -> String {
    let mut kept = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("Seccomp") && !line.contains("ctxt_switches")) {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields.iter().position(|field| *field == "-") {
            Some(dash) if dash >= 6 => {
                // `shared:7` and the like have numbers of their own.
                let tags = fields[6..dash].iter().map(|tag| tag.split(':').next().unwrap());
                let tags: Vec<&str> = tags.collect();
                kept.push(format!(
                    "{} {} {tags:?} {}",
                    fields[3..5].join(" "),
                    fields[5],
                    fields[dash..].join(" ")
                ));
            }
            _ => kept.push(line.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
    kept.join("\n")
}

/// Everything about a program that a runtime decides.
const LOOK: &str = "id; hostname; pwd; umask; ulimit -n; cat /proc/self/cgroup; echo $HOME; \
    grep -v -e '^Vm' -e '^Rss' -e '^Pid' -e '^Tgid' -e '^PPid' -e '^voluntary' -e '^nonvoluntary' -e '^Cpus' -e '^Mems' \
    -e '^NSpid' -e '^NStgid' -e '^Hugetlb' -e '^Sig' -e '^Shd' /proc/self/status; cat /proc/self/mountinfo; \
    ls -l /dev | sed 's/ [A-Z][a-z][a-z] .*:[0-9][0-9]//'; ls /proc/self/fd; cat /proc/self/oom_score_adj; cat /etc/file 2>&1; \
    for f in /proc/sysrq-trigger /etc/file /etc/ro /mnt/a/x; do echo x 2>&1 >$f || echo no; done; cat /proc/sys/kernel/shmmni";

/// A config that takes the paths which differ: files and directories that are bound, masked and made read-only, flags that a
/// bind has to keep, propagation.
fn thorough(t: &Test) -> Value {
    let mut config = spec(&["sh", "-c", LOOK]);
    let source = t.dir.join("source");
    fs::create_dir_all(source.join("a")).unwrap();
    fs::write(source.join("file"), "of the test\n").unwrap();
    let path = |name: &str| source.join(name).to_str().unwrap().to_owned();
    config["root"]["readonly"] = json!(false);
    config["process"]["oomScoreAdj"] = json!(77);
    config["process"]["env"] = json!(["PATH=/bin"]);
    config["process"]["cwd"] = json!("/made/here");
    config["linux"]["sysctl"] = json!({"kernel.shmmni": "78"});
    config["linux"]["rootfsPropagation"] = json!("unbindable");
    let readonly = config["linux"]["readonlyPaths"].as_array_mut().unwrap();
    readonly.extend([json!("/etc/passwd"), json!("/bin")]);
    for (target, source, options) in [
        ("/etc/file", path("file"), json!(["bind", "ro", "nosuid", "nodev"])),
        ("/etc/ro", path("file"), json!(["bind", "ro", "noexec", "noatime"])),
        ("/mnt/a", path("a"), json!(["rbind", "ro", "rslave", "strictatime"])),
        ("/mnt/b", path("a"), json!(["bind", "nodev", "private", "nodiratime", "nosymfollow"])),
        ("/mnt/made/deep/below", path("a"), json!(["bind", "rshared"])),
    ] {
        let options: Vec<&str> = options.as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
        add_mount(&mut config, target, "bind", &source, &options);
    }
    add_mount(&mut config, "/mnt/tmp", "tmpfs", "tmpfs", &["nosuid", "noatime", "slave", "size=64k"]);
    config
}

/// A bundle whose root is the same each time.
fn bundle(t: &Test, name: &str, config: &Value) -> PathBuf {
    let bundle = t.bundle(name, config);
    // Through a symlink in the image: where HOME comes from.
    fs::rename(bundle.join("rootfs/etc/passwd"), bundle.join("rootfs/etc/users")).unwrap();
    std::os::unix::fs::symlink("/etc/users", bundle.join("rootfs/etc/passwd")).unwrap();
    bundle
}

fn run(t: &Test, bundle: &Path, without: Option<&str>) -> String {
    let id = "same";
    let command = t.mote(["run", "--bundle"]).arg(bundle).arg(id);
    let out = match without {
        Some(calls) => command.without(calls).run(),
        None => command.run(),
    };
    assert_eq!(out.stderr, "", "{out}");
    seen(out.ok())
}

#[test]
fn a_container_is_the_same_without_any_call_that_there_is_another_way_for() {
    mote_only!("others have other ways");
    let t = Test::new();
    let bundles = [bundle(&t, "plain", &spec(&["sh", "-c", LOOK])), bundle(&t, "thorough", &thorough(&t))];
    for bundle in bundles {
        // What is missing in the image is made by the first run.
        run(&t, &bundle, None);
        let with = run(&t, &bundle, None);
        assert!(
            with.contains("/proc/sysrq-trigger") && with.contains("HOME") || with.contains("/root"),
            "{with}"
        );
        for calls in each_and_all() {
            let without = run(&t, &bundle, Some(&calls));
            let (a, b): (Vec<_>, Vec<_>) = (with.lines().collect(), without.lines().collect());
            let differs: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a != b).collect();
            assert!(differs.is_empty() && a.len() == b.len(), "without {calls}: {differs:#?}");
        }
    }
    t.assert_nothing_left();
}

#[test]
fn what_there_is_no_other_way_for_fails_with_one_line_that_names_the_kernel() {
    mote_only!("the words are mote's");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    for calls in NEEDED {
        let id = t.id();
        let out = t.mote(["create", "--bundle"]).arg(&bundle).arg(&id).without(calls).run();
        if out.status.success() {
            let exec = t.mote(["exec", &id, "true"]).without(calls).run();
            let kill = t.mote(["kill", &id, "KILL"]).without(calls).run();
            let delete = t.mote(["delete", "--force", &id]).without(calls).run();
            let failed = [exec, kill, delete].into_iter().filter(|out| !out.status.success());
            let mut count = 0;
            for out in failed {
                assert!(out.stderr.contains("needs Linux 5.10"), "without {calls}: {out}");
                assert_eq!(out.stderr.matches('\n').count(), 1, "without {calls}: {out}");
                count += 1;
            }
            assert!(count > 0, "without {calls} everything works: it does not belong here");
            t.mote(["delete", "--force", &id]).run().ok();
        } else {
            out.fails_saying(&["needs Linux 5.10"]);
        }
        t.assert_gone(&id);
    }
    t.assert_nothing_left();
}

#[test]
fn options_that_need_a_newer_kernel_are_refused_by_name_without_it() {
    mote_only!("the words are mote's");
    let t = Test::new();
    let source = t.dir.join("source");
    fs::create_dir(&source).unwrap();
    let refused = |options: &[&str]| {
        let mut config = spec(&["true"]);
        add_mount(&mut config, "/mnt", "bind", source.to_str().unwrap(), options);
        let id = t.id();
        let bundle = t.bundle(&id, &config);
        t.mote(["run", "--bundle"])
            .arg(&bundle)
            .arg(&id)
            .without("mount_setattr")
            .run()
            .fails_saying(&["mounts[7]", "5.12"])
            .to_owned()
    };
    let line = refused(&["rbind", "rro"]);
    assert!(line.contains("recursive") && !line.contains("5.10"), "{line}");
    let mut config = spec(&["true"]);
    add_mount(&mut config, "/mnt", "bind", source.to_str().unwrap(), &["bind"]);
    config["mounts"][7]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    config["mounts"][7]["gidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let id = t.id();
    let bundle = t.bundle(&id, &config);
    let command = t.mote(["run", "--bundle"]).arg(&bundle).arg(&id).without("mount_setattr");
    command.run().fails_saying(&["mounts[7]", "ids", "5.12"]);
    t.assert_nothing_left();
}

#[test]
fn a_whole_life_goes_well_without_them() {
    mote_only!("others have other ways");
    let t = Test::new();
    let mut config = thorough(&t);
    config["process"]["args"] = json!(["sleep", "1000"]);
    let bundle = bundle(&t, "b", &config);
    for calls in each_and_all() {
        let id = t.id();
        let does = |args: &[&str]| t.mote(args).without(&calls).run();
        // A container that waits must not hold the caller's pipe open.
        let create = t.mote(["create", "--bundle"]).arg(&bundle).arg(&id).without(&calls);
        let create = create.after_bash("exec 7> >(cat >/dev/null; touch closed); exec 9</").cwd(&t.dir).run();
        create.ok();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !t.dir.join("closed").exists() {
            assert!(std::time::Instant::now() < end, "without {calls}: the caller's pipe is open");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fs::remove_file(t.dir.join("closed")).unwrap();
        does(&["start", &id]).ok();
        let said =
            does(&["exec", "--cwd", "/mnt", &id, "sh", "-c", "id -u; pwd; ls /proc/self/fd; echo $HOME"]);
        assert_eq!(said.ok(), "0\n/mnt\n0\n1\n2\n3\n/root\n", "without {calls}");
        assert_eq!(does(&["exec", &id, "sh", "-c", "exit 9"]).code(), 9);
        does(&["pause", &id]).ok();
        does(&["resume", &id]).ok();
        let pid = t.pid(&id);
        does(&["kill", "--all", &id, "KILL"]).ok();
        t.wait_status(&id, "stopped");
        does(&["delete", &id]).ok();
        t.assert_gone(&id);
        common::reap(pid);
    }
    t.assert_nothing_left();
}

#[test]
fn everything_in_a_cgroup_is_killed_without_cgroup_kill() {
    mote_only!("others have other ways");
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000"]);
    // In the namespace of the caller's, so that the end of the first process does not end the others.
    common::without_namespace(&mut config, "pid");
    let id = t.detached(&config);
    let pid = t.pid(&id);
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2").to_owned();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let v2 = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let Some(v2) = v2.and_then(|line| line.split(' ').nth(1)) else {
        return common::skipped("no cgroup v2");
    };
    let file = format!("{v2}{own}/cgroup.kill");
    if !Path::new(&file).exists() {
        return common::skipped("this kernel has no cgroup.kill");
    }
    // A file that takes nothing is as good as none: the others have to do it.
    t.mote(["delete", "--force", &id])
        .after_bash(&format!("mount --bind /dev/full {file}"))
        .under(["unshare", "-m"])
        .run()
        .ok();
    t.assert_gone(&id);
    common::reap(pid);
    t.assert_nothing_left();
}
