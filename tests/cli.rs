//! The command line itself: global options, `spec`, `--version`, and the log that callers parse.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, is_mote, spec};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn version_names_the_program_the_commit_and_the_spec() {
    let t = Test::new();
    for flag in ["--version", "-v"] {
        let text = t.bare().arg(flag).run().ok().to_owned();
        let lines: Vec<&str> = text.lines().collect();
        let name = if is_mote() { "mote" } else { "runc" };
        assert!(lines[0].starts_with(&format!("{name} version ")), "{text}");
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert!(lines[2].starts_with("spec: 1."), "{text}");
    }
}

#[test]
fn the_first_process_of_a_pid_namespace_can_be_any_command_with_options_before_it() {
    let t = Test::new();
    // Mounts and all apart: what took itself for a device's init would boot.
    let first =
        ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup"];
    for words in [&["list", "-q"][..], &["--log-level=debug", "list", "-q"], &["--debug", "list", "-q"]] {
        assert_eq!(t.bare().args(words).under(first).run().ok(), "", "{words:?}");
    }
    for word in ["-v", "--version"] {
        let out = t.bare().arg(word).under(first).run();
        assert!(out.ok().contains(" version "), "{word}: {out}");
    }
}

#[test]
fn spec_writes_a_config_that_runs() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    fs::remove_file(bundle.join("config.json")).unwrap();
    t.bare().arg("spec").cwd(&bundle).run().ok();

    let text = fs::read_to_string(bundle.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\": "), "indented by tabs: {text}");
    assert_eq!(config["process"]["terminal"], true);
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["id", "-u"]);
    common::write_config(&bundle, &config);
    assert_eq!(t.run_bundle(&bundle).run().ok(), "0\n");
}

#[test]
fn spec_writes_what_runc_writes() {
    let t = Test::new();
    let mut written = Vec::new();
    for program in [common::binary().to_str().unwrap(), "runc"] {
        let dir = t.dir.join(format!("spec.{}", written.len()));
        fs::create_dir(&dir).unwrap();
        t.command(program).arg("spec").cwd(&dir).run().ok();
        let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
        // What changed between runc 1.1, which Debian has, and 1.5.
        config["ociVersion"] = Value::Null;
        config["hostname"] = Value::Null;
        config["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
        common::without_namespace(&mut config, "cgroup");
        config["linux"]["maskedPaths"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        written.push(config);
    }
    assert_eq!(written[0], written[1]);
}

#[test]
fn spec_goes_to_the_bundle_and_does_not_overwrite() {
    let t = Test::new();
    let dir = t.dir.join("b");
    fs::create_dir(&dir).unwrap();
    t.bare().args(["spec", "--bundle"]).arg(&dir).run().ok();
    assert!(dir.join("config.json").is_file());
    fs::write(dir.join("config.json"), "mine").unwrap();
    t.bare()
        .args(["spec", "--bundle"])
        .arg(&dir)
        .run()
        .fails_saying(&["File config.json exists. Remove it first"]);
    assert_eq!(fs::read_to_string(dir.join("config.json")).unwrap(), "mine");
}

#[test]
fn options_take_their_value_after_a_space_or_an_equals_sign() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "ran"]));
    let root = t.root.to_str().unwrap().to_owned();
    let bundle = bundle.to_str().unwrap();
    for args in [
        vec![format!("--root={root}"), "run".into(), format!("--bundle={bundle}"), t.id()],
        vec!["--root".into(), root.clone(), "run".into(), "-b".into(), bundle.into(), t.id()],
        vec!["-root".into(), root.clone(), "run".into(), format!("-b={bundle}"), t.id()],
        vec![
            "--root".into(),
            root.clone(),
            "--log-format".into(),
            "json".into(),
            "run".into(),
            "-bundle".into(),
            bundle.into(),
            t.id(),
        ],
    ] {
        assert_eq!(t.bare().args(&args).run().ok(), "ran\n", "{args:?}");
    }
}

