//! `linux.seccomp` in the kernel: every action seen from inside a container. What programs mean is tested beside the compiler.
#![cfg(target_arch = "x86_64")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Running, Test, spec};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const GETPID: i64 = 39;
const GETPPID: i64 = 110;
const GETPPID_32: i64 = 64;
const EPERM: i64 = 1;
const ENOSYS: i64 = 38;

/// The program that makes the calls; see probe.c.
fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seccomp-probe");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/probe.c");
        let made = Command::new("cc").args(["-O1", "-static", "-o"]).arg(&path).arg(source).status();
        assert!(made.expect("cc").success(), "probe.c");
        path
    })
}

/// A config with this profile that runs the probe.
fn config(seccomp: Value, args: &[&str]) -> Value {
    let mut config = spec(&[&["/mnt/probe"], args].concat());
    config["linux"]["seccomp"] = seccomp;
    let source = probe().to_str().unwrap();
    common::add_mount(&mut config, "/mnt/probe", "bind", source, &["bind", "ro"]);
    config
}

/// Starts who answers `count` calls.
fn answer(t: &Test, count: u32) -> (Running, PathBuf) {
    let socket = t.dir.join("listener");
    let answering = t.command(probe()).arg("listen").arg(&socket).arg(count.to_string()).spawn();
    let end = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < end, "nobody listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    (answering, socket)
}

/// Everything is allowed but getppid, which gets this action.
fn but_getppid(action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["getppid"], "action": action}]})
}

#[track_caller]
fn says(t: &Test, seccomp: Value, args: &[&str]) -> String {
    t.run(&config(seccomp, args)).ok().trim_end().to_owned()
}

#[test]
fn each_action_is_seen_by_the_program() {
    let t = Test::new();
    let getppid = GETPPID.to_string();
    let call = ["call", &getppid];
    assert_eq!(says(&t, but_getppid("SCMP_ACT_ALLOW"), &call), "0");
    assert_eq!(says(&t, but_getppid("SCMP_ACT_LOG"), &call), "0");
    assert_eq!(says(&t, but_getppid("SCMP_ACT_ERRNO"), &call), format!("errno {EPERM}"));
    assert_eq!(says(&t, but_getppid("SCMP_ACT_TRAP"), &call), format!("trapped {GETPPID}"));
    // Nobody traces it.
    assert_eq!(says(&t, but_getppid("SCMP_ACT_TRACE"), &call), format!("errno {ENOSYS}"));
    let mut traced = but_getppid("SCMP_ACT_TRACE");
    traced["syscalls"][0]["errnoRet"] = json!(1234);
    assert_eq!(says(&t, traced, &["traced", &getppid]), "told 1234");

    for (action, lives) in
        [("SCMP_ACT_KILL_THREAD", true), ("SCMP_ACT_KILL", true), ("SCMP_ACT_KILL_PROCESS", false)]
    {
        let out = t.run(&config(but_getppid(action), &["thread", &getppid]));
        assert_eq!(out.stdout.contains("the first lives"), lives, "{action}: {out}");
        assert_eq!(out.code(), if lives { 0 } else { 128 + 31 }, "{action}: {out}");
    }
}

#[test]
fn errors_are_those_of_the_profile() {
    mote_only!("libseccomp does not take 4095");
    let t = Test::new();
    let call = ["call", &GETPPID.to_string()];
    let mut seccomp = but_getppid("SCMP_ACT_ERRNO");
    seccomp["syscalls"][0]["errnoRet"] = json!(4095);
    assert_eq!(says(&t, seccomp, &call), "errno 4095");
    let mut seccomp = but_getppid("SCMP_ACT_ERRNO");
    seccomp["syscalls"][0]["errnoRet"] = json!(0);
    assert_eq!(says(&t, seccomp, &call), "0");
}

