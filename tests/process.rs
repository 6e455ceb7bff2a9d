//! What the container's program finds: its arguments, environment, user, capabilities, limits, descriptors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, is_mote, spec, without_namespace};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// A field of /proc/self/status in a container.
fn status(t: &Test, field: &str, edit: impl FnOnce(&mut Value)) -> String {
    let text = t.sh("cat /proc/self/status", edit);
    let prefix = format!("{field}:");
    text.lines()
        .find_map(|l| l.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {field} in {text}"))
        .trim()
        .to_owned()
}

const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const AUDIT_WRITE: u64 = 1 << 29;

/// The five sets in the order inheritable, permitted, effective, bounding, ambient.
fn capabilities(t: &Test, uid: u32, sets: Value) -> [u64; 5] {
    capabilities_with(t, sets, |c| c["process"]["user"]["uid"] = json!(uid))
}

fn capabilities_with(t: &Test, sets: Value, edit: impl FnOnce(&mut Value)) -> [u64; 5] {
    let text = t.sh("cat /proc/self/status", |c| {
        c["process"]["capabilities"] = sets;
        edit(c);
    });
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    })
}

#[test]
fn capabilities_of_root_are_the_bounding_set() {
    let t = Test::new();
    let all = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let expected = AUDIT_WRITE | KILL | NET_BIND_SERVICE;
    let found = capabilities(&t, 0, json!({"bounding": all, "effective": all, "permitted": all}));
    assert_eq!(found, [0, expected, expected, expected, 0]);
    let sets =
        json!({"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
    let found = capabilities_with(&t, sets.clone(), |c| c["process"]["noNewPrivileges"] = json!(false));
    assert_eq!(found, [0, CHOWN | KILL, CHOWN | KILL, CHOWN | KILL, 0], "execve gives root its bounding set");
    let found = capabilities_with(&t, sets, |c| c["process"]["noNewPrivileges"] = json!(true));
    assert_eq!(found, [0, KILL, KILL, CHOWN | KILL, 0], "but not with no_new_privs");
}

#[test]
fn capabilities_of_a_user_are_the_ambient_set() {
    let t = Test::new();
    let (both, kill) = (json!(["CAP_CHOWN", "CAP_KILL"]), json!(["CAP_KILL"]));
    let found = capabilities(
        &t,
        1000,
        json!({"bounding": both, "effective": both, "permitted": both, "inheritable": both, "ambient": kill}),
    );
    assert_eq!(found, [CHOWN | KILL, KILL, KILL, CHOWN | KILL, KILL]);
    let found = capabilities(&t, 1000, json!({"bounding": both, "effective": both, "permitted": both}));
    assert_eq!(found, [0, 0, 0, CHOWN | KILL, 0]);
}

#[test]
fn the_inheritable_set_is_what_the_config_says() {
    let t = Test::new();
    let (both, kill) = (json!(["CAP_CHOWN", "CAP_KILL"]), json!(["CAP_KILL"]));
    let found = capabilities(
        &t,
        0,
        json!({"bounding": both, "effective": both, "permitted": both, "inheritable": kill}),
    );
    assert_eq!(found[0], KILL);
    let mut config = spec(&["grep", "CapInh", "/proc/self/status"]);
    config["process"]["capabilities"] = json!({"bounding": both, "effective": both, "permitted": both});
    let bundle = t.bundle("b", &config);
    let out = t.run_bundle(&bundle).under(["setpriv", "--inh-caps", "+chown,+kill"]).run();
    assert_eq!(
        out.ok().split_whitespace().nth(1),
        Some("0000000000000000"),
        "the caller's inheritable set leaks: {out}"
    );
}

#[test]
fn no_capabilities_in_the_config_are_no_capabilities() {
    let t = Test::new();
    assert_eq!(capabilities(&t, 0, json!({})), [0; 5]);
    assert_eq!(
        capabilities(
            &t,
            0,
            json!({"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []})
        ),
        [0; 5]
    );
    assert_eq!(capabilities(&t, 0, Value::Null), [0; 5]);
}

#[test]
fn no_new_privileges_is_as_the_config_says() {
    let t = Test::new();
    for (value, expected) in [(true, "1"), (false, "0")] {
        assert_eq!(status(&t, "NoNewPrivs", |c| c["process"]["noNewPrivileges"] = json!(value)), expected);
    }
    assert_eq!(
        status(&t, "NoNewPrivs", |c| drop(c["process"].as_object_mut().unwrap().remove("noNewPrivileges"))),
        "0"
    );
}

#[test]
fn the_user_and_groups_are_those_of_the_config() {
    let t = Test::new();
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [6, 5, 2147483647]});
    let text = t.sh("grep -E '^(Uid|Gid|Groups)' /proc/self/status", |c| c["process"]["user"] = user);
    let words: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().skip(1).collect()).collect();
    assert_eq!(words[0], ["1000"; 4]);
    assert_eq!(words[1], ["1001"; 4]);
    assert_eq!(words[2], ["5", "6", "2147483647"]);
}

#[test]
fn groups_of_the_caller_are_replaced_not_added_to() {
    let t = Test::new();
    for (n, (gids, expected)) in
        [(json!([]), ""), (json!([7]), "7"), (Value::Null, "")].into_iter().enumerate()
    {
        let mut config = spec(&["grep", "Groups", "/proc/self/status"]);
        config["process"]["user"]["additionalGids"] = gids;
        let bundle = t.bundle(&format!("b{n}"), &config);
        let out = t.run_bundle(&bundle).under(["setpriv", "--groups", "100,200,300"]).run();
        assert_eq!(out.ok().split_once(':').unwrap().1.trim(), expected, "{out}");
    }
}

/// As crun has it and Podman asks for it by `--group-add keep-groups`, also beside groups that the image's user has.
#[test]
fn groups_of_the_caller_stay_where_the_annotation_says_so() {
    if !is_mote() {
        return; // runc has no such annotation
    }
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    config["annotations"]["run.oci.keep_original_groups"] = json!("1");
    config["process"]["user"]["additionalGids"] = json!([7]);
    let bundle = t.bundle("b", &config);
    let id = t.id();
    let groups = ["grep", "Groups", "/proc/self/status"];
    t.mote(["run", "--detach", "-b"])
        .arg(&bundle)
        .arg(&id)
        .under(["setpriv", "--groups", "100,200"])
        .run()
        .ok();
    let first = t.mote(["exec", &id, "grep", "Groups", "/proc/1/status"]).run();
    assert_eq!(first.ok().split_once(':').unwrap().1.trim(), "100 200", "{first}");
    let out = t.mote(["exec", &id]).args(groups).under(["setpriv", "--groups", "300"]).run();
    assert_eq!(out.ok().split_once(':').unwrap().1.trim(), "300", "{out}");
    let out = t.mote(["exec", "--additional-gids", "5", &id]).args(groups).run();
    out.fails_saying(&["exec: --additional-gids: this container keeps the groups of its caller"]);

    config["annotations"]["run.oci.keep_original_groups"] = json!("yes");
    let bundle = t.bundle("wrong", &config);
    let out = t.run_bundle(&bundle).run();
    out.fails_saying(&[r#"annotations["run.oci.keep_original_groups"]: expected "1""#]);
}

/// In pipes, as engines have it; an image may link its logs to /dev/stdout.
const PIPED: [&str; 4] = ["bash", "-c", "echo in | \"$@\" 2>&1 | sort", "bash"];
const ANEW: &str = "cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr";

#[test]
fn a_user_may_open_standard_input_output_and_error_anew() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", ANEW]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let out = t.run_bundle(&t.bundle("b", &config)).under(PIPED).run();
    assert_eq!(out.ok(), "err\nin\nout\n");
    let id = t.detached(&spec(&["sleep", "100"]));
    let out = t.mote(["exec", "--user", "1000:1000", &id, "sh", "-c", ANEW]).under(PIPED).run();
    assert_eq!(out.ok(), "err\nin\nout\n");

    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    }
    let bundle = t.bundle("mapped", &config);
    let own = std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(&bundle).status();
    assert!(own.unwrap().success());
    let out = t.run_bundle(&bundle).under(PIPED).run();
    assert_eq!(out.ok(), "err\nin\nout\n");
    if is_mote() {
        // runc leaves that to the engine.
        config["process"]["args"] = json!(["sleep", "100"]);
        let id = t.id();
        fs::write(bundle.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        t.mote(["run", "--detach", "-b"]).arg(&bundle).arg(&id).run().ok();
        let out = t.mote(["exec", &id, "sh", "-c", ANEW]).under(PIPED).run();
        assert_eq!(out.ok(), "err\nin\nout\n");
    }
}

#[test]
fn a_file_that_is_standard_output_stays_whose_it_is() {
    mote_only!("crun gives it away, and so does runc where it does not copy");
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "echo out"]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let file = t.dir.join("file");
    let to = format!("exec \"$@\" >>{0} 2>>{0} <{0}", file.display());
    fs::write(&file, "kept\n").unwrap();
    t.run_bundle(&t.bundle("b", &config)).under(["bash", "-c", &to, "bash"]).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept\nout\n");
    assert_eq!(fs::metadata(&file).unwrap().uid(), 0);
}

/// What a caller does to SIGPIPE (conmon), SIGINT (a shell's background) or SIGCHLD is not the program's, and no reason to lose its
/// exit code.
#[test]
fn signals_that_the_caller_ignores_are_at_their_default_actions() {
    let t = Test::new();
    let all = ["env", "--ignore-signal"];
    let show = "grep SigIgn /proc/self/status; exit 7";
    // Go leaves alone what the C library keeps for itself.
    let none = if is_mote() { "SigIgn:\t0000000000000000\n" } else { "SigIgn:\t0000000280000000\n" };
    let bundle = t.bundle("b", &spec(&["sh", "-c", show]));
    let out = t.run_bundle(&bundle).under(all).run();
    assert_eq!((out.code(), &*out.stdout), (7, none), "{out}");

    let bundle = t.bundle("sleeper", &spec(&["sleep", "100"]));
    let id = t.id();
    t.mote(["create", "-b"]).arg(&bundle).arg(&id).under(all).run().ok();
    t.mote(["start", &id]).under(all).run().ok();
    let out = t.mote(["exec", &id, "sh", "-c", show]).under(all).run();
    assert_eq!((out.code(), &*out.stdout), (7, none), "{out}");
    let first = t.mote(["exec", &id, "grep", "SigIgn", "/proc/1/status"]).run();
    assert_eq!(first.ok(), none);
    t.mote(["delete", "--force", &id]).under(all).run().ok();
}

#[test]
fn numbers_of_users_are_not_looked_up_in_the_container() {
    let t = Test::new();
    let mut config = spec(&["grep", "Groups", "/proc/self/status"]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle("b", &config);
    fs::write(bundle.join("rootfs/etc/group"), "trap:x:0:user\nuser:x:1000:\n").unwrap();
    let out = t.run_bundle(&bundle).run();
    assert_eq!(out.ok().split_once(':').unwrap().1.trim(), "", "{out}");
}

#[test]
fn the_umask_is_that_of_the_config_or_022() {
    let t = Test::new();
    assert_eq!(t.sh("umask", |c| c["process"]["user"]["umask"] = json!(0o027)), "0027\n");
    let bundle = t.bundle("b", &spec(&["sh", "-c", "umask"]));
    assert_eq!(t.run_bundle(&bundle).after_bash("umask 077").run().ok(), "0022\n");
}

#[test]
fn the_environment_is_that_of_the_config() {
    let t = Test::new();
    let env = json!([
        "PATH=/bin",
        "EMPTY=",
        "SPACES=a b  c",
        "EQUALS=a=b=c",
        "UTF8=grüße",
        "HOME=/x",
        "NEWLINE=a\nb"
    ]);
    let mut config = spec(&["/bin/env"]);
    config["process"]["env"] = env;
    let bundle = t.bundle("b", &config);
    let out = t.run_bundle(&bundle).after_bash("export SECRET=caller LISTEN_FDS=0 _MOTE=1").run();
    assert_eq!(
        out.ok(),
        "PATH=/bin\nEMPTY=\nSPACES=a b  c\nEQUALS=a=b=c\nUTF8=grüße\nHOME=/x\nNEWLINE=a\nb\n"
    );
}

#[test]
fn home_is_taken_from_the_container_s_passwd_when_it_is_not_set() {
    let t = Test::new();
    assert_eq!(t.sh("echo $HOME", |_| ()), "/root\n");
    assert_eq!(t.sh("echo $HOME", |c| c["process"]["user"]["uid"] = json!(1000)), "/home\n");
    assert_eq!(t.sh("echo $HOME", |c| c["process"]["user"]["uid"] = json!(4242)), "/\n");
    assert_eq!(t.sh("echo $HOME", |c| c["process"]["env"] = json!(["PATH=/bin", "HOME=/mine"])), "/mine\n");
    // Docker's users rely on that.
    let empty = |c: &mut Value| c["process"]["env"] = json!(["HOME=/mine", "PATH=/bin", "HOME="]);
    assert_eq!(t.sh("env | grep HOME", empty), "HOME=/root\n");
}

#[test]
fn the_working_directory_is_entered_and_made_when_missing() {
    let t = Test::new();
    assert_eq!(t.sh("pwd", |c| c["process"]["cwd"] = json!("/tmp")), "/tmp\n");
    let text = t.sh("pwd; touch x", |c| {
        c["process"]["cwd"] = json!("/new/dir");
        c["root"]["readonly"] = json!(false);
    });
    assert_eq!(text, "/new/dir\n");
}

#[test]
fn the_working_directory_is_made_before_the_root_becomes_read_only() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "pwd; stat -c %a:%u .; touch x 2>&1 | grep -c ead-only"]);
    config["root"]["readonly"] = json!(true);
    config["process"]["cwd"] = json!("/new/dir");
    assert_eq!(t.run(&config).ok(), "/new/dir\n755:0\n1\n");
}

