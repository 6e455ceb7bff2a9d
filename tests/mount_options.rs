//! Mount options that are no flags of the kernel's: mapped ids, copies, symlinks; and flags that reach below.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

fn last(config: &mut Value) -> &mut Value {
    config["mounts"].as_array_mut().unwrap().last_mut().unwrap()
}

fn map(ranges: &[(u32, u32, u32)]) -> Value {
    let one = |(inside, outside, size): &(u32, u32, u32)| json!({"containerID": inside, "hostID": outside, "size": size});
    Value::from(ranges.iter().map(one).collect::<Vec<_>>())
}

/// Files of the owners 0, 5 and 1000, and a mount below with one of 5.
fn owned(t: &Test) -> PathBuf {
    let data = t.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    for owner in [0, 5, 1000] {
        let file = data.join(owner.to_string());
        fs::write(&file, "").unwrap();
        chown(&file, Some(owner), Some(owner + 1)).unwrap();
    }
    data
}

#[test]
fn the_ids_of_a_bind_mount_are_mapped() {
    mote_only!("runc 1.1 knows no id-mapped mounts");
    let t = Test::new();
    let data = owned(&t);
    let look = "cd /mnt; stat -c '%n %u %g' 0 5 1000; touch new && stat -c '%u' new; rm -f new";
    let run = |options: &[&str], maps: Option<(Value, Value)>| {
        let mut config = spec(&["sh", "-c", look]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), options);
        if let Some((uids, gids)) = maps {
            last(&mut config)["uidMappings"] = uids;
            last(&mut config)["gidMappings"] = gids;
        }
        t.run(&config)
    };
    let mapped = "0 2000 65534\n5 2005 3006\n1000 65534 65534\n";
    let maps = || Some((map(&[(0, 2000, 10)]), map(&[(2, 3002, 10)])));
    // The word is not needed, and nobody who is not mapped can make a file.
    for options in [&["bind"][..], &["bind", "idmap"], &["rbind", "ridmap"]] {
        let out = run(options, maps());
        assert_eq!(out.stdout, mapped, "{out}");
    }
    let out = run(&["bind", "idmap=uids=0-2000-10;gids=2-3002-10"], None);
    assert_eq!(out.stdout, mapped, "{out}");
    let out = run(&["bind"], None);
    assert_eq!(out.ok(), "0 0 1\n5 5 6\n1000 1000 1001\n0\n");
    chown(&data, Some(5), Some(5)).unwrap();
    // Back and forth: root inside makes a file that is 5's.
    let out = run(&["bind"], Some((map(&[(5, 0, 1)]), map(&[(5, 0, 1)]))));
    assert_eq!(out.stdout.lines().last(), Some("0"), "{out}");
}

#[test]
fn the_ids_of_a_mount_are_those_of_the_containers_user_namespace() {
    mote_only!("runc 1.1 knows no id-mapped mounts");
    let t = Test::new();
    let data = owned(&t);
    let run = |options: &[&str]| {
        let mut config =
            spec(&["sh", "-c", "cd /mnt; stat -c '%u %g' 0 5 1000; touch new && stat -c '%u' new"]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = map(&[(0, 100_000, 1000)]);
        config["linux"]["gidMappings"] = map(&[(0, 100_000, 1000)]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), options);
        let id = t.id();
        let bundle = t.bundle(&id, &config);
        std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(&bundle).output().unwrap();
        t.mote(["run", "-b"]).arg(bundle).arg(id).run()
    };
    let out = run(&["bind"]);
    assert_eq!(out.stdout, "65534 65534\n65534 65534\n65534 65534\n", "{out}");
    let out = run(&["bind", "idmap"]);
    assert_eq!(out.ok(), "0 1\n5 6\n65534 65534\n0\n");
    assert_eq!(fs::metadata(data.join("new")).unwrap().uid(), 0);
    // Relative to the container: what is 5's is its 7's.
    let out = run(&["bind", "idmap=@uids=0-0-1#5-7-1;gids=0-0-10"]);
    assert_eq!(out.ok(), "0 1\n7 6\n65534 65534\n0\n");
    let out = run(&["bind", "idmap=@uids=0-1000-1;gids=0-0-10"]);
    out.fails_saying(&["mounts[7].options[1]", "does not have"]);
}

