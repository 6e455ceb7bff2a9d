//! Hooks: when they run, in which namespaces, what they are told, and what becomes of a container whose hook fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// Those that run before `create` is done.
const OF_CREATE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// A hook that runs a script. The host and the container of a test have both of these directories.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// A config with a directory that hooks and program write to by one path: the host's own.
fn logging(t: &Test, args: &[&str]) -> (Value, PathBuf) {
    let log = t.dir.join("log");
    fs::create_dir_all(&log).unwrap();
    let mut config = spec(args);
    config["root"]["readonly"] = json!(false);
    let path = log.to_str().unwrap();
    add_mount(&mut config, path, "bind", path, &["rbind", "rw"]);
    (config, log)
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits for a file to have so many lines.
fn wait_lines(file: &Path, count: usize) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let lines = lines(file);
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < end, "{}: {lines:?}", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hooks_of_all_kinds_run_in_order_each_in_its_namespaces_and_are_told_the_state() {
    mote_only!("runc 1.1 runs poststart hooks at create (its issue 4347)");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["sh", "-c", "echo program >>$LOG/order; exec sleep 100"]);
    let dir = log.to_str().unwrap();
    config["process"]["env"].as_array_mut().unwrap().push(json!(format!("LOG={dir}")));
    config["annotations"] = json!({"com.example.key": "a \"value\""});
    for kind in KINDS {
        let script = |n: u32| {
            format!(
                "echo {kind}{n} >>{dir}/order; cat >{dir}/{kind}{n}.json; \
                 for ns in mnt pid net; do readlink /proc/self/ns/$ns; done >{dir}/{kind}{n}.ns"
            )
        };
        config["hooks"][kind] = json!([hook(&script(0)), hook(&script(1))]);
    }
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    let order = log.join("order");
    let created: Vec<String> =
        OF_CREATE.iter().flat_map(|kind| [0, 1].map(|n| format!("{kind}{n}"))).collect();
    assert_eq!(lines(&order), created);
    assert_eq!(t.status(&id), "created");

    let pid = t.pid(&id);
    t.verb("start", &id).ok();
    let all = wait_lines(&order, 11);
    assert_eq!(all[6..8], ["startContainer0", "startContainer1"], "{all:?}");
    let mut rest = all[8..].to_vec();
    rest.sort();
    assert_eq!(rest, ["poststart0", "poststart1", "program"], "{all:?}");

    let namespaces =
        |pid: &str| ["mnt", "pid", "net"].map(|ns| fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap());
    let (host, container) = (namespaces("self"), namespaces(&pid.to_string()));
    t.mote(["delete", "--force", &id]).run().ok();
    common::reap(pid);
    assert_eq!(lines(&order)[11..], ["poststop0", "poststop1"]);

    for kind in KINDS {
        let expected = if kind.ends_with("Container") { &container } else { &host };
        for n in [0, 1] {
            let seen: Vec<PathBuf> =
                lines(&log.join(format!("{kind}{n}.ns"))).iter().map(PathBuf::from).collect();
            assert_eq!(seen, expected, "{kind}{n}");
            let text = fs::read_to_string(log.join(format!("{kind}{n}.json"))).unwrap();
            let state: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}: {text}"));
            let (status, own_pid) = match kind {
                "startContainer" => ("created", json!(1)),
                "createContainer" => ("creating", json!(1)),
                "poststart" => ("running", json!(pid.as_raw())),
                "poststop" => ("stopped", json!(0)),
                _ => ("creating", json!(pid.as_raw())),
            };
            assert_eq!(state["status"], status, "{kind}: {text}");
            // runc leaves out a pid of 0.
            let seen = if state["pid"].is_null() { json!(0) } else { state["pid"].clone() };
            assert_eq!(seen, own_pid, "{kind}: {text}");
            assert_eq!(state["id"], json!(id), "{kind}: {text}");
            assert_eq!(state["bundle"], json!(bundle), "{kind}: {text}");
            assert_eq!(state["annotations"]["com.example.key"], "a \"value\"", "{kind}: {text}");
            assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}: {text}");
        }
    }
}

#[test]
fn hooks_have_every_signal_at_its_default_action() {
    mote_only!("runc 1.1 runs poststart hooks before startContainer hooks");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["true"]);
    let seen = log.join("seen");
    for kind in KINDS {
        let script = format!("echo {kind} $(sed -n 's/^SigIgn:.//p' /proc/self/status) >>{}", seen.display());
        config["hooks"][kind] = json!([hook(&script)]);
    }
    t.run_bundle(&t.bundle("b", &config)).under(["env", "--ignore-signal"]).run().ok();
    assert_eq!(lines(&seen), KINDS.map(|kind| format!("{kind} 0000000000000000")));
}