#[test]
fn a_symlinked_working_directory_stays_inside_the_rootfs() {
    let t = Test::new();
    let outside = t.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    let mut config = spec(&["/bin/sh", "-c", "pwd -P"]);
    config["process"]["cwd"] = json!("/link/below");
    for readonly in [false, true] {
        config["root"]["readonly"] = json!(readonly);
        let bundle = t.bundle(&format!("b.{readonly}"), &config);
        symlink(&outside, bundle.join("rootfs/link")).unwrap();
        let _ = t.run_bundle(&bundle).run();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}

#[test]
fn a_working_directory_that_cannot_be_entered_is_refused() {
    let t = Test::new();
    let mut config = spec(&["/bin/true"]);
    config["process"]["cwd"] = json!("/etc/passwd");
    t.run(&config).fails_and_mote_says(&["/etc/passwd"]);
    config["process"]["cwd"] = json!("relative");
    t.run(&config).fails_and_mote_says(&["process.cwd"]);
    config["process"]["cwd"] = json!("");
    t.run(&config).fails_and_mote_says(&["process.cwd"]);
    t.assert_nothing_left();
}

#[test]
fn a_working_directory_through_a_leaked_descriptor_is_refused() {
    let t = Test::new();
    for fd in (3..=20).chain([251]) {
        let mut config = spec(&[
            "/bin/busybox",
            "sh",
            "-c",
            "echo in; ls /proc/self/cwd/../../../../../../etc/debian_version",
        ]);
        config["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        let bundle = t.bundle(&format!("b{fd}"), &config);
        let out = t.run_bundle(&bundle).after_bash("exec 3</ 7</sys/fs/cgroup 10</ 251</").run();
        assert!(!out.stdout.contains("debian_version"), "fd {fd} leads outside: {out}");
        if is_mote() {
            out.fails_saying(&["/proc/self/fd"]);
        }
    }
    t.assert_nothing_left();
}

#[test]
fn only_stdin_stdout_and_stderr_are_open_inside() {
    let t = Test::new();
    let script = "for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done; readlink /proc/1/fd/3 /proc/1/fd/10 /proc/1/fd/251";
    let leak = "exec 3</etc/passwd 4>/dev/null 10</ 251</dev/null";
    let bundle = t.bundle("b", &spec(&["sh", "-c", &format!("{script}; true")]));
    assert_eq!(t.run_bundle(&bundle).after_bash(leak).run().ok(), "0\n1\n2\n");

    let id = t.id();
    t.mote(["create", "-b"]).arg(&bundle).arg(&id).after_bash(leak).run().ok();
    let pid = t.pid(&id);
    let open = || {
        let mut fds: Vec<String> = Vec::new();
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            fds.push(fs::read_link(fd.path()).unwrap().to_string_lossy().into_owned());
        }
        fds
    };
    assert!(
        !open().iter().any(|f| f == "/etc/passwd" || f == "/"),
        "the waiting init holds what the caller leaked: {:?}",
        open()
    );
}

#[test]
fn preserved_descriptors_stay_open() {
    let t = Test::new();
    let bundle = t.bundle(
        "b",
        &spec(&["sh", "-c", "cat <&3; for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done; true"]),
    );
    let id = t.id();
    let out = t
        .mote(["run", "--preserve-fds", "1", "-b"])
        .arg(&bundle)
        .arg(&id)
        .after_bash("exec 3<<<kept 4</dev/null")
        .run();
    assert_eq!(out.ok(), "kept\n0\n1\n2\n3\n");
}

#[test]
fn the_program_is_looked_up_in_the_container_s_path() {
    let t = Test::new();
    let mut config = spec(&["tool", "one", "", "two words"]);
    config["process"]["env"] = json!(["PATH=/nonexistent:/tmp/first:/tmp/second"]);
    let bundle = t.bundle("b", &config);
    for (dir, mode) in [("first", 0o644), ("second", 0o755)] {
        let dir = bundle.join("rootfs/tmp").join(dir);
        fs::create_dir(&dir).unwrap();
        let tool = dir.join("tool");
        fs::write(
            &tool,
            format!("#!/bin/sh\necho {} $# \"$3\"\n", dir.file_name().unwrap().to_string_lossy()),
        )
        .unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(
        t.run_bundle(&bundle).run().ok(),
        "second 3 two words\n",
        "what is not executable is passed over"
    );
}

#[test]
fn a_program_relative_to_the_working_directory_is_run() {
    let t = Test::new();
    let mut config = spec(&["./busybox", "echo", "ran"]);
    config["process"]["cwd"] = json!("/bin");
    assert_eq!(t.run(&config).ok(), "ran\n");
}

#[test]
fn a_program_that_cannot_be_run_is_refused_in_words_that_engines_know() {
    let t = Test::new();
    let missing = ["executable file not found", "no such file or directory"];
    let cases: &[(&str, &[&str])] = &[
        ("nosuchprogram", &missing),
        ("/bin/nosuchprogram", &missing),
        ("./nosuchprogram", &missing),
        ("/bin/nosuchdir/program", &missing),
        ("/etc/passwd", &["permission denied"]),
        ("/etc", &["permission denied", "is a directory"]),
        ("/etc/passwd/x", &["not a directory", "no such file or directory"]),
        ("", &missing),
        ("noexec", &["permission denied", "executable file not found"]),
    ];
    for (n, (program, words)) in cases.iter().enumerate() {
        let bundle = t.bundle(&format!("b{n}"), &spec(&[program]));
        fs::write(bundle.join("rootfs/bin/noexec"), "").unwrap();
        let out = t.run_bundle(&bundle).run();
        assert_ne!(out.code(), 0, "{out}");
        let lower = out.stderr.to_lowercase();
        assert!(words.iter().any(|w| lower.contains(w)), "{program:?}: none of {words:?}: {out}");
        if is_mote() {
            assert_eq!(out.stderr.lines().count(), 1, "{out}");
            assert_eq!(out.code(), 1, "{out}");
            out.fails_with_any(words);
        }
    }
    t.assert_nothing_left();
}

#[test]
fn a_script_without_its_interpreter_is_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["/bin/script"]));
    let script = bundle.join("rootfs/bin/script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    t.run_bundle(&bundle).run().fails_with_any(&["no such file or directory"]);
    t.assert_nothing_left();
}

