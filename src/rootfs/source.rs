//! What is bound into a container and can only be opened by the parent, who has the privileges and the view of the host.

use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;

use crate::error::Result;
use crate::plan::{Kind, Plan};
use crate::sys::mount::{At, open_tree_clone};

/// Opens what the root of a user namespace may not be able to reach: one detached mount or none for each of the plan's
/// mounts; nothing at all where the child can do it itself.
pub fn open(plan: &Plan<'_>) -> Result<Vec<Option<OwnedFd>>> {
    // In a mount namespace that is joined the paths are its own.
    if !plan.user_namespace || plan.join.iter().any(|join| join.kind == CloneFlags::CLONE_NEWNS) {
        return Ok(Vec::new());
    }
    let mut sources = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        sources.push(match mount.kind {
            // Without the privilege to do this the child has as good a chance, and says what is wrong.
            Kind::Bind { recursive } => open_tree_clone(At::Path(mount.source, true), recursive).ok(),
            _ => None,
        });
    }
    Ok(sources)
}
