//! Fields of a manifest that change how a container is started: each is looked at from inside of the container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::{Supervisor, merge};
use common::spec;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A pod `p` with one container that runs `script` once, with what `pod` adds to the spec and `container` to the container.
struct Once {
    pods: Supervisor,
}

impl Once {
    fn new() -> Once {
        Once { pods: Supervisor::new() }
    }

    fn bundle(&self, edit: impl FnOnce(&mut Value)) {
        let mut config = spec(&["sh", "-c", "true"]);
        edit(&mut config);
        self.pods.bundle("shell", &config);
    }

    /// Runs it to its end; gives the log's text without times and streams.
    #[track_caller]
    fn run(&self, script: &str, pod: Value, container: Value) -> String {
        if !self.pods.bundles.join("shell").exists() {
            self.bundle(|_| ());
        }
        self.pods.script(script, pod, container);
        self.pods.start();
        let row = self.pods.wait("p/c", "done");
        self.pods.stop(); // the log writer is another process, which has written all when the supervisor has ended
        let log = self.pods.mote(["logs", "p/c"]).run().ok().to_owned();
        assert_eq!(row["code"], 0, "{row}\n{log}");
        log
    }

    /// Starts it, which fails; gives the reason.
    #[track_caller]
    fn refused(&self, pod: Value, container: Value) -> String {
        if !self.pods.bundles.join("shell").exists() {
            self.bundle(|_| ());
        }
        self.pods.script("true", pod, container);
        self.pods.start();
        let row = self.pods.wait_for("p/c", &|row| row["reason"].is_string());
        self.pods.stop();
        row["reason"].as_str().unwrap().to_owned()
    }
}

#[test]
fn variables_are_expanded_in_command_args_and_env() {
    let env = json!([
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)b$(LATER)$$(A)"},
        {"name": "LATER", "value": "l"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TERM", "value": "dumb"}
    ]);
    let log = Once::new().run(
        "echo \"$B|$TERM|$PATH|$POD\" \"$@\"",
        json!({}),
        json!({"env": env, "args": ["sh", "$(B)", "$(NONE)", "$(PATH)", "$$(A)"], "workingDir": "/tmp"}),
    );
    // The bundle's own PATH is there, but as in Kubernetes it is not expanded.
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let log = log.trim_end();
    assert_eq!(log, format!("ab$(LATER)$(A)|dumb|{path}|p ab$(LATER)$(A) $(NONE) $(PATH) $(A)"));
}