#[test]
fn an_empty_value_is_a_value() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "ran"]));
    // Callers write --log= and --pid-file "" for "none".
    let out =
        t.mote(["--log=", "run", "--pid-file", "", "--console-socket=", "-b"]).arg(&bundle).arg(t.id()).run();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn switches_that_engines_pass_are_taken() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let id = t.id();
    t.mote(["--debug=false", "--rootless=false", "create", "--no-new-keyring", "-b"])
        .arg(&bundle)
        .arg(&id)
        .run()
        .ok();
    t.mote(["--rootless", "auto", "start", &id]).run().ok();
    t.wait_status(&id, "stopped");
}

#[test]
fn wrong_command_lines_are_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let bundle = bundle.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--nosuch", "x"], "nosuch"),
        (&["--nosuch", "list"], "nosuch"),
        (&["run"], "run"),
        (&["create", "-b", bundle], "create"),
        (&["run", "-b", bundle, "a", "b"], "run"),
        (&["state"], "state"),
        (&["state", "a", "b"], "state"),
        (&["delete"], "delete"),
        (&["start"], "start"),
        (&["kill"], "kill"),
        (&["run", "x", "--bundle"], ""),
        (&["run", "--bundle"], "bundle"),
        (&["--root"], "root"),
        (&["run", "--detach=maybe", "-b", bundle, "x"], "detach"),
        (&["--log-format", "xml", "list"], "--log-format"),
        (&["--log", "/nonexistent/dir/log", "list"], "/nonexistent/dir/log"),
    ];
    for (args, word) in cases {
        t.mote(*args).run().fails_and_mote_says(&[word]);
    }
    t.assert_nothing_left();
}

#[test]
fn an_unknown_command_is_refused() {
    let t = Test::new();
    for args in [&["nosuch"][..], &["nosuch", "--flag", "x"], &["Run", "x"]] {
        let out = t.mote(args).run();
        assert!(matches!(out.code(), 1 | 3), "{out}");
        assert!(out.stderr.contains(args[0]), "{out}");
    }
}

#[test]
fn the_state_root_is_made_when_it_is_missing_and_only_for_the_owner() {
    let t = Test::new();
    let root = t.root.join("a/b");
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.id();
    let mote = |args: &[&str]| t.bare().arg("--root").arg(&root).args(args).run();
    mote(&["create", "-b", bundle.to_str().unwrap(), &id]).ok();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "one directory for one container");
    mote(&["delete", "--force", &id]).ok();
    fs::remove_dir_all(t.root.join("a")).unwrap();
}

#[test]
fn a_container_is_known_in_its_own_root_only() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let other = t.dir.join("other");
    let id = t.create(&bundle);
    let out = t.bare().arg("--root").arg(&other).args(["state", &id]).run();
    out.fails_saying(&["does not exist"]);
}

#[test]
fn a_failure_writes_one_json_line_to_the_log_and_the_message_to_stderr() {
    let t = Test::new();
    let log = t.dir.join("log.json");
    let logged = |args: &[&str]| {
        t.bare().arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(&t.root).args(args).run()
    };
    for (n, args) in [&["state", "nobody"][..], &["start", "nobody"], &["create", "-b", "/nonexistent", "x"]]
        .iter()
        .enumerate()
    {
        let out = logged(args);
        out.fails();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        let lines: Vec<Value> =
            text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
        assert_eq!(lines.len(), n + 1, "exactly one line a failure, appended: {text}");
        let last = &lines[n];
        assert_eq!(last["level"], "error", "{text}");
        let msg = last["msg"].as_str().unwrap();
        assert!(out.stderr.contains(msg.trim_end()), "stderr lacks {msg:?}: {out}");
        let (time, now) = (
            last["time"].as_str().unwrap(),
            t.command("date").args(["-u", "+%FT"]).run().ok().trim().to_owned(),
        );
        assert!(time.starts_with(&now) && time.ends_with('Z'), "{time} is no RFC 3339 time of today");
        if is_mote() {
            assert_eq!(last.as_object().unwrap().len(), 3, "{text}");
        }
    }
}

#[test]
fn the_log_line_is_json_whatever_the_message_holds() {
    let t = Test::new();
    let log = t.dir.join("log.json");
    let nasty = "/nonexistent/\"quote\\back\u{1b}[31m\u{7f}\ttab\nnewline é\u{2028}";
    let out = t
        .bare()
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "--root"])
        .arg(&t.root)
        .args(["create", "-b", nasty, &t.id()])
        .run();
    out.fails();
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    let line: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
    assert!(line["msg"].as_str().unwrap().contains("nonexistent"), "{text:?}");
}

