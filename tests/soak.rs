//! Many containers: nothing hangs and nothing adds up.
//!
//! Each command is a process of its own, so what could add up is processes, mounts, cgroups and files.
//! `MOTE_SOAK_ROUNDS` and `MOTE_SOAK_RUNS` set the counts; `make soak` sets them to 1,000 and 10,000.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, count_from_env, spec};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs one command; its output goes nowhere, its end must come before the deadline.
fn quick(root: &Path, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "30"]).arg(common::binary()).arg("--root").arg(root).args(args);
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
    if status.success() { Ok(()) } else { Err(format!("{args:?}: {status}")) }
}

/// Calls `work` with 0, 1, 2, ... up to `count`, from this many threads; stops at the first failure.
fn in_parallel(threads: usize, count: usize, work: impl Fn(usize) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let worker = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return None;
                }
                if let Err(why) = work(n) {
                    next.store(count, Ordering::Relaxed);
                    return Some(format!("round {n}: {why}"));
                }
            }
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        all.into_iter().filter_map(|t| t.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn rounds_of_create_start_kill_delete_leave_nothing() {
    let t = Test::new();
    let rounds = count_from_env("MOTE_SOAK_ROUNDS", 160);
    let bundle = t.bundle("b", &spec(&["sleep", "1000"]));
    let bundle = bundle.to_str().unwrap();
    let ids: Vec<String> = (0..rounds).map(|_| t.id()).collect();
    let (root, began) = (t.root.clone(), Instant::now());
    in_parallel(8, rounds, |n| {
        let id = &ids[n];
        let pid_file = root.parent().unwrap().join(format!("pid.{n}"));
        quick(&root, &["create", "--pid-file", pid_file.to_str().unwrap(), "-b", bundle, id])?;
        quick(&root, &["start", id])?;
        quick(&root, &["kill", id, "KILL"])?;
        // `delete` refuses while the kernel is still at it; engines wait for the exit.
        let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        common::reap(nix::unistd::Pid::from_raw(pid));
        quick(&root, &["delete", id])?;
        fs::remove_file(pid_file).unwrap();
        Ok(())
    });
    println!("{rounds} rounds in {:?}", began.elapsed());
    t.assert_nothing_left();
}

#[test]
fn five_hundred_containers_at_once_leave_nothing() {
    let t = Test::new();
    let count = count_from_env("MOTE_SOAK_MANY", 500);
    let mut config = spec(&["sleep", "1000"]);
    // With a cgroup in every hierarchy that the host has.
    config["linux"]["resources"]["pids"] = serde_json::json!({"limit": 9});
    let bundle = t.bundle("b", &config);
    let bundle = bundle.to_str().unwrap();
    let ids: Vec<String> = (0..count).map(|_| t.id()).collect();
    let pid_file = |n: usize| t.root.parent().unwrap().join(format!("pid.{n}"));
    let pid_files: Vec<_> = (0..count).map(pid_file).collect();
    let root = t.root.clone();
    in_parallel(8, count, |n| {
        quick(
            &root,
            &["run", "--detach", "--pid-file", pid_files[n].to_str().unwrap(), "-b", bundle, &ids[n]],
        )
    });
    let list = t.mote(["list"]).run();
    assert_eq!(list.ok().matches(" running ").count(), count, "{list}");
    in_parallel(8, count, |n| {
        quick(&root, &["delete", "--force", &ids[n]])?;
        let pid = fs::read_to_string(&pid_files[n]).unwrap().parse().unwrap();
        common::reap(nix::unistd::Pid::from_raw(pid));
        fs::remove_file(&pid_files[n]).unwrap();
        Ok(())
    });
    t.assert_nothing_left();
}

#[test]
fn runs_of_true_never_hang() {
    let t = Test::new();
    let runs = count_from_env("MOTE_SOAK_RUNS", 600);
    let bundle = t.bundle("b", &spec(&["true"]));
    let bundle = bundle.to_str().unwrap();
    let ids: Vec<String> = (0..4).map(|_| t.id()).collect();
    let (root, began) = (t.root.clone(), Instant::now());
    // Each of the four runners uses its id again and again: what a run leaves is in the way of the next.
    in_parallel(4, 4, |n| (0..runs / 4).try_for_each(|_| quick(&root, &["run", "-b", bundle, &ids[n]])));
    println!("{runs} runs in {:?}", began.elapsed());
    t.assert_nothing_left();
}

#[test]
fn the_same_id_asked_for_at_once_is_given_once() {
    mote_only!("under runc 1.1 the losers sometimes take the winner's state away");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "1000"]));
    for _ in 0..5 {
        let id = t.id();
        let all: Vec<_> = (0..4).map(|_| t.mote(["create", "-b"]).arg(&bundle).arg(&id).spawn()).collect();
        let codes: Vec<_> = all.into_iter().map(|c| c.wait()).collect();
        let made = codes.iter().filter(|o| o.status.success()).count();
        assert_eq!(made, 1, "{codes:#?}");
        assert_eq!(t.status(&id), "created");
        let pid = t.pid(&id);
        t.mote(["delete", "--force", &id]).run().ok();
        common::reap(pid);
        t.assert_gone(&id);
    }
}

#[test]
fn start_asked_for_at_once_starts_once() {
    mote_only!("the losers hang on the fifo under runc 1.1");
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "echo started >>/mnt/log; sleep 1000"]);
    config["root"]["readonly"] = serde_json::json!(false);
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    let all: Vec<_> = (0..4).map(|_| t.mote(["start", &id]).spawn()).collect();
    let started = all.into_iter().map(|c| c.wait()).filter(|o| o.status.success()).count();
    assert_eq!(started, 1);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(fs::read_to_string(bundle.join("rootfs/mnt/log")).unwrap(), "started\n");
}
