//! Pins made, adopted, spoilt and removed.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;

use mote::pin;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::*;

#[test]
fn a_pin_outlives_its_maker_and_is_adopted() {
    privately(|dir| {
        let before = own();
        let made = ensure(dir, "web");
        assert_ne!(made, before);
        assert_eq!(ensure(dir, "web"), made, "adopted");
        assert_eq!(own(), before, "the caller stays where it was");
        assert_eq!(mounted(), 1);
        child(|| {
            setns(fs::File::open(dir.join("web")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(own(), made);
            // lo is up: a bind and a connect to it work.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        });
        pin::unpin(dir, "web").unwrap();
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn what_is_no_namespace_any_more_is_cleaned_up_and_made_anew() {
    privately(|dir| {
        let path = dir.join("web");
        let makers: [(&str, &dyn Fn()); 6] = [
            ("a file that lost its mount", &|| fs::write(&path, "").unwrap()),
            ("a directory", &|| fs::create_dir(&path).unwrap()),
            ("a symlink", &|| std::os::unix::fs::symlink("/proc/1/ns/net", &path).unwrap()),
            ("a fifo", &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
            ("a namespace of another kind", &|| {
                fs::write(&path, "").unwrap();
                bind("/proc/self/ns/uts", &path);
            }),
            ("a mount that covers it", &|| {
                ensure(dir, "web");
                bind("/dev/null", &path);
            }),
        ];
        for (what, make) in makers {
            make();
            assert_ne!(ensure(dir, "web"), own(), "{what}");
            assert_eq!(mounted(), 1, "{what}");
            pin::unpin(dir, "web").unwrap();
            nothing_is_left(dir);
        }
    });
}

#[test]
fn stacked_mounts_of_a_pin_all_go() {
    privately(|dir| {
        ensure(dir, "web");
        for _ in 0..3 {
            let path = dir.join("web");
            mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
        // Each bind on a shared mount shows on its peers too, so there are more than four.
        assert!(mounted() >= 4);
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn the_directory_is_bound_once_and_keeps_its_mounted() {
    privately(|dir| {
        let made = ensure(dir, "web");
        for _ in 0..5 {
            pin::prepare(dir).unwrap();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts.lines().filter(|line| line.contains(" /run/mote/netns ")).count(), 1);
        assert_eq!(ensure(dir, "web"), made);
    });
}

#[test]
fn a_mount_namespace_copied_before_sees_pins_come_and_go() {
    privately(|dir| {
        child(|| {
            let (to_parent, from_child) = nix::unistd::pipe().map(|(r, w)| (w, r)).unwrap();
            child(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                child(|| {
                    // A pin made in the copy is one in the original as well: the directory is shared.
                    ensure(dir, "web");
                });
                nix::unistd::write(&to_parent, b"x").unwrap();
            });
            let mut byte = [0];
            nix::unistd::read(&from_child, &mut byte).unwrap();
            assert_eq!(mounted(), 1);
            pin::unpin(dir, "web").unwrap();
            nothing_is_left(dir);
        });
    });
}

#[test]
fn a_thousand_rounds_leave_nothing() {
    privately(|dir| {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let made = ensure(dir, "web");
            seen.insert(made);
            child(|| {
                setns(File::open(dir.join("web")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                assert_eq!(own(), made);
            });
            pin::unpin(dir, "web").unwrap();
        }
        nothing_is_left(dir);
        assert!(!seen.contains(&own()));
    });
}

#[test]
fn makers_at_the_same_time_agree_on_one_namespace() {
    privately(|dir| {
        together(&mut (0..64).map(|_| -> Box<dyn FnOnce()> { Box::new(|| drop(make(dir, "web").unwrap())) }));
        assert_eq!(mounted(), 1);
        together(&mut (0..64).map(|_| -> Box<dyn FnOnce()> { Box::new(|| pin::unpin(dir, "web").unwrap()) }));
        nothing_is_left(dir);
    });
}

#[test]
fn sixty_four_pods_at_the_same_time_have_one_namespace_each() {
    privately(|dir| {
        let name = |i: usize| format!("pod-{i}");
        together(
            &mut (0..64)
                .map(|i| -> Box<dyn FnOnce()> { Box::new(move || drop(make(dir, &name(i)).unwrap())) }),
        );
        let all: std::collections::HashSet<_> =
            entries(dir).iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
        assert_eq!((mounted(), all.len()), (64, 64));
        together(
            &mut (0..64)
                .map(|i| -> Box<dyn FnOnce()> { Box::new(move || pin::unpin(dir, &name(i)).unwrap()) }),
        );
        nothing_is_left(dir);
    });
}

#[test]
fn eight_at_the_same_time_bind_the_directory_once() {
    privately(|_| {
        let dir = Path::new("/run/mote/other");
        together(&mut (0..8).map(|_| -> Box<dyn FnOnce()> { Box::new(|| pin::prepare(dir).unwrap()) }));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts.lines().filter(|line| line.contains(" /run/mote/other ")).count(), 1);
    });
}

#[test]
fn a_pin_shows_in_a_slave_mount_namespace() {
    privately(|dir| {
        let slave = Waiting::new(
            || {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let none = None::<&str>;
                mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).unwrap();
            },
            || {
                assert_eq!(mounted(), 1);
                let fd = File::open(dir.join("web")).unwrap();
                setns(&fd, CloneFlags::CLONE_NEWNET).unwrap();
            },
        );
        ensure(dir, "web");
        slave.go();
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn a_pin_that_is_removed_ends_its_namespace_though_a_private_copy_is_left() {
    privately(|dir| {
        // The device's own, so that nothing is made in the host's.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ensure(dir, "web");
        let net = format!("--net={}", dir.join("web").display());
        let own = std::process::id().to_string();
        run(&[
            "nsenter", &net, "ip", "link", "add", "inside", "type", "veth", "peer", "name", "outside",
            "netns", &own,
        ]);
        let copy = Waiting::new(
            || {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let none = None::<&str>;
                mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
                assert_eq!(mounted(), 1);
            },
            || {},
        );
        let there = || run(&["ip", "-o", "link"]).contains("outside");
        assert!(there());
        pin::unpin(dir, "web").unwrap();
        let late = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while there() {
            assert!(std::time::Instant::now() < late, "the peer is still there, and so is the namespace");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        copy.go();
        nothing_is_left(dir);
    });
}

#[test]
fn a_namespace_that_is_held_open_survives_the_loss_of_its_pin() {
    privately(|dir| {
        let made = ensure(dir, "web");
        let held = File::open(dir.join("web")).unwrap();
        let again = |held: &File| pin::ensure(&NET, dir, "web", Some(held.as_fd()), &mut || unreachable!());
        // Unmounted by somebody, or removed altogether.
        umount2(&dir.join("web"), MntFlags::MNT_DETACH).unwrap();
        assert_eq!(again(&held).unwrap().inode, made);
        pin::unpin(dir, "web").unwrap();
        let pin = again(&held).unwrap();
        assert_eq!((pin.inode, pin.new, mounted()), (made, false, 1));
        // What is held of another kind is not taken.
        pin::unpin(dir, "web").unwrap();
        let uts = File::open("/proc/self/ns/uts").unwrap();
        child(|| {
            let made = pin::ensure(&NET, dir, "web", Some(uts.as_fd()), &mut || Ok(())).unwrap();
            assert!(made.new);
        });
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn a_namespace_that_is_held_open_is_kept_over_an_execve_and_can_be_joined() {
    privately(|dir| {
        let made = ensure(dir, "web");
        child(|| {
            let held = pin::find(&NET, dir, "web").unwrap().unwrap();
            fcntl(&held.fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
            pin::unpin(dir, "web").unwrap();
            let number = held.fd.as_raw_fd();
            let is = |path: &str| format!("[ $(stat -Lc %i {path}) = {made} ]");
            let (there, inside) = (is(&format!("/proc/self/fd/{number}")), is("/proc/self/ns/net"));
            let script = format!("{there} && nsenter --net=/proc/self/fd/{number} sh -c '{inside}'");
            let error = Command::new("sh").args(["-c", &script]).exec();
            panic!("{error}");
        });
        nothing_is_left(dir);
    });
}

#[test]
fn a_pin_outlives_all_processes_of_its_pod() {
    privately(|dir| {
        let made = ensure(dir, "web");
        for _ in 0..2 {
            let inside = Waiting::new(
                || setns(File::open(dir.join("web")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap(),
                || {},
            );
            nix::sys::signal::kill(inside.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            nix::sys::wait::waitpid(inside.pid, None).unwrap();
            assert_eq!((ensure(dir, "web"), mounted()), (made, 1));
        }
        pin::unpin(dir, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn a_directory_behind_a_symlink_is_the_same() {
    privately(|dir| {
        fs::create_dir("/run/var").unwrap();
        std::os::unix::fs::symlink("/run", "/run/var/run").unwrap();
        let other = Path::new("/run/var/run/mote/netns");
        pin::prepare(other).unwrap();
        let made = ensure(other, "web");
        assert_eq!(ensure(dir, "web"), made);
        assert_eq!(mounted(), 1);
        pin::unpin(other, "web").unwrap();
        nothing_is_left(dir);
    });
}

#[test]
fn a_sweep_takes_what_no_pod_has() {
    privately(|dir| {
        let kept = ensure(dir, "web");
        ensure(dir, "gone");
        fs::write(dir.join("file"), "").unwrap();
        fs::write(dir.join("broken"), "").unwrap(); // of a pod that is there, but no namespace
        fs::create_dir(dir.join("directory")).unwrap();
        std::os::unix::fs::symlink("/", dir.join("link")).unwrap();
        let known = |name: &str| ["web", "broken"].contains(&name);
        assert_eq!(pin::sweep(&NET, dir, &known).unwrap(), 5);
        assert_eq!((mounted(), entries(dir)), (1, vec![dir.join("web")]));
        assert_eq!(ensure(dir, "web"), kept);
        assert_eq!(pin::sweep(&NET, Path::new("/run/mote/none"), &known).unwrap(), 0);
        assert_eq!(pin::sweep(&NET, dir, &|_| false).unwrap(), 1);
        nothing_is_left(dir);
    });
}

#[test]
fn other_kinds_are_pinned_the_same_way() {
    privately(|_| {
        for kind in [&pin::IPC, &pin::UTS] {
            let dir = &Path::new("/run/mote").join(kind.dir);
            pin::prepare(dir).unwrap();
            let number = |path: &str| fs::metadata(path).unwrap().ino();
            let before = number(kind.own);
            child(|| {
                let made = pin::ensure(kind, dir, "web", None, &mut || {
                    nix::unistd::sethostname("pod").unwrap();
                    Ok(())
                });
                assert_eq!(made.unwrap().inode, number(kind.own));
                assert_ne!(number(kind.own), before);
            });
            assert_eq!(mounted(), 1);
            child(|| {
                let found = pin::find(kind, dir, "web").unwrap().unwrap();
                setns(&found.fd, kind.flag).unwrap();
                if kind.flag == CloneFlags::CLONE_NEWUTS {
                    assert_eq!(nix::unistd::gethostname().unwrap(), "pod");
                }
            });
            assert!(pin::find(&NET, dir, "web").unwrap().is_none(), "not of this kind");
            pin::unpin(dir, "web").unwrap();
            nothing_is_left(dir);
        }
    });
}

#[test]
fn the_hosts_namespace_stays_what_it_was() {
    let before = run(&["ip", "-o", "link"]);
    let own_before = own();
    privately(|dir| {
        for _ in 0..10 {
            ensure(dir, "web");
            pin::unpin(dir, "web").unwrap();
        }
        assert_eq!(own(), own_before);
    });
    assert_eq!((own(), run(&["ip", "-o", "link"])), (own_before, before));
}

#[test]
fn names_that_are_no_plain_component_are_refused() {
    privately(|dir| {
        for bad in ["", ".", "..", "a/b", "/", ".hidden", "a\0b"] {
            assert!(make(dir, bad).is_err() && pin::unpin(dir, bad).is_err(), "{bad:?}");
        }
        assert!(entries(dir).is_empty());
    });
}
