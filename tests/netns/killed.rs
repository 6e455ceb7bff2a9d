//! Killed between two system calls, at each of them: ptrace(2) counts them, so nothing has to be built into the code.

use std::path::Path;

use mote::pin;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::*;

/// Runs `work` in a child and kills that at its system call stop number `stop` (each call has one before and one after).
/// Returns whether it came so far.
#[allow(unsafe_code)]
fn killed_at(stop: usize, work: &dyn Fn()) -> bool {
    let ptrace = |request: libc::c_uint, pid: Pid, data: usize| {
        // SAFETY: these requests read no memory of ours; the child is stopped.
        let result = unsafe { libc::ptrace(request as _, pid.as_raw(), 0, data) };
        assert_ne!(result, -1, "ptrace {request}: {}", std::io::Error::last_os_error());
    };
    // SAFETY: this child of the harness has one thread.
    let pid = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            ptrace(libc::PTRACE_TRACEME as _, Pid::from_raw(0), 0);
            nix::sys::signal::raise(Signal::SIGSTOP).unwrap();
            work();
            mote::sys::process::exit_now(0);
        }
    };
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
    ptrace(libc::PTRACE_SETOPTIONS as _, pid, (libc::PTRACE_O_EXITKILL) as usize);
    for _ in 0..stop {
        ptrace(libc::PTRACE_SYSCALL as _, pid, 0);
        match waitpid(pid, None).unwrap() {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Exited(_, 0) => return false,
            other => panic!("{other:?}"),
        }
    }
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)));
    true
}

/// Kills `work` at each stop in turn and has `after` look each time. Returns at how many.
fn at_each_stop(work: &dyn Fn(), after: &dyn Fn(usize)) -> usize {
    let mut stop = 1;
    while killed_at(stop, work) {
        after(stop);
        stop += 1;
    }
    stop - 1
}

#[test]
fn who_is_killed_making_a_pin_leaves_nothing_that_the_next_one_minds() {
    privately(|dir| {
        let work = || drop(make(dir, "web").unwrap());
        let stops = at_each_stop(&work, &|stop| {
            let made = ensure(dir, "web");
            assert_eq!((mounted(), entries(dir).len()), (1, 1), "stop {stop}");
            child(|| {
                let pin = pin::find(&NET, dir, "web").unwrap().unwrap();
                nix::sched::setns(&pin.fd, CloneFlags::CLONE_NEWNET).unwrap();
                assert_eq!(own(), made);
                std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // lo is up
                assert!(run(&["ip", "-o", "link", "show", "lo"]).contains("LOOPBACK,UP"), "stop {stop}");
            });
            pin::unpin(dir, "web").unwrap();
            nothing_is_left(dir);
        });
        assert!(stops > 20, "only {stops} stops: was it traced at all?");
        pin::unpin(dir, "web").unwrap();
    });
}

#[test]
fn who_is_killed_making_a_pin_leaves_nothing_that_a_sweep_or_a_removal_does_not_take() {
    privately(|dir| {
        let work = || drop(make(dir, "web").unwrap());
        at_each_stop(&work, &|stop| {
            if stop % 2 == 0 {
                pin::unpin(dir, "web").unwrap();
            } else {
                pin::sweep(&NET, dir, &|_| false).unwrap();
            }
            nothing_is_left(dir);
        });
        pin::unpin(dir, "web").unwrap();
    });
}

#[test]
fn who_is_killed_removing_a_pin_leaves_it_to_the_next_one() {
    privately(|dir| {
        let work = || {
            child(|| drop(make(dir, "web").unwrap()));
            // Stacked, so that there is more than one step.
            bind("/proc/self/ns/net", &dir.join("web"));
        };
        let remove = || pin::unpin(dir, "web").unwrap();
        work();
        at_each_stop(&remove, &|stop| {
            if stop % 2 == 0 {
                remove();
                nothing_is_left(dir);
            } else {
                child(|| drop(make(dir, "web").unwrap()));
                assert_eq!(entries(dir).len(), 1, "stop {stop}");
                remove();
                nothing_is_left(dir);
            }
            work();
        });
        nothing_is_left(dir);
    });
}

#[test]
fn who_is_killed_preparing_the_directory_leaves_it_to_the_next_one() {
    privately(|_| {
        let dir = Path::new("/run/mote/other");
        let lines = || {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            mounts
                .lines()
                .filter(|line| line.contains(" /run/mote/other "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        at_each_stop(&|| pin::prepare(dir).unwrap(), &|stop| {
            pin::prepare(dir).unwrap();
            let mounts = lines();
            assert!(mounts.len() == 1 && mounts[0].contains(" shared:"), "stop {stop}: {mounts:?}");
            nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
            assert!(lines().is_empty());
            std::fs::remove_dir(dir).unwrap();
        });
    });
}
