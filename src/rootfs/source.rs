//! What is bound into a container and can only be opened by the parent, who has the privileges and the view of the host.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;

use crate::error::{Error, Result};
use crate::plan::idmap::Idmap;
use crate::plan::{Kind, Mount, Plan};
use crate::sys::file;
use crate::sys::mount::{At, mount_setattr_idmap, open_tree_clone};
use crate::userns;

/// Where a caller names a descriptor of its own as the source of a bind mount. What it is open on is in the caller's mount
/// namespace, so only the parent can take it from there.
const DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// Opens what the root of a user namespace may not be able to reach, what is named by a descriptor, and what has its ids mapped:
/// one detached mount or none for each of the plan's mounts; nothing at all where the child can do all of it.
pub fn open(plan: &Plan<'_>) -> Result<Vec<Option<OwnedFd>>> {
    let handed = |mount: &Mount<'_>| mount.idmap.is_some() || mount.source.to_bytes().starts_with(DESCRIPTOR);
    let some = plan.mounts.iter().any(handed);
    // In a mount namespace that is joined the paths are its own.
    let foreign = plan.join.iter().any(|join| join.kind == CloneFlags::CLONE_NEWNS);
    if !some && (!plan.user_namespace || foreign) {
        return Ok(Vec::new());
    }
    plan.mounts.iter().map(|mount| one(plan, mount)).collect()
}

fn one(plan: &Plan<'_>, mount: &Mount<'_>) -> Result<Option<OwnedFd>> {
    let Kind::Bind { recursive } = mount.kind else { return Ok(None) };
    // A symlink that is made anew is the child's to look at.
    let at = At::Path(mount.source, !mount.special.source_nofollow && !mount.special.copy_symlink);
    let Some(idmap) = &mount.idmap else {
        if mount.source.to_bytes().starts_with(DESCRIPTOR) {
            return open_tree_clone(at, recursive).map(Some).map_err(|errno| failed(mount, "open", errno));
        }
        // Without the privilege to do this the child has as good a chance, and says what is wrong.
        return Ok(open_tree_clone(at, recursive).ok().filter(|_| plan.user_namespace));
    };
    let tree = open_tree_clone(at, recursive).map_err(|errno| failed(mount, "open", errno))?;
    let namespace = namespace(plan, idmap)?;
    mount_setattr_idmap(tree.as_fd(), idmap.recursive, namespace.as_fd()).map_err(|errno| {
        let (why, errno) = match errno {
            Errno::ENOSYS => ("map the ids of (needs Linux 5.12)", Errno::EOPNOTSUPP),
            Errno::EINVAL => ("map the ids of (its filesystem has to support it)", errno),
            _ => ("map the ids of", errno),
        };
        failed(mount, why, errno)
    })?;
    Ok(Some(tree))
}

/// A user namespace with the ids of a mount: the one that is joined, or one made for it.
fn namespace(plan: &Plan<'_>, idmap: &Idmap) -> Result<OwnedFd> {
    let joined = plan.join.iter().find(|join| join.kind == CloneFlags::CLONE_NEWUSER);
    match joined.filter(|_| idmap.maps.is_empty()) {
        Some(join) => file::open(join.path, OFlag::O_RDONLY).map_err(|errno| {
            Error::child(format_args!("linux.namespaces: open \"{}\"", join.path.to_string_lossy()), errno)
        }),
        None => userns::make(&idmap.maps),
    }
}

fn failed(mount: &Mount<'_>, what: &str, errno: Errno) -> Error {
    let source = mount.source.to_string_lossy();
    Error::child(format_args!("mounts[{}]: {what} \"{source}\"", mount.index), errno)
}
