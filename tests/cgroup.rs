//! `linux.resources`: what the kernel has of it, and what a container feels. On the controllers of cgroup v1 here, where
//! the host has them there; tests/qemu/device/test/limits does the same on cgroup v2.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A config of a container at a path of its own, with these resources besides the devices.
fn limited(t: &Test, args: &[&str], resources: Value) -> (Value, String) {
    let mut config = spec(args);
    let path = format!("{}-test/deep", t.dir.file_name().unwrap().to_str().unwrap());
    config["linux"]["cgroupsPath"] = json!(format!("/{path}"));
    let target = config["linux"]["resources"].as_object_mut().unwrap();
    target.extend(resources.as_object().unwrap().clone());
    (config, path)
}

/// Where a controller of cgroup v1 is; a test without it is not for this host.
fn hierarchy(controller: &str) -> Option<PathBuf> {
    let path = Path::new("/sys/fs/cgroup").join(controller);
    let there = path.join("cgroup.clone_children").exists();
    if !there {
        common::skipped(&format!("this host has no cgroup v1 hierarchy for {controller}"));
    }
    there.then_some(path)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display())).trim().to_owned()
}

/// Takes away the parent that the path of a test had: runtimes leave it.
fn remove_parents(path: &str) {
    let parent = path.split('/').next().unwrap();
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _ = fs::remove_dir(entry.path().join(parent));
    }
    let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(parent));
}

#[test]
fn the_kernel_has_every_limit_of_the_config() {
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let resources = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20, "swappiness": 7},
        "cpu": {"shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 33},
    });
    let (config, path) = limited(&t, &["sleep", "1000"], resources);
    let id = t.detached(&config);
    for (file, value) in [
        ("memory/memory.limit_in_bytes", "67108864"),
        ("memory/memory.memsw.limit_in_bytes", "100663296"),
        ("memory/memory.soft_limit_in_bytes", "33554432"),
        ("memory/memory.swappiness", "7"),
        ("cpu/cpu.shares", "512"),
        ("cpu/cpu.cfs_quota_us", "20000"),
        ("cpu/cpu.cfs_period_us", "50000"),
        ("cpuset/cpuset.cpus", "0"),
        ("cpuset/cpuset.mems", "0"),
        ("pids/pids.max", "33"),
    ] {
        let (controller, name) = file.split_once('/').unwrap();
        assert_eq!(read(format!("/sys/fs/cgroup/{controller}/{path}/{name}")), value, "{file}");
    }
    let pid = t.pid(&id);
    // In every hierarchy, though some of them are not limited.
    let cgroups = read(format!("/proc/{pid}/cgroup"));
    for line in cgroups.lines().filter(|line| !line.starts_with("0:")) {
        assert!(line.ends_with(&format!(":/{path}")), "{cgroups}");
    }
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    remove_parents(&path);
}

#[test]
fn a_memory_hog_is_killed() {
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let resources = json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}});
    // dd takes its block into memory whole.
    let hog = ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo ended with $?"];
    let (config, path) = limited(&t, &hog, resources);
    let out = t.run(&config);
    assert_eq!(out.ok(), "ended with 137\n", "{out}");
    remove_parents(&path);
}

#[test]
fn a_fork_bomb_stops_at_its_limit() {
    let Some(_) = hierarchy("pids") else { return };
    let t = Test::new();
    let (config, path) = limited(
        &t,
        &["sh", "-c", "n=0; while [ $n -lt 100 ]; do sleep 1000 & n=$((n+1)); done; echo never"],
        json!({"pids": {"limit": 20}}),
    );
    let bundle = t.bundle("b", &config);
    let id = t.id();
    let out = t.mote(["run", "-b"]).arg(&bundle).arg(&id).run();
    assert!(!out.stdout.contains("never") && out.stderr.contains("fork"), "{out}");
    remove_parents(&path);
}

#[test]
fn a_denied_device_cannot_be_opened_and_an_allowed_one_can() {
    let t = Test::new();
    // 1:11 is /dev/kmsg, which is in no list of defaults.
    let script = "mknod /dev/k c 1 11 && ( : </dev/k ) 2>/dev/null && echo opened || echo refused";
    for (rules, expected) in [
        (json!([{"allow": false, "access": "rwm"}]), "refused\n"),
        (
            json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]),
            "opened\n",
        ),
    ] {
        for with_path in [false, true] {
            let (mut config, path) = limited(&t, &["sh", "-c", script], json!({"devices": rules}));
            for set in ["bounding", "effective", "permitted"] {
                let set = config["process"]["capabilities"][set].as_array_mut().unwrap();
                set.extend([json!("CAP_MKNOD"), json!("CAP_SYSLOG")]);
            }
            if !with_path {
                config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
            }
            let dev =
                config["mounts"].as_array_mut().unwrap().iter_mut().find(|m| m["destination"] == "/dev");
            dev.unwrap()["options"] = json!(["nosuid", "strictatime", "mode=755"]);
            let out = t.run(&config);
            assert_eq!(out.stdout, expected, "{rules}: {out}");
            remove_parents(&path);
        }
    }
}

