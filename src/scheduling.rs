//! When a process gets the processor and the disk, and where its memory comes from. Runs in the child: no allocation.

use crate::plan::Scheduling;
use crate::stage::{At, Failure, Stage};
use crate::sys::scheduling::{ioprio_set, personality, sched_setaffinity, sched_setattr, set_mempolicy};

/// Has the calling process run wherever its cgroup allows, whatever its caller was bound to (`CPUAffinity=` of a systemd unit, for
/// one). Entering a cpuset did so up to Linux 6.1; since then the kernel keeps to what somebody asked for. As runc 1.3.1 and crun 1.9.2.
pub fn forget_affinity() {
    // As many as a kernel can be built for. It leaves out those that are not there or not allowed.
    let processors = [u64::MAX; 8192 / 64];
    let _ = sched_setaffinity(0, &processors); // where a sandbox forbids it the process runs all the same
}

/// Applies what needs no privileges to the calling process. What it executes keeps it.
pub fn apply(plan: &Scheduling) -> Result<(), Failure> {
    if let Some((mode, nodes)) = &plan.memory {
        set_mempolicy(*mode, nodes).at(Stage::MemoryPolicy, 0)?;
    }
    if let Some(persona) = plan.personality {
        personality(persona).at(Stage::Personality, 0)?;
    }
    Ok(())
}

/// Applies the rest to a process, 0 being the caller: one in a user namespace of its own cannot do it itself.
pub fn apply_to(plan: &Scheduling, pid: i32) -> Result<(), Failure> {
    if let Some(priority) = plan.io {
        ioprio_set(pid, priority).at(Stage::IoPriority, 0)?;
    }
    if let Some(attr) = &plan.processor {
        sched_setattr(pid, attr).at(Stage::Scheduler, 0)?;
    }
    Ok(())
}
