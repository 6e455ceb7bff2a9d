//! When the program gets the processor and the disk, where its memory comes from, what system it takes the kernel for.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use serde_json::{Value, json};
use std::fs;

/// Fields of /proc/<pid>/stat by their number in proc(5).
fn stat(text: &str, numbers: [usize; 3]) -> [i64; 3] {
    let after = text.rsplit_once(") ").expect("stat").1;
    let words: Vec<&str> = after.split_whitespace().collect();
    numbers.map(|n| words[n - 3].parse().unwrap())
}

/// Nice value, real-time priority and policy of a container's program.
fn scheduler(t: &Test, scheduler: Value) -> [i64; 3] {
    stat(&t.sh("cat /proc/$$/stat", |c| c["process"]["scheduler"] = scheduler), [19, 40, 41])
}

#[test]
fn the_scheduler_is_that_of_the_config() {
    mote_only!("runc 1.1 does not know process.scheduler and ignores it");
    let t = Test::new();
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_OTHER", "nice": 7})), [7, 0, 0]);
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_OTHER", "nice": -20, "priority": 0})), [-20, 0, 0]);
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_BATCH", "nice": 19, "flags": []})), [19, 0, 3]);
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_IDLE"})), [0, 0, 5]);
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_FIFO", "priority": 42}))[1..], [42, 1]);
    assert_eq!(scheduler(&t, json!({"policy": "SCHED_RR", "priority": 1}))[1..], [1, 2]);
}

#[test]
fn the_scheduler_s_flags_and_times_are_those_of_the_config() {
    mote_only!("runc 1.1 does not know process.scheduler and ignores it");
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    config["process"]["scheduler"] = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000, "period": 40_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"],
    });
    let id = t.detached(&config);
    let pid = t.pid(&id).to_string();
    let out = t.command("chrt").args(["-p", &pid]).run();
    let text = out.ok();
    assert!(text.contains("SCHED_DEADLINE|SCHED_RESET_ON_FORK"), "{out}");
    assert!(text.contains("1000000/20000000/40000000"), "{out}");
}

#[test]
fn a_scheduler_that_the_kernel_does_not_have_is_named() {
    mote_only!("runc 1.1 does not know process.scheduler and ignores it");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["process"]["scheduler"] = json!({"policy": "SCHED_ISO"});
    t.run(&config).fails_saying(&["process.scheduler"]);
    t.assert_nothing_left();
}

#[test]
fn a_container_in_a_user_namespace_gets_what_only_the_host_s_root_may_give() {
    mote_only!("runc 1.1 does not know process.scheduler and ignores it");
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for field in ["uidMappings", "gidMappings"] {
        config["linux"][field] = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    }
    config["process"]["scheduler"] = json!({"policy": "SCHED_RR", "priority": 5});
    config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_RT", "priority": 2});
    config["process"]["oomScoreAdj"] = json!(500);
    let id = t.detached(&config);
    let pid = t.pid(&id).to_string();
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat(&text, [19, 40, 41]), [0, 5, 2]);
    assert_eq!(t.command("ionice").args(["-p", &pid]).run().ok(), "realtime: prio 2\n");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "500\n");
}

#[test]
fn the_io_priority_is_that_of_the_config() {
    mote_only!("runc 1.1 does not know process.ioPriority and ignores it");
    let t = Test::new();
    for (class, priority, expected) in [
        ("IOPRIO_CLASS_RT", 0, "realtime: prio 0\n"),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7\n"),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n"),
    ] {
        let mut config = spec(&["sleep", "100"]);
        config["process"]["ioPriority"] = json!({"class": class, "priority": priority});
        let id = t.detached(&config);
        let out = t.command("ionice").args(["-p", &t.pid(&id).to_string()]).run();
        assert_eq!(out.ok(), expected, "{class}");
    }
}

#[test]
fn the_memory_policy_is_that_of_the_config() {
    mote_only!("runc 1.1 does not know linux.memoryPolicy and ignores it");
    let t = Test::new();
    for (policy, expected) in [
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "bind=static:0"),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "interleave=relative:0",
        ),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0"),
        (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), "weighted interleave:0"),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), "local"),
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
    ] {
        let text = t.sh("cat /proc/$$/numa_maps", |c| c["linux"]["memoryPolicy"] = policy.clone());
        // Address, policy, what is mapped. Areas of the kernel's own have the default policy.
        let found = text.lines().filter(|line| line.split_once(' ').unwrap().1.starts_with(expected)).count();
        assert!(found > 3, "{policy}: {text}");
    }
    let mut config = spec(&["true"]);
    config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "1023"});
    t.run(&config).fails_saying(&["linux.memoryPolicy"]);
    t.assert_nothing_left();
}

