//! What an image or another container does to the paths that are mounted on: symlinks that are swapped while a container is
//! made, and places that are not what they seem. shared/attacks.md; each test watches files of the host.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, count_from_env, spec};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Rounds of a race: hundreds, or as MOTE_SOAK wants it.
fn rounds(default: usize) -> usize {
    if std::env::var_os("MOTE_SOAK").is_some() { count_from_env("MOTE_SOAK_ROUNDS", 2000) } else { default }
}

/// Exchanges two names again and again until it is dropped: whoever looks twice sees two things.
struct Swapper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn new(a: &Path, b: &Path) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (a, b, stopped, counted) = (a.to_owned(), b.to_owned(), stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                // The other side of the race has to come to its turn on two processors.
                std::thread::yield_now();
            }
        });
        Self { stop, count, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        assert!(self.count.load(Ordering::Relaxed) > 0, "nothing was ever swapped");
    }
}

/// A directory of the host with a file in it, which nobody may change, cover or add to.
struct Host {
    directory: PathBuf,
}

impl Host {
    fn new(t: &Test) -> Self {
        let directory = t.dir.join("host");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), "the host's\n").unwrap();
        Self { directory }
    }

    #[track_caller]
    fn is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, ["file"], "made on the host");
        assert_eq!(fs::read_to_string(self.directory.join("file")).unwrap(), "the host's\n");
    }
}

fn writable(args: &[&str]) -> Value {
    let mut config = spec(args);
    config["root"]["readonly"] = json!(false);
    config
}

/// Runs the bundle so often; a run may fail, it may not do what is asked for in another place. What the program prints has
/// to be one of `allowed`.
fn race(t: &Test, bundle: &Path, host: &Host, count: usize, allowed: &[&str]) {
    let mut well = 0;
    for _ in 0..count {
        let id = t.id();
        let out = t.mote(["run", "--bundle"]).arg(bundle).arg(&id).run();
        if out.status.success() {
            assert!(allowed.contains(&&*out.stdout), "{out}");
            well += 1;
        }
        host.is_untouched();
    }
    assert!(well > 0, "none of {count} has run: the race was never won by the container");
}

#[test]
fn a_target_that_is_swapped_for_a_symlink_leads_nowhere_else() {
    // CVE-2021-30465: the target was checked, exchanged, and then mounted on.
    mote_only!("runc 1.1.5 is too slow for so many rounds");
    let t = Test::new();
    let host = Host::new(&t);
    let volume = t.dir.join("volume");
    fs::create_dir_all(volume.join("target")).unwrap();
    // From inside, the way out of the volume to where the test keeps the host's directory.
    let up = "../".repeat(20);
    symlink(format!("{up}{}", host.directory.strip_prefix("/").unwrap().display()), volume.join("link"))
        .unwrap();
    let source = t.dir.join("source");
    fs::create_dir(&source).unwrap();
    let mut config = writable(&["sh", "-c", "echo x >/tmp/x && echo ran"]);
    add_mount(&mut config, "/mnt", "bind", volume.to_str().unwrap(), &["rbind"]);
    add_mount(&mut config, "/mnt/target", "tmpfs", "tmpfs", &[]);
    add_mount(&mut config, "/mnt/target/below", "bind", source.to_str().unwrap(), &["rbind"]);
    let bundle = t.bundle("b", &config);
    let _swapper = Swapper::new(&volume.join("target"), &volume.join("link"));
    race(&t, &bundle, &host, rounds(150), &["ran\n"]);
    t.assert_nothing_left();
}

