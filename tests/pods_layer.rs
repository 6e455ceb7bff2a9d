//! The writable layer of a container whose bundle is on a read-only file system: seen from inside, and gone with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

/// A bundle `shell` on a mount of its own that is read-only. Unmounted at the end.
struct ReadOnly {
    bundle: PathBuf,
    pods: Supervisor,
}

impl ReadOnly {
    fn new(root_readonly: bool) -> ReadOnly {
        let pods = Supervisor::new();
        let mut config = spec(&["sh", "-c", "true"]);
        config["root"]["readonly"] = json!(root_readonly);
        let bundle = pods.bundle("shell", &config);
        let rootfs = bundle.join("rootfs");
        fs::write(rootfs.join("kept"), "below\n").unwrap();
        fs::write(rootfs.join("doomed"), "below\n").unwrap();
        chown(&rootfs, None, Some(6)).unwrap();
        fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o751)).unwrap();
        let none = None::<&str>;
        mount(Some(&bundle), &bundle, none, MsFlags::MS_BIND, none).unwrap();
        let this = ReadOnly { bundle, pods };
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
        mount(none, &this.bundle, none, flags, none).unwrap();
        this
    }

    /// The mounts of this process and all below the test's directory, a line each.
    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.pods.test.dir.to_str().unwrap().to_owned();
        let others = ["/volumes/", "/netns"]; // what the pod has by right
        let own = |line: &&str| line.contains(&dir) && !others.iter().any(|other| line.contains(other));
        table.lines().filter(own).map(str::to_owned).collect()
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = umount2(&self.bundle, MntFlags::MNT_DETACH);
    }
}

#[test]
fn what_a_container_writes_stays_in_memory_and_the_bundle_as_it_was() {
    umask(Mode::from_bits_truncate(0o077));
    let it = ReadOnly::new(false);
    let before = it.mounts();
    let script = "set -e; stat -c 'root %a %u:%g' /; grep ' / / ' /proc/self/mountinfo; cat /kept; \
        echo above >/kept; rm /doomed; mkdir -p /new/deep; echo x >/new/deep/file; cat /kept; ls -a /; echo ready; sleep 1000";
    it.pods.script(script, json!({}), json!({}));
    it.pods.start();
    let log = it.pods.wait_log("p/c", "ready");
    assert_eq!(it.mounts(), before, "nothing of it shows outside");
    it.pods.stop();
    assert_eq!(it.mounts(), before);
    assert!(log.contains("root 751 0:6\n"), "{log}");
    let root = log.lines().find(|line| line.contains(" / / ")).unwrap();
    assert!(root.contains(" - overlay overlay rw,"), "{root}");
    assert!(root.contains(" / rw,nosuid"), "what the mount below forbids: {root}");
    assert!(log.contains("F below\n") && log.contains("F above\n"), "{log}");
    assert!(!log.contains("F doomed\n") && log.contains("F new\n"), "{log}");
    for of_the_layer in ["lower", "upper", "work"] {
        assert!(!log.contains(&format!("F {of_the_layer}\n")), "{log}");
    }
    let rootfs = it.bundle.join("rootfs");
    assert_eq!(fs::read_to_string(rootfs.join("kept")).unwrap(), "below\n");
    assert!(rootfs.join("doomed").exists() && !rootfs.join("new").exists());
}

#[test]
fn each_run_has_a_fresh_layer() {
    let it = ReadOnly::new(false);
    it.pods.script(
        "test ! -e /mark || exit 0; touch /mark; echo fresh; exit 1",
        json!({"restartPolicy": "OnFailure"}),
        json!({}),
    );
    it.pods.start();
    let row = it.pods.wait_for("p/c", &|row| row["restarts"].as_u64().is_some_and(|restarts| restarts >= 2));
    it.pods.stop();
    let log = it.pods.log("p/c");
    assert!(log.matches("F fresh\n").count() >= 2, "{row} {log}");
}

#[test]
fn what_is_to_be_read_only_gets_no_layer() {
    for (root_readonly, container) in
        [(true, json!({})), (false, json!({"securityContext": {"readOnlyRootFilesystem": true}}))]
    {
        let it = ReadOnly::new(root_readonly);
        let script = "grep -c ' - overlay ' /proc/self/mountinfo; touch /x 2>&1; echo done";
        it.pods.script(script, json!({}), container);
        it.pods.start();
        it.pods.wait("p/c", "done");
        it.pods.stop();
        let log = it.pods.log("p/c");
        assert!(log.contains("F 0\n") && log.contains("Read-only file system"), "{root_readonly}: {log}");
    }
}

/// The new root's mounts must not show outside where the container shares mounts with the host.
#[test]
fn a_layer_stays_inside_where_mounts_are_shared_with_the_host() {
    let it = ReadOnly::new(false);
    let dir = it.pods.test.dir.join("shared");
    fs::create_dir(&dir).unwrap();
    let none = None::<&str>;
    mount(Some(&dir), &dir, none, MsFlags::MS_BIND, none).unwrap();
    for path in [&dir, &it.bundle] {
        mount(none, path, none, MsFlags::MS_SHARED, none).unwrap();
    }
    let before = it.mounts();
    it.pods.script(
        "echo x >/new && mkdir /both/m && mount -t tmpfs tmpfs /both/m && touch /both/m/seen && \
         grep -c ' - overlay ' /proc/self/mountinfo; echo ready; sleep 1000",
        json!({"volumes": [{"name": "v", "hostPath": {"path": dir}}]}),
        json!({
            "volumeMounts": [{"name": "v", "mountPath": "/both", "mountPropagation": "Bidirectional"}],
            "securityContext": {"privileged": true}
        }),
    );
    it.pods.start();
    let log = it.pods.wait_log("p/c", "ready");
    let seen = dir.join("m/seen").exists();
    let _ = umount2(&dir.join("m"), MntFlags::MNT_DETACH);
    let during = it.mounts();
    it.pods.stop();
    let _ = umount2(&dir, MntFlags::MNT_DETACH);
    assert!(seen && log.contains("F 1\n"), "{log}");
    assert_eq!(during, before, "{log}");
    assert!(!it.bundle.join("rootfs/new").exists());
}

/// The command line does as runc and crun do.
#[test]
fn a_container_of_the_command_line_gets_none() {
    let test = common::Test::new();
    let bundle = test
        .bundle("b", &spec(&["sh", "-c", "touch /x 2>&1; grep -c ' - overlay ' /proc/self/mountinfo; true"]));
    let none = None::<&str>;
    mount(Some(&bundle), &bundle, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &bundle, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, none).unwrap();
    let out = test.run_bundle(&bundle).run();
    let _ = umount2(&bundle, MntFlags::MNT_DETACH);
    assert!(out.ok().contains("Read-only file system") && out.ok().contains("0\n"), "{out}");
}