#[test]
fn half_a_processor_does_half_the_work() {
    let Some(_) = hierarchy("cpu") else { return };
    let t = Test::new();
    // What it got is what the kernel counted, so that others who are busy here do not matter much.
    let script = "end=$(($(date +%s)+30)); while [ $(date +%s) -lt $end ]; do n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; done";
    let (config, path) =
        limited(&t, &["sh", "-c", script], json!({"cpu": {"quota": 50_000, "period": 100_000}}));
    let id = t.detached(&config);
    std::thread::sleep(Duration::from_millis(500));
    let used = || read(format!("/sys/fs/cgroup/cpuacct/{path}/cpuacct.usage")).parse::<f64>().unwrap();
    let (before, began) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let share = (used() - before) / began.elapsed().as_nanos() as f64;
    assert!((0.35..0.575).contains(&share), "a quota of one half gave {share}");
    let pid = t.pid(&id);
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    remove_parents(&path);
}

#[test]
fn a_container_is_on_its_processors_alone() {
    let Some(_) = hierarchy("cpuset") else { return };
    let t = Test::new();
    let look = ["grep", "-E", "^(Cpus|Mems)_allowed_list", "/proc/self/status"];
    let (config, path) = limited(&t, &look, json!({"cpu": {"cpus": "0", "mems": "0"}}));
    let out = t.run(&config);
    assert_eq!(out.ok(), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n");
    remove_parents(&path);
}

#[test]
fn processor_time_is_shared_by_weight() {
    let Some(_) = hierarchy("cpu") else { return };
    let t = Test::new();
    // Both on one processor, which they alone do not leave idle. Beside each other, so that others weigh on both alike.
    let of = |shares: u64| {
        let busy = ["sh", "-c", "while :; do :; done"];
        let (mut config, path) = limited(&t, &busy, json!({"cpu": {"shares": shares, "cpus": "0"}}));
        let path = format!("{path}-{shares}");
        config["linux"]["cgroupsPath"] = json!(format!("/{path}"));
        let id = t.detached(&config);
        (t.pid(&id), id, path)
    };
    let both = [of(2048), of(512)];
    let used =
        |path: &str| read(format!("/sys/fs/cgroup/cpuacct/{path}/cpuacct.usage")).parse::<f64>().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = both.each_ref().map(|(_, _, path)| used(path));
    std::thread::sleep(Duration::from_secs(3));
    let after = both.each_ref().map(|(_, _, path)| used(path));
    let ratio = (after[0] - before[0]) / (after[1] - before[1]);
    assert!((2.8..5.7).contains(&ratio), "of four times the shares {ratio} times the time");
    for (pid, id, path) in both {
        t.mote(["delete", "--force", &id]).run().ok();
        common::reap(pid);
        remove_parents(&path);
    }
}

#[test]
fn reads_and_writes_are_limited_in_bytes_and_in_number() {
    let Some(_) = hierarchy("blkio") else { return };
    let t = Test::new();
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(&t.dir).unwrap());
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let size = format!("/sys/dev/block/{major}:{minor}/size");
    if major == 0 || !Path::new(&size).exists() {
        return common::skipped("the directory of the tests is on no disk");
    }
    // What takes no time worth the name takes two seconds.
    let (read, write) = ("dd if=/mnt/f of=/dev/null iflag=direct", "dd if=/dev/zero of=/mnt/f oflag=direct");
    for (field, rate, command) in [
        ("throttleReadBpsDevice", 1 << 20, format!("{read} bs=64k count=32")),
        ("throttleWriteBpsDevice", 1 << 20, format!("{write} bs=64k count=32")),
        ("throttleReadIOPSDevice", 20, format!("{read} bs=4k count=40")),
        ("throttleWriteIOPSDevice", 20, format!("{write} bs=4k count=40")),
    ] {
        let limit = json!([{"major": major, "minor": minor, "rate": rate}]);
        let script = format!("{command} 2>&1 && echo done");
        let (mut config, path) = limited(&t, &["sh", "-c", &script], json!({"blockIO": {(field): limit}}));
        config["root"]["readonly"] = json!(false);
        let bundle = t.bundle(field, &config);
        let file = bundle.join("rootfs/mnt/f");
        fs::write(&file, vec![7; 2 << 20]).unwrap();
        fs::File::open(&file).unwrap().sync_all().unwrap();
        let began = Instant::now();
        let out = t.run_bundle(&bundle).run();
        let took = began.elapsed();
        assert!(out.ok().ends_with("done\n"), "{out}");
        assert!(took > Duration::from_millis(1500), "{field}: {took:?}");
        remove_parents(&path);
    }
}