#[test]
fn parents_that_are_swapped_while_they_are_made_stay_inside() {
    // CVE-2024-45310: directories and empty files were made where a swapped parent led.
    mote_only!("runc 1.1.5 is too slow for so many rounds");
    let t = Test::new();
    let host = Host::new(&t);
    let volume = t.dir.join("volume");
    fs::create_dir_all(volume.join("parent")).unwrap();
    symlink(&host.directory, volume.join("link")).unwrap();
    let file = t.dir.join("a-file");
    fs::write(&file, "").unwrap();
    let mut config = writable(&["echo", "ran"]);
    add_mount(&mut config, "/mnt", "bind", volume.to_str().unwrap(), &["rbind"]);
    add_mount(&mut config, "/mnt/parent/new/deep", "tmpfs", "tmpfs", &[]);
    add_mount(&mut config, "/mnt/parent/made/file", "bind", file.to_str().unwrap(), &["bind"]);
    let bundle = t.bundle("b", &config);
    let swapper = Swapper::new(&volume.join("parent"), &volume.join("link"));
    for _ in 0..rounds(150) {
        let id = t.id();
        let out = t.mote(["run", "--bundle"]).arg(&bundle).arg(&id).run();
        assert!(!out.status.success() || out.stdout == "ran\n", "{out}");
        host.is_untouched();
        // To be made anew, wherever they have been swapped to.
        for name in ["parent", "link"] {
            if fs::symlink_metadata(volume.join(name)).is_ok_and(|m| m.is_dir()) {
                for made in ["new", "made"] {
                    let _ = fs::remove_dir_all(volume.join(name).join(made));
                }
            }
        }
    }
    drop(swapper);
    host.is_untouched();
    t.assert_nothing_left();
}