#[test]
fn ridmap_reaches_the_mounts_below_and_idmap_does_not() {
    mote_only!("runc 1.1 knows no id-mapped mounts");
    let t = Test::new();
    let data = owned(&t);
    let mount = format!("mount -t tmpfs it {0}/sub; touch {0}/sub/x; chown 5 {0}/sub/x", data.display());
    for (word, expected) in [("idmap", "2005\n5\n"), ("ridmap", "2005\n2005\n")] {
        let mut config = spec(&["stat", "-c", "%u", "/mnt/5", "/mnt/sub/x"]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind", word]);
        last(&mut config)["uidMappings"] = map(&[(0, 2000, 10)]);
        last(&mut config)["gidMappings"] = map(&[(0, 2000, 10)]);
        let bundle = t.bundle(word, &config);
        let out = t.run_bundle(&bundle).after_bash(&mount).under(["unshare", "-m"]).run();
        assert_eq!(out.ok(), expected, "{word}");
    }
}

#[test]
fn mapped_ids_that_cannot_be_had_are_refused() {
    mote_only!("runc 1.1 knows no id-mapped mounts");
    let t = Test::new();
    let case = |kind: &str, source: &str, options: &[&str], maps: &[(&str, Value)], words: &[&str]| {
        let mut config = spec(&["true"]);
        add_mount(&mut config, "/mnt", kind, source, options);
        for (name, value) in maps {
            last(&mut config)[*name] = value.clone();
        }
        t.run(&config).fails_saying(words);
    };
    let one = map(&[(0, 1, 1)]);
    let both = [("uidMappings", one.clone()), ("gidMappings", one.clone())];
    case("bind", "/tmp", &["bind", "idmap"], &[], &["mounts[7].options[1]", "user namespace"]);
    case("bind", "/tmp", &["bind"], &both[..1], &["mounts[7].gidMappings", "missing"]);
    case("bind", "/tmp", &["bind"], &both[1..], &["mounts[7].uidMappings", "missing"]);
    case("tmpfs", "it", &["idmap"], &both, &["mounts[7]", "bind"]);
    case("bind", "/tmp", &["bind", "idmap=nonsense"], &[], &["mounts[7].options[1]", "uids=A-B-N"]);
    case(
        "bind",
        "/tmp",
        &["bind", "idmap=uids=0-0-1;gids=0-0-1"],
        &both,
        &["mounts[7].options[1]", "beside"],
    );
    let wrong = [("uidMappings", map(&[(0, 1, 0)])), ("gidMappings", one)];
    case("bind", "/tmp", &["bind"], &wrong, &["mounts[7].uidMappings[0].size"]);
    // procfs cannot.
    case("bind", "/proc", &["bind"], &both, &["mounts[7]", "map the ids", "/proc"]);
    t.assert_nothing_left();
}

#[test]
fn a_tmpfs_begins_with_what_it_covers() {
    let t = Test::new();
    let mut config = spec(&[
        "sh",
        "-c",
        "cd /etc/deep; find . | sort; stat -c '%a %u %g %Y' . a/b/file; cat a/b/file; readlink link; echo x >plain; grep ' /etc/deep ' /proc/self/mountinfo | cut -d- -f2 | cut -d' ' -f2",
    ]);
    add_mount(&mut config, "/etc/deep", "tmpfs", "tmpfs", &["tmpcopyup", "nosuid"]);
    let bundle = t.bundle("b", &config);
    let deep = bundle.join("rootfs/etc/deep");
    fs::create_dir_all(deep.join("a/b")).unwrap();
    fs::write(deep.join("a/b/file"), "content\n").unwrap();
    fs::set_permissions(deep.join("a/b/file"), fs::Permissions::from_mode(0o4644)).unwrap();
    chown(deep.join("a/b/file"), Some(7), Some(8)).unwrap();
    fs::set_permissions(deep.join("a/b/file"), fs::Permissions::from_mode(0o4644)).unwrap();
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o711)).unwrap();
    symlink("/etc/passwd", deep.join("link")).unwrap();
    fs::write(deep.join("plain"), "content\n").unwrap();
    for n in 0..300 {
        fs::write(deep.join(format!("a/many-files-with-a-long-name-{n}")), "").unwrap();
    }
    let time = fs::metadata(deep.join("a/b/file")).unwrap().mtime();
    let out = t.run_bundle(&bundle).run();
    let text = out.ok();
    assert_eq!(text.matches("many-files").count(), 300);
    for part in ["./a/b/file\n", "711 ", "\n4644 7 8 ", "content\n/etc/passwd\n", "\ntmpfs\n"] {
        assert!(text.contains(part), "no {part:?}: {out}");
    }
    if is_mote() {
        assert!(text.contains(&format!("4644 7 8 {time}\n")), "runc does not copy times: {out}");
    }
    assert_eq!(fs::read_to_string(deep.join("plain")).unwrap(), "content\n");
    if is_mote() {
        for (kind, options) in [("bind", &["bind", "tmpcopyup"][..]), ("proc", &["tmpcopyup"])] {
            let mut config = spec(&["true"]);
            add_mount(&mut config, "/mnt", kind, "/tmp", options);
            t.run(&config).fails_saying(&["mounts[7].options", "tmpcopyup is for a tmpfs"]);
        }
    }
}