#[test]
fn the_container_sees_its_own_cgroups_and_cannot_climb() {
    mote_only!("runc 1.1 shows the whole hierarchy of cgroup v2");
    let Some(_) = hierarchy("pids") else { return };
    let t = Test::new();
    for namespace in [false, true] {
        let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/pids/pids.max; ls -d /sys/fs/cgroup/*/*-test; \
                      echo 1 2>/dev/null >/sys/fs/cgroup/pids/cgroup.procs || echo read-only";
        let (mut config, path) = limited(&t, &["sh", "-c", script], json!({"pids": {"limit": 44}}));
        common::without_namespace(&mut config, "cgroup");
        if namespace {
            let all = config["linux"]["namespaces"].as_array_mut().unwrap();
            all.push(json!({"type": "cgroup"}));
        }
        let out = t.run(&config);
        let own = if namespace { ":/\n".to_owned() } else { format!(":/{path}\n") };
        assert!(out.ok().contains(&own) && out.stdout.ends_with("44\nread-only\n"), "{out}");
        remove_parents(&path);
    }
}

#[test]
fn the_agents_and_the_cgroups_of_the_host_are_out_of_reach() {
    let Some(pids) = hierarchy("pids") else { return };
    let t = Test::new();
    let before = [pids.join("release_agent"), pids.join("notify_on_release")].map(read);
    // CVE-2022-0492 and what is beside it: an agent of cgroup v1, a mount of one's own, a process moved up, new cgroups.
    let script = "cd /sys/fs/cgroup || exit 1
        for f in pids/release_agent */release_agent */notify_on_release pids/cgroup.procs pids/tasks pids/pids.max \
            pids/../pids/cgroup.procs unified/cgroup.procs unified/cgroup.subtree_control; do
            ( echo 1 >$f ) 2>/dev/null && echo wrote $f
        done
        mkdir pids/x unified/x 2>/dev/null && echo made a cgroup
        mkdir -p /tmp/m && mount -t cgroup -o pids x /tmp/m 2>/dev/null && echo mounted v1
        mount -t cgroup2 x /tmp/m 2>/dev/null && echo mounted v2
        mount -o remount,rw /sys/fs/cgroup/pids 2>/dev/null && echo remounted
        unshare -Ur true 2>/dev/null && unshare -UrmC sh -c 'mount -t cgroup -o pids x /tmp/m && echo 1 >/tmp/m/release_agent' 2>/dev/null \
            && echo set an agent from a user namespace
        echo tried";
    for namespace in [false, true] {
        let (mut config, path) = limited(&t, &["sh", "-c", script], json!({"pids": {"limit": 44}}));
        common::without_namespace(&mut config, "cgroup");
        if namespace {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
        }
        common::add_mount(&mut config, "/tmp", "tmpfs", "tmp", &[]);
        assert_eq!(t.run(&config).ok(), "tried\n");
        remove_parents(&path);
    }
    assert_eq!([pids.join("release_agent"), pids.join("notify_on_release")].map(read), before);
}

#[test]
fn what_the_kernel_or_the_config_cannot_do_is_one_line_and_leaves_nothing() {
    mote_only!("runc says it in other words");
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    for (resources, says) in [
        (json!({"memory": {"limit": -2}}), ["linux.resources.memory.limit", "-1 for no limit"]),
        (
            json!({"memory": {"limit": 2 << 20, "swap": 1 << 20}}),
            ["linux.resources.memory.swap", "includes memory.limit"],
        ),
        (json!({"memory": {"swappiness": 500}}), ["linux.resources.memory.swappiness", "0 to 200"]),
        (json!({"pids": {"limit": -7}}), ["linux.resources.pids.limit", "-1 for no limit"]),
        (json!({"cpu": {"cpus": "0;rm"}}), ["linux.resources.cpu.cpus", "a list such as"]),
        (json!({"cpu": {"cpus": "4095"}}), ["linux.resources.cpu.cpus: write \"4095\"", "/cpuset.cpus: "]),
        (
            json!({"cpu": {"quota": 1}}),
            ["linux.resources.cpu.quota: write \"1\"", "/cpu.cfs_quota_us: invalid"],
        ),
        (json!({"cpu": {"idle": 2}}), ["linux.resources.cpu.idle", "0 or 1"]),
        (json!({"blockIO": {"weight": 5}}), ["linux.resources.blockIO.weight", "10 to 1000"]),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 4095, "minor": 1, "rate": 5}]}}),
            ["blockIO.throttleReadBpsDevice[0]: write \"4095:1 5\"", "read_bps_device: "],
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}),
            ["linux.resources.hugepageLimits[0].pageSize", "2MB or 1GB"],
        ),
        (
            json!({"network": {"classID": 7}}),
            ["linux.resources.network.classID", "no cgroup controller net_cls"],
        ),
        (
            json!({"rdma": {"mlx5 0": {"hcaHandles": 3}}}),
            ["linux.resources.rdma[\"mlx5 0\"]", "without spaces"],
        ),
        (json!({"unified": {"../x.y": "1"}}), ["linux.resources.unified[\"../x.y\"]", "the name of a file"]),
        (json!({"unified": {"cgroup.procs": "1"}}), ["unified[\"cgroup.procs\"]", "the runtime's own"]),
        (
            json!({"unified": {"nope.max": "1"}}),
            ["unified[\"nope.max\"]: write \"1\" to ", "nope.max: this kernel, or the cgroup above"],
        ),
    ] {
        let (config, path) = limited(&t, &["true"], resources);
        let out = t.run(&config);
        assert_eq!(out.stderr.lines().count(), 1, "{out}");
        out.fails_saying(&says);
        t.assert_nothing_left_but(&format!("{}-test", t.dir.file_name().unwrap().to_str().unwrap()));
        remove_parents(&path);
        t.assert_nothing_left();
    }
}

