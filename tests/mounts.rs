//! What the container's file system looks like: mounts and their options, devices, masks, the root.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// One line of /proc/self/mountinfo.
#[derive(Debug)]
struct Mount {
    root: String,
    point: String,
    options: Vec<String>,
    propagation: String,
    kind: String,
    source: String,
    data: Vec<String>,
}

fn parse(line: &str) -> Mount {
    let (left, right) = line.split_once(" - ").unwrap();
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Mount {
        root: left[3].into(),
        point: left[4].into(),
        options: list(left[5]),
        propagation: left[6..].join(" "),
        kind: right[0].into(),
        source: right[1].into(),
        data: list(right[2]),
    }
}

/// The mounts a container sees, with this edit of the config.
fn mounts(t: &Test, edit: impl FnOnce(&mut Value)) -> Vec<Mount> {
    t.sh("cat /proc/self/mountinfo", edit).lines().map(parse).collect()
}

/// The topmost mount on a point.
fn on<'m>(mounts: &'m [Mount], point: &str) -> &'m Mount {
    mounts.iter().rfind(|m| m.point == point).unwrap_or_else(|| panic!("nothing on {point} in {mounts:#?}"))
}

fn writable(config: &mut Value) {
    config["root"]["readonly"] = json!(false);
}

#[test]
fn the_mounts_of_the_config_are_made_in_order_with_their_options() {
    let t = Test::new();
    let all = mounts(&t, |_| ());
    let seen = |point: &str, kind: &str, has: &[&str], lacks: &[&str]| {
        let m = on(&all, point);
        assert!(m.kind.starts_with(kind), "{m:?}");
        for o in has {
            assert!(m.options.iter().any(|x| x == o), "no {o}: {m:?}");
        }
        for o in lacks {
            assert!(!m.options.iter().any(|x| x == o), "{o}: {m:?}");
        }
    };
    seen("/proc", "proc", &["rw", "relatime"], &["nosuid", "nodev", "noexec"]);
    seen("/dev", "tmpfs", &["rw", "nosuid"], &["noexec", "relatime", "noatime", "nodev"]);
    seen("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "relatime"], &["nodev"]);
    seen("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec"], &[]);
    seen("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"], &[]);
    seen("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"], &[]);
    // On a host with cgroup v1 it is a tmpfs with a mount for each hierarchy.
    let cgroup =
        if on(&all, "/sys/fs/cgroup").kind == "tmpfs" { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" };
    seen(cgroup, "cgroup", &["ro", "nosuid", "nodev", "noexec"], &[]);
    assert!(on(&all, "/dev").data.contains(&"size=65536k".to_owned()));
    assert!(on(&all, "/dev").data.contains(&"mode=755".to_owned()));
    assert_eq!((on(&all, "/dev").source.as_str(), on(&all, "/dev/shm").source.as_str()), ("tmpfs", "shm"));
    let pts = &on(&all, "/dev/pts").data;
    for o in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(pts.contains(&o.to_owned()), "no {o}: {pts:?}");
    }
    let place = |point: &str| all.iter().position(|m| m.point == point).unwrap();
    assert!(
        place("/proc") < place("/dev")
            && place("/dev") < place("/dev/pts")
            && place("/sys") < place("/sys/fs/cgroup")
    );
}