#[test]
fn arguments_are_compared_in_all_their_64_bits() {
    let t = Test::new();
    for (op, value, two, yes, no) in [
        ("SCMP_CMP_EQ", "0x100000002", "0", "0x100000002", "2"),
        ("SCMP_CMP_NE", "0x100000002", "0", "2", "0x100000002"),
        ("SCMP_CMP_GT", "0x100000002", "0", "0x200000000", "3"),
        ("SCMP_CMP_GE", "0x100000002", "0", "0x100000002", "0x100000001"),
        ("SCMP_CMP_LT", "0x100000002", "0", "0xffffffff", "0x200000000"),
        ("SCMP_CMP_LE", "0x100000002", "0", "0x100000002", "0x100000003"),
        ("SCMP_CMP_MASKED_EQ", "0x700000000", "0x100000000", "0xf1ffffffff", "0x3ffffffff"),
    ] {
        let number = |hex: &str| u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap();
        let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"],
            "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
            "args": [{"index": 2, "value": number(value), "valueTwo": number(two), "op": op}]}]});
        let call = |third: &str| says(&t, seccomp.clone(), &["call", &GETPPID.to_string(), "0", "0", third]);
        assert_eq!((call(yes), call(no)), ("errno 77".to_owned(), "0".to_owned()), "{op}");
    }
}

#[test]
fn calls_of_other_architectures_follow_the_same_rules_or_end_the_thread() {
    let t = Test::new();
    let call = ["call32", &GETPPID_32.to_string()];
    assert_eq!(says(&t, but_getppid("SCMP_ACT_ERRNO"), &call), format!("errno {EPERM}"));
    let mut seccomp = but_getppid("SCMP_ACT_ERRNO");
    seccomp["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
    assert_eq!(t.run(&config(seccomp, &call)).code(), 128 + 31);
}

#[test]
fn calls_newer_than_the_profile_are_not_there() {
    let t = Test::new();
    let mut seccomp: Value = serde_json::from_str(include_str!("samples/docker20-bridge.json")).unwrap();
    let seccomp = seccomp["linux"]["seccomp"].take();
    for (number, result) in [("460", "errno 38"), ("9999", "errno 38"), ("165", "errno 1"), ("39", "1")] {
        assert_eq!(says(&t, seccomp.clone(), &["call", number]), result, "{number}");
    }
}

#[test]
fn the_filter_holds_with_and_without_no_new_privileges_and_for_any_user() {
    mote_only!("runc 1.1 panics for a user other than root without no_new_privs");
    let t = Test::new();
    for nnp in [true, false] {
        for uid in [0, 1000] {
            let mut config = config(but_getppid("SCMP_ACT_ERRNO"), &["call", &GETPPID.to_string()]);
            config["process"]["noNewPrivileges"] = json!(nnp);
            config["process"]["user"] = json!({"uid": uid, "gid": uid});
            assert_eq!(t.run(&config).ok(), format!("errno {EPERM}\n"), "{nnp} {uid}");
            let bundle = t.bundle(&format!("waits.{nnp}.{uid}"), &config);
            let id = t.create(&bundle);
            t.verb("start", &id).ok();
            t.wait_status(&id, "stopped");
        }
    }
}

#[test]
fn with_no_new_privileges_a_profile_needs_to_allow_little_more_than_execve() {
    mote_only!("runc needs more calls between the filter and execve");
    let t = Test::new();
    let names = [
        "execve",
        "exit_group",
        "write",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlinkat",
        "getrandom",
        "mprotect",
        "rt_sigaction",
        "newfstatat",
        "getpid",
        "readlink",
        "fstat",
    ];
    let seccomp = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    let mut config = config(seccomp, &["call", &GETPID.to_string()]);
    config["process"]["noNewPrivileges"] = json!(true);
    let bundle = t.bundle("strict", &config);
    let id = t.create(&bundle);
    t.verb("start", &id).ok();
    t.wait_status(&id, "stopped");
    assert_eq!(t.run_bundle(&bundle).run().ok(), "1\n");
}

#[test]
fn flags_reach_the_kernel() {
    mote_only!("runc 1.1 knows no flags");
    let t = Test::new();
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
    ] {
        let mut seccomp = but_getppid("SCMP_ACT_ERRNO");
        seccomp["flags"] = flags;
        assert_eq!(says(&t, seccomp, &["call", &GETPPID.to_string()]), "errno 1");
    }
}

