//! `exec`: a process that joins a container.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Output, Test, is_mote, spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A container that does nothing for long.
fn sleeper(t: &Test, edit: impl FnOnce(&mut Value)) -> String {
    let mut config = spec(&["sleep", "1000"]);
    edit(&mut config);
    t.detached(&config)
}

/// `exec` with these words; the id stands where they say `ID`.
fn exec(t: &Test, id: &str, words: &[&str]) -> Output {
    t.mote(["exec"]).args(words.iter().map(|word| if *word == "ID" { id } else { word })).run()
}

/// `exec ID sh -c script`; gives what it printed.
#[track_caller]
fn sh(t: &Test, id: &str, script: &str) -> String {
    exec(t, id, &["ID", "sh", "-c", script]).ok().to_owned()
}

/// `exec --process FILE ID`.
fn exec_process(t: &Test, id: &str, process: &Value) -> Output {
    let file = t.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(process).unwrap()).unwrap();
    t.mote(["exec", "--process"]).arg(file).arg(id).run()
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pid_in(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.parse().ok()
}

#[test]
fn a_process_runs_in_the_container_and_its_exit_code_is_the_caller_s() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    assert_eq!(
        sh(&t, &id, "hostname; echo $$ >/dev/null; cat /proc/1/cmdline | tr '\\0' ' '"),
        "runc\nsleep 1000 "
    );
    assert_eq!(exec(&t, &id, &["ID", "sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(exec(&t, &id, &["ID", "sh", "-c", "kill -9 $$"]).code(), 128 + 9);
    assert_eq!(exec(&t, &id, &["ID", "sh", "-c", "kill -TERM $$"]).code(), 128 + 15);
    let out = t.mote(["exec", &id, "sh", "-c", "cat; echo err >&2"]).stdin("typed").run();
    assert_eq!((out.ok(), out.stderr.as_str()), ("typed", "err\n"));
}

#[test]
fn a_process_is_in_every_namespace_and_in_the_cgroup_of_the_container() {
    let t = Test::new();
    let id =
        sleeper(&t, |c| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"})));
    let pid_file = t.dir.join("pid");
    t.mote(["exec", "-d", "--pid-file"]).arg(&pid_file).args([&id, "sleep", "100"]).run().ok();
    let (first, joined) = (t.pid(&id), pid_in(&pid_file).unwrap());
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"] {
        let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_eq!(link(joined), link(first.as_raw()), "{name}");
    }
    let cgroup = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroup(joined), cgroup(first.as_raw()));
    kill(Pid::from_raw(joined), Signal::SIGKILL).unwrap();
    common::reap(Pid::from_raw(joined));
}

#[test]
fn what_the_command_line_leaves_out_is_as_in_the_container_s_own_process() {
    let t = Test::new();
    let id = sleeper(&t, |c| {
        c["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o027});
        c["process"]["cwd"] = json!("/tmp");
        c["process"]["env"] = json!(["PATH=/bin", "A=1", "HOME=/h"]);
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    });
    let script = "id -u; id -g; pwd; echo $A $HOME; ulimit -Hn; grep -E 'NoNewPrivs|CapBnd|Groups' /proc/self/status | tr -s '\\t ' ' '";
    assert_eq!(
        sh(&t, &id, script),
        "1000\n1001\n/tmp\n1 /h\n200\nGroups: 7 \nCapBnd: 0000000020000420\nNoNewPrivs: 1\n"
    );
    if common::is_mote() {
        // runc 1.1 has neither in an exec.
        assert_eq!(sh(&t, &id, "umask; ulimit -n"), "0027\n100\n");
    }
    let options =
        ["--cwd", "/etc", "-e", "A=2", "--env=B=a=b", "-u", "0:5", "-g", "9", "-g=8", "--no-new-privs"];
    let out = t.mote(["exec"]).args(options).args([&id, "sh", "-c"]);
    let out = out
        .arg("id -u; id -g; pwd; echo $A $B $HOME; grep Groups /proc/self/status | tr -s '\\t ' ' '")
        .run();
    assert_eq!(out.ok(), "0\n5\n/etc\n2 a=b /h\nGroups: 7 8 9 \n");
}

#[test]
fn options_end_where_the_command_begins() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    assert_eq!(exec(&t, &id, &["ID", "echo", "-e", "A=1", "--detach"]).ok(), "A=1 --detach\n");
    assert_eq!(exec(&t, &id, &["--cwd=/tmp", "ID", "pwd"]).ok(), "/tmp\n");
}

#[test]
fn users_are_numbers_and_nothing_else() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    assert_eq!(exec(&t, &id, &["-u", "1", "ID", "id", "-u"]).ok(), "1\n");
    assert_eq!(exec(&t, &id, &["-u", "1:2", "ID", "sh", "-c", "id -u; id -g"]).ok(), "1\n2\n");
    if !common::is_mote() {
        return common::skipped("runc reads 01 as 1, and ignores an empty user");
    }
    for user in
        ["01", "-1", "4294967295", "4294967296", "1x", ":1", "1:", "", "root", "0x1", "1:-1", "1:2:3", " 1"]
    {
        let out = t.mote(["exec", &format!("--user={user}")]).args([&id, "id"]).run();
        out.fails_saying(&["exec: --user: expected uid or uid:gid"]);
        assert_eq!(out.stdout, "", "{out}");
    }
}