#[test]
fn flags_of_a_mount_are_set_and_cleared() {
    let t = Test::new();
    // options, what mountinfo shows, what it does not
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &["rw", "relatime"], &["nosuid", "nodev", "noexec"]),
        (&["ro"], &["ro"], &["rw"]),
        (&["ro", "rw"], &["rw"], &["ro"]),
        (&["nosuid"], &["nosuid"], &["nodev", "noexec"]),
        (&["nodev"], &["nodev"], &["nosuid", "noexec"]),
        (&["noexec"], &["noexec"], &["nosuid", "nodev"]),
        (&["nosuid", "nodev", "noexec", "suid", "dev", "exec"], &[], &["nosuid", "nodev", "noexec"]),
        (&["noatime"], &["noatime"], &["relatime"]),
        (&["strictatime"], &[], &["relatime", "noatime"]),
        (&["relatime"], &["relatime"], &["noatime"]),
        (&["nodiratime"], &["nodiratime"], &[]),
        (&["nodiratime", "diratime"], &[], &["nodiratime"]),
        (&["noatime", "atime"], &[], &["noatime"]),
        (&["nosymfollow"], &["nosymfollow"], &[]),
        (&["defaults"], &["rw", "relatime"], &["ro"]),
    ];
    for (options, has, lacks) in cases {
        if !is_mote() && (options.contains(&"nosymfollow") || options.contains(&"defaults")) {
            continue; // runc 1.1 does not know them
        }
        let all = mounts(&t, |c| add_mount(c, "/mnt", "tmpfs", "it", options));
        let m = on(&all, "/mnt");
        assert!(has.iter().all(|o| m.options.iter().any(|x| x == o)), "{options:?}: {m:?}");
        assert!(!lacks.iter().any(|o| m.options.iter().any(|x| x == o)), "{options:?}: {m:?}");
    }
}

#[test]
fn data_options_go_to_the_file_system() {
    let t = Test::new();
    let options = ["mode=1750", "uid=5", "gid=6", "size=1024k", "nr_inodes=100", "nosuid"];
    let edit = |c: &mut Value| add_mount(c, "/mnt", "tmpfs", "it", &options);
    let text = t.sh("stat -c '%a %u %g' /mnt; cat /proc/self/mountinfo", edit);
    // runc 1.1 puts the mode of the covered directory over the option.
    assert!(text.starts_with(if is_mote() { "1750 5 6\n" } else { "755 5 6\n" }), "{text}");
    let all: Vec<Mount> = text.lines().skip(1).map(parse).collect();
    for o in ["size=1024k", "nr_inodes=100", "uid=5", "gid=6"] {
        assert!(on(&all, "/mnt").data.contains(&o.to_owned()), "no {o}: {:?}", on(&all, "/mnt"));
    }
}

#[test]
fn unknown_data_is_refused_by_the_kernel_and_named() {
    let t = Test::new();
    let mut config = spec(&["true"]);
    add_mount(&mut config, "/mnt", "tmpfs", "it", &["nosuchoption=1"]);
    t.run(&config).fails_and_mote_says(&["/mnt"]);
    add_mount(&mut config, "/mnt", "nosuchfs", "it", &[]);
    config["mounts"].as_array_mut().unwrap().swap_remove(7);
    t.run(&config).fails_and_mote_says(&["/mnt"]);
    t.assert_nothing_left();
}

#[test]
fn a_directory_is_bound() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "from outside\n").unwrap();
    for (kind, options) in
        [("bind", &["bind"][..]), ("bind", &["rbind"]), ("none", &["bind"]), ("", &["rbind", "rw"])]
    {
        let text = t.sh("cat /mnt/file; echo inside >/mnt/made", |c| {
            add_mount(c, "/mnt", kind, data.to_str().unwrap(), options)
        });
        assert_eq!(text, "from outside\n", "{kind} {options:?}");
        assert_eq!(fs::read_to_string(data.join("made")).unwrap(), "inside\n");
        fs::remove_file(data.join("made")).unwrap();
    }
}

#[test]
fn a_source_relative_to_the_bundle_is_bound() {
    let t = Test::new();
    let mut config = spec(&["cat", "/mnt/file"]);
    add_mount(&mut config, "/mnt", "bind", "data", &["bind"]);
    let bundle = t.bundle("b", &config);
    fs::create_dir(bundle.join("data")).unwrap();
    fs::write(bundle.join("data/file"), "relative\n").unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "relative\n");
}