#[test]
fn success_leaves_the_log_empty() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sh", "-c", "exit 3"]));
    let log = t.dir.join("log.json");
    let out =
        t.mote(["--log-format=json", "--log"]).arg(&log).args(["run", "-b"]).arg(&bundle).arg(t.id()).run();
    assert_eq!(out.code(), 3, "the program's code is no failure of the runtime");
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn the_text_log_holds_the_message_too() {
    let t = Test::new();
    let log = t.dir.join("log");
    t.mote(["--log"]).arg(&log).args(["state", "nobody"]).run().fails_saying(&["does not exist"]);
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    assert!(text.contains("level=error") && text.contains("does not exist"), "{text:?}");
}

#[test]
fn help_is_given_and_is_no_failure() {
    let t = Test::new();
    for args in [&["--help"][..], &["-h"], &["run", "--help"], &["help"]] {
        let text = t.mote(args).run().ok().to_owned();
        assert!(text.contains("run") && text.contains("--"), "{args:?}: {text}");
    }
}

#[test]
fn the_version_has_crun_s_letter_too() {
    mote_only!("runc has -v alone");
    let t = Test::new();
    assert_eq!(t.bare().arg("-V").run().ok(), t.bare().arg("--version").run().ok());
    let help = t.bare().arg("--help").run().ok().to_owned();
    assert_eq!(help.matches("--version").count(), 1, "{help}");
}

#[test]
fn a_config_may_stand_elsewhere_than_in_the_bundle() {
    mote_only!("an option of crun's");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "bundle"]));
    let other = t.dir.join("other");
    fs::create_dir(&other).unwrap();
    common::write_config(&other, &spec(&["echo", "other"]));
    // Relative to the working directory, as crun has it; the root filesystem stays the bundle's.
    for config in [&["--config", "config.json"][..], &["-f", "./config.json"], &["--config=config.json"]] {
        let out = t.mote(["run"]).args(config).arg("-b").arg(&bundle).arg(t.id()).cwd(&other).run();
        assert_eq!(out.ok(), "other\n");
    }
    fs::write(other.join("broken"), "{").unwrap();
    let out = t.mote(["create", "-f"]).arg(other.join("broken")).arg("-b").arg(&bundle).arg(t.id()).run();
    out.fails_saying(&["other/broken: "]);
}

#[test]
fn no_subreaper_is_taken_as_mote_never_is_one() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "ran"]));
    assert_eq!(t.mote(["run", "--no-subreaper", "-b"]).arg(&bundle).arg(t.id()).run().ok(), "ran\n");
}

#[test]
fn systemd_is_refused_by_the_commands_that_would_ask_it_and_taken_by_the_others() {
    mote_only!("runc asks systemd");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    for option in [&["--systemd-cgroup"][..], &["--cgroup-manager", "systemd"], &["--cgroup-manager=systemd"]]
    {
        let name = option[0].split('=').next().unwrap();
        let mote = |args: &[&str]| t.bare().args(option).arg("--root").arg(&t.root).args(args).run();
        for verb in ["create", "run"] {
            mote(&[verb, "-b", bundle.to_str().unwrap(), "x"]).fails_saying(&[name, "systemd"]);
        }
        mote(&["delete", "--force", "x"]).ok();
        mote(&["list"]).ok();
    }
    t.bare()
        .args(["--systemd-cgroup=false", "--cgroup-manager", "cgroupfs", "--root"])
        .arg(&t.root)
        .arg("list")
        .run()
        .ok();
    t.mote(["--cgroup-manager", "nosuch", "list"])
        .run()
        .fails_saying(&["--cgroup-manager: expected cgroupfs, systemd or disabled"]);
}