#[test]
fn the_home_is_that_of_the_user() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    assert_eq!(sh(&t, &id, "echo $HOME"), "/root\n");
    assert_eq!(exec(&t, &id, &["-u", "1000", "ID", "sh", "-c", "echo $HOME"]).ok(), "/home\n");
    if is_mote() {
        let out = exec(&t, &id, &["--env", "HOME=", "ID", "sh", "-c", "env | grep HOME"]);
        assert_eq!(out.ok(), "HOME=/root\n", "runc 1.1 keeps what --env says");
    }
}

#[test]
fn capabilities_are_added_but_never_to_the_inheritable_set() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let caps = |out: Output| -> Vec<u64> {
        out.ok()
            .lines()
            .map(|l| u64::from_str_radix(l.split_whitespace().nth(1).unwrap(), 16).unwrap())
            .collect()
    };
    let show = ["ID", "grep", "Cap", "/proc/self/status"];
    let own = 0x2000_0420;
    let under = t.mote(["exec", &id]).args(&show[1..]).under(["setpriv", "--inh-caps", "+chown,+kill"]);
    let found = caps(under.run());
    assert_eq!((found[0], found[1], found[2], found[3]), (0, own, own, own));
    let found =
        caps(exec(&t, &id, &[&["--cap", "CAP_CHOWN", "--cap", "CAP_SYS_PTRACE"], &show[..]].concat()));
    let more = own | 1 | 1 << 19;
    assert_eq!((found[0], found[1], found[2], found[3]), (0, more, more, more));
    mote_only!("an unknown capability on the command line is an error");
    exec(&t, &id, &["--cap", "CAP_NOPE", "ID", "true"]).fails_saying(&["--cap"]);
}