#[test]
fn a_file_is_bound_and_its_target_is_made() {
    let t = Test::new();
    let file = t.dir.join("hosts");
    fs::write(&file, "outside\n").unwrap();
    let edit = |c: &mut Value| {
        writable(c);
        add_mount(c, "/etc/new/dir/hosts", "bind", file.to_str().unwrap(), &["rbind", "rprivate"]);
        add_mount(c, "/etc/passwd", "bind", file.to_str().unwrap(), &["bind", "ro"]);
    };
    let text = t.sh("cat /etc/new/dir/hosts; echo inside >>/etc/new/dir/hosts; cat /etc/passwd; echo no 2>/dev/null >/etc/passwd || echo refused", edit);
    assert_eq!(text, "outside\noutside\ninside\nrefused\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "outside\ninside\n");
}

#[test]
fn a_read_only_bind_refuses_writes_and_keeps_the_source_writable() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir(&data).unwrap();
    let script = "touch /mnt/x 2>/dev/null && echo written; cat /proc/self/mountinfo";
    for options in [&["bind", "ro"][..], &["rbind", "ro"], &["ro", "rbind", "nosuid", "nodev", "noexec"]] {
        let text = t.sh(script, |c| add_mount(c, "/mnt", "bind", data.to_str().unwrap(), options));
        assert!(!text.contains("written"), "{options:?}");
        let all: Vec<Mount> = text.lines().map(parse).collect();
        for o in options.iter().filter(|o| !o.ends_with("bind")) {
            assert!(on(&all, "/mnt").options.iter().any(|x| x == o), "{o}: {:?}", on(&all, "/mnt"));
        }
    }
    fs::write(data.join("y"), "").unwrap();
}

#[test]
fn a_bind_keeps_the_flags_of_its_source() {
    mote_only!("runc 1.1 loses nosuid and nodev of a source when it remounts");
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir(&data).unwrap();
    let mut config = spec(&["cat", "/proc/self/mountinfo"]);
    add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind", "ro"]);
    let bundle = t.bundle("b", &config);
    let mount = format!("mount -t tmpfs -o nosuid,nodev,noexec it {}", data.display());
    let out = t.run_bundle(&bundle).after_bash(&mount).under(["unshare", "-m"]).run();
    let all: Vec<Mount> = out.ok().lines().map(parse).collect();
    for o in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(on(&all, "/mnt").options.iter().any(|x| x == o), "{o}: {:?}", on(&all, "/mnt"));
    }
}

#[test]
fn rbind_brings_the_mounts_below_and_bind_does_not() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    let mount = format!("mount -t tmpfs it {0}/sub; echo below >{0}/sub/file", data.display());
    for (n, (option, expected)) in [("bind", ""), ("rbind", "below\n")].iter().enumerate() {
        let mut config = spec(&["sh", "-c", "cat /mnt/sub/file 2>/dev/null; true"]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &[option]);
        let bundle = t.bundle(&format!("b{n}"), &config);
        let out = t.run_bundle(&bundle).after_bash(&mount).under(["unshare", "-m"]).run();
        assert_eq!(out.ok(), *expected, "{option}");
    }
}

#[test]
fn ro_is_for_one_mount_and_rro_for_all_below() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    let mount = format!("mount -t tmpfs it {0}/sub", data.display());
    for (n, (option, expected)) in [("ro", "sub\n"), ("rro", "")].iter().enumerate() {
        let mut config = spec(&[
            "sh",
            "-c",
            "touch /mnt/x 2>/dev/null && echo top; touch /mnt/sub/x 2>/dev/null && echo sub; true",
        ]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind", option]);
        let bundle = t.bundle(&format!("b{n}"), &config);
        let out = t.run_bundle(&bundle).after_bash(&mount).under(["unshare", "-m"]).run();
        assert_eq!(out.ok(), *expected, "{option}");
    }
}

#[test]
fn propagation_of_a_mount_is_as_the_option_says() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    let mount = format!(
        "mount -t tmpfs it {0}; mkdir {0}/sub; mount -t tmpfs it {0}/sub; mount --make-rshared {0}",
        data.display()
    );
    // option, on the mount itself, on the one below
    let cases = [
        ("private", "", "master:"),
        ("rprivate", "", ""),
        ("slave", "master:", "master:"),
        ("rslave", "master:", "master:"),
        ("shared", "shared:", "master:"),
        ("rshared", "shared:", "shared:"),
        ("unbindable", "unbindable", "master:"),
        ("runbindable", "unbindable", "unbindable"),
    ];
    for (n, (option, top, below)) in cases.iter().enumerate() {
        let mut config = spec(&["cat", "/proc/self/mountinfo"]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind", option]);
        let bundle = t.bundle(&format!("b{n}"), &config);
        let out = t
            .run_bundle(&bundle)
            .after_bash(&mount)
            .under(["unshare", "-m", "--propagation", "private"])
            .run();
        let all: Vec<Mount> = out.ok().lines().map(parse).collect();
        let is = |point: &str, expected: &str| {
            let found = &on(&all, point).propagation;
            let fits = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(fits, "{option}: {point} is {found:?}, not {expected:?}");
        };
        is("/mnt", top);
        is("/mnt/sub", below);
    }
}