#[test]
fn a_run_in_the_foreground_has_all_hooks_as_well() {
    mote_only!("runc 1.1 runs poststart hooks before startContainer hooks");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["sh", "-c", "exit 7"]);
    let order = log.join("order");
    for kind in KINDS {
        config["hooks"][kind] = json!([hook(&format!("echo {kind} >>{}", order.display()))]);
    }
    assert_eq!(t.run(&config).code(), 7);
    assert_eq!(lines(&order), KINDS);
    t.assert_nothing_left();
}

#[test]
fn hooks_of_the_container_find_what_the_config_mounts_and_their_own_root() {
    let t = Test::new();
    let (mut config, log) = logging(&t, &["cat", "/mnt/made"]);
    let dir = log.display();
    let rootfs = t.dir.join("b/rootfs");
    let script = format!(
        "test -c {0}/dev/null && echo mounted >{dir}/mounted; echo made >{0}/mnt/made",
        rootfs.display()
    );
    config["hooks"]["createRuntime"] = json!([hook("test -e /etc/debian_version")]);
    config["hooks"]["createContainer"] = json!([hook(&script)]);
    // Resolved in the container: the host has no such file.
    config["hooks"]["startContainer"] = json!([{
        "path": "/bin/applet-of-the-test", "args": ["sh", "-c", format!("pwd >{dir}/cwd; id -u >>{dir}/cwd")],
        "env": ["PATH=/bin"]}]);
    config["process"]["cwd"] = json!("/tmp");
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let bundle = t.bundle("b", &config);
    fs::copy(rootfs.join("bin/busybox"), rootfs.join("bin/applet-of-the-test")).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "made\n");
    assert_eq!(lines(&log.join("mounted")), ["mounted"]);
    // In the program's place and as its user: what it runs is the image's.
    assert_eq!(lines(&log.join("cwd")), ["/tmp", "1000"]);
}

#[test]
fn a_hook_gets_its_arguments_and_its_environment_exactly() {
    mote_only!("runc gives its own environment to hooks that have none, and keeps their output");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["hooks"] = json!({
        "prestart": [{"path": "/usr/bin/env", "env": ["ONLY=this", "AND=that=too"]}],
        "createRuntime": [{"path": "/bin/sh", "args": ["another name", "-c", "tr '\\0' '|' </proc/$$/cmdline"], "env": ["PATH=/usr/bin"]}],
        "createContainer": [{"path": "/usr/bin/env", "args": ["env"]}],
        "poststop": [{"path": "/usr/bin/printf", "args": ["printf", "%s.", "", "two words", "'"]}],
    });
    let out = t.run(&config).ok().to_owned();
    assert_eq!(out, "ONLY=this\nAND=that=too\nanother name|-c|tr '\\0' '|' </proc/$$/cmdline|.two words.'.");
}

#[test]
fn a_hook_sees_no_descriptor_but_the_three() {
    mote_only!("the listing is the hook's standard output, which runc keeps");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["root"]["readonly"] = json!(false);
    let script = "for fd in /proc/self/fd/*; do echo ${0##*/} ${fd##*/}; done";
    for kind in KINDS {
        config["hooks"][kind] = json!([hook(&script.replace("${0##*/}", kind))]);
    }
    let bundle = t.bundle("b", &config);
    let out =
        t.run_bundle(&bundle).after_bash("exec 3</dev/null 10</dev/null 251</dev/null").run().ok().to_owned();
    for kind in KINDS {
        let seen: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix(kind)?.strip_prefix(' ')).collect();
        // The shell opens the directory to expand the star, as 3 or, out of the way, as 10.
        let own = seen.iter().filter(|fd| !["0", "1", "2"].contains(fd)).count();
        assert!(seen.len() - own == 3 && own <= 1, "{kind}: {seen:?}");
        assert!(!seen.contains(&"251"), "{kind}: {seen:?}");
    }
}