#[test]
fn a_path_that_climbs_is_refused() {
    let t = Test::new();
    for path in ["/../up", "a/../../b", "/."] {
        let mut config = spec(&["true"]);
        config["linux"]["cgroupsPath"] = json!(path);
        if common::is_mote() {
            t.run(&config).fails_saying(&["linux.cgroupsPath"]);
        }
    }
    t.assert_nothing_left();
}

#[test]
fn a_cgroup_where_others_live_is_refused_and_left_alone() {
    let Some(pids) = hierarchy("pids") else { return };
    mote_only!("runc 1.1 only warns");
    let t = Test::new();
    let (config, path) = limited(&t, &["true"], json!({}));
    let directory = pids.join(&path);
    fs::create_dir_all(&directory).unwrap();
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(directory.join("cgroup.procs"), other.id().to_string()).unwrap();
    t.run(&config).fails_saying(&["cgroup.procs: reads ", "expected an empty cgroup"]);
    assert!(other.try_wait().unwrap().is_none(), "the stranger was killed");
    other.kill().unwrap();
    other.wait().unwrap();
    let _ = fs::remove_dir(&directory);
    remove_parents(&path);
    t.assert_nothing_left();
}

#[test]
fn a_frozen_cgroup_is_refused_and_left_alone() {
    mote_only!("under runc 1.1 the container never starts");
    let t = Test::new();
    for (mount, file, frozen, thawed) in
        [("unified", "cgroup.freeze", "1", "0"), ("freezer", "freezer.state", "FROZEN", "THAWED")]
    {
        let mount = Path::new("/sys/fs/cgroup").join(mount);
        if !mount.join("cgroup.procs").exists() {
            common::skipped(&format!("{file}: this host has no {}", mount.display()));
            continue;
        }
        let (config, path) = limited(&t, &["true"], json!({}));
        let directory = mount.join(&path);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), frozen).unwrap();
        let says = format!("{}: reads {frozen}, expected an empty cgroup", directory.join(file).display());
        t.run(&config).fails_saying(&[&says]);
        assert_eq!(read(directory.join(file)), frozen, "it was let go");
        fs::write(directory.join(file), thawed).unwrap();
        fs::remove_dir(&directory).unwrap();
        remove_parents(&path);
        t.assert_nothing_left();
    }
}

#[test]
fn cgroups_that_a_container_has_made_go_with_it() {
    let Some(pids) = hierarchy("pids") else { return };
    let t = Test::new();
    let (config, path) = limited(&t, &["sleep", "1000"], json!({}));
    let id = t.detached(&config);
    let pid = t.pid(&id);
    let mut deep = pids.join(&path);
    for name in ["a", "b", "c"] {
        deep = deep.join(name);
        fs::create_dir(&deep).unwrap();
    }
    fs::create_dir(pids.join(&path).join("other")).unwrap();
    fs::write(deep.join("cgroup.procs"), pid.to_string()).unwrap();
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    assert!(!pids.join(&path).exists());
    remove_parents(&path);
}