#[test]
fn a_container_without_a_cgroup_stays_in_its_caller_s() {
    mote_only!("an option of crun's, which Podman passes");
    let t = Test::new();
    let mut config = spec(&["cat", "/proc/1/cgroup"]);
    common::without_namespace(&mut config, "cgroup");
    let mote = |config: &Value, name: &str, verb: &[&str]| {
        let bundle = t.bundle(name, config);
        let id = t.id();
        (t.mote(["--cgroup-manager", "disabled"]).args(verb).arg("-b").arg(&bundle).arg(&id).run(), id)
    };
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for (name, path) in [("plain", Value::Null), ("path", serde_json::json!("/mote-test-without/a"))] {
        config["linux"]["cgroupsPath"] = path;
        let (out, _) = mote(&config, name, &["run"]);
        assert_eq!(out.ok(), own);
        assert!(out.stderr.contains("warning: linux.resources.devices"), "not silently: {out}");
    }
    config["linux"]["resources"]["pids"] = serde_json::json!({"limit": 100});
    let (out, _) = mote(&config, "limited", &["run"]);
    out.fails_saying(&[
        "linux.resources.pids.limit",
        "a container without a cgroup of its own cannot be limited",
    ]);

    let (out, id) = mote(&spec(&["sleep", "100"]), "b", &["run", "--detach"]);
    out.ok();
    let pid = t.pid(&id);
    t.mote(["kill", "--all", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    t.mote(["kill", "--all", &id, "KILL"]).run().ok();
    t.verb("delete", &id).ok();
    common::reap(pid);
}

#[test]
fn checkpoint_and_restore_are_refused_in_one_line_whatever_their_options() {
    mote_only!("runc has them");
    let t = Test::new();
    for args in [
        &["checkpoint", "x"][..],
        &["checkpoint", "--image-path", "/x", "--leave-running", "x"],
        &["restore", "-d", "--image-path=/x", "x"],
    ] {
        t.mote(args).run().fails_saying(&[args[0], "refused"]);
    }
}

#[test]
fn warnings_are_logged_at_the_level_that_is_asked_for() {
    mote_only!("crun's words");
    let t = Test::new();
    let mut config = spec(&["true"]);
    config["process"]["capabilities"]["bounding"] = serde_json::json!(["CAP_NOSUCH"]);
    let bundle = t.bundle("b", &config);
    for (options, in_log, on_stderr) in [
        (&[][..], 0, 1),
        (&["--log-level", "warning"], 1, 0),
        (&["--log-level=warn"], 1, 0),
        (&["--log-level", "info"], 1, 0),
        (&["--debug"], 1, 0),
        (&["--debug", "--log-level", "error"], 1, 0),
        (&["--log-level", "error"], 0, 0),
    ] {
        let log = t.dir.join("log");
        let out = t
            .mote(["--log-format=json", "--log"])
            .arg(&log)
            .args(options)
            .args(["run", "-b"])
            .arg(&bundle)
            .arg(t.id())
            .run();
        out.ok();
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (lines.len(), out.stderr.lines().count()),
            (in_log, on_stderr),
            "{options:?}: {text} {out}"
        );
        assert!(
            lines.iter().all(
                |line| line["level"] == "warning" && line["msg"].as_str().unwrap().contains("CAP_NOSUCH")
            ),
            "{text}"
        );
        fs::remove_file(&log).unwrap();
    }
    t.mote(["--log-level", "loud", "list"])
        .run()
        .fails_saying(&["--log-level: expected error, warning, info or debug"]);
}

#[test]
fn a_failure_goes_to_the_journal_or_to_syslog_where_log_says_so() {
    mote_only!("crun's words");
    use std::os::unix::net::UnixDatagram;
    let t = Test::new();
    for (option, path, says) in [
        (
            "journald:name",
            "run/systemd/journal/socket",
            "PRIORITY=3\nSYSLOG_IDENTIFIER=name\nMESSAGE=nobody: container does not exist\n",
        ),
        ("syslog:web-1", "dev/log", "<11>web-1: nobody: container does not exist"),
        ("syslog:", "dev/log", "<11>mote: nobody: container does not exist"),
    ] {
        let at = t.dir.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&at);
        let service = UnixDatagram::bind(&at).unwrap();
        service.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        // In a mount namespace of its own, where the service's directory is the test's.
        let top = path.split('/').next().unwrap();
        let code = format!("mount --bind {}/{top} /{top}", t.dir.display());
        let out =
            t.mote(["--log", option, "state", "nobody"]).after_bash(&code).under(["unshare", "-m"]).run();
        out.fails_saying(&["does not exist"]);
        let mut bytes = [0; 1000];
        let len = service.recv(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes[..len]), says);
        // Where nobody listens there is standard error.
        drop(service);
        fs::remove_file(&at).unwrap();
        t.mote(["--log", option, "state", "nobody"])
            .after_bash(&code)
            .under(["unshare", "-m"])
            .run()
            .fails_saying(&["does not exist"]);
    }
    t.mote(["--log", "journald:a b", "list"]).run().fails_saying(&["--log"]);
    let file = t.dir.join("plain");
    t.mote(["--log", &format!("file:{}", file.display()), "state", "nobody"]).run().fails();
    assert!(fs::read_to_string(&file).unwrap().contains("does not exist"));
}