#[test]
fn a_hook_s_signals_are_not_blocked_and_it_leads_its_own_session() {
    let t = Test::new();
    let (mut config, log) = logging(&t, &["true"]);
    let script = format!(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status >{0}; cut -d' ' -f6 /proc/$$/stat >>{0}; echo $$ >>{0}",
        log.join("seen").display()
    );
    config["hooks"]["prestart"] = json!([hook(&script)]);
    t.run(&config).ok();
    let seen = lines(&log.join("seen"));
    assert_eq!(seen[0], "SigBlk:\t0000000000000000", "{seen:?}");
    if is_mote() {
        let ignored = u64::from_str_radix(seen[1].trim_start_matches("SigIgn:\t"), 16).unwrap();
        assert_eq!(ignored & 1 << 12, 0, "SIGPIPE: {seen:?}");
        assert_eq!(seen[2], seen[3], "{seen:?}");
    }
}

#[test]
fn a_state_larger_than_a_pipe_arrives_whole_and_need_not_be_read() {
    let t = Test::new();
    let (mut config, log) = logging(&t, &["true"]);
    config["annotations"] = json!({"a": "x".repeat(300_000)});
    for kind in KINDS {
        config["hooks"][kind] = json!([
            {"path": "/bin/true"},
            hook("sleep 0.2; exec 0</dev/null; sleep 0.1"),
            hook(&format!("cat >{}/{kind}", log.display())),
        ]);
    }
    t.run(&config).ok();
    for kind in KINDS {
        let state: Value = serde_json::from_slice(&fs::read(log.join(kind)).unwrap()).unwrap();
        assert_eq!(state["annotations"]["a"].as_str().unwrap().len(), 300_000, "{kind}");
    }
}

#[test]
fn what_a_failing_hook_says_and_how_it_ended_is_told_and_the_create_is_taken_back() {
    let t = Test::new();
    for kind in OF_CREATE {
        let cases = [
            (hook("exit 3"), "exit status 3"),
            (hook("kill -9 $$"), "signal"),
            (json!({"path": "/nonexistent/hook"}), "no such file or directory"),
            (json!({"path": "/etc"}), "permission denied"),
        ];
        for (broken, how) in cases {
            let (mut config, log) = logging(&t, &["true"]);
            let after = log.join("after");
            config["hooks"][kind] =
                json!([hook("true"), broken, hook(&format!("touch {}", after.display()))]);
            config["hooks"]["poststop"] =
                json!([hook(&format!("echo gone >>{}", log.join("gone").display()))]);
            let bundle = t.bundle(&format!("b.{}", fs::read_dir(&t.dir).unwrap().count()), &config);
            let (id, file) = (t.id(), t.dir.join("pid"));
            let out = t.mote(["create", "--pid-file"]).arg(&file).arg("-b").arg(&bundle).arg(&id).run();
            out.fails_and_mote_says(&[&format!("hooks.{kind}[1]"), how]);
            assert!(!after.exists(), "{kind}: the next hook ran");
            assert!(!file.exists() || !is_mote(), "{kind}: the pid file stays");
            t.assert_nothing_left();
            // runtime-spec: the life cycle goes on with the container's destruction and poststop.
            assert_eq!(lines(&log.join("gone")), ["gone"], "{kind}");
            fs::remove_dir_all(&log).unwrap();
        }
    }
}

#[test]
fn a_failing_start_container_hook_fails_start_and_the_program_never_runs() {
    let t = Test::new();
    let (mut config, log) = logging(&t, &["touch", "/mnt/ran"]);
    let gone = log.join("gone");
    config["hooks"]["startContainer"] = json!([hook("exit 4")]);
    config["hooks"]["poststart"] = json!([hook(&format!("touch {}", log.join("poststart").display()))]);
    config["hooks"]["poststop"] = json!([hook(&format!("echo gone >>{}", gone.display()))]);
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    let out = t.verb("start", &id);
    // Under runc 1.1 the message is in init's hands, and start does not wait for it.
    if is_mote() {
        out.fails_saying(&["hooks.startContainer[0]", "exit status 4"]);
    }
    t.wait_status(&id, "stopped");
    assert!(!bundle.join("rootfs/mnt/ran").exists() && !log.join("poststart").exists() || !is_mote());
    t.verb("delete", &id).ok();
    assert_eq!(lines(&gone), ["gone"]);

    let out = t.run_bundle(&bundle).run();
    if is_mote() {
        out.fails_saying(&["hooks.startContainer[0]", "exit status 4"]);
        assert_eq!(lines(&gone), ["gone", "gone"]);
    }
    assert!(!bundle.join("rootfs/mnt/ran").exists());
}