#[test]
fn a_fork_bomb_is_removed_whole() {
    let t = Test::new();
    let (config, path) = limited(
        &t,
        // The first process forks once, before there is a limit to come to: a shell that cannot fork ends.
        &["sh", "-c", "f() { f & f & }; (f; f) & exec sleep 1000"],
        json!({"pids": {"limit": 300}}),
    );
    let id = t.detached(&config);
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(300));
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    t.assert_gone(&id);
    remove_parents(&path);
}

/// A container that counts in a file, as fast as a shell does.
fn counting(t: &Test) -> (String, PathBuf, String) {
    let script = "n=0; while :; do n=$((n+1)); echo $n >/mnt/count; done";
    let (mut config, path) = limited(t, &["sh", "-c", script], json!({"pids": {"limit": 50}}));
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("counting", &config);
    let id = t.id();
    t.mote(["run", "--detach", "-b"]).arg(&bundle).arg(&id).run().ok();
    let count = bundle.join("rootfs/mnt/count");
    while fs::read_to_string(&count).unwrap_or_default().trim().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    (id, count, path)
}

#[test]
fn a_paused_counter_stands_still_and_goes_on() {
    let t = Test::new();
    let (id, count, path) = counting(&t);
    // It is empty for a moment each time that it is written.
    let moves = || {
        let seen: std::collections::BTreeSet<_> = (0..100)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(3));
                fs::read(&count).unwrap()
            })
            .filter(|text| !text.is_empty())
            .collect();
        seen.len() > 1
    };
    // A busy machine may not give it the processor for a while.
    let counts = || (0..30).any(|_| moves());
    assert!(counts());
    t.verb("resume", &id).fails_saying(&["not paused"]);
    t.verb("pause", &id).ok();
    assert_eq!(t.status(&id), "paused");
    assert!(t.mote(["list"]).run().ok().contains("paused"));
    assert!(!moves(), "a paused container counts");
    t.verb("pause", &id).fails_saying(&["not running"]);
    t.verb("delete", &id).fails_saying(&["paused"]);
    t.verb("resume", &id).ok();
    assert_eq!(t.status(&id), "running");
    assert!(counts(), "a resumed container does not count");
    // Killed while it stands still, it is gone all the same.
    t.verb("pause", &id).ok();
    let pid = t.pid(&id);
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    t.verb("pause", &id).fails_saying(&["not running"]);
    t.verb("delete", &id).ok();
    common::reap(pid);
    t.assert_gone(&id);
    remove_parents(&path);
}

#[test]
fn a_paused_container_is_deleted_by_force() {
    let t = Test::new();
    let (id, _, path) = counting(&t);
    let pid = t.pid(&id);
    t.verb("pause", &id).ok();
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    t.assert_gone(&id);
    remove_parents(&path);
}

#[test]
fn kill_all_reaches_every_process() {
    let t = Test::new();
    let script = "sleep 1000 & sleep 1000 & (setsid sleep 1000 &) ; wait";
    let (mut config, path) = limited(&t, &["sh", "-c", script], json!({}));
    common::without_namespace(&mut config, "pid");
    let id = t.detached(&config);
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(200));
    t.mote(["kill", "--all", &id, "KILL"]).run().ok();
    common::reap(pid);
    t.wait_status(&id, "stopped");
    t.mote(["kill", "--all", &id, "KILL"]).run().ok();
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
    remove_parents(&path);
}

