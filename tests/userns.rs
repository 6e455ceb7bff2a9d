//! User namespaces: the ids of a container, as root and as an unprivileged user.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Cmd, Test, binary, is_mote, skipped, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An unprivileged user's id, as user and group. Nothing is asked of /etc/passwd.
const USER: u32 = 1000;

fn map(ranges: &[(u32, u32, u32)]) -> Value {
    let one = |(inside, outside, size): &(u32, u32, u32)| json!({"containerID": inside, "hostID": outside, "size": size});
    Value::from(ranges.iter().map(one).collect::<Vec<_>>())
}

/// Gives the config a new user namespace with these ranges of both kinds of ids.
fn with_ids(config: &mut Value, ranges: &[(u32, u32, u32)]) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map(ranges);
    config["linux"]["gidMappings"] = map(ranges);
}

fn chown_all(path: &Path, id: u32) {
    let out = Command::new("chown").arg("-R").arg(format!("{id}:{id}")).arg(path).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

/// A bundle whose root filesystem belongs to `owner`, as engines make it.
fn bundle(t: &Test, name: &str, config: &Value, owner: u32) -> PathBuf {
    let bundle = t.bundle(name, config);
    chown_all(&bundle, owner);
    bundle
}

/// A config as `runc spec --rootless` writes it: own ids alone, no group of terminals, no cgroup, the host's network.
fn rootless(args: &[&str]) -> Value {
    let mut config = spec(args);
    common::without_namespace(&mut config, "network");
    common::without_namespace(&mut config, "cgroup");
    with_ids(&mut config, &[(0, USER, 1)]);
    config["root"]["readonly"] = json!(false);
    config["linux"]["resources"] = json!({});
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        } else if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    config
}

/// namespaces(7), "The /proc/sys/user directory": each user namespace has its own limits.
#[test]
fn sysctls_of_a_user_namespace_are_its_own() {
    mote_only!("runc has them since 1.4");
    let t = Test::new();
    let look = "cat /proc/sys/user/max_net_namespaces";
    let host = fs::read_to_string("/proc/sys/user/max_net_namespaces").unwrap();
    let mut config = spec(&["sh", "-c", look]);
    config["linux"]["sysctl"] = json!({"user.max_net_namespaces": "7"});
    let out = t.run_bundle(&t.bundle("none", &config)).run();
    out.fails_saying(&[r#"linux.sysctl["user.max_net_namespaces"]: needs an own namespace of its kind"#]);
    with_ids(&mut config, &[(0, 100_000, 65536)]);
    let out = t.run_bundle(&bundle(&t, "own", &config, 100_000)).run();
    assert_eq!(out.ok(), "7\n");
    assert_eq!(fs::read_to_string("/proc/sys/user/max_net_namespaces").unwrap(), host);
}

/// The binary under test where the user can execute it.
fn binary_for_all(t: &Test) -> PathBuf {
    let copy = t.dir.join("runtime");
    if !copy.exists() {
        fs::copy(binary(), &copy).unwrap();
    }
    copy
}

/// The binary under test as the user, with no option.
fn bare_as_user<'t>(t: &'t Test, environment: &[&str]) -> Cmd<'t> {
    let id = USER.to_string();
    let mut wrapper =
        vec!["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "env", "-u", "XDG_RUNTIME_DIR"];
    wrapper.extend(environment);
    t.command(binary_for_all(t)).under(wrapper)
}

/// The same with the state root of the test, which is the user's.
fn as_user<'t>(t: &'t Test, args: &[&str]) -> Cmd<'t> {
    chown(&t.root, Some(USER), Some(USER)).unwrap();
    bare_as_user(t, &[]).arg("--root").arg(&t.root).args(args)
}

fn run_as_user(t: &Test, config: &Value) -> common::Output {
    let id = t.id();
    let bundle = bundle(t, &id, config, USER);
    as_user(t, &["run", "--bundle"]).arg(bundle).arg(id).run()
}