#[test]
fn the_profiles_of_engines_hold_their_shells() {
    let t = Test::new();
    for sample in [include_str!("samples/docker20-bridge.json"), include_str!("samples/podman43-p1.json")] {
        let mut sample: Value = serde_json::from_str(sample).unwrap();
        let seccomp = sample["linux"]["seccomp"].take();
        let script = "grep -E '^Seccomp' /proc/self/status; ls / >/dev/null && (sleep 0; echo done | cat); mount -t tmpfs x /mnt 2>&1";
        let mut config = spec(&["sh", "-c", script]);
        config["linux"]["seccomp"] = seccomp;
        let out = t.run(&config);
        assert!(out.stdout.contains("Seccomp:\t2\n") && out.stdout.contains("done\n"), "{out}");
        assert!(out.code() != 0, "{out}");
    }
}

/// So do runc and crun.
#[test]
fn start_container_hooks_are_judged_like_the_program() {
    let t = Test::new();
    for &nnp in with_and_without() {
        let script = "grep Seccomp: /proc/self/status >/tmp/hook; test -e /proc/self/status";
        let mut config = spec(&["sh", "-c", "cat /tmp/hook; grep Seccomp: /proc/self/status"]);
        common::add_mount(&mut config, "/tmp", "tmpfs", "tmpfs", &[]);
        config["process"]["noNewPrivileges"] = json!(nnp);
        config["linux"]["seccomp"] = but_getppid("SCMP_ACT_ERRNO");
        config["hooks"]["startContainer"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        assert_eq!(t.run(&config).ok(), "Seccomp:\t2\nSeccomp:\t2\n", "{nnp}");
    }
}

/// no_new_privs and not; runc 1.1 panics without.
fn with_and_without() -> &'static [bool] {
    if common::is_mote() { &[true, false] } else { &[true] }
}

/// A config whose getppid is answered by who listens on `socket`.
fn notifying(socket: &Path, nnp: bool) -> Value {
    let mut seccomp = but_getppid("SCMP_ACT_NOTIFY");
    seccomp["listenerPath"] = json!(socket);
    seccomp["listenerMetadata"] = json!("for \"you\"");
    let mut config = config(seccomp, &["call", &GETPPID.to_string(), "41"]);
    config["process"]["noNewPrivileges"] = json!(nnp);
    config["annotations"] = json!({"key": "value"});
    config
}