#[test]
fn spec_writes_to_the_file_that_is_named() {
    mote_only!("crun's option");
    let t = Test::new();
    for option in ["-f", "--file", "--config"] {
        let name = format!("x{option}.json");
        t.bare().args(["spec", option, &name]).cwd(&t.dir).run().ok();
        assert!(fs::read_to_string(t.dir.join(&name)).unwrap().contains("ociVersion"));
        t.bare()
            .args(["spec", option, &name])
            .cwd(&t.dir)
            .run()
            .fails_saying(&[&format!("File {name} exists. Remove it first")]);
    }
    assert!(!t.dir.join("config.json").exists());
}

#[test]
fn features_has_the_shape_and_the_layout_of_runc_s() {
    let t = Test::new();
    let out = t.bare().arg("features").run();
    let text = out.ok();
    assert!(text.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1."), "{text}");
    let features: Value = serde_json::from_str(text).unwrap();
    let list = |path: &str| -> Vec<String> {
        let list = features.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("{path}"));
        list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        list("/hooks"),
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    );
    // What engines look for before they use it.
    assert!(list("/mountOptions").contains(&"rro".to_owned()) && list("/mountOptions").is_sorted());
    assert!(list("/linux/namespaces").contains(&"user".to_owned()));
    assert!(list("/linux/seccomp/actions").contains(&"SCMP_ACT_NOTIFY".to_owned()));
    assert!(list("/linux/seccomp/operators").contains(&"SCMP_CMP_MASKED_EQ".to_owned()));
    assert!(list("/linux/seccomp/archs").contains(&"SCMP_ARCH_X86_64".to_owned()));
    assert!(list("/linux/capabilities").contains(&"CAP_CHECKPOINT_RESTORE".to_owned()));
    assert_eq!(
        (&features["linux"]["cgroup"]["v1"], &features["linux"]["cgroup"]["v2"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    for part in ["seccomp", "apparmor", "selinux"] {
        assert!(features["linux"][part]["enabled"].is_boolean(), "{part}");
    }
    if is_mote() {
        assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
        assert_eq!(features["linux"]["cgroup"]["systemd"], false);
        assert!(list("/linux/memoryPolicy/modes").contains(&"MPOL_BIND".to_owned()));
        assert_eq!(features["linux"]["netDevices"]["enabled"], true);
        assert_eq!(
            features["linux"]["intelRdt"],
            serde_json::json!({"enabled": true, "schemata": true, "monitoring": true})
        );
        assert!(
            list("/linux/seccomp/supportedFlags")
                .iter()
                .all(|flag| list("/linux/seccomp/knownFlags").contains(flag))
        );
        let annotations = ["run.oci.keep_original_groups", "run.oci.seccomp_bpf_data"];
        assert_eq!(list("/potentiallyUnsafeConfigAnnotations"), annotations);
    }
}

#[test]
fn what_features_claims_is_taken() {
    mote_only!("runc 1.1's features are for runc's own tests");
    let t = Test::new();
    let features: Value = serde_json::from_str(t.bare().arg("features").run().ok()).unwrap();
    let words = |path: &str| -> Vec<String> {
        features
            .pointer(path)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let mut config = spec(&["true"]);
    for kind in words("/hooks") {
        config["hooks"][kind] = serde_json::json!([{"path": "/bin/true"}]);
    }
    for set in ["bounding", "permitted", "effective"] {
        config["process"]["capabilities"][set] = serde_json::json!(words("/linux/capabilities"));
    }
    config["linux"]["namespaces"] =
        words("/linux/namespaces").iter().map(|kind| serde_json::json!({"type": kind})).collect();
    let map = serde_json::json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    let (actions, operators) = (words("/linux/seccomp/actions"), words("/linux/seccomp/operators"));
    let mut rules = Vec::new();
    for (n, action) in actions.iter().filter(|action| *action != "SCMP_ACT_NOTIFY").enumerate() {
        let args = serde_json::json!([{"index": 0, "value": n, "op": "SCMP_CMP_EQ"}]);
        rules.push(serde_json::json!({"names": ["vhangup"], "action": action, "args": args}));
    }
    for op in operators {
        let args = serde_json::json!([{"index": 1, "value": 1, "valueTwo": 1, "op": op}]);
        rules.push(serde_json::json!({"names": ["acct"], "action": "SCMP_ACT_LOG", "args": args}));
    }
    // The last one needs a listener.
    let mut flags = words("/linux/seccomp/supportedFlags");
    flags.retain(|flag| !flag.ends_with("RECV"));
    config["linux"]["seccomp"] = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules,
        "architectures": words("/linux/seccomp/archs")});
    let out = t.run(&config);
    out.ok();
    assert_eq!(out.stderr, "", "nothing is unknown");

    // Each option on a bind mount, where it is none that needs more than a directory.
    let mut config = spec(&["true"]);
    config["root"]["readonly"] = Value::Bool(false);
    let source = t.dir.join("source");
    fs::create_dir(&source).unwrap();
    for option in words("/mountOptions")
        .iter()
        .filter(|o| !o.contains("idmap") && !["remount", "tmpcopyup"].contains(&o.as_str()))
    {
        common::add_mount(
            &mut config,
            &format!("/mnt/{option}"),
            "bind",
            source.to_str().unwrap(),
            &["bind", option],
        );
    }
    t.run(&config).ok();
}

/// Words that a completion of the shell offers behind these.
fn completed(t: &Test, script: &std::path::Path, words: &[&str]) -> Vec<String> {
    let code = format!(
        "source {}; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _mote; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let out = t.command("bash").args(["-c", &code, "bash"]).arg(common::binary()).args(words).run();
    let mut found: Vec<String> =
        out.ok().lines().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    found.sort();
    found
}

#[test]
fn info_says_what_this_host_has() {
    mote_only!("runc has no such command");
    let t = Test::new();
    let out = t.mote(["info"]).run();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let memory = memory.lines().next().unwrap().split_once(':').unwrap().1.trim().to_owned();
    for (name, words) in [
        ("version", format!("{}, commit ", env!("CARGO_PKG_VERSION"))),
        ("kernel", format!("Linux {}, {}", release.trim(), std::env::consts::ARCH)),
        ("memory", memory),
        ("namespaces", "pid network ipc uts mount user".to_owned()),
        ("seccomp", "yes".to_owned()),
    ] {
        let line = out.ok().lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.contains(&words)), "{name}: {words}: {out}");
    }
    // The hierarchies of this host, each where it is mounted.
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    for name in own.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty()) {
        let name = name.trim_start_matches("name=");
        assert!(out.ok().contains(&format!(" /sys/fs/cgroup/{name} {name}\n")), "{name}: {out}");
    }
    t.mote(["info", "x"]).run().fails_saying(&["info: expected no arguments"]);
}

