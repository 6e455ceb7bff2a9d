//! Others that use a pin: `ip netns`, nsenter, runc, crun, Podman, and mote itself.

use std::fs;
use std::path::Path;

use mote::pin;

use super::*;

/// What a process sees of its own network namespace.
const LOOK: [&str; 2] = ["/proc/self/ns/net", "readlink"];

fn there(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap().status.success();
    if !found {
        common::skipped(&format!("there is no {program}"));
    }
    found
}

fn link(inode: u64) -> String {
    format!("net:[{inode}]")
}

#[test]
fn ip_netns_and_nsenter_can_use_a_pin() {
    if !there("ip") || !there("nsenter") {
        return;
    }
    privately(|dir| {
        let made = ensure(dir, "web");
        // ip netns knows one place only; the directory is bound there, as an administrator would.
        fs::create_dir_all("/run/netns").unwrap();
        mount(Some(dir), "/run/netns", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .unwrap();
        assert!(run(&["ip", "netns", "list"]).starts_with("web"));
        assert_eq!(run(&["ip", "netns", "exec", "web", LOOK[1], LOOK[0]]), link(made));
        let net = format!("--net={}", dir.join("web").display());
        assert_eq!(run(&["nsenter", &net, LOOK[1], LOOK[0]]), link(made));
        pin::unpin(dir, "web").unwrap();
        assert_eq!(mounted(), 0);
    });
}

#[test]
fn pins_and_ip_netns_share_a_directory_whoever_came_first() {
    if !there("ip") {
        return;
    }
    for ip_first in [true, false] {
        privately(|_| {
            let dir = Path::new("/run/netns");
            let add = || drop(run(&["ip", "netns", "add", "theirs"]));
            if ip_first {
                add();
                pin::prepare(dir).unwrap();
                ensure(dir, "ours");
            } else {
                pin::prepare(dir).unwrap();
                ensure(dir, "ours");
                add();
            }
            let list = run(&["ip", "netns", "list"]);
            assert!(list.contains("ours") && list.contains("theirs"), "{list}");
            let number = |name: &str| fs::metadata(dir.join(name)).unwrap().ino();
            for name in ["ours", "theirs"] {
                assert_eq!(run(&["ip", "netns", "exec", name, LOOK[1], LOOK[0]]), link(number(name)));
                // Adopted, whoever made it.
                assert_eq!(ensure(dir, name), number(name));
            }
            // Each removes the other's.
            run(&["ip", "netns", "del", "ours"]);
            pin::unpin(dir, "theirs").unwrap();
            nothing_is_left(dir);
        });
    }
}

/// A bundle in `at` whose program prints its network namespace, which is the one at `pin`.
fn bundle(at: &Path, pin: &Path) {
    let rootfs = at.join("rootfs");
    for dir in ["bin", "proc", "dev", "sys", "etc", "run", "tmp"] {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(LOOK[1])).unwrap();
    let mut config = common::spec(&["/bin/readlink", LOOK[0]]);
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "network" {
            namespace["path"] = pin.to_str().unwrap().into();
        }
    }
    fs::write(at.join("config.json"), config.to_string()).unwrap();
}

/// crun 1.8, and Podman with it, refuse a hybrid host.
fn pure_cgroups(program: &str) {
    if program == "crun" || program == "podman" {
        let _ = nix::mount::umount2("/sys/fs/cgroup/unified", nix::mount::MntFlags::MNT_DETACH); // it may not be one
    }
}

/// Has the runtime `program` run a bundle in a pinned namespace, twice.
fn a_runtime_joins(program: &str) {
    privately(|dir| {
        pure_cgroups(program);
        let made = ensure(dir, "web");
        let at = Path::new("/run/bundle");
        bundle(at, &dir.join("web"));
        for id in ["mote-netns-test-1", "mote-netns-test-2"] {
            let id = format!("{id}-{}", std::process::id());
            let seen = run(&[program, "--root", "/run/state", "run", "--bundle", "/run/bundle", &id]);
            assert_eq!(seen, link(made));
        }
        assert_ne!(made, own());
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn two_containers_of_mote_are_in_one_pinned_namespace() {
    a_runtime_joins(common::binary().to_str().unwrap());
}

#[test]
fn runc_joins_a_pin() {
    if there("runc") {
        a_runtime_joins("runc");
    }
}

#[test]
fn crun_joins_a_pin() {
    if there("crun") {
        a_runtime_joins("crun");
    }
}

#[test]
fn podman_joins_a_pin() {
    if !there("podman") || !there("crun") || !there("conmon") {
        return;
    }
    privately(|dir| {
        pure_cgroups("podman");
        let made = ensure(dir, "web");
        let at = Path::new("/run/bundle");
        bundle(at, &dir.join("web"));
        let network = format!("ns:{}", dir.join("web").display());
        let seen = run(&[
            "podman",
            "--root",
            "/run/podman/root",
            "--runroot",
            "/run/podman/run",
            "--storage-driver",
            "vfs",
            "--tmpdir",
            "/run/podman/tmp",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
            "--runtime",
            "crun",
            "run",
            "--rm",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
            "--network",
            &network,
            "--rootfs",
            "/run/bundle/rootfs",
            "/bin/readlink",
            LOOK[0],
        ]);
        assert_eq!(seen, link(made));
        pin::unpin(dir, "web").unwrap();
    });
}