#[test]
fn mounts_in_the_container_do_not_reach_the_host() {
    let t = Test::new();
    let own = || {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|l| l.contains(t.dir.to_str().unwrap()))
            .count()
    };
    let shared = "mount --make-rshared /; before=$(wc -l </proc/self/mountinfo)";
    let bundle = t.bundle("b", &spec(&["true"]));
    let id = t.id();
    let check = "code=$?; [ $(wc -l </proc/self/mountinfo) = $before ] || code=99; exit $code";
    let script = format!("{shared}; \"$@\"; {check}");
    let out = t
        .mote(["run", "-b"])
        .arg(bundle)
        .arg(&id)
        .under(["unshare", "-m", "bash", "-c", &script, "bash"])
        .run();
    assert_eq!(out.ok(), "");
    assert_eq!(own(), 0);
}

#[test]
fn later_mounts_cover_earlier_ones_and_nest() {
    let t = Test::new();
    let edit = |c: &mut Value| {
        add_mount(c, "/mnt", "tmpfs", "first", &["size=1m"]);
        add_mount(c, "/mnt/deep/er", "tmpfs", "second", &["size=2m"]);
        add_mount(c, "/mnt/deep/er", "tmpfs", "third", &["ro"]);
    };
    let all = mounts(&t, edit);
    let found: Vec<(&str, &str)> = all
        .iter()
        .filter(|m| m.point.starts_with("/mnt"))
        .map(|m| (m.source.as_str(), m.point.as_str()))
        .collect();
    assert_eq!(found, [("first", "/mnt"), ("second", "/mnt/deep/er"), ("third", "/mnt/deep/er")]);
}

#[test]
fn missing_targets_are_made_in_the_rootfs() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "touch /a/b/c/x; stat -c %a /a /a/b"]);
    add_mount(&mut config, "/a/b/c", "tmpfs", "it", &[]);
    let bundle = t.bundle("b", &config);
    let out = t.run_bundle(&bundle).after_bash("umask 077").run();
    if is_mote() {
        assert_eq!(out.ok(), "755\n755\n", "the caller's umask shows through");
    }
    assert!(bundle.join("rootfs/a/b/c").is_dir());
    assert!(!Path::new("/a/b/c").exists());
}

/// Docker's users have a `--tmpfs` of theirs that everybody may write to.
#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_or_is_for_everybody() {
    let t = Test::new();
    let mut config = spec(&["stat", "-c", "%a", "/made", "/made/too", "/there", "/said"]);
    for (target, options) in
        [("/made", vec![]), ("/made/too", vec!["size=4k"]), ("/there", vec![]), ("/said", vec!["mode=751"])]
    {
        add_mount(&mut config, target, "tmpfs", "it", &options);
    }
    let bundle = t.bundle("b", &config);
    let there = bundle.join("rootfs/there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o712)).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "1777\n1777\n712\n751\n");
}

#[test]
fn a_relative_target_begins_at_the_root() {
    let t = Test::new();
    let all = mounts(&t, |config| {
        writable(config);
        add_mount(config, "mnt", "tmpfs", "one", &["nosuid"]);
        add_mount(config, "made/../here", "tmpfs", "two", &[]);
        config["process"]["cwd"] = json!("/mnt");
    });
    assert_eq!((on(&all, "/mnt").source.as_str(), on(&all, "/here").source.as_str()), ("one", "two"));
}