#[test]
fn bash_completes_commands_options_values_and_containers() {
    mote_only!("its own command");
    let t = Test::new();
    let script = t.dir.join("mote.bash");
    fs::write(&script, t.bare().args(["completion", "bash"]).run().ok()).unwrap();
    let root = t.root.to_str().unwrap().to_owned();
    let id = t.create(&t.bundle("b", &spec(&["sleep", "100"])));
    let complete = |words: &[&str]| completed(&t, &script, words);
    assert_eq!(complete(&["st"]), ["start", "state", "stats"]);
    assert_eq!(complete(&["--log-f"]), ["--log-format"]);
    assert_eq!(complete(&["--log-format", ""]), ["json", "text"]);
    assert_eq!(complete(&["--log-format", "=", "j"]), ["json"], "bash splits at =");
    assert_eq!(complete(&["--log-format=json", "sta"]), ["start", "state", "stats"]);
    assert_eq!(complete(&["--log", "x", "--debug", "del"]), ["delete"]);
    assert_eq!(complete(&["list", "-f", ""]), ["json", "table"]);
    assert_eq!(complete(&["run", "--no-p"]), ["--no-pivot"]);
    assert_eq!(complete(&["create", "--help"]), ["--help"]);
    assert_eq!(complete(&["--root", &root, "state", ""]), [id.as_str()]);
    assert_eq!(complete(&["--root", "=", &root, "kill", "-a", &id[..4]]), [id.as_str()]);
    assert_eq!(complete(&["--root", &root, "exec", "-i", ""]), [id.as_str()]);
    assert_eq!(complete(&["pod", "st"]), ["start", "stop"]);
    assert_eq!(complete(&["ps", "-o", ""]), ["json", "wide"]);
    assert_eq!(complete(&["completion", ""]), ["bash", "fish", "zsh"]);
    let directory = t.dir.join("b/ro");
    assert_eq!(
        complete(&["run", "-b", directory.to_str().unwrap()]),
        [t.dir.join("b/rootfs").to_str().unwrap()]
    );
}