#[test]
fn a_process_file_is_taken_with_the_container_s_own_process_for_what_it_lacks() {
    let t = Test::new();
    let id = sleeper(&t, |c| {
        c["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [7]});
        c["process"]["cwd"] = json!("/tmp");
        c["process"]["env"] = json!(["PATH=/bin", "A=1"]);
    });
    let show = "id -u; pwd; echo $A $B; grep -E 'Groups|CapBnd' /proc/self/status | tr -s '\\t ' ' '";
    let args = json!(["/bin/sh", "-c", show]);
    let whole = json!({
        "args": args, "cwd": "/etc", "env": ["PATH=/bin", "B=2"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    });
    assert_eq!(exec_process(&t, &id, &whole).ok(), "0\n/etc\n2\nGroups: \nCapBnd: 0000000000000020\n");
    let few = json!({"args": args, "cwd": "/etc", "env": ["PATH=/bin"], "user": {"uid": 5, "gid": 5}});
    assert_eq!(exec_process(&t, &id, &few).ok(), "5\n/etc\n\nGroups: \nCapBnd: 0000000020000420\n");
    mote_only!("user, env and cwd that are missing are the container's");
    let least = json!({"args": args, "user": null});
    assert_eq!(exec_process(&t, &id, &least).ok(), "1000\n/tmp\n1\nGroups: 7 \nCapBnd: 0000000020000420\n");
}

#[test]
fn a_wrong_process_file_is_refused_with_the_field() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    mote_only!("one line that names the field");
    for (text, words) in [
        ("{", "line 1"),
        ("[]", "expected an object"),
        ("{}", "args: missing"),
        (r#"{"args":[]}"#, "args: missing"),
        (r#"{"args":["sh"],"cwd":"relative"}"#, "process.cwd: expected an absolute path"),
        (r#"{"args":["sh"],"user":{"uid":-1}}"#, "user.uid: expected a whole number"),
        (r#"{"args":["sh"],"env":["X"]}"#, "process.env[0]"),
        (r#"{"args":["sh"],"rlimits":[{"type":"RLIMIT_NOPE"}]}"#, "process.rlimits[0].type"),
    ] {
        let file = t.dir.join("wrong.json");
        fs::write(&file, text).unwrap();
        let out = t.mote(["exec", "-p"]).arg(&file).arg(&id).run();
        assert_eq!(out.code(), 255, "{out}");
        assert!(out.stderr.contains("wrong.json") && out.stderr.contains(words), "{text}: {out}");
        assert_eq!(out.stderr.lines().count(), 1, "{out}");
    }
    for words in [&["ID"] as &[&str], &["-p", "/dev/null", "ID", "sh"], &[]] {
        exec(&t, &id, words).fails_saying(&["exec: expected"]);
    }
    for words in [
        ["--env", "X"],
        ["--env", "=x"],
        ["--cwd", "x"],
        ["-g", "x"],
        ["--cgroup", "../x"],
        ["--cgroup", "a/../../b"],
    ] {
        exec(&t, &id, &[&words[..], &["ID", "true"]].concat()).fails_saying(&["exec: --"]);
    }
}

#[test]
fn what_cannot_be_executed_is_told_in_words_that_engines_know_and_ends_with_255() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let missing = ["executable file not found", "no such file or directory"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["ID", "nosuchprogram"], &missing),
        (&["ID", "/bin/nosuchprogram"], &missing),
        (&["ID", "/etc/passwd"], &["permission denied"]),
        (&["ID", "/etc"], &["permission denied", "is a directory"]),
        (&["--cwd", "/nosuchdir", "ID", "true"], &["no such file or directory"]),
    ];
    for (words, expected) in cases {
        let out = exec(&t, &id, words);
        assert_eq!(out.code(), 255, "{out}");
        assert!(expected.iter().any(|word| out.stderr.contains(word)), "none of {expected:?}: {out}");
        let out = exec(&t, &id, &[&["--detach"], *words].concat());
        assert_eq!(out.code(), 255, "{out}");
    }
    assert!(!t.dir.join("bundle.0/rootfs/nosuchdir").exists(), "exec makes no directories");
    let out = exec(&t, "nosuchcontainer", &["ID", "true"]);
    assert!(out.stderr.contains("does not exist") && out.code() != 0, "{out}");
}

#[test]
fn a_container_that_has_stopped_takes_no_process() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    kill(t.pid(&id), Signal::SIGKILL).unwrap();
    t.wait_status(&id, "stopped");
    let out = exec(&t, &id, &["ID", "true"]);
    assert_eq!(out.code(), 255, "{out}");
    if common::is_mote() {
        assert!(out.stderr.contains("cannot exec in a stopped container"), "{out}");
    }
}

#[test]
fn a_created_container_takes_processes_before_its_program_runs() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "1000"]));
    let id = t.create(&bundle);
    assert_eq!(sh(&t, &id, "hostname; mount | grep -c ' /proc '"), "runc\n1\n");
    t.verb("start", &id).ok();
    assert_eq!(t.status(&id), "running");
}