#[test]
fn a_tmpfs_without_a_mode_has_that_of_what_it_covers() {
    let t = Test::new();
    let mut config = spec(&["stat", "-c", "%a", "/mnt", "/tmp"]);
    add_mount(&mut config, "/mnt", "tmpfs", "tmpfs", &[]);
    add_mount(&mut config, "/tmp", "tmpfs", "tmpfs", &["size=4k"]);
    let bundle = t.bundle("b", &config);
    fs::set_permissions(bundle.join("rootfs/mnt"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(bundle.join("rootfs/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "751\n1777\n");
}

#[test]
fn symlinks_are_copied_bound_or_covered_as_crun_does_it() {
    mote_only!("runc does not know the words");
    let t = Test::new();
    let link = t.dir.join("link");
    symlink("/etc/group", &link).unwrap();
    let file = t.dir.join("file");
    fs::write(&file, "the file\n").unwrap();
    let run = |options: &[&str], source: &std::path::Path, script: &str| {
        let mut config = spec(&["sh", "-c", script]);
        config["root"]["readonly"] = json!(false);
        add_mount(&mut config, "/mnt/x", "bind", source.to_str().unwrap(), options);
        let id = t.id();
        let bundle = t.bundle(&id, &config);
        symlink("/etc/passwd", bundle.join("rootfs/mnt/other")).unwrap();
        t.mote(["run", "-b"]).arg(bundle).arg(id).run()
    };
    let look = "readlink /mnt/x; head -n 1 /mnt/x";
    assert_eq!(run(&["bind", "copy-symlink"], &link, look).ok(), "/etc/group\nroot:x:0:\n");
    assert_eq!(run(&["bind", "copy-symlink"], &file, look).stdout, "the file\n");
    assert_eq!(run(&["bind", "src-nofollow"], &file, look).stdout, "the file\n");
    assert_eq!(run(&["bind", "src-nofollow", "ro"], &link, look).ok(), "/etc/group\nroot:x:0:\n");
    let covers = |options: &[&str]| {
        let mut config = spec(&["sh", "-c", "cat /mnt/other; wc -l </etc/passwd; readlink /mnt/other; true"]);
        add_mount(&mut config, "/mnt/other", "bind", file.to_str().unwrap(), options);
        let id = t.id();
        let bundle = t.bundle(&id, &config);
        symlink("/etc/passwd", bundle.join("rootfs/mnt/other")).unwrap();
        t.mote(["run", "-b"]).arg(bundle).arg(id).run().ok().to_owned()
    };
    assert_eq!(covers(&["bind"]), "the file\n1\n/etc/passwd\n", "the file that the link leads to");
    assert_eq!(covers(&["bind", "dest-nofollow"]), "the file\n2\n", "the link itself");
    for option in ["copy-symlink", "src-nofollow"] {
        let mut config = spec(&["true"]);
        add_mount(&mut config, "/mnt", "tmpfs", "it", &[option]);
        t.run(&config).fails_saying(&["mounts[7].options", "bind mounts"]);
    }
}

#[test]
fn a_symlink_is_not_copied_over_something_else() {
    mote_only!("runc does not know the word");
    let t = Test::new();
    let link = t.dir.join("link");
    symlink("/etc/group", &link).unwrap();
    let mut config = spec(&["readlink", "/mnt/x"]);
    add_mount(&mut config, "/mnt/x", "bind", link.to_str().unwrap(), &["bind", "copy-symlink"]);
    let bundle = t.bundle("b", &config);
    let there = bundle.join("rootfs/mnt/x");
    symlink("/etc/group", &there).unwrap();
    assert_eq!(t.run_bundle(&bundle).run().ok(), "/etc/group\n", "the same link may be there");
    fs::remove_file(&there).unwrap();
    symlink("/etc/passwd", &there).unwrap();
    t.run_bundle(&bundle).run().fails_saying(&["mounts[7]", "file exists"]);
    fs::remove_file(&there).unwrap();
    fs::write(&there, "kept\n").unwrap();
    t.run_bundle(&bundle).run().fails_saying(&["mounts[7]", "file exists"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "kept\n");
}

#[test]
fn recursive_options_change_every_mount_below() {
    mote_only!("runc 1.1 has some of them only");
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    let cases: &[(&str, &str, bool)] = &[
        ("rro", "ro", true),
        ("rrw", "ro", false),
        ("rnosuid", "nosuid", true),
        ("rsuid", "nosuid", false),
        ("rnodev", "nodev", true),
        ("rdev", "nodev", false),
        ("rnoexec", "noexec", true),
        ("rexec", "noexec", false),
        ("rnodiratime", "nodiratime", true),
        ("rdiratime", "nodiratime", false),
        ("rnoatime", "noatime", true),
        ("ratime", "noatime", false),
        ("rrelatime", "relatime", true),
        ("rnorelatime", "noatime", false),
        ("rstrictatime", "relatime", false),
        ("rnostrictatime", "relatime", true),
        ("rnosymfollow", "nosymfollow", true),
        ("rsymfollow", "nosymfollow", false),
    ];
    for (word, flag, set) in cases {
        // Each begins with the opposite.
        let before = if *set { "rw" } else { "ro,nosuid,nodev,noexec,noatime,nodiratime" };
        let mount = format!(
            "mount -t tmpfs it {0}; mkdir {0}/sub; mount -t tmpfs it {0}/sub; mount -o remount,bind,{before} {0}; mount -o remount,bind,{before} {0}/sub",
            data.display()
        );
        let mut config = spec(&["cat", "/proc/self/mountinfo"]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind", word]);
        let bundle = t.bundle(word, &config);
        let out = t.run_bundle(&bundle).after_bash(&mount).under(["unshare", "-m"]).run();
        for point in [" /mnt ", " /mnt/sub "] {
            let line = out.ok().lines().find(|l| l.contains(point)).unwrap_or_else(|| panic!("{out}"));
            let options = line.split(' ').nth(5).unwrap();
            assert_eq!(options.split(',').any(|o| o == *flag), *set, "{word}: {line}");
        }
    }
}

#[test]
fn flags_that_are_locked_in_a_user_namespace_are_kept_and_cannot_be_taken_off() {
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir_all(&data).unwrap();
    chown(&t.root, Some(1000), Some(1000)).unwrap();
    let runtime = t.dir.join("runtime");
    fs::copy(common::binary(), &runtime).unwrap();
    let mount = format!("mount -t tmpfs -o nosuid,nodev,noexec it {0}; chown 1000 {0}", data.display());
    for (n, (options, works)) in
        [(&["rbind", "ro"][..], true), (&["rbind"], true), (&["rbind", "exec"], false)].iter().enumerate()
    {
        if options.len() > 1 && !is_mote() {
            continue; // runc 1.1 tries to take the locked flags off with any other
        }
        let mut config = spec(&["sh", "-c", "grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6"]);
        common::without_namespace(&mut config, "network");
        common::without_namespace(&mut config, "cgroup");
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = map(&[(0, 1000, 1)]);
        config["linux"]["gidMappings"] = map(&[(0, 1000, 1)]);
        config["linux"]["resources"] = json!({});
        config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), options);
        let id = t.id();
        let bundle = t.bundle(&format!("b{n}"), &config);
        std::process::Command::new("chown").args(["-R", "1000:1000"]).arg(&bundle).output().unwrap();
        let out = t
            .command(&runtime)
            .args(["--root", t.root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &id])
            .under(["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"])
            .after_bash(&mount)
            .under(["unshare", "-m"])
            .run();
        if *works {
            for flag in ["nosuid", "nodev", "noexec"] {
                assert!(out.ok().trim().split(',').any(|o| o == flag), "{flag}: {out}");
            }
        } else {
            out.fails_saying(&["mounts[1]", "operation not permitted"]);
        }
    }
}

#[test]
fn the_propagation_of_the_root_is_as_the_config_says() {
    mote_only!("runc 1.1.5 changes the topmost mount alone, and leaves mounts of the container on the host");
    let t = Test::new();
    let data = t.dir.join("data");
    fs::create_dir(&data).unwrap();
    // value, what the root is, what a volume is that the host shares, whether a mount in it shows on the host
    let cases = [
        ("", "master:", "master:", false),
        ("slave", "master:", "master:", false),
        ("private", "", "", false),
        ("shared", "", "shared:", true),
        ("rshared", "", "shared:", true),
        ("unbindable", "unbindable", "", false),
    ];
    for (n, (value, root, volume, shows)) in cases.iter().enumerate() {
        let script = "grep -E ' (/|/mnt) ' /proc/self/mountinfo; mkdir /mnt/sub; mount -t tmpfs it /mnt/sub";
        let mut config = spec(&["sh", "-c", script]);
        let all = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        add_mount(&mut config, "/mnt", "bind", data.to_str().unwrap(), &["rbind"]);
        if !value.is_empty() {
            config["linux"]["rootfsPropagation"] = json!(value);
        }
        let bundle = t.bundle(&format!("b{n}"), &config);
        let id = t.id();
        // A host of its own whose mounts are all shared: nothing of it may be gone afterwards. A directory that another test
        // removes takes what was mounted on it along, in every mount namespace: those do not count.
        let host = format!(
            "count() {{ grep -cE ' (/|/(proc|sys|dev)[^ ]*|{0}[^ ]*) [a-z]' /proc/self/mountinfo; }}; \
             mount --make-rshared /; mount -t tmpfs it {0}; mount --make-shared {0}; before=$(count); \
             \"$@\"; code=$?; ls /proc/1/stat /sys/kernel /dev/null >/dev/null || exit 97; \
             grep -q ' {0}/sub ' /proc/self/mountinfo && echo shows; umount {0}/sub 2>/dev/null; \
             [ $(count) = $before ] || exit 98; exit $code",
            data.display()
        );
        let out = t
            .mote(["run", "-b"])
            .arg(bundle)
            .arg(&id)
            .under(["unshare", "-m", "--propagation", "private", "bash", "-c", &host, "bash"])
            .run();
        let text = out.ok();
        let optional = |point: &str| {
            let line =
                text.lines().find(|l| l.split(' ').nth(4) == Some(point)).unwrap_or_else(|| panic!("{out}"));
            let fields: Vec<&str> = line.split(' ').skip(6).take_while(|f| *f != "-").collect();
            fields.join(" ")
        };
        for (point, expected) in [("/", root), ("/mnt", volume)] {
            let found = optional(point);
            let fits = if expected.is_empty() { found.is_empty() } else { found.starts_with(expected) };
            assert!(fits, "{value}: {point} is {found:?}: {out}");
        }
        assert_eq!(text.contains("shows"), *shows, "{value}: {out}");
    }
    t.assert_nothing_left();
}

#[test]
fn all_of_this_goes_well_without_the_newer_calls_too() {
    mote_only!("others have other ways");
    common::again_without("clone3,openat2,close_range,setns-many");
}