#[test]
fn a_missing_program_fails_create_and_not_start() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["nosuchprogram"]));
    let id = t.id();
    t.mote(["create", "-b"])
        .arg(&bundle)
        .arg(&id)
        .run()
        .fails_with_any(&["executable file not found", "no such file or directory"]);
    t.assert_nothing_left();
}

#[test]
fn empty_args_are_refused() {
    let t = Test::new();
    let mut config = spec(&[]);
    t.run(&config).fails_and_mote_says(&["process.args"]);
    config["process"].as_object_mut().unwrap().remove("args");
    t.run(&config).fails_and_mote_says(&["process.args"]);
    t.assert_nothing_left();
}

#[test]
fn limits_are_set() {
    let t = Test::new();
    let text = t.sh("cat /proc/self/limits", |c| {
        c["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CPU", "soft": 77, "hard": 78},
            {"type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 4_194_304},
        ]);
    });
    for line in [
        "Max open files            100                  200",
        "Max core file size        0                    0",
        "Max cpu time              77                   78",
        "Max stack size            1048576              4194304",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn wrong_limits_are_refused() {
    let t = Test::new();
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    let cases = [
        (vec![limit("RLIMIT_NOSUCH", 1, 1)], "process.rlimits[0].type"),
        (vec![limit("NOFILE", 1, 1)], "process.rlimits[0].type"),
        (vec![limit("RLIMIT_NOFILE", 200, 100)], "process.rlimits[0]"),
    ];
    for (limits, word) in cases {
        let mut config = spec(&["true"]);
        config["process"]["rlimits"] = Value::Array(limits);
        t.run(&config).fails_and_mote_says(&[word]);
        t.assert_nothing_left();
    }
}

#[test]
fn a_limit_given_twice_is_refused() {
    mote_only!("runc takes the last");
    let t = Test::new();
    let mut config = spec(&["true"]);
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200});
    config["process"]["rlimits"] = json!([limit, limit]);
    t.run(&config).fails_saying(&["process.rlimits[1]"]);
    t.assert_nothing_left();
}

