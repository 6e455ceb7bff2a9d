//! The container's root filesystem, from the first mount to pivot_root. Runs in the child: no allocation.
//!
//! A mount's target is opened beneath the root and mounted on through that descriptor, so that a symlink which is
//! swapped in between can only lead to another place in the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{fstat, makedev};
use nix::unistd::{chdir, fchdir, symlinkat};

use crate::plan::{Kind, Mount};
use crate::procfs::Procfs;
use crate::sys::file::{self, PATH_MAX, Passing};
use crate::sys::mount::{At, attr, mount_setattr, move_mount, open_tree_clone};

mod copyup;
pub mod devices;
pub mod layer;
pub mod source;
pub mod walk;

use walk::{Missing, resolve, resolve_or_make};

/// No string, for the arguments of mount(2) that are not needed.
const NONE: Option<&CStr> = None;

/// Cuts the mount namespace off from the host's, so that nothing mounted here shows there; but for `MS_SHARED`, which leaves
/// what is shared as it is. What is unbindable could not be bound, so that is for the end: see [`make_unbindable`].
pub fn detach(propagation: MsFlags) -> nix::Result<()> {
    let unbindable = propagation.contains(MsFlags::MS_UNBINDABLE);
    let kind = if unbindable { MsFlags::MS_PRIVATE | MsFlags::MS_REC } else { propagation };
    mount(NONE, c"/", NONE, kind, NONE)
}

/// Makes the root filesystem a mount of its own and returns it.
pub fn bind_root(path: &CStr, propagation: MsFlags) -> nix::Result<Passing> {
    let tree = clone_tree(At::Path(path, false), true)?;
    attach_root(tree.as_fd(), path, propagation)?;
    Ok(tree)
}

/// Attaches the detached mount `tree`, which the new root is or is below, where nobody else sees it.
fn attach_root(tree: BorrowedFd<'_>, path: &CStr, propagation: MsFlags) -> nix::Result<()> {
    if propagation.contains(MsFlags::MS_SHARED) {
        // Neither the new root nor what it is mounted on may be shared, pivot_root(2). What `/` is mounted on is known to
        // be the root of a mount, which the directory above the root filesystem need not be.
        mount(NONE, c"/", NONE, MsFlags::MS_PRIVATE, NONE)?;
        let target = Passing::from(file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        move_mount(tree, target.as_fd())?;
        return set_propagation(tree, MsFlags::MS_PRIVATE);
    }
    let target = Passing::from(file::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?);
    move_mount(tree, target.as_fd())
}

/// Does what `linux.rootfsPropagation` says of the root itself, once everything is mounted.
pub fn make_unbindable(root: BorrowedFd<'_>) -> nix::Result<()> {
    set_propagation(root, MsFlags::MS_UNBINDABLE)
}

fn clone_tree(from: At<'_>, recursive: bool) -> nix::Result<Passing> {
    open_tree_clone(from, recursive).map(Passing::from)
}

/// Does one mount of the plan. What a bind mount shows is `source` where the parent has opened it.
pub fn apply(root: BorrowedFd<'_>, plan: &Mount<'_>, source: Option<&OwnedFd>) -> nix::Result<()> {
    match plan.kind {
        Kind::New => {
            // A symlink on the way would let the image choose where the kernel's own files show.
            let kernels = plan.fstype == c"proc" || plan.fstype == c"sysfs";
            let (target, is_made) = match kernels {
                true => (walk::resolve_plain(root, plan.target)?, false),
                false => match resolve(root, plan.target) {
                    Err(Errno::ENOENT) => (resolve_or_make(root, plan.target, Missing::Directory)?, true),
                    target => (target?, false),
                },
            };
            let covered = match plan.special.copy_up {
                true => Some(Passing::from(copyup::open(target.as_fd(), c".", OFlag::O_DIRECTORY)?)),
                false => None,
            };
            let mut buffer = [0; PATH_MAX];
            let data = match plan.fstype == c"tmpfs" && !names_mode(plan.data) && !is_made {
                // Of what the image has there, as runc and crun have it. One that covers nothing is for everybody, as the kernel makes it.
                true => with_mode(plan.data, target.as_fd(), &mut buffer)?,
                false => plan.data,
            };
            fchdir(&target)?;
            let data = (!data.is_empty()).then_some(data);
            mount(Some(plan.source), c".", Some(plan.fstype), plan.flags, data)?;
            if plan.recursive == (0, 0) && plan.propagation.is_empty() && covered.is_none() {
                return Ok(());
            }
            // What was opened before is now below the mount.
            let mounted = resolve(root, plan.target)?;
            if let Some(covered) = covered {
                copyup::copy(covered.as_fd(), mounted.as_fd())?;
            }
            finish(mounted.as_fd(), plan)
        }
        Kind::Bind { recursive } => {
            if plan.special.copy_symlink && copy_symlink(root, plan)? {
                return Ok(());
            }
            let own;
            let tree = match source {
                Some(source) => source.as_fd(),
                None => {
                    own = clone_tree(At::Path(plan.source, !plan.special.source_nofollow), recursive)?;
                    own.as_fd()
                }
            };
            let missing = if is_directory(tree)? { Missing::Directory } else { Missing::File };
            let target = match plan.special.target_nofollow {
                true => walk::resolve_or_make_nofollow(root, plan.target, missing),
                false => resolve_or_make(root, plan.target, missing),
            }?;
            let (set, clear) = plan.attributes;
            attach(tree, target.as_fd(), set, clear)?;
            finish(tree, plan)
        }
        Kind::Remount => {
            let target = resolve(root, plan.target)?;
            fchdir(&target)?;
            let data = (!plan.data.is_empty()).then_some(plan.data);
            mount(Some(plan.source), c".", Some(plan.fstype), plan.flags, data)?;
            finish(target.as_fd(), plan)
        }
        Kind::Symlink => {
            let directory = resolve(root, plan.target)?;
            symlinkat(plan.source, &directory, plan.data)
        }
    }
}

/// Makes the symlink that the source is, where it is one; crun(1). Whether it was.
fn copy_symlink(root: BorrowedFd<'_>, plan: &Mount<'_>) -> nix::Result<bool> {
    let mut buffer = [0; PATH_MAX];
    let source = file::open(plan.source, OFlag::O_PATH | OFlag::O_NOFOLLOW).map(Passing::from)?;
    if fstat(source.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFLNK {
        return Ok(false);
    }
    let link = walk::read_link(source.as_fd(), &mut buffer)?;
    walk::make_symlink(root, plan.target, link)?;
    Ok(true)
}

/// Whether the options of a tmpfs say what its mode is.
fn names_mode(data: &CStr) -> bool {
    data.to_bytes().split(|&b| b == b',').any(|option| option.starts_with(b"mode="))
}

/// The options with the mode that `covered` has.
fn with_mode<'b>(
    data: &CStr,
    covered: BorrowedFd<'_>,
    buffer: &'b mut [u8; PATH_MAX],
) -> nix::Result<&'b CStr> {
    let mode = fstat(covered)?.st_mode & 0o7777;
    let comma = if data.is_empty() { "" } else { "," };
    let mut word = heapless::String::<16>::new();
    std::fmt::Write::write_fmt(&mut word, format_args!("{comma}mode={mode:o}\0"))
        .map_err(|_| Errno::E2BIG)?;
    let len = data.count_bytes();
    let end = len + word.len();
    buffer.get_mut(..len).ok_or(Errno::E2BIG)?.copy_from_slice(data.to_bytes());
    buffer.get_mut(len..end).ok_or(Errno::E2BIG)?.copy_from_slice(word.as_bytes());
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::E2BIG)
}

