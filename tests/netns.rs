//! Pins of network namespaces, each test in a private mount namespace of a child process: as root, on the host's kernel.

// A test may panic, that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mote::netns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// Runs `test` in a child that sees a tmpfs of its own at `/run`, and fails as the child does.
#[track_caller]
fn privately(test: impl FnOnce(&Path)) {
    assert!(nix::unistd::geteuid().is_root(), "the netns tests must run as root");
    child(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        let dir = Path::new("/run/mote/netns");
        netns::prepare(dir).unwrap();
        test(dir);
    });
}

/// Runs `work` in a child, which the harness's threads are not in.
#[track_caller]
#[allow(unsafe_code)]
fn child(work: impl FnOnce()) {
    // SAFETY: the child runs this closure and leaves by _exit; what it uses of std takes no lock that another thread of the
    // harness can have held, but the allocator's and stderr's, which musl and glibc reset in fork(3).
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
        ForkResult::Child => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            mote::sys::process::exit_now(i32::from(result.is_err()));
        }
    }
}

/// `ensure` in a child, as a starter does it; the child's end changes nothing for the caller.
#[track_caller]
fn ensure(dir: &Path, name: &str) -> u64 {
    child(|| drop(netns::ensure(dir, name).unwrap()));
    fs::metadata(dir.join(name)).unwrap().ino()
}

/// Lines of mountinfo about namespace files.
fn pins() -> usize {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter(|line| line.contains(" - nsfs "))
        .count()
}

fn own() -> u64 {
    fs::metadata("/proc/self/ns/net").unwrap().ino()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_pin_outlives_its_maker_and_is_adopted() {
    privately(|dir| {
        let before = own();
        let made = ensure(dir, "web");
        assert_ne!(made, before);
        assert_eq!(ensure(dir, "web"), made, "adopted");
        assert_eq!(own(), before, "the caller stays where it was");
        assert_eq!(pins(), 1);
        child(|| {
            setns(fs::File::open(dir.join("web")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(own(), made);
            // lo is up: a bind and a connect to it work.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        });
        netns::unpin(dir, "web").unwrap();
        netns::unpin(dir, "web").unwrap();
        assert_eq!((pins(), entries(dir)), (0, vec![]));
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
            assert_eq!(pins(), 1, "{what}");
            netns::unpin(dir, "web").unwrap();
            assert_eq!((pins(), entries(dir)), (0, vec![]), "{what}");
        }
    });
}

fn bind(from: &str, on: &Path) {
    mount(Some(from), on, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
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
        assert!(pins() >= 4);
        netns::unpin(dir, "web").unwrap();
        assert_eq!((pins(), entries(dir)), (0, vec![]));
    });
}

#[test]
fn the_directory_is_bound_once_and_keeps_its_pins() {
    privately(|dir| {
        let made = ensure(dir, "web");
        for _ in 0..5 {
            netns::prepare(dir).unwrap();
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
            assert_eq!(pins(), 1);
            netns::unpin(dir, "web").unwrap();
            assert_eq!((pins(), entries(dir)), (0, vec![]));
        });
    });
}

#[test]
fn a_thousand_rounds_leave_nothing() {
    privately(|dir| {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            seen.insert(ensure(dir, "web"));
            netns::unpin(dir, "web").unwrap();
        }
        assert_eq!((pins(), entries(dir)), (0, vec![]));
        assert!(!seen.contains(&own()));
    });
}

#[test]
fn makers_at_the_same_time_agree_on_one_namespace() {
    privately(|dir| {
        let children: Vec<_> = (0..32)
            .map(|_| {
                #[allow(unsafe_code)]
                // SAFETY: this child of the harness has one thread.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Parent { child } => child,
                    ForkResult::Child => {
                        mote::sys::process::exit_now(i32::from(netns::ensure(dir, "web").is_err()));
                    }
                }
            })
            .collect();
        for child in children {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
        assert_eq!(pins(), 1);
    });
}

#[test]
fn names_that_are_no_plain_component_are_refused() {
    privately(|dir| {
        for bad in ["", ".", "..", "a/b", "/", ".hidden", "a\0b"] {
            assert!(netns::ensure(dir, bad).is_err() && netns::unpin(dir, bad).is_err(), "{bad:?}");
        }
        assert!(entries(dir).is_empty());
    });
}

#[test]
fn ip_netns_and_nsenter_can_use_a_pin() {
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped ip_netns_and_nsenter_can_use_a_pin: there is no ip(8)");
        return;
    }
    privately(|dir| {
        let made = ensure(dir, "web");
        // ip netns knows one place only; the directory is bound there, as an administrator would.
        fs::create_dir_all("/run/netns").unwrap();
        mount(Some(dir), "/run/netns", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .unwrap();
        let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
        assert!(String::from_utf8_lossy(&list.stdout).starts_with("web"), "{list:?}");
        let net = format!("--net={}", dir.join("web").display());
        let inside = Command::new("nsenter").args([&net, "readlink", "/proc/self/ns/net"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), format!("net:[{made}]"));
        netns::unpin(dir, "web").unwrap();
        assert_eq!(pins(), 0);
    });
}