#[test]
fn every_option_of_help_is_completed_in_every_shell() {
    mote_only!("its own command");
    let t = Test::new();
    let help = t.bare().arg("--help").run().ok().to_owned();
    let lists = help.split("\n\n").filter(|part| part.starts_with("Commands "));
    let lines = lists.flat_map(|part| part.lines().skip(1));
    let commands: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 25, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let text = t.bare().args(["completion", shell]).run().ok().to_owned();
        for command in &commands {
            assert!(text.contains(command), "{shell}: {command}");
            let help = t.bare().args([command, "--help"]).run().ok().to_owned();
            for word in help.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                let word = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                let said =
                    if shell == "fish" && word != "help" { format!("-l {word}") } else { word.to_owned() };
                assert!(
                    shell == "fish" && word == "help" || text.contains(&said),
                    "{shell}: {command} --{word}"
                );
            }
        }
        // The shell itself is asked where it is installed.
        let script = t.dir.join(shell);
        fs::write(&script, &text).unwrap();
        if t.command("sh").args(["-c", &format!("command -v {shell}")]).run().code() == 0 {
            let out = t.command(shell).arg("-n").arg(&script).run();
            assert_eq!((out.ok(), out.stderr.as_str()), ("", ""), "{shell}");
        } else {
            common::skipped(&format!("{shell} is not installed"));
        }
    }
    t.mote(["completion", "tcsh"]).run().fails_saying(&["bash, zsh or fish"]);
}

#[test]
fn the_man_page_has_every_command_and_option_of_help() {
    mote_only!("its own page");
    let t = Test::new();
    let page = include_str!("../docs/mote.8.md");
    let help = t.bare().arg("--help").run().ok().to_owned();
    let check = |section: &str, help: &str| {
        let named = help.split_whitespace().filter(|word| word.starts_with("--"));
        for option in named.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
            assert!(option == "--help" || section.contains(&format!("**{option}**")), "{option}: {section}");
        }
    };
    let (options, commands) = page.split_once("# COMMANDS").unwrap();
    check(options, help.split("\nOptions:").last().unwrap());
    let lists = help.split("\n\n").filter(|part| part.starts_with("Commands "));
    let listed: Vec<_> = lists.flat_map(|part| part.lines().skip(1)).collect();
    assert!(listed.len() > 25, "{help}");
    for command in listed.iter().map(|line| line.split_whitespace().next().unwrap()) {
        let section = commands.split("\n## ").find(|section| section.starts_with(&format!("{command}\n")));
        let section = section.unwrap_or_else(|| panic!("{command} is not in the man page"));
        check(section, t.bare().args([command, "--help"]).run().ok());
    }
    // It is rendered without a complaint where the tool is there: `make docs`.
    if t.command("sh").args(["-c", "command -v go-md2man"]).run().code() == 0 {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mote.8.md");
        let out = t.command("go-md2man").arg("-in").arg(source).run();
        assert!(out.ok().contains(".SH COMMANDS") && out.stderr.is_empty(), "{out}");
    } else {
        common::skipped("go-md2man is not installed");
    }
}