#[test]
fn update_changes_what_is_asked_for_and_nothing_else() {
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let resources = json!({"memory": {"limit": 64 << 20}, "cpu": {"quota": 50_000, "period": 100_000}, "pids": {"limit": 40}});
    let (config, path) = limited(&t, &["sleep", "1000"], resources);
    let id = t.detached(&config);
    let pid = t.pid(&id);
    let get = |controller: &str, file: &str| read(format!("/sys/fs/cgroup/{controller}/{path}/{file}"));

    t.mote(["update", "--memory", "128M", "--cpu-share", "300", &id]).run().ok();
    assert_eq!(get("memory", "memory.limit_in_bytes"), (128 << 20).to_string());
    assert_eq!(get("cpu", "cpu.shares"), "300");
    assert_eq!(get("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(get("pids", "pids.max"), "40");

    t.mote(["update", "--cpu-quota", "-1", "--pids-limit", "-1", "--cpuset-cpus", "0", &id]).run().ok();
    assert_eq!(get("cpu", "cpu.cfs_quota_us"), "-1");
    assert_eq!(get("pids", "pids.max"), "max");
    assert_eq!(get("cpuset", "cpuset.cpus"), "0");

    // Both limits up past the old one of both, then down again.
    t.mote(["update", "--memory", "32M", "--memory-swap", "48M", &id]).run().ok();
    t.mote(["update", "--memory", "100M", "--memory-swap", "150M", &id]).run().ok();
    assert_eq!(get("memory", "memory.limit_in_bytes"), (100 << 20).to_string());
    assert_eq!(get("memory", "memory.memsw.limit_in_bytes"), (150 << 20).to_string());
    t.mote(["update", "--memory", "32M", "--memory-swap", "48M", &id]).run().ok();
    assert_eq!(get("memory", "memory.memsw.limit_in_bytes"), (48 << 20).to_string());

    let file = t.dir.join("resources.json");
    fs::write(&file, r#"{"memory":{"reservation":16777216},"pids":{"limit":12}}"#).unwrap();
    t.mote(["update", "--resources", file.to_str().unwrap(), &id]).run().ok();
    assert_eq!(get("memory", "memory.soft_limit_in_bytes"), "16777216");
    assert_eq!(get("pids", "pids.max"), "12");
    t.mote(["update", "-r", "-", &id]).stdin(r#"{"pids":{"limit":13}}"#).run().ok();
    assert_eq!(get("pids", "pids.max"), "13");

    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    remove_parents(&path);
}

#[test]
fn an_update_that_fails_changes_nothing_and_says_why() {
    mote_only!("runc leaves what it has written");
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let (config, path) =
        limited(&t, &["sleep", "1000"], json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 40}}));
    let id = t.detached(&config);
    let pid = t.pid(&id);
    let file = t.dir.join("resources.json");
    let update = |text: &str| {
        fs::write(&file, text).unwrap();
        t.mote(["update", "--resources", file.to_str().unwrap(), &id]).run()
    };
    update(r#"{"memory":{"limit":33554432},"cpu":{"cpus":"4000"}}"#)
        .fails_saying(&["cpu.cpus: write \"4000\""]);
    let limit = read(format!("/sys/fs/cgroup/memory/{path}/memory.limit_in_bytes"));
    assert_eq!(limit, (64 << 20).to_string(), "the limit was not taken back");
    update(r#"{"memory":{"limit":"x"}}"#).fails_saying(&["resources.json: memory.limit", "a whole number"]);
    update(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#)
        .fails_saying(&["memory.limit", "used now"]);
    update("{").fails_saying(&["resources.json: line 1"]);
    t.mote(["update", "--memory", "much", &id]).run().fails_saying(&["--memory", "512M"]);
    t.mote(["update", "--memory", "1M", "nobody"]).run().fails_saying(&["does not exist"]);
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    remove_parents(&path);
}

#[test]
fn schemata_are_for_containers_that_have_a_group() {
    mote_only!("runc says it in other words");
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "1000"]));
    for (option, value, words) in [
        ("--l3-cache-schema", "L3:0=f", ["linux.intelRdt", "the container has no group"]),
        ("--mem-bw-schema", "MB:0=20", ["linux.intelRdt", "the container has no group"]),
        ("--l3-cache-schema", "MB:0=20", ["update: l3CacheSchema", "expected a line such as L3:0=ff;1=c0"]),
        ("--mem-bw-schema", "x", ["update: memBwSchema", "expected a line such as MB:0=20;1=70"]),
    ] {
        t.mote(["update", option, value, &id]).run().fails_saying(&words);
    }
}

#[test]
fn a_container_without_limits_gets_some_later() {
    let t = Test::new();
    let Some(pids) = hierarchy("pids") else { return };
    let id = t.detached(&spec(&["sh", "-c", "sleep 1000 & wait"]));
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(100));
    t.mote(["update", "--pids-limit", "9", "--memory", "50M", &id]).run().ok();
    let own = read(format!("/proc/{pid}/cgroup"));
    let own =
        own.lines().find_map(|line| line.split_once(":pids:")).unwrap().1.trim_start_matches('/').to_owned();
    assert_eq!(read(pids.join(&own).join("pids.max")), "9");
    assert_eq!(read(pids.join(&own).join("pids.current")), "2", "not every process was moved");
    assert_eq!(t.status(&id), "running");
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    t.assert_gone(&id);
}