#[test]
fn users_groups_and_capabilities_are_the_manifests() {
    let once = Once::new();
    once.bundle(|config| {
        config["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [7]});
        config["process"]["noNewPrivileges"] = json!(false);
    });
    let passwd = once.pods.bundles.join("shell/rootfs/etc");
    fs::create_dir_all(&passwd).unwrap();
    fs::write(passwd.join("passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1234:555::/srv:/bin/sh\n").unwrap();
    fs::write(passwd.join("group"), "root:x:0:\nvideo:x:44:a,web\nweb:x:555:\nwebmaster:x:45:webmaster\n")
        .unwrap();
    let log = once.run(
        "id -u; id -g; grep -E 'Groups|NoNewPrivs|CapBnd|CapEff' /proc/self/status; echo anew >/dev/stdout; echo anew >/dev/stderr",
        json!({"securityContext": {"runAsUser": 1234, "runAsNonRoot": true, "fsGroup": 2000, "supplementalGroups": [3000]}}),
        json!({"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}}),
    );
    assert!(log.starts_with("1234\n555\n"), "{log}");
    assert_eq!(log.lines().filter(|line| *line == "anew").count(), 2, "{log}");
    // Those that the image has for it, and not the bundle's group 7, which is its own user's.
    assert!(log.contains("Groups:\t44 2000 3000 \n"), "{log}");
    assert!(log.contains("NoNewPrivs:\t1\n"), "{log}");
    assert!(log.contains("CapBnd:\t0000000000002000\n"), "{log}");
    // As everywhere: what is added shows at a user that is not root only by a file's capabilities.
    assert!(log.contains("CapEff:\t0000000000000000\n"), "{log}");
}

#[test]
fn groups_of_the_image_are_read_in_the_image_and_only_where_they_are_asked_for() {
    let groups = |edit: &dyn Fn(&std::path::Path), pod: Value, container: Value| {
        let once = Once::new();
        once.bundle(|_| ());
        let etc = once.pods.bundles.join("shell/rootfs/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("passwd"), "web:x:1234:555::/srv:/bin/sh\n").unwrap();
        fs::write(etc.join("group"), "video:x:44:web\n").unwrap();
        edit(&etc);
        once.run("id -g; grep Groups /proc/self/status", pod, container)
    };
    let user = json!({"securityContext": {"runAsUser": 1234}});
    let both = json!({"securityContext": {"runAsUser": 1234, "runAsGroup": 9}});
    assert_eq!(groups(&|_| (), json!({}), both), "9\nGroups:\t44 \n");
    let strict =
        json!({"securityContext": {"supplementalGroups": [3], "supplementalGroupsPolicy": "Strict"}});
    assert_eq!(groups(&|_| (), strict, user.clone()), "555\nGroups:\t3 \n");
    // A number that has no name there is nobody's.
    let other = json!({"securityContext": {"runAsUser": 1235}});
    assert_eq!(groups(&|_| (), json!({}), other), "0\nGroups:\t \n");
    // A symlink leads to a file of the image.
    let linked = |etc: &std::path::Path| {
        fs::rename(etc.join("group"), etc.join("mine")).unwrap();
        symlink("/../../etc/mine", etc.join("group")).unwrap();
    };
    assert_eq!(groups(&linked, json!({}), user.clone()), "555\nGroups:\t44 \n");
    let missing = |etc: &std::path::Path| fs::remove_file(etc.join("group")).unwrap();
    assert_eq!(groups(&missing, json!({}), user.clone()), "555\nGroups:\t \n");

    let once = Once::new();
    once.bundle(|_| ());
    let etc = once.pods.bundles.join("shell/rootfs/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), "web:x:1234:555::/srv:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "# too long\n".repeat(30_000)).unwrap();
    let reason = once.refused(json!({}), user);
    assert!(reason.contains("etc/group") && reason.contains("File too large"), "{reason}");
}

#[test]
fn the_bundles_user_stays_where_the_manifest_says_nothing() {
    let once = Once::new();
    once.bundle(|config| {
        config["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    });
    let log = once.run(
        "id -u; id -g; grep Groups /proc/self/status",
        json!({"securityContext": {"supplementalGroups": [8]}}),
        json!({}),
    );
    assert_eq!(log, "5\n6\nGroups:\t7 8 \n");
}

#[test]
fn root_is_refused_to_a_container_that_must_not_be_root() {
    let reason = Once::new().refused(json!({}), json!({"securityContext": {"runAsNonRoot": true}}));
    assert!(reason.contains("p/c: securityContext.runAsNonRoot: the bundle's user is root"), "{reason}");
}

#[test]
fn added_and_dropped_capabilities_change_the_bundles() {
    let once = Once::new();
    // The bundle of the tests has AUDIT_WRITE (29), KILL (5) and NET_BIND_SERVICE (10).
    let log = once.run(
        "grep -E 'CapBnd|CapEff|CapPrm' /proc/self/status",
        json!({}),
        json!({"securityContext": {"capabilities": {"add": ["SYS_TIME"], "drop": ["CAP_KILL"]}}}),
    );
    let want = format!("{:016x}", 1_u64 << 29 | 1 << 10 | 1 << 25);
    assert_eq!(log.matches(&want).count(), 3, "{log}");
}

#[test]
fn a_privileged_container_has_everything() {
    let once = Once::new();
    let log = once.run(
        "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; grep -E ' (/sys|/proc/sys|/proc/kcore) ' /proc/self/mountinfo; ls /dev",
        json!({}),
        json!({"securityContext": {"privileged": true}}),
    );
    // All that can be passed on here.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert!(log.contains(&format!("CapEff:\t{own}\n")), "{own}: {log}");
    assert!(log.contains("NoNewPrivs:\t0") && log.contains("Seccomp:\t0"), "{log}");
    let sys = log.lines().find(|line| line.contains(" /sys ")).unwrap();
    assert!(sys.contains(" /sys rw,"), "{sys}");
    assert!(!log.contains(" /proc/sys ") && !log.contains(" /proc/kcore "), "{log}");
    // Every node that the host has.
    let nodes = fs::read_dir("/dev").unwrap().flatten().filter(|entry| {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = entry.file_type().unwrap();
        (kind.is_char_device() || kind.is_block_device()) && entry.file_name() != "console"
    });
    for node in nodes {
        let name = node.file_name().into_string().unwrap();
        assert!(log.lines().any(|line| line == name), "{name} is missing: {log}");
    }
}

#[test]
fn the_root_filesystem_is_as_writable_as_the_manifest_says() {
    for (read_only, word) in [(true, "ro,"), (false, "rw,")] {
        let once = Once::new();
        once.bundle(|config| config["root"]["readonly"] = json!(!read_only));
        let log = once.run(
            "grep ' / / ' /proc/self/mountinfo || grep -E ' /[^ ]* / ' /proc/self/mountinfo",
            json!({}),
            json!({"securityContext": {"readOnlyRootFilesystem": read_only}}),
        );
        assert!(log.contains(&format!(" / {word}")), "{read_only}: {log}");
    }
}

#[test]
fn proc_is_unmasked_when_asked_for() {
    let script = "grep -c ' /proc/' /proc/self/mountinfo || true";
    let masked = Once::new().run(script, json!({}), json!({"securityContext": {"procMount": "Default"}}));
    let bare = Once::new().run(script, json!({}), json!({"securityContext": {"procMount": "Unmasked"}}));
    assert!(masked.trim() != "0" && bare.trim() == "0", "{masked} {bare}");
}

#[test]
fn sysctls_of_the_pods_namespaces_are_set() {
    let once = Once::new();
    let sysctls = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}, {"name": "kernel/shm_rmid_forced", "value": "1"}]);
    let log = once.run(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
        json!({"securityContext": {"sysctls": sysctls}}),
        json!({}),
    );
    assert_eq!(log, "80\n1\n");
}

#[test]
fn a_seccomp_profile_is_read_from_the_directory_of_profiles() {
    let once = Once::new();
    let directory = once.pods.bundles.with_file_name("seccomp");
    fs::create_dir_all(directory.join("profiles")).unwrap();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
    fs::write(directory.join("profiles/no-mkdir.json"), profile.to_string()).unwrap();
    let localhost = |path: &str| json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}});
    let log = once.run(
        "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status",
        localhost("profiles/no-mkdir.json"),
        json!({}),
    );
    assert!(log.contains("Operation not supported") && log.contains("Seccomp:\t2"), "{log}");
    // Nothing outside of it, whatever a symlink says.
    symlink("/etc/passwd", directory.join("out")).unwrap();
    let reason = once.refused(localhost("out"), json!({}));
    assert!(reason.contains("seccompProfile: open") && reason.contains("no such file"), "{reason}");
}

#[test]
fn volumes_of_the_pod_are_kept_over_restarts_and_shared_by_its_containers() {
    let once = Once::new();
    once.bundle(|config| config["root"]["readonly"] = json!(false));
    let mounts = json!([
        {"name": "disk", "mountPath": "/disk"},
        {"name": "mem", "mountPath": "/mem"},
        {"name": "mem", "mountPath": "/ro", "readOnly": true, "subPath": "a/b"}
    ]);
    let script = "stat -c '%a %g' /disk /mem; df -k /mem | tail -1; date >> /disk/file; wc -l < /disk/file; touch /mem/a/b/x /ro/y; ls /ro; test $(wc -l < /disk/file) = 2";
    let pod = json!({
        "restartPolicy": "OnFailure",
        "securityContext": {"fsGroup": 4242},
        "volumes": [{"name": "disk"}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    });
    let log = once.run(script, pod, json!({"volumeMounts": mounts}));
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(&lines[..2], ["2777 4242", "2777 4242"], "{log}");
    assert_eq!(lines[2].split_whitespace().nth(1), Some("1024"), "{log}");
    assert_eq!(lines[3], "1", "{log}");
    assert!(log.contains("/ro/y: Read-only file system") && log.contains("\nx\n"), "{log}");
    // What is in memory goes with the supervisor, what is on the disk stays.
    assert!(once.pods.volumes.join("p/disk/file").exists());
    assert!(!once.pods.run.join("pods").exists());
}

#[test]
fn a_limit_of_a_volume_is_kept_where_the_disk_is_memory_and_named_where_it_is_not() {
    let fill = "stat -c '%a %g' /v; dd if=/dev/zero of=/v/file bs=4096 count=512 2>/dev/null; stat -c %s /v/file; echo again";
    let pod = json!({"securityContext": {"fsGroup": 4242}, "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]});
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let mounted = |once: &Once| {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(once.pods.volumes.join("p/v").to_str().unwrap())
    };

    let once = Once::new();
    nix::mount::mount(
        Some("tmpfs"),
        &once.pods.volumes,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    once.bundle(|_| ());
    once.pods.script(&format!("{fill}; sleep 1000"), pod.clone(), mounts.clone());
    once.pods.start();
    let log = once.pods.wait_log("p/c", " again\n");
    let first_mounted = mounted(&once);
    let pid = once.pods.container("p/c")["pid"].clone();
    once.pods.mote(["pod", "restart", "p"]).run().ok();
    once.pods.wait_for("p/c", &|row| row["state"] == "running" && row["pid"] != pid);
    let kept = once.pods.volumes.join("p/v/file").exists();
    once.pods.mote(["pod", "rm", "p"]).run().ok();
    let gone = !once.pods.volumes.join("p").exists();
    let said = once.pods.said();
    once.pods.stop();
    let last_mounted = mounted(&once);
    nix::mount::umount2(&once.pods.volumes, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert!(log.contains(" 2777 4242\n") && log.contains(" 1048576\n"), "{log}");
    assert!(first_mounted && kept && gone && !last_mounted, "{first_mounted} {kept} {gone} {last_mounted}");
    assert!(!said.contains("sizeLimit"), "{said}");

    let once = Once::new();
    if nix::sys::statfs::statfs(&once.pods.volumes).unwrap().filesystem_type()
        == nix::sys::statfs::TMPFS_MAGIC
    {
        return common::skipped("the temporary directory is in memory");
    }
    once.bundle(|_| ());
    let mut twice = json!({"restartPolicy": "OnFailure"});
    merge(&mut twice, pod);
    once.pods.script(&format!("{fill}; echo x >> /v/runs; test $(wc -l < /v/runs) = 2"), twice, mounts);
    once.pods.start();
    once.pods.wait("p/c", "done");
    let said = once.pods.said();
    once.pods.stop();
    assert!(once.pods.log("p/c").contains(" 2097152\n"), "{}", once.pods.log("p/c"));
    assert_eq!(said.matches("p/v: emptyDir.sizeLimit is not enforced: it is on a disk").count(), 1, "{said}");
}

#[test]
fn host_paths_are_checked_by_their_type_and_made_where_that_says_so() {
    let once = Once::new();
    let dir = once.pods.test.dir.join("host");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "text\n").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let types = [
        ("file", "File"),
        ("socket", "Socket"),
        (".", "Directory"),
        ("made", "DirectoryOrCreate"),
        ("new", "FileOrCreate"),
        ("any/deep", ""),
    ];
    let mut volumes: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(i, (path, kind))| json!({"name": format!("v{i}"), "hostPath": {"path": dir.join(path), "type": kind}}))
        .collect();
    volumes.push(json!({"name": "v6", "hostPath": {"path": "/dev/null", "type": "CharDevice"}}));
    let mounts: Vec<_> =
        (0..7).map(|i| json!({"name": format!("v{i}"), "mountPath": format!("/v/{i}")})).collect();
    let log =
        once.run("cat /v/0; stat -c %F /v/*", json!({"volumes": volumes}), json!({"volumeMounts": mounts}));
    assert_eq!(
        log,
        "text\nregular file\nsocket\ndirectory\ndirectory\nregular empty file\ndirectory\ncharacter special file\n"
    );
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("made"), mode("new"), mode("any")), (0o755, 0o644, 0o755));

    for (path, kind, words) in [
        ("file", "Directory", "expected a directory"),
        ("made", "File", "expected a regular file"),
        ("file", "BlockDevice", "expected a block device"),
        ("missing", "Directory", "no such file or directory"),
        ("missing/x", "FileOrCreate", "no such file or directory"),
    ] {
        let volumes = json!([{"name": "v", "hostPath": {"path": dir.join(path), "type": kind}}]);
        let reason = once.refused(
            json!({"volumes": volumes}),
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        );
        assert!(reason.contains(words), "{path} {kind}: {reason}");
    }
    assert!(!dir.join("missing").exists());
}

#[test]
fn a_sub_path_cannot_leave_its_volume() {
    let once = Once::new();
    let (dir, outside) = (once.pods.test.dir.join("host"), once.pods.test.dir.join("outside"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "x").unwrap();
    symlink(&outside, dir.join("absolute")).unwrap();
    symlink("../outside", dir.join("climbing")).unwrap();
    let mounts = json!([
        {"name": "v", "mountPath": "/a", "subPath": "absolute"},
        {"name": "v", "mountPath": "/b", "subPath": "climbing"},
        {"name": "v", "mountPath": "/c", "subPath": "climbing/secret"}
    ]);
    let log = once.run(
        "ls /a /b /c; touch /a/x",
        json!({"volumes": [{"name": "v", "hostPath": {"path": dir}}]}),
        json!({"volumeMounts": mounts}),
    );
    assert!(!log.contains("secret\n") || log.contains("/c:\n"), "{log}");
    assert!(!outside.join("x").exists());
    let left: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["secret"]);
}

#[test]
fn propagation_is_what_the_mount_says() {
    let once = Once::new();
    let dir = once.pods.test.dir.join("shared");
    fs::create_dir(&dir).unwrap();
    let none = None::<&str>;
    nix::mount::mount(Some(&dir), &dir, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    nix::mount::mount(none, &dir, none, nix::mount::MsFlags::MS_SHARED, none).unwrap();
    let volumes = json!([{"name": "v", "hostPath": {"path": dir}}, {"name": "own"}]);
    let mounts = json!([
        {"name": "v", "mountPath": "/none"},
        {"name": "v", "mountPath": "/slave", "mountPropagation": "HostToContainer"},
        {"name": "v", "mountPath": "/both", "mountPropagation": "Bidirectional"}
    ]);
    let log = once.run(
        "grep -E ' /(none|slave|both) ' /proc/self/mountinfo; mkdir -p /both/m; mount -t tmpfs tmpfs /both/m && touch /both/m/seen",
        json!({"volumes": volumes}),
        json!({"volumeMounts": mounts, "securityContext": {"privileged": true}}),
    );
    let seen = dir.join("m/seen").exists();
    let _ = nix::mount::umount2(&dir.join("m"), nix::mount::MntFlags::MNT_DETACH);
    nix::mount::umount2(&dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let line = |path: &str| log.lines().find(|line| line.contains(path)).unwrap().to_owned();
    assert!(!line(" /none ").contains("shared:") && !line(" /none ").contains("master:"), "{log}");
    assert!(line(" /slave ").contains("master:") && !line(" /slave ").contains("shared:"), "{log}");
    assert!(line(" /both ").contains("shared:"), "{log}");
    assert!(seen, "a mount made in the container does not show outside: {log}");
}

#[test]
fn the_devices_namespaces_show_when_the_pod_is_in_them() {
    let link =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let script = "for kind in pid ipc net uts; do readlink /proc/self/ns/$kind; done";
    let all =
        Once::new().run(script, json!({"hostPID": true, "hostIPC": true, "hostNetwork": true}), json!({}));
    assert_eq!(all.lines().collect::<Vec<_>>(), [link("pid"), link("ipc"), link("net"), link("uts")]);
    let none = Once::new().run(script, json!({}), json!({}));
    for own in [link("pid"), link("ipc"), link("net"), link("uts")] {
        assert!(!none.contains(&own), "{own}: {none}");
    }
}

#[test]
fn hosts_and_resolv_conf_are_made_for_the_pod() {
    let once = Once::new();
    let log = once.run(
        "cat /etc/hosts /etc/resolv.conf; hostname; echo x >> /etc/hosts && echo writable",
        json!({
            "hostname": "gate",
            "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["a.lan", "b.lan"]}, {"ip": "fd00::1", "hostnames": ["six"]}],
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["10.0.0.53"], "searches": ["lan"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}
        }),
        json!({}),
    );
    assert!(log.contains("127.0.0.1\tlocalhost\n") && log.contains("127.0.0.1\tgate\n"), "{log}");
    assert!(log.contains("10.1.2.3\ta.lan\tb.lan\nfd00::1\tsix\n"), "{log}");
    assert!(log.contains("nameserver 10.0.0.53\nsearch lan\noptions ndots:2 edns0\ngate\n"), "{log}");
    assert!(log.ends_with("writable\n"), "{log}");
}

#[test]
fn requests_and_limits_are_on_the_containers_cgroup() {
    let once = Once::new();
    let resources = json!({"limits": {"memory": "64Mi", "cpu": 0.5}, "requests": {"cpu": "250m", "memory": "16Mi", "ephemeral-storage": "1Gi"}});
    once.bundle(|_| ());
    once.pods.script("sleep 1000", json!({"restartPolicy": "Always"}), json!({"resources": resources}));
    once.pods.start();
    let pid = once.pods.wait("p/c", "running")["pid"].as_i64().unwrap();
    let read = |controller: &str, v1: &str, v2: &str| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let of =
            |line: &str| line.split(':').nth(1).is_some_and(|all| all.split(',').any(|c| c == controller));
        let line = groups.lines().find(|line| of(line));
        let path = |line: &str| line.splitn(3, ':').nth(2).unwrap().to_owned();
        let file = match line {
            Some(line) => format!("/sys/fs/cgroup/{controller}{}/{v1}", path(line)),
            None => {
                format!("/sys/fs/cgroup{}/{v2}", path(groups.lines().find(|l| l.starts_with("0::")).unwrap()))
            }
        };
        (
            line.is_some(),
            fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned(),
        )
    };
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max").1, (64 << 20).to_string());
    let (v1, quota) = read("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota, if v1 { "50000" } else { "50000 100000" });
    let (v1, weight) = read("cpu", "cpu.shares", "cpu.weight");
    assert_eq!(weight, if v1 { "256" } else { "10" });
    once.pods.stop();
}

#[test]
fn a_last_word_is_shown_with_the_pod() {
    let once = Once::new();
    once.bundle(|_| ());
    let script =
        "id -u; head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log; echo END > /tmp/x; exit 3";
    once.pods.script(
        script,
        json!({"securityContext": {"runAsUser": 99}, "restartPolicy": "OnFailure", "volumes": [{"name": "t"}]}),
        json!({"terminationMessagePath": "/dev/termination-log", "volumeMounts": [{"name": "t", "mountPath": "/tmp"}]}),
    );
    once.pods.start();
    once.pods.wait_for("p/c", &|row| row["code"] == 3);
    let message = |pods: &Supervisor| {
        let out = pods.mote(["pod", "describe", "p"]).run();
        let line = out
            .ok()
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Message:"))
            .next_back()
            .map(str::trim);
        line.map(str::to_owned)
    };
    let word = message(&once.pods).unwrap();
    assert_eq!((word.len(), word.trim_matches('x')), (4096, ""));
    once.pods.stop();

    // The end of the log, but only after a failure and where nothing was left.
    for (code, left, want) in [(4, "", Some("to the log")), (0, "", None), (4, "own", Some("own"))] {
        let script = format!("echo to the log; printf '{left}' > /m; exit {code}");
        once.pods.script(
            &script,
            json!({}),
            json!({"terminationMessagePath": "/m", "terminationMessagePolicy": "FallbackToLogsOnError"}),
        );
        once.pods.start();
        once.pods.wait("p/c", "done");
        // The log is written by another process.
        once.pods.wait_log("p/c", "to the log");
        assert_eq!(message(&once.pods).as_deref(), want, "{code} {left}");
        once.pods.stop();
    }
}

#[test]
fn containers_of_a_pod_may_share_their_processes() {
    let once = Once::new();
    once.bundle(|_| ());
    // Orphans are reaped, and what the first process is cannot be seen into, even by root with CAP_SYS_PTRACE.
    let script = "(sleep 0.1 &); sleep 0.5; for p in /proc/[0-9]*; do echo $(cat $p/comm) $(sed -n 's/^State:.//p' $p/status); done; \
        ls -A /proc/1/root/ | wc -l; grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/1/status; \
        for kind in net mnt ipc uts cgroup; do readlink /proc/1/ns/$kind; done; kill -9 1; kill -TERM 1; readlink /proc/self/ns/pid";
    let command = |script: &str| json!(["sh", "-c", script]);
    let pod = json!({
        "shareProcessNamespace": true,
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "sleeper", "image": "shell", "command": command("exec sleep 1234")},
            {"name": "c", "image": "shell", "command": command(&format!("until grep -qs 1234 /proc/[0-9]*/cmdline; do sleep 0.1; done; {script}")),
                "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}
        ]
    });
    once.pods.pod("p", pod);
    once.pods.start();
    assert_eq!(once.pods.wait("p/c", "done")["code"], 0);
    let log = once.pods.mote(["logs", "p/c"]).run().ok().to_owned();
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.contains(&"mote-pod S (sleeping)") && lines.contains(&"sleep S (sleeping)"), "{log}");
    assert!(!log.contains("zombie"), "{log}");
    assert!(
        lines.contains(&"0")
            && lines.contains(&"NoNewPrivs:\t1")
            && lines.contains(&"CapEff:\t0000000000000000"),
        "{log}"
    );
    for kind in ["net", "mnt", "ipc", "uts", "cgroup"] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
        assert!(!log.contains(&own), "the first process is in the device's {kind} namespace: {log}");
        assert!(log.contains(&format!("{kind}:[")), "{log}");
    }
    // A container that is started again comes to the same namespace.
    let first = lines.iter().rfind(|line| line.starts_with("pid:[")).unwrap().to_string();
    let old = once.pods.wait("p/sleeper", "running");
    once.pods.mote(["pod", "restart", "p"]).run().ok();
    let again = once.pods.wait_for("p/sleeper", &|row| row["state"] == "running" && row["pid"] != old["pid"]);
    let holder = |pods: &Supervisor| {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).unwrap();
        let is = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "mote-pod\n")
        };
        children.split_whitespace().filter(is).count()
    };
    assert_eq!(holder(&once.pods), 1);
    let now = fs::read_link(format!("/proc/{}/ns/pid", again["pid"])).unwrap().to_string_lossy().into_owned();
    println!("{first} {now}");
    // With the last container it goes as well.
    once.pods.mote(["pod", "stop", "p"]).run().ok();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while holder(&once.pods) > 0 {
        assert!(std::time::Instant::now() < end, "the first process of the pod stays");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    once.pods.stop();
}