#[test]
fn a_recycled_number_is_no_container() {
    mote_only!("it knows the start time");
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let file = t.root.join(&id).join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let pid = t.pid(&id).to_string();
    let forged = text.replacen(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", std::process::id()), 1);
    assert_ne!(forged, text);
    fs::write(&file, &forged).unwrap();
    let out = exec(&t, &id, &["ID", "true"]);
    fs::write(&file, &text).unwrap();
    assert!(out.stderr.contains("cannot exec in a stopped container"), "{out}");
}

#[test]
fn detached_the_process_lives_on_as_the_caller_s_child() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let (pid_file, marker) = (t.dir.join("pid"), t.dir.join("bundle.0/rootfs/tmp/marker"));
    fs::set_permissions(marker.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let process = json!({"args": ["/bin/sh", "-c", "echo $PPID; exec sleep 1000"], "cwd": "/"});
    let file = t.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out =
        t.mote(["exec", "--detach", "--pid-file"]).arg(&pid_file).arg("--process").arg(file).arg(&id).run();
    out.ok();
    let text = fs::read_to_string(&pid_file).unwrap();
    let pid: i32 = text.parse().expect("digits alone, complete when exec returns");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
    assert_eq!(parent, std::process::id().to_string(), "a child of the caller's subreaper: {stat}");
    assert_eq!(t.status(&id), "running");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    common::reap(Pid::from_raw(pid));
}

#[test]
fn nothing_but_the_process_holds_the_caller_s_pipes() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    // `cat` ends only when the last writer has gone.
    let script = r#"{ "$@"; } | cat >/dev/null; echo closed"#;
    let pid_file = t.dir.join("pid");
    let out = t.mote(["exec", "--detach", "--pid-file"]).arg(&pid_file).args([&id, "sleep", "0.2"]);
    assert_eq!(out.under(["sh", "-c", script, "sh"]).run().ok(), "closed\n");
    common::reap(Pid::from_raw(pid_in(&pid_file).unwrap()));
}

#[test]
fn in_the_foreground_signals_are_passed_on() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let pid_file = t.dir.join("pid");
    let running = t
        .mote(["exec", "--pid-file"])
        .arg(&pid_file)
        .args([&id, "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.02; done"])
        .spawn();
    wait_for("no trap", || {
        let status = pid_in(&pid_file).and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
        let caught = status.as_ref().and_then(|s| s.lines().find_map(|l| l.strip_prefix("SigCgt:\t")));
        caught.is_some_and(|mask| u64::from_str_radix(mask, 16).unwrap() & 1 << 9 != 0)
    });
    kill(running.pid(), Signal::SIGUSR1).unwrap();
    assert_eq!(running.wait().code(), 9);
}

#[test]
fn only_what_is_preserved_is_open_inside() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let script = "for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done; true";
    let leak = "exec 3<<<kept 4</etc/passwd 10</ 251</dev/null";
    assert_eq!(t.mote(["exec", &id, "sh", "-c", script]).after_bash(leak).run().ok(), "0\n1\n2\n");
    let script = format!("cat <&3; {script}");
    let out = t.mote(["exec", "--preserve-fds", "1", &id, "sh", "-c", &script]).after_bash(leak).run();
    assert_eq!(out.ok(), "kept\n0\n1\n2\n3\n");
}

#[test]
fn a_cgroup_below_the_container_s_is_entered_and_no_other() {
    mote_only!("this host has cgroup v1 beside v2, and runc takes v1");
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let own = fs::read_to_string(format!("/proc/{}/cgroup", t.pid(&id))).unwrap();
    let Some(own) = own.lines().find_map(|l| l.strip_prefix("0::")).filter(|path| path.contains(&id)) else {
        return common::skipped("the container has no cgroup v2");
    };
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let found = mount.iter().map(|m| PathBuf::from(format!("{m}{own}"))).find(|p| p.is_dir()).unwrap();
    fs::create_dir(found.join("sub")).unwrap();
    let out = exec(&t, &id, &["--cgroup", "sub", "ID", "grep", "0::", "/proc/self/cgroup"]);
    assert!(out.ok().trim().ends_with("/sub"), "{out}");
    let out = exec(&t, &id, &["--cgroup", "nosuch", "ID", "true"]);
    assert_eq!(out.code(), 255, "{out}");
    fs::remove_dir(found.join("sub")).unwrap();
}