#[test]
fn the_ids_of_a_container_are_mapped() {
    let t = Test::new();
    let script = "id; cat /proc/self/uid_map /proc/self/gid_map; touch /tmp/made; echo x >/dev/null; \
        head -c 4 /dev/zero | od -An -tx1; stat -c '%u %g' /tmp/made /dev/pts /dev/shm /dev";
    let mut config = spec(&["sh", "-c", script]);
    config["root"]["readonly"] = json!(false);
    with_ids(&mut config, &[(0, 100_000, 65_536)]);
    let bundle = bundle(&t, "b", &config, 100_000);
    let out = t.run_bundle(&bundle).run();
    let lines: Vec<String> =
        out.ok().lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "uid=0(root) gid=0(root)",
        "0 100000 65536",
        "0 100000 65536",
        "00 00 00 00",
        "0 0",
        "0 0",
        "0 0",
        "0 0",
    ];
    assert_eq!(lines, expected, "{out}");
    let made = fs::metadata(bundle.join("rootfs/tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_000, 100_000));
}

#[test]
fn several_ranges_are_mapped_and_the_program_is_in_the_one_it_asks_for() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "id -u; id -g; id -G; cat /proc/self/uid_map; touch /tmp/made"]);
    config["root"]["readonly"] = json!(false);
    with_ids(&mut config, &[(0, 100_000, 1000), (1000, 4000, 10), (5000, 300_000, 1)]);
    config["process"]["user"] = json!({"uid": 1003, "gid": 1004, "additionalGids": [7, 5000]});
    let bundle = bundle(&t, "b", &config, 100_000);
    fs::set_permissions(bundle.join("rootfs/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let out = t.run_bundle(&bundle).run();
    let lines: Vec<String> =
        out.ok().lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        ["1003", "1004", "1004 7 5000", "0 100000 1000", "1000 4000 10", "5000 300000 1"],
        "{out}"
    );
    let made = fs::metadata(bundle.join("rootfs/tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (4003, 4004));
}

#[test]
fn the_ids_of_the_host_mean_nothing_inside() {
    let t = Test::new();
    let secret = t.dir.join("secret");
    fs::create_dir(&secret).unwrap();
    for (name, owner, group, mode) in [
        ("root", 0, 0, 0o600),
        ("group", 0, 0, 0o060),
        ("mapped", 100_000, 100_000, 0o600),
        ("other", 100_001, 0, 0o600),
    ] {
        let file = secret.join(name);
        fs::write(&file, format!("{name}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        chown(&file, Some(owner), Some(group)).unwrap();
    }
    let all: Vec<&str> = vec!["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_SETUID", "CAP_SYS_ADMIN"];
    let script = "cat /mnt/root; cat /mnt/group; cat /mnt/mapped; chown 0 /mnt/root; mknod /tmp/null c 1 3; \
        grep Groups /proc/self/status";
    let mut config = spec(&["sh", "-c", &format!("{{ {script}; }} 2>/dev/null; true")]);
    config["root"]["readonly"] = json!(false);
    config["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all, "inheritable": [], "ambient": []});
    with_ids(&mut config, &[(0, 100_000, 1)]);
    for mount in config["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    common::add_mount(&mut config, "/mnt", "bind", secret.to_str().unwrap(), &["rbind"]);
    let bundle = bundle(&t, "b", &config, 100_000);
    let out = t.run_bundle(&bundle).run();
    let said: Vec<&str> = out.ok().split_whitespace().collect();
    assert_eq!(said, ["mapped", "Groups:"], "{out}");
    assert!(!bundle.join("rootfs/tmp/null").exists());
}

#[test]
fn bind_sources_that_only_root_can_reach_are_bound() {
    if !is_mote() {
        return skipped("runc 1.1.5 opens them as the container's root");
    }
    let t = Test::new();
    let closed = t.dir.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::create_dir(closed.join("open")).unwrap();
    fs::write(closed.join("open/file"), "reached\n").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&closed, Some(77), Some(77)).unwrap();
    let mut config = spec(&["sh", "-c", "cat /mnt/file; touch /mnt/x 2>/dev/null || echo refused"]);
    with_ids(&mut config, &[(0, 100_000, 65_536)]);
    common::add_mount(&mut config, "/mnt", "bind", closed.join("open").to_str().unwrap(), &["rbind", "ro"]);
    let bundle = bundle(&t, "b", &config, 100_000);
    assert_eq!(t.run_bundle(&bundle).run().ok(), "reached\nrefused\n");
}

#[test]
fn wrong_mappings_are_refused_with_their_path() {
    mote_only!("runc leaves most of them to the kernel");
    let t = Test::new();
    let mut cases: Vec<(Value, Vec<&str>)> = Vec::new();
    let mut case = |edit: &dyn Fn(&mut Value), words: &[&'static str]| {
        let mut config = spec(&["true"]);
        edit(&mut config);
        cases.push((config, words.to_vec()));
    };
    let user = |c: &mut Value| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    case(
        &|c| c["linux"]["uidMappings"] = map(&[(0, 1, 1)]),
        &["linux.uidMappings", "namespace of type user"],
    );
    case(
        &|c| c["linux"]["gidMappings"] = map(&[(0, 1, 1)]),
        &["linux.gidMappings", "namespace of type user"],
    );
    case(&|c| user(c), &["linux.uidMappings", "missing"]);
    case(
        &|c| {
            user(c);
            c["linux"]["uidMappings"] = map(&[(0, 1, 1)]);
        },
        &["linux.gidMappings", "missing"],
    );
    case(&|c| with_ids(c, &[(0, 1, 0)]), &["linux.uidMappings[0].size"]);
    case(&|c| with_ids(c, &[(0, 5, 10), (9, 50, 1)]), &["linux.uidMappings[1].containerID", "overlaps"]);
    case(&|c| with_ids(c, &[(0, 5, 10), (10, 14, 1)]), &["linux.uidMappings[1].hostID", "overlaps"]);
    case(&|c| with_ids(c, &[(0, 4_294_967_295, 1)]), &["linux.uidMappings[0].size", "4294967295"]);
    case(&|c| with_ids(c, &[(1, 0, u32::MAX)]), &["linux.uidMappings[0].size", "4294967295"]);
    case(
        &|c| {
            with_ids(c, &[(0, 100_000, 10)]);
            c["process"]["user"] = json!({"uid": 10, "gid": 0});
        },
        &["process.user.uid", "10"],
    );
    case(
        &|c| {
            with_ids(c, &[(0, 100_000, 10)]);
            c["process"]["user"] = json!({"uid": 9, "gid": 10});
        },
        &["process.user.gid", "10"],
    );
    case(
        &|c| {
            with_ids(c, &[(0, 100_000, 10)]);
            c["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [1, 11]});
        },
        &["process.user.additionalGids[1]", "11"],
    );
    case(
        &|c| c["linux"]["uidMappings"] = json!([{"containerID": -1}]),
        &["linux.uidMappings[0].containerID"],
    );
    case(
        &|c| c["linux"]["uidMappings"] = json!([{"size": 4_294_967_296_u64}]),
        &["linux.uidMappings[0].size"],
    );
    for (n, (config, words)) in cases.iter().enumerate() {
        let bundle = t.bundle(&format!("b{n}"), config);
        t.run_bundle(&bundle).run().fails_saying(words);
    }
    t.assert_nothing_left();
}

#[test]
fn ten_thousand_mappings_are_refused_in_one_line() {
    // CVE-2021-43784: their text overflowed 16 bits, and the rest of it was taken for other settings.
    let t = Test::new();
    let ranges: Vec<_> = (0..10_000).map(|i| (i * 3, 1_000_000 + i * 3, 2)).collect();
    let mut config = spec(&["true"]);
    with_ids(&mut config, &ranges);
    let bundle = t.bundle("b", &config);
    // Without spaces, or it would be too long a file already.
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    t.run_bundle(&bundle).run().fails_and_mote_says(&["linux.uidMappings", "340"]);
    // As many as the kernel takes, which have to be short.
    let ranges: Vec<_> = (0..340).map(|i| (i, i, 1)).collect();
    let mut config = spec(&["sh", "-c", "cat /proc/self/uid_map | wc -l"]);
    with_ids(&mut config, &ranges);
    if is_mote() {
        assert_eq!(t.run(&config).ok().trim(), "340");
    }
    t.assert_nothing_left();
}

#[test]
fn an_unprivileged_user_runs_a_container_with_the_own_id() {
    let t = Test::new();
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /tmp/made; \
        echo x >/dev/null; hostname; ls /proc | head -1; exit 7";
    let config = rootless(&["sh", "-c", script]);
    let out = run_as_user(&t, &config);
    assert_eq!(out.code(), 7, "{out}");
    let lines: Vec<String> =
        out.stdout.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["0", "0", "0 1000 1", "0 1000 1", "deny", "runc", "1"], "{out}");
    t.assert_nothing_left();
}

#[test]
fn an_unprivileged_user_has_clocks_of_his_own() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let mut config = rootless(&["sh", "-c", "cat /proc/self/timens_offsets /proc/self/oom_score_adj"]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 9}});
    config["process"]["oomScoreAdj"] = json!(500);
    let out = run_as_user(&t, &config);
    let said: Vec<&str> = out.ok().split_whitespace().collect();
    assert_eq!(said, ["monotonic", "9", "0", "boottime", "0", "0", "500"], "{out}");
}

#[test]
fn an_unprivileged_user_has_all_of_a_containers_life() {
    let t = Test::new();
    let bundle = bundle(&t, "b", &rootless(&["sleep", "1000"]), USER);
    let id = t.id();
    let verb = |args: &[&str]| as_user(&t, args).run().ok().to_owned();
    as_user(&t, &["create", "--pid-file", t.root.join("../pid").to_str().unwrap(), "--bundle"])
        .arg(&bundle)
        .arg(&id)
        .run()
        .fails();
    as_user(&t, &["create", "--bundle"]).arg(&bundle).arg(&id).run().ok();
    assert!(verb(&["state", &id]).contains("\"created\""));
    verb(&["start", &id]);
    assert!(verb(&["state", &id]).contains("\"running\""));
    let pid = t.pid(&id);
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_eq!(owner, USER);
    assert!(verb(&["list"]).contains(&id));
    verb(&["kill", &id, "KILL"]);
    common::reap(pid);
    assert!(verb(&["state", &id]).contains("\"stopped\""));
    verb(&["delete", &id]);
    t.assert_nothing_left();
}

#[test]
fn an_unprivileged_users_container_has_a_terminal() {
    let t = Test::new();
    let mut config =
        rootless(&["sh", "-c", "tty; stat -c %u $(tty); ls -l /dev/console | cut -c1; echo t >/dev/tty"]);
    config["process"]["terminal"] = json!(true);
    let bundle = bundle(&t, "b", &config, USER);
    let line = format!(
        "{} --root {} run -b {} {}",
        binary_for_all(&t).display(),
        t.root.display(),
        bundle.display(),
        t.id()
    );
    chown(&t.root, Some(USER), Some(USER)).unwrap();
    let id = USER.to_string();
    let out = t
        .command("script")
        .args(["-qec", &line, "/dev/null"])
        .under(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
        .run();
    // In it stands, anywhere, what the outer terminal echoes of the end of its input.
    assert!(out.ok().replace("^@", "").ends_with("/dev/pts/0\r\n0\r\nc\r\nt\r\n"), "{out}");
    t.assert_nothing_left();
}

#[test]
fn an_unprivileged_user_keeps_the_groups_that_keep_him_out() {
    // CVE-2014-8989: who drops a group in a user namespace of his own could read what denies that group.
    let t = Test::new();
    let denied = t.dir.join("denied");
    fs::write(&denied, "secret\n").unwrap();
    chown(&denied, Some(0), Some(4242)).unwrap();
    fs::set_permissions(&denied, fs::Permissions::from_mode(0o604)).unwrap();
    let mut config = rootless(&["sh", "-c", "cat /mnt 2>/dev/null || echo denied; cat /proc/self/setgroups"]);
    common::add_mount(&mut config, "/mnt", "bind", denied.to_str().unwrap(), &["bind"]);
    let bundle = bundle(&t, "b", &config, USER);
    fs::remove_dir(bundle.join("rootfs/mnt")).unwrap();
    let id = t.id();
    chown(&t.root, Some(USER), Some(USER)).unwrap();
    let out = t
        .command(binary_for_all(&t))
        .args(["--root", t.root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &id])
        .under(["setpriv", "--reuid", "1000", "--regid", "1000", "--groups", "4242"])
        .run();
    assert_eq!(out.ok(), "denied\ndeny\n");
}

#[test]
fn an_unprivileged_user_cannot_ask_for_more_than_he_has() {
    mote_only!("the words");
    let t = Test::new();
    let mut config = rootless(&["true"]);
    config["process"]["user"]["additionalGids"] = json!([0]);
    run_as_user(&t, &config).fails_saying(&["process.user.additionalGids", "setgroups"]);
    let mut config = rootless(&["true"]);
    config["linux"]["cgroupsPath"] = json!("/mote-nobody/x");
    run_as_user(&t, &config).fails_saying(&["mote-nobody", "permission denied"]);
    // The words of `newuidmap`, for the root of the host.
    let mut config = rootless(&["true"]);
    config["linux"]["uidMappings"] = map(&[(0, 0, 1)]);
    run_as_user(&t, &config).fails_saying(&["newuidmap", "operation not permitted"]);
    let mut config = rootless(&["true"]);
    common::without_namespace(&mut config, "user");
    config["linux"]["uidMappings"] = json!([]);
    config["linux"]["gidMappings"] = json!([]);
    run_as_user(&t, &config).fails_saying(&["linux.namespaces", "user", "operation not permitted"]);
    t.assert_nothing_left();
}

#[test]
fn an_unprivileged_user_maps_what_subuid_allows() {
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skipped("newuidmap is not installed (uidmap)");
    }
    let t = Test::new();
    let script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /tmp/a; chown 5:6 /tmp/a; id -G";
    let mut config = rootless(&["sh", "-c", script]);
    config["linux"]["uidMappings"] = map(&[(0, USER, 1), (1, 200_000, 1000)]);
    config["linux"]["gidMappings"] = map(&[(0, USER, 1), (1, 300_000, 1000)]);
    if is_mote() {
        config["process"]["user"]["additionalGids"] = json!([7]); // runc lets no rootless container have any
    }
    let capabilities = json!(["CAP_CHOWN"]);
    config["process"]["capabilities"] =
        json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    let bundle = bundle(&t, "b", &config, USER);
    chown(&t.root, Some(USER), Some(USER)).unwrap();
    // In a mount namespace of its own, on a copy, so that the host's files stay what they are.
    let etc = t.dir.join("etc");
    let bind = "cp -a /etc \"$1\"; echo 1000:200000:1000 >\"$1/subuid\"; echo 1000:300000:1000 >\"$1/subgid\"; \
        mount --bind \"$1\" /etc; shift; exec setpriv --reuid 1000 --regid 1000 --clear-groups \"$@\"";
    let out = t
        .command(binary_for_all(&t))
        .args(["--root", t.root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &t.id()])
        .under(["unshare", "-m", "sh", "-ec", bind, "sh", etc.to_str().unwrap()])
        .run();
    let lines: Vec<String> =
        out.ok().lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "0 1000 1",
        "1 200000 1000",
        "0 1000 1",
        "1 300000 1000",
        "allow",
        if is_mote() { "0 7" } else { "0" },
    ];
    assert_eq!(lines, expected, "{out}");
    let made = fs::metadata(bundle.join("rootfs/tmp/a")).unwrap();
    assert_eq!((made.uid(), made.gid()), (200_004, 300_005));
}

#[test]
fn an_unprivileged_users_containers_are_kept_in_the_runtime_directory() {
    let t = Test::new();
    let runtime = t.dir.join("xdg");
    fs::create_dir(&runtime).unwrap();
    chown(&runtime, Some(USER), Some(USER)).unwrap();
    let environment = format!("XDG_RUNTIME_DIR={}", runtime.display());
    let bundle = bundle(&t, "b", &rootless(&["true"]), USER);
    let id = format!("xdg{}", std::process::id());
    bare_as_user(&t, &[&environment]).args(["create", "-b"]).arg(&bundle).arg(&id).run().ok();
    let name = if is_mote() { "mote" } else { "runc" };
    assert!(runtime.join(name).join(&id).join("state.json").exists());
    assert!(bare_as_user(&t, &[&environment]).arg("list").run().ok().contains(&id));
    bare_as_user(&t, &[&environment]).args(["delete", "--force", &id]).run().ok();
    assert!(!runtime.join(name).join(&id).exists());
}

#[test]
fn rootless_says_whether_to_do_without_a_cgroup() {
    mote_only!("runc decides by the cgroup driver");
    let t = Test::new();
    let bundle = bundle(&t, "b", &rootless(&["true"]), USER);
    for (word, works) in [("auto", true), ("true", true), ("1", true), ("false", false)] {
        let id = t.id();
        let out = bare_as_user(&t, &[]).arg(format!("--rootless={word}")).arg("--root").arg(&t.root);
        chown(&t.root, Some(USER), Some(USER)).unwrap();
        let out = out.args(["run", "-b"]).arg(&bundle).arg(id).run();
        if works {
            out.ok();
        } else {
            out.fails_saying(&["mkdir", "permission denied"]);
        }
    }
    t.mote(["--rootless", "maybe", "list"]).run().fails_saying(&["--rootless", "true, false or auto"]);
    t.assert_nothing_left();
}

#[test]
fn devices_in_a_user_namespace_are_the_hosts_own_and_never_what_the_image_has() {
    let t = Test::new();
    let mut config =
        spec(&["sh", "-c", "stat -c '%n %F %t:%T' /dev/null /dev/full /dev/tty; ls -l /dev/zero"]);
    with_ids(&mut config, &[(0, 100_000, 65_536)]);
    // Without a tmpfs there /dev is the image's.
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    let bundle = bundle(&t, "b", &config, 100_000);
    let target = t.dir.join("target");
    fs::write(&target, "host\n").unwrap();
    symlink(&target, bundle.join("rootfs/dev/null")).unwrap();
    let out = t.run_bundle(&bundle).run();
    if is_mote() {
        out.fails_saying(&["/dev"]);
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "host\n");
    fs::remove_file(bundle.join("rootfs/dev/null")).unwrap();
    let out = t.run_bundle(&bundle).run();
    let text = out.ok();
    for line in [
        "/dev/null character special file 1:3",
        "/dev/full character special file 1:7",
        "/dev/tty character special file 5:0",
    ] {
        assert!(text.contains(line), "{out}");
    }
}

/// A container that sleeps in a user namespace of its own, and the path to its namespaces.
fn sleeper(t: &Test, edit: impl FnOnce(&mut Value)) -> (String, String) {
    let mut config = spec(&["sleep", "1000"]);
    with_ids(&mut config, &[(0, 100_000, 65_536)]);
    edit(&mut config);
    let bundle = bundle(t, "sleeper", &config, 100_000);
    let id = t.id();
    t.mote(["run", "--detach", "--bundle"]).arg(bundle).arg(&id).run().ok();
    let namespaces = format!("/proc/{}/ns", t.pid(&id));
    (id, namespaces)
}

/// Joins these namespaces instead of making them.
fn join(config: &mut Value, namespaces: &str, kinds: &[(&str, &str)]) {
    for (kind, file) in kinds {
        common::without_namespace(config, kind);
        let namespace = json!({"type": kind, "path": format!("{namespaces}/{file}")});
        config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
    }
}

const LINKS: &str = "for n in user net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; id -u; \
    touch /tmp/made && stat -c %u /tmp/made";

fn links(path: &str) -> Vec<String> {
    ["user", "net", "ipc", "uts", "pid", "mnt"]
        .map(|n| fs::read_link(format!("{path}/{n}")).unwrap().to_string_lossy().into_owned())
        .into()
}

#[test]
fn a_user_namespace_is_joined_with_what_belongs_to_it() {
    let t = Test::new();
    let (_, namespaces) = sleeper(&t, |_| ());
    let theirs = links(&namespaces);
    let host = links("/proc/self/ns");
    let all: &[(&str, &str)] =
        &[("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    // The last ones first, and the user namespace alone.
    let backwards: Vec<_> = all.iter().rev().copied().collect();
    for (n, kinds) in [all, &backwards, &all[..1], &all[..2], &all[..5]].iter().enumerate() {
        let mut config = spec(&["sh", "-c", LINKS]);
        config["root"]["readonly"] = json!(false);
        config["hostname"] = json!("");
        join(&mut config, &namespaces, kinds);
        if n % 2 == 0 || !is_mote() {
            // runc 1.1 insists on them.
            config["linux"]["uidMappings"] = map(&[(0, 100_000, 65_536)]);
            config["linux"]["gidMappings"] = map(&[(0, 100_000, 65_536)]);
        }
        let bundle = bundle(&t, &format!("b{n}"), &config, 100_000);
        let out = t.run_bundle(&bundle).run();
        let seen: Vec<&str> = out.ok().lines().collect();
        assert_eq!(seen[6..], ["0", "0"], "{out}");
        for (i, name) in ["user", "network", "ipc", "uts", "pid", "mount"].iter().enumerate() {
            let joined = kinds.iter().any(|(kind, _)| kind == name);
            assert_eq!(seen[i] == theirs[i], joined, "{name}: {out}");
            assert_ne!(seen[i], host[i], "{name}: {out}");
        }
    }
}

#[test]
fn namespaces_of_the_host_are_joined_with_a_user_namespace() {
    // They can only be joined before the user namespace is entered.
    let t = Test::new();
    let (_, namespaces) = sleeper(&t, |_| ());
    let holder = t.command("unshare").args(["--net", "--ipc", "--uts", "sleep", "1000"]).spawn();
    let path = format!("/proc/{}/ns", holder.pid());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    while fs::read_link(format!("{path}/net")).unwrap() == own
        || fs::read_link(format!("{path}/uts")).unwrap() == fs::read_link("/proc/self/ns/uts").unwrap()
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let holders = links(&path);
    // runc 1.1 enters the user namespace first, and then cannot join the host's.
    for joined in if is_mote() { &[false, true][..] } else { &[false] } {
        let mut config = spec(&["sh", "-c", LINKS]);
        config["root"]["readonly"] = json!(false);
        config["hostname"] = json!("");
        // What belongs to the host's namespaces cannot be mounted in there.
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["type"] != "sysfs" && m["type"] != "mqueue" && m["type"] != "cgroup");
        join(&mut config, &path, &[("network", "net"), ("ipc", "ipc"), ("uts", "uts")]);
        with_ids(&mut config, &[(0, 100_000, 65_536)]);
        if *joined {
            join(&mut config, &namespaces, &[("user", "user")]);
        }
        let bundle = bundle(&t, &format!("b{joined}"), &config, 100_000);
        let out = t.run_bundle(&bundle).run();
        let seen: Vec<&str> = out.ok().lines().collect();
        assert_eq!(seen[1..4], holders[1..4], "{out}");
        assert_eq!(seen[6..], ["0", "0"], "{out}");
        assert_eq!(seen[0] == links(&namespaces)[0], *joined, "{out}");
    }
    nix::sys::signal::kill(holder.pid(), nix::sys::signal::Signal::SIGKILL).unwrap();
    holder.wait();
}

#[test]
fn mappings_of_a_joined_namespace_have_to_be_its_own() {
    mote_only!("runc 1.1 ignores them");
    let t = Test::new();
    let (_, namespaces) = sleeper(&t, |_| ());
    let path = format!("{namespaces}/user");
    for (ranges, works) in [
        (&[(0, 100_000, 65_536)][..], true),
        (&[(0, 100_000, 65_535)], false),
        (&[(0, 100_000, 10), (20, 300_000, 5)], false),
    ] {
        let mut config = spec(&["true"]);
        with_ids(&mut config, ranges);
        config["linux"]["namespaces"].as_array_mut().unwrap().last_mut().unwrap()["path"] = json!(path);
        let bundle = bundle(&t, &format!("b{}", ranges[0].2), &config, 100_000);
        let out = t.run_bundle(&bundle).run();
        if works {
            out.ok();
        } else {
            out.fails_saying(&["linux.uidMappings", "joined"]);
        }
    }
}

#[test]
fn a_joined_namespace_that_cannot_be_had_is_named() {
    mote_only!("the words");
    let t = Test::new();
    let (_, namespaces) = sleeper(&t, |_| ());
    for (kind, path, words) in [
        (
            "user",
            "/proc/self/ns/net".to_owned(),
            &["/proc/self/ns/net", "user namespace", "invalid argument"][..],
        ),
        ("network", "/proc/self/ns/user".to_owned(), &["network namespace", "invalid argument"]),
        ("uts", "/nowhere/at/all".to_owned(), &["/nowhere/at/all", "no such file"]),
    ] {
        let mut config = spec(&["true"]);
        config["hostname"] = json!("");
        if kind != "user" {
            join(&mut config, &namespaces, &[("user", "user")]);
        }
        common::without_namespace(&mut config, kind);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": kind, "path": path}));
        t.run(&config).fails_saying(words);
    }
}

#[test]
fn the_config_that_spec_writes_for_an_unprivileged_user_runs() {
    let t = Test::new();
    let bundle = bundle(&t, "b", &json!({}), USER);
    fs::remove_file(bundle.join("config.json")).unwrap();
    as_user(&t, &["spec", "--rootless", "--bundle"]).arg(&bundle).run().ok();
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"], map(&[(0, USER, 1)]));
    assert_eq!(config["linux"]["gidMappings"], map(&[(0, USER, 1)]));
    let kinds: Vec<&str> = config["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["type"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"user") && !kinds.contains(&"network"), "{kinds:?}");
    assert!(config["linux"].get("resources").is_none_or(Value::is_null), "{config}");
    let of = |config: &Value, destination: &str| {
        config["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == destination).unwrap().clone()
    };
    assert_eq!(
        (of(&config, "/sys")["type"].as_str(), of(&config, "/sys")["source"].as_str()),
        (Some("none"), Some("/sys"))
    );
    assert_eq!(of(&config, "/sys")["options"][0], "rbind");
    assert!(!of(&config, "/dev/pts").to_string().contains("gid="));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["id", "-u"]);
    fs::write(&file, config.to_string()).unwrap();
    let id = t.id();
    assert_eq!(as_user(&t, &["run", "--bundle"]).arg(&bundle).arg(id).run().ok(), "0\n");
}

#[test]
fn all_of_this_goes_well_without_the_newer_calls_too() {
    mote_only!("others have other ways");
    common::again_without("clone3,openat2,close_range,setns-many");
}