#[test]
fn the_oom_score_is_set_or_left_alone() {
    let t = Test::new();
    let read = "cat /proc/self/oom_score_adj";
    assert_eq!(t.sh(read, |c| c["process"]["oomScoreAdj"] = json!(500)), "500\n");
    let bundle = t.bundle("b", &spec(&["sh", "-c", read]));
    let out = t.run_bundle(&bundle).after_bash("echo 123 >/proc/self/oom_score_adj").run();
    assert_eq!(out.ok(), "123\n");
    let mut config = spec(&["true"]);
    config["process"]["oomScoreAdj"] = json!(2000);
    t.run(&config).fails_and_mote_says(&["process.oomScoreAdj"]);
}

#[test]
fn sysctls_of_own_namespaces_are_set() {
    let t = Test::new();
    let script = "cd /proc/sys; cat net/ipv4/ping_group_range net/ipv4/ip_forward kernel/msgmax kernel/domainname fs/mqueue/msg_max";
    let text = t.sh(script, |c| {
        c["linux"]["sysctl"] = json!({
            "net.ipv4.ping_group_range": "0 7", "net.ipv4.ip_forward": "1", "kernel.msgmax": "4096",
            "kernel.domainname": "example.org", "fs.mqueue.msg_max": "5",
        });
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "7", "1", "4096", "example.org", "5"]);
}

