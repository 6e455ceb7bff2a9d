//! Pins of namespaces, each test in a private mount namespace of a child process: as root, on the host's kernel. The tests
//! are those of shared/netns.md, section 4.

// A test may panic, that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod joined;
mod killed;
mod pins;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mote::error::{During as _, Result};
use mote::pin::{self, NET, Pin};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// Runs `test` in a child that sees a tmpfs of its own at `/run`, and fails as the child does.
#[track_caller]
fn privately(test: impl FnOnce(&Path)) {
    assert!(nix::unistd::geteuid().is_root(), "these tests must run as root");
    child(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        let dir = Path::new("/run/mote/netns");
        pin::prepare(dir).unwrap();
        test(dir);
    });
}

/// Ends this child by what becomes of `work`. The harness captures what its own threads print, so what failed is written past it.
fn end(work: impl FnOnce()) -> ! {
    use std::io::Write as _;
    std::panic::set_hook(Box::new(|info| drop(writeln!(std::io::stderr(), "{info}"))));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    mote::sys::process::exit_now(i32::from(result.is_err()));
}

/// Runs `work` in a child, which the harness's threads are not in.
#[track_caller]
#[allow(unsafe_code)]
fn child(work: impl FnOnce()) {
    // SAFETY: the child runs this closure and leaves by _exit; what it uses of std takes no lock that another thread of the
    // harness can have held, but the allocator's and stderr's, which musl and glibc reset in fork(3).
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
        ForkResult::Child => end(work),
    }
}

/// Makes or adopts the pin `name`. The caller is left in a namespace that is new.
fn make(dir: &Path, name: &str) -> Result<Pin> {
    pin::ensure(&NET, dir, name, None, &mut || mote::sys::net::loopback_up().during("set up", "lo"))
}

/// `ensure` in a child, as a starter does it; the child's end changes nothing for the caller.
#[track_caller]
fn ensure(dir: &Path, name: &str) -> u64 {
    child(|| drop(make(dir, name).unwrap()));
    fs::metadata(dir.join(name)).unwrap().ino()
}

/// Runs all of `works` at the same time, each in a child.
#[track_caller]
#[allow(unsafe_code)]
fn together(works: &mut dyn Iterator<Item = Box<dyn FnOnce() + '_>>) {
    let start = |work: Box<dyn FnOnce() + '_>| {
        // SAFETY: this child of the harness has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => end(work),
        }
    };
    let children: Vec<_> = works.map(start).collect();
    for child in children {
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}

/// A child that has done `first` and does `then` when [`Waiting::go`] is called.
struct Waiting {
    pid: nix::unistd::Pid,
    go: std::os::fd::OwnedFd,
}

impl Waiting {
    #[allow(unsafe_code)]
    fn new(first: impl FnOnce(), then: impl FnOnce()) -> Self {
        let (ready, says) = nix::unistd::pipe().unwrap();
        let (told, go) = nix::unistd::pipe().unwrap();
        // SAFETY: this child of the harness has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                drop(says);
                assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
                Self { pid: child, go }
            }
            ForkResult::Child => end(|| {
                first();
                nix::unistd::write(&says, b"x").unwrap();
                nix::unistd::read(&told, &mut [0]).unwrap();
                then();
            }),
        }
    }

    #[track_caller]
    fn go(self) {
        nix::unistd::write(&self.go, b"x").unwrap();
        assert_eq!(waitpid(self.pid, None), Ok(WaitStatus::Exited(self.pid, 0)));
    }
}

/// Lines of mountinfo about namespace files.
fn mounted() -> usize {
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

fn bind(from: &str, on: &Path) {
    mount(Some(from), on, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Asserts that nothing is left of any pin.
#[track_caller]
fn nothing_is_left(dir: &Path) {
    assert_eq!((mounted(), entries(dir)), (0, vec![]));
}

/// Runs a command and gives what it prints.
#[track_caller]
fn run(command: &[&str]) -> String {
    let out = Command::new(command[0]).args(&command[1..]).output().expect(command[0]);
    assert!(out.status.success(), "{command:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}
