//! Namespaces that are joined where the user namespace is the container's own too: by a process in between.
//!
//! What belongs to the host can only be joined before the user namespace is entered, what belongs to that one only
//! afterwards, and what is new has to be made by somebody who is in it. The parent cannot do any of it without losing
//! its privileges, the child is made too late. So the process in between joins, clones the child as its sibling and ends.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::unistd::{Pid, pipe2, read, write};

use crate::error::{During, Error, Result};
use crate::plan::{Join, Plan};
use crate::procfs::Procfs;
use crate::scheduling;
use crate::stage::{At, Failure, Stage};
use crate::sys::clone::{Options, Side, clone3, setns};
use crate::sys::process::{adopt, exit_now};
use crate::sys::wait;
use crate::userns;

/// Has `child` cloned by a process that has joined the plan's namespaces, `opened` in the same order. `child` returns in
/// that process alone.
pub fn spawn(
    plan: &Plan<'_>,
    opened: &[OwnedFd],
    sibling: bool,
    child: &mut dyn FnMut() -> nix::Result<(Pid, OwnedFd)>,
) -> Result<(Pid, OwnedFd)> {
    let (born, says) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).during("pipe2", "")?;
    // With one table of descriptors, the child's pidfd is the parent's too.
    let options = Options { sibling, cgroup: None, share_files: true };
    let between = match clone3(CloneFlags::empty(), &options).during("clone3", "")? {
        Side::Parent(_, pidfd) => pidfd,
        // Drops no descriptor but what it opened itself: the parent would lose it.
        Side::Child => {
            let made = prepare(plan)
                .and_then(|()| join(&plan.join, opened))
                .and_then(|()| child().at(Stage::Namespaces, 0));
            let _ = match made {
                Ok((pid, pidfd)) => {
                    let [p0, p1, p2, p3] = pid.as_raw().to_ne_bytes();
                    let [f0, f1, f2, f3] = pidfd.as_raw_fd().to_ne_bytes();
                    std::mem::forget(pidfd);
                    write(&says, &[p0, p1, p2, p3, f0, f1, f2, f3])
                }
                Err(failure) => {
                    let [a, b, c, d, e, f, g, h] = failure.to_bytes();
                    write(&says, &[a, b, c, d, e, f, g, h, 0])
                }
            }; // a parent that is gone cannot be told
            exit_now(0)
        }
    };
    if sibling {
        // Whoever is its parent will reap it.
        poll(&mut [PollFd::new(between.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).during("poll", "")?;
    } else {
        wait::reap(between.as_fd()).during("waitid", "")?;
    }
    let mut said = [0; 9];
    let len = read(&born, &mut said).unwrap_or(0);
    let [a, b, c, d, e, f, g, h, _] = said;
    match len {
        8 => Ok((Pid::from_raw(i32::from_ne_bytes([a, b, c, d])), adopt(i32::from_ne_bytes([e, f, g, h])))),
        9 => Err(Failure::from_bytes([a, b, c, d, e, f, g, h]).explain(plan)),
        _ => Err(Error::killed(0)),
    }
}

/// Does to this process, for the child to inherit, what takes the host's privileges.
fn prepare(plan: &Plan<'_>) -> std::result::Result<(), Failure> {
    if let Some(score) = plan.process.oom_score_adj {
        let written = Procfs::open().and_then(|proc| proc.write_number(c"self/oom_score_adj", score));
        written.at(Stage::OomScore, 0)?;
    }
    userns::raise_limits(Pid::from_raw(0), &plan.process.rlimits);
    scheduling::apply_to(&plan.scheduling, 0)
}

/// Joins in an order that works: first what the privileges reach as they are, then the user namespace, then the rest.
fn join(plan: &[Join<'_>], opened: &[OwnedFd]) -> std::result::Result<(), Failure> {
    let user = |kind: CloneFlags| kind == CloneFlags::CLONE_NEWUSER;
    let joins_user = plan.iter().any(|join| user(join.kind));
    let mut later = CloneFlags::empty();
    let all = || plan.iter().zip(opened).enumerate();
    for (i, (join, fd)) in all().filter(|(_, (join, _))| !user(join.kind)) {
        match setns(fd.as_fd(), join.kind) {
            Err(Errno::EPERM) if joins_user => later |= join.kind,
            result => result.at(Stage::Join, i)?,
        }
    }
    for (i, (join, fd)) in all().filter(|(_, (join, _))| user(join.kind)) {
        setns(fd.as_fd(), join.kind).at(Stage::Join, i)?;
    }
    for (i, (join, fd)) in all().filter(|(_, (join, _))| later.contains(join.kind)) {
        setns(fd.as_fd(), join.kind).at(Stage::Join, i)?;
    }
    Ok(())
}