#[test]
fn sysctls_of_the_host_are_refused() {
    let t = Test::new();
    let before = fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let names = [
        "kernel.panic",
        "vm.swappiness",
        "nosuch",
        "",
        "net.ipv4.nosuch",
        "net.../kernel.panic",
        "kernel.msgmax/../panic",
        "net./../kernel/panic",
        "net.ipv4.../../../kernel/panic",
    ];
    for name in names {
        let mut config = spec(&["true"]);
        config["linux"]["sysctl"] = json!({name: "77"});
        let line = t.run(&config).fails_and_mote_says(&["linux.sysctl"]).to_owned();
        let named = line.contains(name) || line.contains(&name.replace('.', "/"));
        assert!(named || !is_mote(), "{name}: {line}");
        t.assert_nothing_left();
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
    for (name, namespace) in
        [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc"), ("kernel.domainname", "uts")]
    {
        let mut config = spec(&["true"]);
        without_namespace(&mut config, namespace);
        config.as_object_mut().unwrap().remove("hostname");
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["type"] != "mqueue" && m["type"] != "sysfs" && m["type"] != "cgroup");
        config["linux"]["sysctl"] = json!({name: "1"});
        t.run(&config).fails_and_mote_says(&[name]);
    }
}

#[test]
fn escapes_in_strings_are_decoded() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "a && b <c> \"q\" \\ / é 😀 \t|"]));
    let text = fs::read_to_string(bundle.join("config.json")).unwrap();
    let text =
        text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003E").replace('é', "\\u00e9");
    let text = text
        .replace('😀', "\\ud83d\\ude00")
        .replace("\"process\"", "\"pro\\u0063ess\"")
        .replace(" / ", " \\/ ");
    fs::write(bundle.join("config.json"), text).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "a && b <c> \"q\" \\ / é 😀 \t|\n");
}