/// What is done to a mount once it is attached.
fn finish(mounted: BorrowedFd<'_>, plan: &Mount<'_>) -> nix::Result<()> {
    if plan.recursive != (0, 0) {
        match mount_setattr(mounted, true, plan.recursive.0, plan.recursive.1, 0) {
            // Nothing older can do it.
            Err(Errno::ENOSYS) => return Err(Errno::EOPNOTSUPP),
            result => result?,
        }
    }
    plan.propagation.iter().try_for_each(|kind| set_propagation(mounted, *kind))
}

/// Changes the propagation type of an attached mount, and of those below it with `MS_REC`.
fn set_propagation(mounted: BorrowedFd<'_>, kind: MsFlags) -> nix::Result<()> {
    let recursive = kind.contains(MsFlags::MS_REC);
    match mount_setattr(mounted, recursive, 0, 0, (kind - MsFlags::MS_REC).bits()) {
        Err(Errno::ENOSYS) => change(mounted, kind),
        result => result,
    }
}

/// `mount(2)` of what is mounted already, which takes a path: a directory can be gone to, a file has one in the procfs of
/// the runtime alone.
fn change(mounted: BorrowedFd<'_>, flags: MsFlags) -> nix::Result<()> {
    if is_directory(mounted)? {
        fchdir(mounted)?;
        return mount(NONE, c".", NONE, flags, NONE);
    }
    let mut path = heapless::String::<24>::new();
    std::fmt::Write::write_fmt(&mut path, format_args!("self/fd/{}\0", mounted.as_raw_fd()))
        .map_err(|_| Errno::ERANGE)?;
    let path = CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| Errno::ERANGE)?;
    fchdir(Passing::from(OwnedFd::from(Procfs::open()?)))?;
    mount(NONE, path, NONE, flags, NONE)
}

/// Attaches a detached mount with changed attributes: changed first where the kernel can (Linux 5.12), so that
/// nobody sees it without them.
fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>, set: u64, clear: u64) -> nix::Result<()> {
    let changed = if (set, clear) == (0, 0) { Ok(()) } else { mount_setattr(tree, false, set, clear, 0) };
    match changed {
        Ok(()) => move_mount(tree, target),
        Err(Errno::ENOSYS) => {
            move_mount(tree, target)?;
            remount(tree, set, clear)
        }
        Err(errno) => Err(errno),
    }
}

/// Changes attributes of an attached mount.
fn set_attributes(mounted: BorrowedFd<'_>, set: u64, clear: u64) -> nix::Result<()> {
    match mount_setattr(mounted, false, set, clear, 0) {
        Err(Errno::ENOSYS) => remount(mounted, set, clear),
        result => result,
    }
}