#[test]
fn events_tell_what_is_used_in_runc_s_words() {
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let resources = json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}, "pids": {"limit": 40}});
    let (config, path) = limited(
        &t,
        &["sh", "-c", "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; sleep 1000; true"],
        resources,
    );
    let id = t.detached(&config);
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(300));
    let out = t.mote(["events", "--stats", &id]).run();
    let line: Value = serde_json::from_str(out.ok()).unwrap();
    assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(id)));
    let data = &line["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 1_000_000, "{data}");
    assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(data["memory"]["swap"]["limit"], 64 << 20);
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 4096, "{data}");
    assert_eq!(data["memory"]["raw"]["hierarchical_memory_limit"], 64 << 20);
    assert_eq!((&data["pids"]["current"], &data["pids"]["limit"]), (&json!(2), &json!(40)));
    assert!(!data["cpuset"]["cpus"].as_array().unwrap().is_empty(), "{data}");
    // What the kernel counts on cgroup v2 beside the controllers of v1.
    if common::is_mote() && Path::new("/sys/fs/cgroup/unified/cpu.pressure").exists() {
        for part in ["cpu", "memory", "blkio"] {
            let psi = &data[part]["psi"];
            assert!(psi["some"]["avg10"].is_number() && psi["full"]["total"].is_u64(), "{part}: {data}");
        }
        assert!(data["cpu"]["psi"]["some"]["total"].as_u64().unwrap() > 0, "{data}");
    }

    t.mote(["events", "--interval", "0s", &id]).run().fails_saying(&["interval"]);

    // A stream ends with the container.
    let stream = t.mote(["events", "--interval", "100ms", &id]).spawn();
    std::thread::sleep(Duration::from_millis(650));
    t.mote(["kill", &id, "KILL"]).run().ok();
    common::reap(pid);
    assert!(!t.mote(["events", "--stats", &id]).run().status.success());
    t.verb("delete", &id).ok(); // before it runc does not see the end
    let out = stream.wait();
    let lines = out.ok().lines().count();
    assert!((2..=12).contains(&lines), "{lines} lines in 650 ms and the time of two commands: {out}");
    remove_parents(&path);
}

#[test]
fn events_tell_when_memory_runs_out() {
    let Some(_) = hierarchy("memory") else { return };
    let t = Test::new();
    let hog = "while [ ! -e /mnt/go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 1000";
    let (mut config, path) =
        limited(&t, &["sh", "-c", hog], json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}}));
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("hog", &config);
    let id = t.id();
    t.mote(["run", "--detach", "-b"]).arg(&bundle).arg(&id).run().ok();
    let pid = t.pid(&id);
    let events = t.mote(["events", "--interval", "1h", &id]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(bundle.join("rootfs/mnt/go"), "").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    t.mote(["kill", &id, "KILL"]).run().ok();
    common::reap(pid);
    t.verb("delete", &id).ok(); // as above
    let out = events.wait();
    let first: Value = serde_json::from_str(out.ok().lines().next().unwrap_or("null")).unwrap();
    assert_eq!((&first["type"], &first["id"]), (&json!("oom"), &json!(id)), "{out}");
    remove_parents(&path);
}

/// In a mount namespace where the host has cgroup v1 alone: what follows runs there.
const V1_ALONE: [&str; 7] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-c",
    "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified && exec \"$@\"",
    "sh",
];

#[test]
fn on_a_host_with_cgroup_v1_alone_a_container_lives_and_ends_the_same() {
    mote_only!("runc 1.1 keeps what it has found of cgroup v2");
    let Some(pids) = hierarchy("pids") else { return };
    let t = Test::new();
    let alone = |args: &[&str]| t.mote(args.iter().copied()).under(V1_ALONE).run();
    // Limited or not, it is in every hierarchy, as there is no other way to keep devices from it and its processes together.
    for limits in
        [json!({}), json!({"pids": {"limit": 33}, "memory": {"limit": 64 << 20}, "cpu": {"quota": 50_000}})]
    {
        let script = "n=0; while :; do n=$((n+1)); done & sleep 1000";
        let (mut config, path) = limited(&t, &["sh", "-c", script], limits.clone());
        common::add_mount(&mut config, "/dev/kmsg", "bind", "/dev/kmsg", &["bind"]);
        let bundle = t.bundle(if limits == json!({}) { "plain" } else { "limited" }, &config);
        let id = t.id();
        alone(&["run", "--detach", "-b", bundle.to_str().unwrap(), &id]).ok();
        let pid = t.pid(&id);
        let of =
            |file: &str| read(format!("/sys/fs/cgroup/{}/{path}/{file}", file.split_once('.').unwrap().0));
        if limits != json!({}) {
            assert_eq!([of("pids.max"), of("memory.limit_in_bytes")], ["33", "67108864"]);
        }
        assert!(!of("devices.list").contains("a *:* rwm"), "every device is allowed");
        assert!(!fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&format!("0::/{path}")));
        alone(&["update", "--pids-limit", "21", &id]).ok();
        assert_eq!(of("pids.max"), "21");
        alone(&["pause", &id]).ok();
        assert_eq!(of("freezer.state"), "FROZEN");
        assert!(alone(&["state", &id]).ok().contains("paused"));
        alone(&["resume", &id]).ok();
        let stats: Value = serde_json::from_str(alone(&["events", "--stats", &id]).ok()).unwrap();
        assert_eq!(stats["data"]["pids"]["limit"], 21, "{stats}");
        let said = alone(&["exec", &id, "sh", "-c", "(: </dev/kmsg) 2>/dev/null || echo refused"]);
        assert_eq!(said.ok(), "refused\n");
        alone(&["delete", "--force", &id]).ok();
        common::reap(pid);
        assert!(!pids.join(&path).exists());
        t.assert_gone(&id);
        remove_parents(&path);
    }
}