#[test]
fn a_failing_poststart_hook_ends_the_container() {
    mote_only!("runc 1.1 runs poststart hooks at create");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["sleep", "100"]);
    let gone = log.join("gone");
    config["hooks"]["poststart"] =
        json!([hook("exit 5"), hook(&format!("touch {}", log.join("next").display()))]);
    config["hooks"]["poststop"] = json!([hook(&format!("echo gone >>{}", gone.display()))]);
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    let pid = t.pid(&id);
    t.verb("start", &id).fails_and_mote_says(&["hooks.poststart[0]", "exit status 5"]);
    t.wait_status(&id, "stopped");
    assert!(!log.join("next").exists());
    t.verb("delete", &id).ok();
    common::reap(pid);
    assert_eq!(lines(&gone), ["gone"]);
    for detach in [&[][..], &["--detach"]] {
        let out = t.mote(["run"]).args(detach).arg("-b").arg(&bundle).arg(t.id()).run();
        out.fails_and_mote_says(&["hooks.poststart[0]", "exit status 5"]);
        t.assert_nothing_left();
    }
    assert_eq!(lines(&gone), ["gone"; 3]);
}

#[test]
fn a_failing_poststop_hook_is_a_warning_and_the_others_run() {
    mote_only!("runc 1.1 stops at the first that fails, against runtime-spec");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["true"]);
    config["hooks"]["poststop"] = json!([hook("exit 6"), {"path": "/nonexistent"}, hook(&format!("echo ran >>{}", log.join("last").display()))]);
    let id = t.create(&t.bundle("b", &config));
    let out = t.mote(["delete", "--force", &id]).run();
    out.ok();
    if is_mote() {
        let said: Vec<&str> = out.stderr.lines().collect();
        assert_eq!(said.len(), 2, "{out}");
        assert!(said[0].contains("warning: hooks.poststop[0]") && said[0].contains("exit status 6"), "{out}");
        assert!(said[1].contains("warning: hooks.poststop[1]"), "{out}");
    }
    assert_eq!(lines(&log.join("last")), ["ran"]);
    t.assert_gone(&id);
}

#[test]
fn a_hook_over_its_time_is_killed_with_its_process_group_and_named() {
    mote_only!("runc 1.1 waits for ever for the group that it has not killed");
    let t = Test::new();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let (mut config, _) = logging(&t, &["sleep", "100"]);
        let mut slow = hook("sleep 1001 & sleep 1002; true");
        slow["timeout"] = json!(1);
        config["hooks"][kind] = json!([slow]);
        let begin = Instant::now();
        let out = t.run(&config);
        out.fails_saying(&[&format!("hooks.{kind}[0]"), "not done after 1 s"]);
        let took = begin.elapsed();
        assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{kind}: {took:?}");
        assert_no_process(&["sleep 1001", "sleep 1002"]);
    }
}

fn assert_no_process(args: &[&str]) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        assert!(!args.contains(&cmdline.trim()), "{} is left: {cmdline}", entry.path().display());
    }
}

#[test]
fn a_timeout_that_is_not_reached_changes_nothing() {
    let t = Test::new();
    let mut config = spec(&["echo", "ran"]);
    for kind in KINDS {
        config["hooks"][kind] =
            json!([{"path": "/bin/true", "timeout": i64::MAX}, {"path": "/bin/true", "timeout": 5}]);
    }
    if is_mote() {
        assert_eq!(t.run(&config).ok(), "ran\n");
    }
}

#[test]
fn hooks_are_those_of_create_whatever_config_json_says_later() {
    mote_only!("runc 1.1 runs poststart hooks at create");
    let t = Test::new();
    let (mut config, log) = logging(&t, &["true"]);
    let order = log.join("order");
    let later = ["startContainer", "poststart", "poststop"];
    for kind in later {
        config["hooks"][kind] = json!([hook(&format!("echo {kind} >>{}", order.display()))]);
    }
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    for kind in later {
        config["hooks"][kind] = json!([hook(&format!("echo swapped >>{}", order.display()))]);
    }
    common::write_config(&bundle, &config);
    t.verb("start", &id).ok();
    t.wait_status(&id, "stopped");
    fs::remove_dir_all(&bundle).unwrap();
    t.verb("delete", &id).ok();
    assert_eq!(lines(&order), later);
}