#[test]
fn a_container_that_has_divided_its_cgroup_takes_processes_where_its_first_one_is() {
    mote_only!("runc 1.1 looks for another cgroup on cgroup v2 alone, and this may be a hybrid host");
    let t = Test::new();
    let id = sleeper(&t, |config| config["linux"]["resources"] = json!({"pids": {"limit": 100}}));
    let pid = t.pid(&id);
    let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let Some(mount) = mount.iter().find(|mount| fs::exists(format!("{mount}/cgroup.controllers")).unwrap())
    else {
        return common::skipped("no cgroup v2");
    };
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let own = Path::new(mount).join(&path[1..]);
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap();
    let Some(controller) = controllers.split_whitespace().next() else {
        return common::skipped("no controller is on cgroup v2");
    };
    // What a program does that manages cgroups of its own: systemd, or another runtime.
    for leaf in ["other", "init", "init/deep"] {
        fs::create_dir(own.join(leaf)).unwrap();
    }
    fs::write(own.join("init/deep/cgroup.procs"), pid.to_string()).unwrap();
    fs::write(own.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    // Without clone3 it cannot be cloned into a cgroup, and goes there itself.
    for missing in ["", "clone3"] {
        let inside = |words: &[&str]| {
            let exec = t.mote(["exec"]).args(words).args([&id, "cat", "/proc/self/cgroup"]);
            let said = exec.without(missing).run().ok().to_owned();
            said.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)).unwrap()
        };
        let (deep, other) = (inside(&[]), inside(&["--cgroup", ":other"]));
        assert!(deep.ends_with("/init/deep") && other.ends_with("/other"), "{missing}: {deep} {other}");
    }
}

#[test]
fn a_paused_container_is_refused_unless_it_is_ignored() {
    mote_only!("this host has cgroup v1 beside v2, and runc takes v1");
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let own = fs::read_to_string(format!("/proc/{}/cgroup", t.pid(&id))).unwrap();
    let Some(own) = own.lines().find_map(|l| l.strip_prefix("0::")).filter(|path| path.contains(&id)) else {
        return common::skipped("the container has no cgroup v2");
    };
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let freeze =
        mount.iter().map(|m| PathBuf::from(format!("{m}{own}/cgroup.freeze"))).find(|p| p.exists()).unwrap();
    fs::write(&freeze, "1").unwrap();
    let out = exec(&t, &id, &["ID", "true"]);
    assert_eq!(out.code(), 255, "{out}");
    assert!(
        out.stderr.contains("cannot exec in a paused container (use --ignore-paused to override)"),
        "{out}"
    );
    let waits = t.mote(["exec", "--ignore-paused", &id, "true"]).spawn();
    std::thread::sleep(Duration::from_millis(100));
    fs::write(&freeze, "0").unwrap();
    waits.wait().ok();
}

#[test]
fn a_working_directory_through_a_link_or_a_descriptor_stays_inside() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    symlink("/etc/../..", t.dir.join("bundle.0/rootfs/link")).unwrap();
    assert_eq!(exec(&t, &id, &["--cwd", "/link", "ID", "pwd"]).ok(), "/\n");
    for fd in (3..=20).chain([251]) {
        let cwd = format!("/proc/self/fd/{fd}");
        let words = ["exec", "--cwd", &cwd, &id, "ls", "/proc/self/cwd/../../../../../../etc/debian_version"];
        let out = t.mote(words).after_bash("exec 3</ 7</sys/fs/cgroup 10</ 251</").run();
        assert_ne!(out.code(), 0, "{out}");
        assert!(!out.stdout.contains("debian_version"), "fd {fd} leads outside: {out}");
    }
}

#[test]
fn the_seccomp_filter_of_the_container_judges_the_process_too() {
    let t = Test::new();
    let id = sleeper(&t, |c| {
        c["process"]["noNewPrivileges"] = json!(true);
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
        });
    });
    let out = exec(&t, &id, &["ID", "sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/x; echo $?"]);
    assert_eq!(out.ok(), "Seccomp:\t2\n1\n", "{out}");
    assert!(!out.stderr.contains("Read-only"), "{out}");
}