#[test]
fn symlinked_targets_stay_inside_the_rootfs() {
    let t = Test::new();
    let outside = t.dir.join("outside");
    fs::create_dir_all(&outside).unwrap();
    let up = format!("../../../../../../../..{}", outside.display());
    let links = [
        ("abs", outside.to_str().unwrap()),
        ("up", &up),
        ("inside", "/tmp"),
        ("chain", "abs"),
        ("dotdot", "mnt/../../../../tmp"),
    ];
    for (n, (link, target)) in links.iter().enumerate() {
        let mut config = spec(&["sh", "-c", "grep -c ' it ' /proc/self/mountinfo"]);
        add_mount(&mut config, &format!("/{link}"), "tmpfs", "it", &[]);
        add_mount(&mut config, &format!("/{link}/below"), "tmpfs", "it", &[]);
        let bundle = t.bundle(&format!("b{n}"), &config);
        for (name, to) in links {
            symlink(to, bundle.join("rootfs").join(name)).unwrap();
        }
        let out = t.run_bundle(&bundle).run();
        assert_eq!(out.ok(), "2\n", "{link} -> {target}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{link} -> {target} got out");
    }
    t.assert_nothing_left();
}

#[test]
fn a_symlinked_target_of_a_file_stays_inside_the_rootfs() {
    let t = Test::new();
    let (source, outside) = (t.dir.join("source"), t.dir.join("outside"));
    fs::write(&source, "source\n").unwrap();
    fs::write(&outside, "outside\n").unwrap();
    let mut config = spec(&["cat", "/etc/link"]);
    add_mount(&mut config, "/etc/link", "bind", source.to_str().unwrap(), &["bind"]);
    let bundle = t.bundle("b", &config);
    symlink(&outside, bundle.join("rootfs/etc/link")).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "source\n");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "outside\n");
    let made = bundle.join("rootfs").join(outside.strip_prefix("/").unwrap());
    assert!(made.exists(), "the target was made in the rootfs");
}

#[test]
fn a_missing_source_is_named() {
    let t = Test::new();
    let mut config = spec(&["true"]);
    add_mount(&mut config, "/mnt", "bind", "/nonexistent/source", &["bind"]);
    t.run(&config).fails_saying(&["/nonexistent/source"]);
    t.assert_nothing_left();
}

#[test]
fn proc_as_a_symlink_in_the_rootfs_is_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    fs::remove_dir(bundle.join("rootfs/proc")).unwrap();
    symlink("/tmp", bundle.join("rootfs/proc")).unwrap();
    t.run_bundle(&bundle).run().fails_and_mote_says(&["/proc"]);
    t.assert_nothing_left();
}

#[test]
fn the_default_devices_are_there_and_work() {
    let t = Test::new();
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty; \
                  echo x >null && head -c 4 zero | od -An -tx1; head -c 3 urandom | wc -c; echo x 2>&- >full || echo full";
    for umask in ["022", "077"] {
        let bundle = t.bundle(&format!("b{umask}"), &spec(&["sh", "-c", script]));
        let out = t.run_bundle(&bundle).after_bash(&format!("umask {umask}")).run();
        let device = |name: &str, number: &str, gid: u32| {
            format!("{name} character special file {number} 666 0:{gid}\n")
        };
        let expected = [
            device("null", "1:3", 0),
            device("zero", "1:5", 0),
            device("full", "1:7", 0),
            device("random", "1:8", 0),
            device("urandom", "1:9", 0),
            device("tty", "5:0", 0),
            " 00 00 00 00\n3\nfull\n".into(),
        ];
        assert_eq!(out.ok(), expected.concat(), "umask {umask}");
    }
}

#[test]
fn the_default_links_are_there_and_nothing_else() {
    let t = Test::new();
    let text =
        t.sh("cd /dev; for f in fd stdin stdout stderr ptmx core; do readlink $f; done; ls /dev", |_| ());
    let core = if Path::new("/proc/kcore").exists() { "/proc/kcore\n" } else { "" };
    let links = format!("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n{core}");
    let names = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let mut expected: Vec<&str> = names.split(' ').collect();
    if !core.is_empty() {
        expected.insert(0, "core");
    }
    assert_eq!(text, links + &expected.join("\n") + "\n");
}

#[test]
fn devices_are_not_made_on_a_bound_dev() {
    let t = Test::new();
    let dev = t.dir.join("dev");
    fs::create_dir(&dev).unwrap();
    t.command("mknod").arg(dev.join("null")).args(["c", "1", "3"]).run().ok();
    let edit = |c: &mut Value| {
        c["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        add_mount(c, "/dev", "bind", dev.to_str().unwrap(), &["bind"]);
    };
    t.sh("true", edit);
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 1, "the host's directory was written to");
}