#[test]
fn a_container_is_creating_while_its_hooks_run_and_can_be_given_up() {
    mote_only!("runc's state is not there before its prestart hooks");
    let t = Test::new();
    for kind in OF_CREATE {
        let mut config = spec(&["true"]);
        config["hooks"][kind] = json!([hook("sleep 1003")]);
        let bundle = t.bundle(kind, &config);
        let id = t.id();
        let create = t.mote(["create", "-b"]).arg(&bundle).arg(&id).spawn();
        let end = Instant::now() + Duration::from_secs(30);
        while t.verb("state", &id).code() != 0 {
            assert!(Instant::now() < end, "never there");
        }
        assert_eq!(t.status(&id), "creating");
        t.mote(["delete", "--force", &id]).run().ok();
        create.wait().fails();
        t.assert_gone(&id);
        assert_no_process(&["sleep 1003"]);
    }
}

#[test]
fn a_prestart_hook_can_pin_the_container_s_network_namespace_as_docker_s_does() {
    let t = Test::new();
    let (mut config, log) = logging(&t, &["readlink", "/proc/self/ns/net"]);
    let pin = t.dir.join("pin");
    fs::write(&pin, "").unwrap();
    // What libnetwork-setkey does: the pid out of the state, a bind of the namespace's file.
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); mount --bind /proc/$pid/ns/net {0} && stat -L -c %i {0} >{1}; umount {0}",
        pin.display(),
        log.join("inode").display()
    );
    let mut setkey = hook(&script);
    // As dockerd names itself: a magic link of the host's /proc, here to a shell.
    let mut shell = std::process::Command::new("/bin/sh")
        .args(["-c", "read x"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    setkey["path"] = json!(format!("/proc/{}/exe", shell.id()));
    config["hooks"]["prestart"] = json!([setkey]);
    let out = t.run(&config);
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(format!("net:[{}]\n", lines(&log.join("inode"))[0]), out.ok());
}

#[test]
fn wrong_hooks_are_refused_by_their_path() {
    mote_only!("runc finds out when it runs them");
    let t = Test::new();
    let cases = [
        (json!({"prestart": [{"path": "relative"}]}), "hooks.prestart[0].path: expected an absolute path"),
        (
            json!({"createRuntime": [{"path": "/x"}, {}]}),
            "hooks.createRuntime[1].path: expected an absolute path",
        ),
        (
            json!({"createContainer": [{"path": "/x", "timeout": 0}]}),
            "hooks.createContainer[0].timeout: expected at least 1",
        ),
        (
            json!({"startContainer": [{"path": "/x", "timeout": -5}]}),
            "hooks.startContainer[0].timeout: expected at least 1",
        ),
        (
            json!({"poststart": [{"path": "/x", "timeout": "5"}]}),
            "hooks.poststart[0].timeout: expected a whole number",
        ),
        (
            json!({"poststart": [{"path": "/x", "timeout": 1.5}]}),
            "hooks.poststart[0].timeout: expected a whole number",
        ),
        (json!({"poststop": [{"path": "/x", "args": "y"}]}), "hooks.poststop[0].args: expected an array"),
        (json!({"poststop": [{"path": "/x", "args": ["a\u{0}b"]}]}), "hooks.poststop[0].args[0]: a NUL"),
        (json!({"poststop": [{"path": "/x\u{0}"}]}), "hooks.poststop[0].path: a NUL"),
        (json!({"poststop": {}}), "hooks.poststop: expected an array"),
        (json!([]), "hooks: expected an object"),
    ];
    for (n, (hooks, says)) in cases.iter().enumerate() {
        let mut config = spec(&["true"]);
        config["hooks"] = hooks.clone();
        let bundle = t.bundle(&format!("b.{n}"), &config);
        t.run_bundle(&bundle).run().fails_saying(&[says]);
    }
    t.assert_nothing_left();
}

#[test]
fn a_hook_s_output_is_its_caller_s() {
    mote_only!("runc keeps it for its own messages");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["hooks"]["createRuntime"] = json!([hook("echo out; echo err >&2")]);
    let out = t.run(&config);
    assert_eq!((out.ok(), out.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_root_file_made_by_a_hook_of_create_is_there_in_a_read_only_root() {
    let t = Test::new();
    let (mut config, _) = logging(&t, &["cat", "/mnt/made"]);
    config["root"]["readonly"] = json!(true);
    let bundle = t.bundle("b", &config);
    let script = format!("echo by hook >{}/rootfs/mnt/made", bundle.display());
    config["hooks"]["createRuntime"] = json!([hook(&script)]);
    common::write_config(&bundle, &config);
    assert_eq!(t.run_bundle(&bundle).run().ok(), "by hook\n");
    assert_eq!(fs::metadata(bundle.join("rootfs/mnt/made")).unwrap().uid(), 0);
}