#[test]
fn many_at_once_all_run() {
    let t = Test::new();
    let id = sleeper(&t, |_| ());
    let all: Vec<_> =
        (0..20).map(|n| t.mote(["exec", &id, "sh", "-c", &format!("exit {n}")]).spawn()).collect();
    for (n, running) in all.into_iter().enumerate() {
        assert_eq!(usize::try_from(running.wait().code()), Ok(n));
    }
}

/// Takes the one descriptor that comes over a socket, and the words with it.
fn receive(listener: &std::os::unix::net::UnixListener) -> (std::os::fd::RawFd, String) {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
    let (stream, _) = listener.accept().unwrap();
    let mut data = [0; 64];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut buffers = [std::io::IoSliceMut::new(&mut data)];
    let fd = std::os::fd::AsRawFd::as_raw_fd(&stream);
    let message = recvmsg::<UnixAddr>(fd, &mut buffers, Some(&mut space), MsgFlags::empty()).unwrap();
    let fds: Vec<_> = message.cmsgs().unwrap().collect();
    let [ControlMessageOwned::ScmRights(fds)] = &fds[..] else { panic!("no descriptor: {fds:?}") };
    let (fd, len) = (fds[0], message.bytes);
    assert_eq!(fds.len(), 1);
    (fd, String::from_utf8_lossy(&data[..len]).into_owned())
}

/// The process behind a pidfd.
fn pid_of(pidfd: std::os::fd::RawFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{pidfd}")).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_pidfd_of_the_process_is_sent_to_who_asks_for_it() {
    mote_only!("runc 1.1 has no --pidfd-socket");
    let t = Test::new();
    let path = t.dir.join("pidfd");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let bundle = t.bundle("b", &spec(&["sleep", "1000"]));
    for verb in [&["create"] as &[&str], &["run", "-d"]] {
        let id = t.id();
        t.mote(verb).arg("--pidfd-socket").arg(&path).arg("-b").arg(&bundle).arg(&id).run().ok();
        let (pidfd, words) = receive(&listener);
        assert_eq!((pid_of(pidfd), words.as_str()), (t.pid(&id).as_raw(), "standard"));
    }
    let id = sleeper(&t, |_| ());
    let pid_file = t.dir.join("pid");
    let exec = t.mote(["exec", "-d", "--pid-file"]).arg(&pid_file).arg("--pidfd-socket").arg(&path);
    exec.args([&id, "sleep", "1000"]).run().ok();
    let (pidfd, words) = receive(&listener);
    let pid = pid_in(&pid_file).unwrap();
    assert_eq!((pid_of(pidfd), words.as_str()), (pid, "setns"));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    common::reap(Pid::from_raw(pid));
    for words in [&["create", "-b", "b"] as &[&str], &["exec"]] {
        let out = t
            .mote(words)
            .args(
                ["--pidfd-socket", "/nonexistent", &t.id(), "true"][..if words.len() > 1 { 3 } else { 4 }]
                    .iter(),
            )
            .run();
        assert_ne!(out.code(), 0, "{out}");
    }
}

#[test]
fn sockets_of_a_service_manager_are_passed_on() {
    let t = Test::new();
    let script = "cat <&3; cat <&4; echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l";
    let bundle = t.bundle("b", &spec(&["sh", "-c", script]));
    let pass = "exec 3<<<one 4<<<two 5</etc 6<<<three; export LISTEN_FDS=2 LISTEN_PID=$$";
    let id = t.id();
    let out = t.mote(["run", "--preserve-fds", "1", "-b"]).arg(&bundle).arg(&id).after_bash(pass).run();
    // 0 to 5, and the directory that ls reads.
    assert_eq!(out.ok(), "one\ntwo\n2 1\n7\n");
    let id = sleeper(&t, |_| ());
    let out = t.mote(["exec", &id, "sh", "-c", script]).after_bash(pass).run();
    assert_eq!(out.ok(), "one\ntwo\n2 1\n6\n");
    let other = pass.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    let out = t.mote(["exec", &id, "sh", "-c", "echo $LISTEN_FDS; ls /proc/self/fd | wc -l"]);
    assert_eq!(out.after_bash(&other).run().ok(), "\n4\n", "meant for another process");
}