#[test]
fn fields_of_other_platforms_and_unknown_fields_are_ignored() {
    let t = Test::new();
    let text = t.sh("echo ran", |c| {
        c["windows"] = json!({"layerFolders": ["C:\\x"], "network": {"dns": [1, null, true]}});
        c["solaris"] = json!({"milestone": "x"});
        c["org.example.unknown"] = json!([{"a": [1.5e300, -7, "x"]}]);
        c["process"]["commandLine"] = json!("cmd");
        c["process"]["user"]["username"] = json!("ContainerUser");
        c["process"]["org.example"] = json!({});
    });
    assert_eq!(text, "ran\n");
}

#[test]
fn null_is_the_same_as_nothing() {
    let t = Test::new();
    let text = t.sh("echo ran; hostname", |c| {
        c["hooks"] = Value::Null;
        c["annotations"] = Value::Null;
        c["process"]["rlimits"] = Value::Null;
        c["process"]["consoleSize"] = Value::Null;
        c["process"]["oomScoreAdj"] = Value::Null;
        c["process"]["user"]["additionalGids"] = Value::Null;
        c["linux"]["seccomp"] = Value::Null;
        c["linux"]["sysctl"] = Value::Null;
        c["linux"]["maskedPaths"] = Value::Null;
        c["linux"]["resources"] = Value::Null;
        c["mounts"][0]["options"] = Value::Null;
    });
    assert!(text.starts_with("ran\n"));
}

#[test]
fn signals_are_not_blocked() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["grep", "SigBlk", "/proc/self/status"]));
    let none = "SigBlk:\t0000000000000000\n";
    assert_eq!(t.run_bundle(&bundle).run().ok(), none, "Go's runtime blocks signals");
    if is_mote() {
        // runc hands on what its caller blocks.
        assert_eq!(t.run_bundle(&bundle).under(["env", "--block-signal=USR1,CHLD,TERM"]).run().ok(), none);
    }
}

#[test]
fn the_program_leads_a_session_of_its_own() {
    let t = Test::new();
    // pid, parent, group, session
    let text = t.sh("cat /proc/$$/stat", |_| ());
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[1..4], ["0", "1", "1"], "{text}");
}

#[test]
fn the_death_of_the_caller_does_not_reach_a_created_container() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.id();
    // containerd's shim sets the parent-death signal on the runtime.
    let out = t.mote(["create", "-b"]).arg(&bundle).arg(&id).under(["setpriv", "--pdeathsig", "KILL"]).run();
    out.ok();
    t.verb("start", &id).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(t.status(&id), "running");
}
