//! A `create` or `run` that is killed at any of its system calls, by ptrace(2), so that nothing has to be built into it: what it
//! leaves goes with `delete --force`, as does what it had made when it ended well.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// One at a time: each reaps whatever becomes a child of this process.
static ALONE: Mutex<()> = Mutex::new(());

/// ptrace(2) with what nix leaves out.
#[allow(unsafe_code)]
fn ptrace(request: libc::c_uint, pid: Pid, data: i32) -> Result<(), Errno> {
    // SAFETY: none of the requests used here touches memory of this process.
    Errno::result(unsafe { libc::ptrace(request as _, pid.as_raw(), 0, libc::c_long::from(data)) }).map(drop)
}

/// Runs a command and kills it as it is about to make its system call number `call`. Whether it came so far.
#[allow(unsafe_code, clippy::zombie_processes, reason = "waitpid waits")]
fn killed_at(call: usize, args: &[&str]) -> bool {
    let mut command = Command::new(common::binary());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: a system call is all that the child makes.
    unsafe { command.pre_exec(|| Ok(ptrace(libc::PTRACE_TRACEME as _, Pid::from_raw(0), 0)?)) };
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)), "execve");
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    ptrace(libc::PTRACE_SETOPTIONS as _, pid, options).unwrap();
    let (mut stops, mut signal) = (0, 0);
    // A call has a stop before it and one after it.
    while stops < 2 * call - 1 {
        ptrace(libc::PTRACE_SYSCALL as _, pid, signal).unwrap();
        signal = 0;
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) => stops += 1,
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {} // execve of its own copy
            WaitStatus::Stopped(_, other) => signal = other as i32,
            WaitStatus::Exited(_, 0) => return false,
            other => panic!("{args:?}: {other:?}"),
        }
    }
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)));
    true
}

/// Kills `args`, which make a container of `config`, at each call in turn, or every so many, and deletes what it leaves.
fn at_each_call(args: &[&str], config: &Value, step: usize) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let t = Test::new();
    let bundle = t.bundle("b", config);
    let root = t.root.to_str().unwrap();
    let (mut call, mut with_state, mut without_state) = (1, 0, 0);
    loop {
        let id = t.id();
        let bundle_and_id = ["--bundle", bundle.to_str().unwrap(), &id];
        let came = killed_at(call, &[&["--root", root], args, &bundle_and_id].concat());
        let left = t.root.join(&id).join("state.json").exists();
        *(if left { &mut with_state } else { &mut without_state }) += 1;
        if call % (16 * step) == 1 {
            // Another one of this name is refused in words as long as anything is left of it.
            let again = t.mote(args).arg("--bundle").arg(&bundle).arg(&id).run();
            let there = again.stderr.contains("container with given ID already exists");
            assert!(there || again.status.success(), "call {call}: {again}");
        }
        let out = t.mote(["delete", "--force", &id]).run();
        assert_eq!((out.ok(), &*out.stderr), ("", ""), "call {call}");
        gone(&t, call);
        if !came {
            break;
        }
        call += step;
    }
    assert!(
        call > 60 && with_state * step > 5 && without_state * step > 40,
        "{call} calls, {with_state} {without_state}"
    );
}

/// Reaps what the command has left to this process, and looks whether nothing is left of it.
#[track_caller]
fn gone(t: &Test, call: usize) {
    let reap = || {
        while matches!(
            waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        ) {}
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        reap();
        let left = t.leftovers();
        if left.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < end, "killed at call {call} it leaves {left:#?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Limits, so that there is a cgroup in every hierarchy; a filter; hooks in both places.
fn rich() -> Value {
    let hook =
        |name: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null"], "env": [name]}]);
    let mut config = spec(&["sleep", "1000"]);
    config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    config["linux"]["resources"]["pids"] = json!({"limit": 100});
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    config["hooks"] =
        json!({"createRuntime": hook("A=1"), "createContainer": hook("B=1"), "poststop": hook("C=1")});
    config
}

#[test]
fn a_create_that_is_killed_at_any_call_is_taken_back_by_delete() {
    mote_only!("runc has many threads, and leaves its cgroup");
    at_each_call(&["create"], &spec(&["sleep", "1000"]), 1);
}

#[test]
fn a_run_that_is_killed_at_any_call_is_taken_back_by_delete() {
    mote_only!("as above");
    at_each_call(&["run", "--detach"], &spec(&["sleep", "1000"]), 2);
}

#[test]
fn a_create_with_limits_a_filter_and_hooks_is_taken_back_as_well() {
    mote_only!("as above");
    at_each_call(&["create"], &rich(), 3);
}

#[test]
fn a_cgroup_that_may_be_another_s_is_not_emptied() {
    mote_only!("what it keeps is mote's own");
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let t = Test::new();
    let id = t.id();
    let v2 = [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup")];
    let v2 = v2.into_iter().find(|path| path.join("cgroup.procs").exists()).unwrap();
    let group = v2.join(&id);
    fs::create_dir(&group).unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(group.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    // As a create leaves it that was killed before it looked into the cgroup that its config asks for.
    let left = |end: &str| {
        fs::create_dir(t.root.join(&id)).unwrap();
        fs::write(t.root.join(&id).join(".state.json"), format!("{{\"cgroup\":\"{id}\"{end}")).unwrap();
        t.mote(["delete", "--force", &id]).run().ok();
        assert!(!t.root.join(&id).exists());
    };
    left("");
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    // And after that, when it had found it empty.
    left(",");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&stranger.wait().unwrap()), Some(9));
    assert!(!group.exists());
}