#[test]
fn a_symlinked_dev_stays_inside_the_rootfs() {
    mote_only!("runc 1.1 makes links where the symlink points (CVE-2026-41579)");
    let t = Test::new();
    let outside = t.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("ptmx"), "mine").unwrap();
    for (n, tmpfs) in [true, false].into_iter().enumerate() {
        let mut config = spec(&["true"]);
        writable(&mut config);
        if !tmpfs {
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        }
        let bundle = t.bundle(&format!("b{n}"), &config);
        fs::remove_dir(bundle.join("rootfs/dev")).unwrap();
        symlink(&outside, bundle.join("rootfs/dev")).unwrap();
        // Refusing and resolving inside the rootfs are both fine; writing outside is not.
        let _ = t.run_bundle(&bundle).run();
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["ptmx"], "tmpfs {tmpfs}");
        assert_eq!(fs::read_to_string(outside.join("ptmx")).unwrap(), "mine");
    }
    t.assert_nothing_left();
}

#[test]
fn masked_files_are_empty_and_masked_directories_too() {
    let t = Test::new();
    let script = "cat /tmp/secret /proc/timer_list /proc/keys | wc -c; ls -A /tmp/dir /sys/firmware | grep -c secret; \
                  touch /tmp/dir/x 2>/dev/null && echo written; stat -c %F /tmp/secret; \
                  echo y >/tmp/secret; cat /tmp/secret; cat /proc/self/mountinfo";
    let mut config = spec(&["sh", "-c", script]);
    writable(&mut config);
    let masked = config["linux"]["maskedPaths"].as_array_mut().unwrap();
    masked.extend([json!("/tmp/secret"), json!("/tmp/dir"), json!("/no/such/path")]);
    let bundle = t.bundle("b", &config);
    fs::write(bundle.join("rootfs/tmp/secret"), "secret").unwrap();
    fs::create_dir(bundle.join("rootfs/tmp/dir")).unwrap();
    fs::write(bundle.join("rootfs/tmp/dir/secret"), "secret").unwrap();
    let out = t.run_bundle(&bundle).run();
    let mut lines = out.ok().lines();
    assert_eq!(lines.next(), Some("0"), "{out}");
    assert_eq!(lines.next(), Some("0"), "{out}");
    assert_eq!(lines.next(), Some("character special file"), "{out}");
    let all: Vec<Mount> = lines.map(parse).collect();
    let dir = on(&all, "/tmp/dir");
    assert!(dir.kind == "tmpfs" && dir.options.contains(&"ro".to_owned()), "{dir:?}");
    assert_eq!(on(&all, "/tmp/secret").root, "/null");
    assert_eq!(fs::read_to_string(bundle.join("rootfs/tmp/secret")).unwrap(), "secret");
    assert!(!bundle.join("rootfs/no").exists());
}

#[test]
fn a_mask_is_not_fooled_by_a_null_device_that_is_none() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "cat /tmp/secret"]);
    writable(&mut config);
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    config["linux"]["maskedPaths"] = json!(["/tmp/secret"]);
    let bundle = t.bundle("b", &config);
    fs::write(bundle.join("rootfs/tmp/secret"), "secret\n").unwrap();
    fs::write(bundle.join("rootfs/etc/other"), "other\n").unwrap();
    symlink("/etc/other", bundle.join("rootfs/dev/null")).unwrap();
    let out = t.run_bundle(&bundle).run();
    assert_eq!(out.stdout, "", "the mask shows something: {out}");
    assert_eq!(fs::read_to_string(bundle.join("rootfs/etc/other")).unwrap(), "other\n");
}