#[test]
fn the_personality_is_that_of_the_config() {
    mote_only!("runc 1.1 does not know linux.personality and ignores it");
    let t = Test::new();
    let machine = t.sh("uname -m", |_| ());
    let domain = |domain: &str| {
        t.sh("uname -m; cat /proc/$$/personality", |c| c["linux"]["personality"] = json!({"domain": domain}))
    };
    assert_eq!(domain("LINUX"), format!("{machine}00000000\n"));
    let text = domain("LINUX32");
    assert!(text.ends_with("00000008\n") && !text.starts_with(&machine), "{text}");
    // Not what the caller has.
    let mut config = spec(&["cat", "/proc/self/personality"]);
    config["linux"]["personality"] = json!({"domain": "LINUX", "flags": []});
    let bundle = t.bundle("b", &config);
    assert_eq!(t.run_bundle(&bundle).under(["setarch", "-R"]).run().ok(), "00000000\n");
}

#[test]
fn the_cpu_affinity_of_exec_is_not_for_the_first_process() {
    let t = Test::new();
    let affinity = json!({"initial": "0", "final": "0"});
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap();
    let inside = t.sh("grep Cpus_allowed: /proc/self/status", |c| c["process"]["execCPUAffinity"] = affinity);
    assert_eq!(inside.trim(), own.trim());
}

/// A field of /proc/self/status of a process that `exec` starts with these fields of its own.
fn status_of_exec(t: &Test, id: &str, field: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut process = spec(&["grep", &format!("^{field}:"), "/proc/self/status"])["process"].take();
    edit(&mut process);
    let file = t.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = t.mote(["exec", "--process"]).arg(&file).arg(id).run();
    out.ok().split_once(':').unwrap().1.trim().to_owned()
}

/// The processors of this test, where there are several; without, the test is skipped.
fn processors() -> Option<String> {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let all = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    if all == "0" {
        common::skipped("there is one processor");
        return None;
    }
    Some(all.to_owned())
}

#[test]
fn a_process_of_exec_has_the_processors_of_its_config() {
    mote_only!("runc 1.1 does not know process.execCPUAffinity and ignores it");
    let t = Test::new();
    let Some(all) = processors() else { return };
    let id = t.detached(&spec(&["sleep", "100"]));
    let allowed = |affinity: Value| {
        status_of_exec(&t, &id, "Cpus_allowed_list", |process| process["execCPUAffinity"] = affinity)
    };
    assert_eq!(allowed(Value::Null), all);
    assert_eq!(allowed(json!({"initial": "0", "final": "1"})), "1");
    assert_eq!(allowed(json!({"final": "0"})), "0");
    assert_eq!(allowed(json!({"initial": "0"})), all, "without a final one it has those of the container");
    let mut config = spec(&["sleep", "100"]);
    config["process"]["execCPUAffinity"] = json!({"initial": "1", "final": "1"});
    let id = t.detached(&config);
    let out = t.mote(["exec", &id, "grep", "^Cpus_allowed_list:", "/proc/self/status"]).run();
    assert_eq!(out.ok().split_whitespace().nth(1), Some("1"), "the container's config counts: {out}");
    let out = t.mote(["exec", &id, "grep", "^Cpus_allowed_list:", "/proc/1/status"]).run();
    assert_eq!(out.ok().split_whitespace().nth(1), Some(&*all), "not for the first process: {out}");
}

#[test]
fn processors_that_the_caller_is_bound_to_are_not_the_container_s() {
    mote_only!("runc has it since 1.3.1");
    let t = Test::new();
    let Some(all) = processors() else { return };
    let look = ["sed", "-n", "s/^Cpus_allowed_list:.//p", "/proc/self/status"];
    let bound = ["taskset", "--cpu-list", "0"];
    let out = t.run_bundle(&t.bundle("b", &spec(&look))).under(bound).run();
    assert_eq!(out.ok().trim(), all);
    let id = t.detached(&spec(&["sleep", "100"]));
    assert_eq!(t.mote(["exec", &id]).args(look).under(bound).run().ok().trim(), all);
}

#[test]
fn a_process_of_exec_is_scheduled_as_its_config_says_and_as_its_container() {
    mote_only!("runc 1.1 does not know these and ignores them");
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    config["linux"]["personality"] = json!({"domain": "LINUX32"});
    config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_PREFERRED", "nodes": "0"});
    config["process"]["apparmorProfile"] = json!("unconfined");
    let id = t.detached(&config);
    let script =
        "cat /proc/$$/stat; busybox ionice -p $$; cat /proc/$$/personality; sed -n 2p /proc/$$/numa_maps";
    let mut process = spec(&["sh", "-c", script])["process"].take();
    process["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 11});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    let file = t.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = t.mote(["exec", "--process"]).arg(&file).arg(&id).run();
    let lines: Vec<&str> = out.ok().lines().collect();
    assert_eq!(stat(lines[0], [19, 40, 41]), [11, 0, 3], "{out}");
    assert!(lines[1].starts_with("idle"), "{out}");
    assert_eq!(lines[2], "00000008", "{out}");
    assert!(lines[3].contains("prefer:0"), "{out}");
}