/// The same by mount(2), which takes all flags anew.
fn remount(mounted: BorrowedFd<'_>, set: u64, clear: u64) -> nix::Result<()> {
    /// As statfs(2), `mount_setattr(2)` and mount(2) have them.
    const FLAGS: &[(u64, u64, MsFlags)] = &[
        (libc::ST_RDONLY, attr::RDONLY, MsFlags::MS_RDONLY),
        (libc::ST_NOSUID, attr::NOSUID, MsFlags::MS_NOSUID),
        (libc::ST_NODEV, attr::NODEV, MsFlags::MS_NODEV),
        (libc::ST_NOEXEC, attr::NOEXEC, MsFlags::MS_NOEXEC),
        (libc::ST_NODIRATIME, attr::NODIRATIME, MsFlags::MS_NODIRATIME),
        // `ST_NOSYMFOLLOW` and `MS_NOSYMFOLLOW`, Linux 5.10
        (0x2000, attr::NOSYMFOLLOW, MsFlags::from_bits_retain(0x100)),
    ];
    /// Which libc has not got everywhere; statfs(2).
    const ST_RELATIME: u64 = 0x1000;
    let now = file::mount_flags(mounted)?;
    let kept = FLAGS.iter().filter(|(st, bit, _)| (now & *st != 0 && clear & *bit == 0) || set & *bit != 0);
    let flags = kept.fold(MsFlags::MS_BIND | MsFlags::MS_REMOUNT, |all, (_, _, flag)| all | *flag);
    // One of three, of which mount(2) would choose one by itself.
    let (noatime, strict) = match clear & attr::ATIME {
        0 => (now & libc::ST_NOATIME != 0, now & ST_RELATIME == 0),
        _ => (set & attr::NOATIME != 0, set & attr::STRICTATIME != 0),
    };
    let atime = match (noatime, strict) {
        (true, _) => MsFlags::MS_NOATIME,
        (false, true) => MsFlags::MS_STRICTATIME,
        (false, false) => MsFlags::MS_RELATIME,
    };
    change(mounted, flags | atime)
}

/// Opens the host's null device, to be bound over masked files. What the container has by that name may be anything.
pub fn open_null() -> nix::Result<Passing> {
    let null = Passing::from(file::open(c"/dev/null", OFlag::O_PATH | OFlag::O_NOFOLLOW)?);
    let found = fstat(&null)?;
    let is_null = found.st_mode & libc::S_IFMT == libc::S_IFCHR && found.st_rdev == makedev(1, 3);
    if is_null { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Hides a path: a file behind the null device, a directory behind an empty one. One that is not there needs nothing.
pub fn mask(
    root: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
    path: &CStr,
    label: Option<&CStr>,
) -> nix::Result<()> {
    let target = match resolve(root, path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        result => result?,
    };
    if is_directory(target.as_fd())? {
        fchdir(&target)?;
        return mount(Some(c"tmpfs"), c".", Some(c"tmpfs"), MsFlags::MS_RDONLY, label);
    }
    move_mount(clone_tree(At::Fd(null), false)?.as_fd(), target.as_fd())
}

/// Makes a path read-only by binding it over itself. One that is not there needs nothing.
pub fn make_readonly(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    let target = match resolve(root, path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        result => result?,
    };
    let tree = clone_tree(At::Fd(target.as_fd()), true)?;
    attach(tree.as_fd(), target.as_fd(), attr::RDONLY, 0)
}

/// Makes what is mounted on a target of the plan read-only.
pub fn seal(root: BorrowedFd<'_>, target: &CStr) -> nix::Result<()> {
    set_attributes(resolve(root, target)?.as_fd(), attr::RDONLY, 0)
}

/// Makes the root itself read-only.
pub fn make_root_readonly(root: BorrowedFd<'_>) -> nix::Result<()> {
    set_attributes(root, attr::RDONLY, 0)
}

/// Binds the pseudoterminal on `/dev/console`.
pub fn bind_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> nix::Result<()> {
    let target = resolve_or_make(root, c"/dev/console", Missing::File)?;
    move_mount(clone_tree(At::Fd(terminal), false)?.as_fd(), target.as_fd())
}

/// Makes `root` the root of the mount namespace and lets go of the old one; pivot_root(2).
pub fn pivot(root: BorrowedFd<'_>, propagation: MsFlags) -> nix::Result<()> {
    let old = match propagation.contains(MsFlags::MS_SHARED) {
        true => Some(Passing::from(file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?)),
        false => None,
    };
    fchdir(root)?;
    nix::unistd::pivot_root(c".", c".")?;
    // The old root is now mounted on the new one, under our feet.
    if let Some(old) = old {
        // What is unmounted here must stay mounted on the host.
        fchdir(old.as_fd())?;
        mount(NONE, c".", NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE)?;
    }
    umount2(c".", MntFlags::MNT_DETACH)?;
    chdir(c"/")
}

fn is_directory(file: BorrowedFd<'_>) -> nix::Result<bool> {
    Ok(fstat(file)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}