#[test]
fn read_only_paths_refuse_writes() {
    let t = Test::new();
    let script = "for f in /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /mnt/file /etc/passwd; do \
                  sh -c \"echo 1 >$f\" 2>/dev/null && echo wrote $f; done; touch /mnt/other && echo other; cat /proc/self/mountinfo";
    let mut config = spec(&["sh", "-c", script]);
    writable(&mut config);
    add_mount(&mut config, "/mnt", "tmpfs", "it", &["nosuid", "nodev", "noexec", "mode=755"]);
    let readonly = config["linux"]["readonlyPaths"].as_array_mut().unwrap();
    readonly.extend([json!("/etc"), json!("/no/such/path"), json!("/mnt/file")]);
    let out = t.run(&config);
    let (said, all) = out.ok().split_once("other\n").unwrap_or_else(|| panic!("{out}"));
    assert_eq!(said, "wrote /mnt/file\n", "a path that is not there is passed over: {out}");
    let all: Vec<Mount> = all.lines().map(parse).collect();
    assert!(on(&all, "/proc/sys").options.contains(&"ro".to_owned()));
    assert!(on(&all, "/etc").options.contains(&"ro".to_owned()));
}

#[test]
fn a_read_only_path_keeps_the_flags_of_its_mount() {
    let t = Test::new();
    let all = mounts(&t, |c| {
        c["mounts"][0]["options"] = json!(["nosuid", "noexec", "nodev"]);
        c["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    });
    for o in ["ro", "nosuid", "noexec", "nodev"] {
        assert!(on(&all, "/proc/sys").options.iter().any(|x| x == o), "{o}: {:?}", on(&all, "/proc/sys"));
    }
}

#[test]
fn the_root_is_read_only_when_the_config_says_so() {
    let t = Test::new();
    let script = "touch /x 2>/dev/null && echo written; true";
    assert_eq!(t.sh(script, |c| c["root"]["readonly"] = json!(true)), "");
    assert_eq!(t.sh(script, |c| c["root"]["readonly"] = json!(false)), "written\n");
    assert_eq!(t.sh(script, |c| drop(c["root"].as_object_mut().unwrap().remove("readonly"))), "written\n");
}

#[test]
fn the_host_s_root_is_not_to_be_seen() {
    let t = Test::new();
    let all = mounts(&t, |_| ());
    assert_eq!(all[0].point, "/", "{all:#?}");
    assert!(all[0].root.ends_with("/rootfs"), "{all:#?}");
    assert_eq!(all.iter().filter(|m| m.point == "/").count(), 1, "{all:#?}");
    assert!(all.iter().all(|m| !m.propagation.contains("shared")), "{all:#?}");
    let names = t.sh("ls -A /", |_| ());
    assert_eq!(names, "bin\ndev\netc\nmnt\nproc\nsys\ntmp\n");
}

#[test]
fn root_path_may_be_absolute_or_elsewhere() {
    let t = Test::new();
    let other = t.dir.join("other/root");
    common::make_rootfs(&other);
    fs::write(other.join("etc/mark"), "other\n").unwrap();
    let mut config = spec(&["cat", "/etc/mark"]);
    config["root"]["path"] = json!(other);
    assert_eq!(t.run(&config).ok(), "other\n");
    config["root"]["path"] = json!("../other/root");
    assert_eq!(t.run(&config).ok(), "other\n");
}

#[test]
fn no_pivot_is_no_weaker_than_pivot_root() {
    mote_only!("runc moves the root over the host's, which stays below it");
    let t = Test::new();
    let mut seen = Vec::new();
    for option in [&["--no-pivot"][..], &[]] {
        let bundle = t.bundle(&format!("b.{}", seen.len()), &spec(&["sleep", "100"]));
        let id = t.id();
        t.mote(["run", "--detach"]).args(option).arg("-b").arg(&bundle).arg(&id).run().ok();
        let pid = t.pid(&id).to_string();
        // setns(2) leads to the root of the mount namespace, whatever the root of its processes is.
        let root = t.command("nsenter").args(["-t", &pid, "-m", "/bin/ls", "/"]).run();
        let info = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let points = info.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned());
        seen.push((root.ok().to_owned(), points.collect::<Vec<_>>()));
    }
    assert_eq!(seen[0].0, "bin\ndev\netc\nmnt\nproc\nsys\ntmp\n");
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn all_of_this_goes_well_without_the_newer_calls_too() {
    mote_only!("others have other ways");
    common::again_without("clone3,openat2,close_range,setns-many");
}