#[test]
fn on_a_host_with_cgroup_v1_alone_a_fork_bomb_is_removed_whole() {
    mote_only!("as above");
    let Some(pids) = hierarchy("pids") else { return };
    let t = Test::new();
    let bomb = "f() { f & f & }; f; f; while :; do sleep 1; done";
    let (config, path) = limited(&t, &["sh", "-c", bomb], json!({"pids": {"limit": 300}}));
    let bundle = t.bundle("bomb", &config);
    let id = t.id();
    t.mote(["run", "--detach", "-b"]).arg(&bundle).arg(&id).under(V1_ALONE).run().ok();
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(300));
    t.mote(["delete", "--force", &id]).under(V1_ALONE).run().ok();
    common::reap(pid);
    assert!(!pids.join(&path).exists());
    t.assert_gone(&id);
    remove_parents(&path);
}

#[test]
fn without_cgroup_kill_no_fork_storm_outruns_a_delete() {
    mote_only!("as before Linux 5.14, where runc 1.1 may leave some");
    let v2 = Path::new("/sys/fs/cgroup/unified");
    if !v2.join("cgroup.procs").exists() {
        return common::skipped("this host has no cgroup v2 at /sys/fs/cgroup/unified");
    }
    let t = Test::new();
    // Hundreds of processes that all make more, and begin again when they cannot: who is killed leaves room for another. They have
    // the host's pid namespace, as the end of one of their own would be the end of them all. The user's limit spares the machine.
    let storm = "trap 'exec sh /mnt/storm' EXIT\nwhile :; do sh /mnt/storm & done 2>/dev/null\n";
    // One that has a cgroup on v2 alone, with its freezer, and one that is in the v1 hierarchies, with theirs.
    for everywhere in [false, true] {
        let (mut config, path) = limited(&t, &["sh", "/mnt/storm"], json!({}));
        common::without_namespace(&mut config, "pid");
        config["process"]["user"] = json!({"uid": 61_234, "gid": 61_234});
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": 400, "hard": 400}]);
        let id = t.id();
        let directory = if everywhere {
            v2.join(&path)
        } else {
            config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
            v2.join(format!("mote-{id}"))
        };
        let bundle = t.bundle(if everywhere { "everywhere" } else { "alone" }, &config);
        fs::write(bundle.join("rootfs/mnt/storm"), storm).unwrap();
        t.mote(["run", "--detach", "-b"]).arg(&bundle).arg(&id).run().ok();
        let pid = t.pid(&id);
        // The dead come to this process, which is a subreaper, and would count until it takes them away.
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let group = nix::unistd::Pid::from_raw(-pid.as_raw());
                while !done.load(Ordering::Relaxed) {
                    if matches!(
                        waitpid(group, Some(WaitPidFlag::WNOHANG)),
                        Err(_) | Ok(WaitStatus::StillAlive)
                    ) {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(300));
            let living = || fs::read_to_string(directory.join("cgroup.procs")).unwrap().lines().count();
            let most = (0..20).map(|_| living()).max();
            delete_without_cgroup_kill(&t, &id, &directory);
            done.store(true, Ordering::Relaxed);
            assert!(most > Some(50), "{most:?} processes");
        });
        common::reap(pid);
        assert!(!directory.exists());
        t.assert_gone(&id);
        remove_parents(&path);
    }
}

/// A file that cannot be written to stands for one that an older kernel does not have. Every kill takes a millisecond more: who
/// does not hold the storm still has as many new ones as before at the end of each look at those that he knows of.
fn delete_without_cgroup_kill(t: &Test, id: &str, directory: &Path) {
    let kill = directory.join("cgroup.kill");
    let slow =
        "strace -f -qq -o /dev/null -e trace=pidfd_send_signal -e inject=pidfd_send_signal:delay_enter=1000";
    let cover = format!(
        "mount --bind /etc/passwd {0} && mount -o remount,bind,ro {0} && exec {slow} \"$@\"",
        kill.display()
    );
    let under = ["unshare", "--mount", "--propagation=private", "sh", "-c", &cover, "sh"];
    let out = t.mote(["delete", "--force", id]).under(under).deadline(Duration::from_secs(30)).run();
    if !out.status.success() {
        let _ = fs::write(&kill, "1"); // the storm would outlive the test
    }
    assert!(out.status.success(), "{out}");
}
