//! When a process gets the processor and the disk, and where its memory comes from. Runs in the child: no allocation.

use crate::plan::Scheduling;
use crate::stage::{At, Failure, Stage};
use crate::sys::scheduling::{ioprio_set, personality, sched_setattr, set_mempolicy};

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