#[test]
fn a_listener_answers_and_knows_for_whom() {
    let t = Test::new();
    for &nnp in with_and_without() {
        let (answering, socket) = answer(&t, 1);
        let bundle = t.bundle(&format!("run.{nnp}"), &notifying(&socket, nnp));
        assert_eq!(t.run_bundle(&bundle).run().ok(), "42\n");
        let out = answering.wait();
        let mut lines = out.ok().lines();
        let state: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(lines.collect::<Vec<_>>(), [format!("call {GETPPID} 41")]);
        assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
        assert_eq!(state["metadata"], "for \"you\"", "{state}");
        assert_eq!(state["state"]["bundle"], json!(bundle), "{state}");
        assert_eq!(state["state"]["annotations"], json!({"key": "value"}), "{state}");
        assert_eq!(state["state"]["status"], "creating", "{state}");
        assert_eq!(state["state"]["pid"], state["pid"], "{state}");
        assert!(state["pid"].as_i64() > Some(1) && state["state"]["ociVersion"].is_string(), "{state}");
        std::fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn a_listener_answers_for_a_container_that_was_created_first() {
    let t = Test::new();
    for &nnp in with_and_without() {
        let (answering, socket) = answer(&t, 1);
        let bundle = t.bundle(&format!("create.{nnp}"), &notifying(&socket, nnp));
        let id = t.create(&bundle);
        let fds = std::fs::read_dir(format!("/proc/{}/fd", t.pid(&id))).unwrap();
        let open: Vec<_> = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
        assert!(!open.iter().any(|to| to.to_string_lossy().contains("seccomp")), "{open:?}");
        t.verb("start", &id).ok();
        assert!(answering.wait().ok().contains(&format!("call {GETPPID} 41")));
        t.wait_status(&id, "stopped");
        std::fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn without_anybody_who_answers_there_is_no_container() {
    let t = Test::new();
    for &nnp in with_and_without() {
        let config = notifying(Path::new("/nowhere/at/all"), nnp);
        let bundle = t.bundle(&format!("nowhere.{nnp}"), &config);
        t.run_bundle(&bundle).run().fails_and_mote_says(&["listenerPath", "/nowhere/at/all", "no such file"]);
    }
    t.assert_nothing_left();
}

/// A profile that takes several filters: rules about several calls, and more about getppid than fit in one. getppid fails with
/// 9 if its second argument is a multiple of 5 below 5000 and the third is not 1.
fn of_several_filters(nothing_else: bool) -> Value {
    let arg = |index: u8, op: &str, value: u64| json!({"index": index, "op": op, "value": value});
    let mut rules = Vec::new();
    for n in 0..1000_u64 {
        rules.push(json!({"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9,
            "args": [arg(1, "SCMP_CMP_EQ", n * 5), arg(2, "SCMP_CMP_NE", 1)]}));
        let name = ["ioctl", "mmap", "prctl", "futex"][usize::try_from(n % 4).unwrap()];
        rules.push(json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 10,
            "args": [arg(4, "SCMP_CMP_EQ", 99_000 + n), arg(5, "SCMP_CMP_GT", n)]}));
    }
    if nothing_else {
        rules.push(json!({"names": ["seccomp"], "action": "SCMP_ACT_KILL_PROCESS"}));
    }
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

#[test]
fn a_profile_too_long_for_one_filter_takes_several() {
    mote_only!("libseccomp writes one program, which the kernel does not take");
    let t = Test::new();
    let getppid = GETPPID.to_string();
    for nnp in [true, false] {
        let mut config = config(of_several_filters(true), &[]);
        config["process"]["noNewPrivileges"] = json!(nnp);
        for (second, third, said) in [
            ("0", "0", "errno 9"),
            ("2500", "2", "errno 9"),
            ("4995", "7", "errno 9"),
            ("2500", "1", "0"),
            ("2501", "0", "0"),
            ("5000", "0", "0"),
        ] {
            config["process"]["args"] = json!(["/mnt/probe", "call", getppid, "0", second, third]);
            assert_eq!(t.run(&config).ok().trim_end(), said, "{nnp} {second} {third}");
        }
        config["process"]["args"] = json!(["/bin/grep", "Seccomp", "/proc/self/status"]);
        let out = t.run(&config);
        let count = out.ok().lines().find_map(|line| line.strip_prefix("Seccomp_filters:\t"));
        // Linux 5.9 counts them.
        assert!(count.is_none_or(|count| count.parse::<u32>().unwrap() > 2), "{out}");
    }
    // Exec loads all of them as well.
    let mut config = config(of_several_filters(true), &[]);
    config["process"]["args"] = json!(["/bin/sleep", "100"]);
    let id = t.detached(&config);
    let exec = |second: &str| {
        t.mote(["exec", &id, "/mnt/probe", "call", &getppid, "0", second]).run().ok().to_owned()
    };
    assert_eq!((exec("45"), exec("46")), ("errno 9\n".to_owned(), "0\n".to_owned()));
    t.verb("kill", &id).ok();
}

#[test]
fn a_listener_answers_for_a_profile_of_several_filters() {
    mote_only!("libseccomp writes one program, which the kernel does not take");
    let t = Test::new();
    for nnp in [true, false] {
        let (answering, socket) = answer(&t, 1);
        let mut config = notifying(&socket, nnp);
        let mut rules = of_several_filters(false)["syscalls"].take();
        let rules = rules.as_array_mut().unwrap();
        rules.retain(|rule| rule["names"] != json!(["getppid"]));
        rules.extend(rules.clone().into_iter().map(|mut rule| {
            rule["names"] = json!(["fcntl"]);
            rule["args"][0]["index"] = json!(3);
            rule
        }));
        config["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap().append(rules);
        let bundle = t.bundle(&format!("several.{nnp}"), &config);
        assert_eq!(t.run_bundle(&bundle).run().ok(), "42\n");
        assert!(answering.wait().ok().contains(&format!("call {GETPPID} 41")));
        std::fs::remove_file(&socket).unwrap();
    }
}

/// Base64 of a program that answers `errno` to one call and allows all others.
fn raw(call: u32, errno: u32) -> String {
    let instructions: [(u16, u8, u8, u32); 4] =
        [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x0005_0000 | errno), (0x06, 0, 0, 0x7fff_0000)];
    let bytes = instructions
        .iter()
        .flat_map(|(code, jt, jf, k)| [&code.to_le_bytes()[..], &[*jt, *jf], &k.to_le_bytes()].concat());
    let out = Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = out;
    out.stdin.take().unwrap().write_all(&bytes.collect::<Vec<_>>()).unwrap();
    String::from_utf8(out.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_program_that_is_given_raw_is_loaded() {
    mote_only!("runc knows no such annotation");
    const ANNOTATION: &str = "run.oci.seccomp_bpf_data";
    let t = Test::new();
    let (mkdir, sync) = (83, 162);
    let mut config =
        spec(&["sh", "-c", "mkdir /dev/shm/x 2>&1; grep -E 'Seccomp(_filters)?:' /proc/self/status"]);
    config["annotations"] = json!({ (ANNOTATION): raw(mkdir, 13) });
    let out = t.run(&config);
    assert!(out.stdout.contains("ermission denied"), "{out}");
    assert!(out.stdout.contains("Seccomp:\t2\nSeccomp_filters:\t1\n"), "{out}");
    config["annotations"] = json!({ (ANNOTATION): raw(sync, 13) });
    assert!(t.run(&config).ok().starts_with("Seccomp:"));
    // It holds for what comes later, too.
    config["annotations"] = json!({ (ANNOTATION): raw(mkdir, 13) });
    config["process"]["args"] = json!(["sleep", "1000"]);
    let id = t.detached(&config);
    let said = t.mote(["exec", &id, "sh", "-c", "mkdir /dev/shm/x 2>&1"]).run();
    assert!(said.stdout.contains("ermission denied"), "{said}");

    // The kernel checks it; nothing takes a profile away.
    config["process"]["args"] = json!(["true"]);
    for wrong in ["", "AAAA", "?", &"A".repeat(12)] {
        config["annotations"] = json!({ (ANNOTATION): wrong });
        t.run(&config).fails_saying(&["annotations[\"run.oci.seccomp_bpf_data\"]", "expected base64"]);
    }
    config["annotations"] = json!({ (ANNOTATION): "/////////+8=" });
    t.run(&config).fails_saying(&["seccomp", "invalid argument"]);
    config["annotations"] = json!({ (ANNOTATION): raw(mkdir, 13) });
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ERRNO"});
    t.run(&config).fails_saying(&["annotations[\"run.oci.seccomp_bpf_data\"]", "expected one of both"]);
}

#[test]
fn explain_says_what_a_profile_means() {
    mote_only!("only mote has the command");
    let t = Test::new();
    let mut sample: Value = serde_json::from_str(include_str!("samples/docker20-bridge.json")).unwrap();
    let mut config = spec(&["true"]);
    config["linux"]["seccomp"] = sample["linux"]["seccomp"].take();
    let bundle = t.bundle("explained", &config);
    for path in [bundle.clone(), bundle.join("config.json")] {
        let out = t.bare().args(["seccomp", "explain"]).arg(path).run();
        for words in [
            "default         errno 1 (operation not permitted)\n",
            "\nx86_64\n",
            "\nx32\n",
            "allow if a0 == 0x20008\n",
            "allow if a0 & 0x7e020000 == 0x0\n",
            "errno 38 (function not implemented)",
        ] {
            assert!(out.ok().to_lowercase().contains(words), "{words:?} is missing: {out}");
        }
    }
    let mut several = config.clone();
    several["linux"]["seccomp"] = of_several_filters(true);
    common::write_config(&bundle, &several);
    let out = t.bare().args(["seccomp", "explain"]).arg(&bundle).run();
    assert!(
        out.ok().contains("which all judge each call")
            && out.stdout.contains("if a1 == 0x9c4 and a2 != 0x1\n"),
        "{out}"
    );
    config["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_MAYBE");
    common::write_config(&bundle, &config);
    let out = t.bare().args(["seccomp", "explain"]).arg(&bundle).run();
    out.fails_saying(&["config.json: linux.seccomp.syscalls[0].action: \"SCMP_ACT_MAYBE\" is none of"]);
    t.bare().args(["seccomp", "explian"]).arg(&bundle).run().fails_saying(&["expected explain"]);
    let own = t.bare().args(["seccomp", "explain", "RuntimeDefault"]).run();
    assert!(own.ok().contains("key rings know no namespaces") && own.stdout.contains("\nx86_64\n"), "{own}");
}