#[test]
fn a_null_device_that_is_swapped_while_it_is_made_masks_nothing_with_something_else() {
    // CVE-2025-31133: what the container had as /dev/null was bound over the masked path.
    mote_only!("runc 1.1.5 has the hole");
    let t = Test::new();
    let host = Host::new(&t);
    let volume = t.dir.join("volume");
    fs::create_dir(&volume).unwrap();
    symlink("/proc/sys/kernel/core_pattern", volume.join("null")).unwrap();
    symlink("/proc/sysrq-trigger", volume.join("other")).unwrap();
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let mut config = writable(&["true"]);
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    add_mount(&mut config, "/dev", "bind", volume.to_str().unwrap(), &["rbind"]);
    config["linux"]["maskedPaths"] = json!(["/etc/masked", "/proc/keys"]);
    config["process"]["args"] =
        json!(["sh", "-c", "cat /etc/masked /proc/keys; stat -c %t:%T /etc/masked /proc/keys"]);
    let bundle = t.bundle("b", &config);
    fs::write(bundle.join("rootfs/etc/masked"), "secret\n").unwrap();
    let _swapper = Swapper::new(&volume.join("null"), &volume.join("other"));
    race(&t, &bundle, &host, rounds(100), &["1:3\n1:3\n"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn a_volume_over_a_part_of_proc_does_not_take_the_runtimes_writes() {
    // CVE-2019-16884, CVE-2019-19921, CVE-2025-52881: what is written through /proc went to files of the container.
    mote_only!("runc 1.1.5 refuses such mounts altogether");
    let t = Test::new();
    let trap = t.dir.join("trap");
    fs::create_dir_all(trap.join("kernel")).unwrap();
    for name in ["oom_score_adj", "kernel/shmmni", "attr", "setgroups"] {
        fs::write(trap.join(name), "trap\n").unwrap();
    }
    let mut config = writable(&["sh", "-c", "echo ran"]);
    config["process"]["oomScoreAdj"] = json!(100);
    config["linux"]["sysctl"] = json!({"kernel.shmmni": "77"});
    add_mount(&mut config, "/proc/sys", "bind", trap.to_str().unwrap(), &["rbind"]);
    add_mount(&mut config, "/proc/1", "bind", trap.to_str().unwrap(), &["rbind"]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["linux"]["maskedPaths"] = json!([]);
    let out = t.run(&config);
    // Whether such a config runs is for the kernel to say; what counts is where the runtime has written.
    assert!(!out.status.success() || out.stdout == "ran\n", "{out}");
    for name in ["oom_score_adj", "kernel/shmmni", "attr", "setgroups"] {
        assert_eq!(fs::read_to_string(trap.join(name)).unwrap(), "trap\n", "{name}");
    }
    // The writes themselves reach the kernel.
    let mut config = writable(&["sh", "-c", "cat /proc/sys/kernel/shmmni; cat /proc/self/oom_score_adj"]);
    config["process"]["oomScoreAdj"] = json!(100);
    config["linux"]["sysctl"] = json!({"kernel.shmmni": "77"});
    assert_eq!(t.run(&config).ok(), "77\n100\n");
    t.assert_nothing_left();
}

#[test]
fn proc_that_leads_elsewhere_is_not_mounted_on() {
    // CVE-2023-27561, CVE-2023-28642.
    let t = Test::new();
    let host = Host::new(&t);
    for target in [host.directory.to_str().unwrap(), "tmp", "/tmp", "../../../../tmp", "self/nowhere"] {
        for place in ["proc", "sys"] {
            let id = t.id();
            let bundle = t.bundle(&id, &spec(&["true"]));
            let at = bundle.join("rootfs").join(place);
            fs::remove_dir(&at).unwrap();
            symlink(target, &at).unwrap();
            t.mote(["run", "--bundle"])
                .arg(&bundle)
                .arg(&id)
                .run()
                .fails_and_mote_says(&[&format!("/{place}")]);
            assert!(fs::read_dir(bundle.join("rootfs/tmp")).unwrap().next().is_none());
        }
    }
    host.is_untouched();
    t.assert_nothing_left();
}

#[test]
fn dev_and_what_is_below_it_as_symlinks_stay_inside() {
    // CVE-2026-41579, CVE-2026-47766: the host's ptmx was deleted, and links were made on the host.
    mote_only!("runc 1.1.5 has the hole");
    let t = Test::new();
    let host = Host::new(&t);
    let up = format!("{}{}", "../".repeat(20), host.directory.strip_prefix("/").unwrap().display());
    for create in [false, true] {
        for place in ["dev", "dev/pts", "dev/shm", "dev/mqueue", "dev/ptmx", "dev/fd"] {
            for target in [host.directory.to_str().unwrap(), &up, "/tmp/other", "nowhere"] {
                let mut config = writable(&["true"]);
                // The image's /dev, so that what is in it counts.
                config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
                let id = t.id();
                let bundle = t.bundle(&id, &config);
                let at = bundle.join("rootfs").join(place);
                if place == "dev" {
                    fs::remove_dir(&at).unwrap();
                }
                symlink(target, &at).unwrap();
                let command = if create { "create" } else { "run" };
                // Some can be done inside the container, some not; none may be done outside of it.
                let out = t.mote([command, "--bundle"]).arg(&bundle).arg(&id).run();
                assert!(out.status.success() || out.stderr.starts_with("mote: "), "{out}");
                if create && out.status.success() {
                    t.mote(["delete", "--force", &id]).run().ok();
                }
                host.is_untouched();
            }
        }
    }
    assert!(Path::new("/dev/ptmx").exists() && Path::new("/dev/null").exists());
    t.assert_nothing_left();
}

#[test]
fn a_console_that_leads_elsewhere_is_bound_inside() {
    // CVE-2025-52565: /dev/console was bound where a symlink led.
    mote_only!("runc 1.1.5 has the hole");
    let t = Test::new();
    let host = Host::new(&t);
    let mut config = writable(&["sh", "-c", "tty; readlink /dev/console"]);
    config["process"]["terminal"] = json!(true);
    config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for target in
        [host.directory.join("file").to_str().unwrap(), "/proc/sys/kernel/core_pattern", "/etc/passwd"]
    {
        let id = t.id();
        let bundle = t.bundle(&id, &config);
        fs::create_dir(bundle.join("rootfs/dev/pts")).unwrap();
        symlink(target, bundle.join("rootfs/dev/console")).unwrap();
        let line = format!(
            "{} --root {} run -b {} {id}",
            common::binary().display(),
            t.root.display(),
            bundle.display()
        );
        // It may be refused, or bound where the link leads in the container.
        t.command("script").args(["-qec", &line, "/dev/null"]).run();
        host.is_untouched();
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    }
    t.assert_nothing_left();
}

#[test]
fn all_of_this_leads_nowhere_without_openat2_either() {
    mote_only!("the fallback is mote's");
    common::again_without("openat2");
    common::again_without("openat2,mount_setattr,clone3,close_range");
}
