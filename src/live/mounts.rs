//! Mounts for a container that runs: `mounts` of config.json that come later, or go again; crun(1), "mounts add".
//!
//! A process in between goes into the container's mount namespace. What is bound is taken from the host before that, and
//! targets are opened beneath the container's root as they are by a create.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::unistd::{fchdir, pipe2, read, write};

use super::lock;
use crate::container::CONFIG_MAX;
use crate::error::{During, Error, Result};
use crate::input::{self, Input};
use crate::json;
use crate::plan::{self, Kind, Mount};
use crate::procfs::Procfs;
use crate::rootfs;
use crate::spec::Spec;
use crate::state::{Id, Status};
use crate::strings::{self, Strings};
use crate::sys::clone::{Options, Side, clone3, setns};
use crate::sys::mount::{At, open_tree_clone};
use crate::sys::process::{exit_now, pidfd_open};
use crate::sys::wait::{self, How};
use crate::sys::{alloc, credentials, file};

/// Mounts what stands in `from`, or unmounts it, the last one first. `from` is the list of config.json, or an object that has it.
/// The first that fails ends it; what was done before it stays.
pub fn change(root: &Path, id: &Id, from: &Path, add: bool) -> Result<()> {
    let (_entry, record) = lock(root, id)?;
    if !matches!(record.status_now(), Status::Running | Status::Created | Status::Paused) {
        return Err(Error::container(id.as_str(), "container not running"));
    }
    let flaw = |field: &str, why: &str| Error::config(from.display(), field, why);
    let text = match input::read(from, CONFIG_MAX)? {
        Input::Text(text) => text,
        Input::TooLarge => return Err(flaw("the file", "larger than 1 MiB")),
        Input::NotRegular => return Err(flaw("the file", "expected a regular file")),
    };
    let list = text.trim_ascii_start().starts_with(b"[");
    let text = if list { [b"{\"mounts\":", &*text, b"}"].concat() } else { text };
    let spec: Spec<'_> = json::parse(&text).map_err(|wrong| flaw(&wrong.field, &wrong.why))?;
    let mut buffer = vec![0; strings::room_for(text.len())];
    let strings = &mut Strings::new(&mut buffer);
    let mounts = plan::later_mounts(&spec.mounts, &record.bundle, strings);
    let mounts = mounts.map_err(|wrong| Error::wrong(from.display(), wrong))?;

    let pidfd = pidfd_open(record.pid).during("pidfd_open", id.as_str())?;
    if !record.is_alive() {
        return Err(Error::container(id.as_str(), "container not running"));
    }
    let user = json::member(&record.kept, "namespaces").and_then(|bits| bits.parse().ok()).unwrap_or(0);
    let user = CloneFlags::from_bits_retain(user) & CloneFlags::CLONE_NEWUSER;
    let failed = |mount: &Mount<'_>, what: &str, errno| {
        let (source, target) = (mount.source.to_string_lossy(), mount.target.to_string_lossy());
        Error::child(format_args!("mounts[{}]: {what} \"{source}\" on \"{target}\"", mount.index), errno)
    };
    let source = |mount: &Mount<'_>| {
        let Kind::Bind { recursive } = mount.kind else { return Ok(None) };
        let tree = open_tree_clone(At::Path(mount.source, !mount.special.source_nofollow), recursive);
        tree.map(Some).map_err(|errno| failed(mount, "mount", errno))
    };
    let sources = if add { mounts.iter().map(source).collect::<Result<Vec<_>>>()? } else { Vec::new() };

    let proc = OwnedFd::from(Procfs::open().during("open", c"/proc")?);
    let (said, says) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let child = match clone3(CloneFlags::empty(), &Options::default()).during("clone3", "")? {
        Side::Parent(_, pidfd) => pidfd,
        Side::Child => {
            alloc::forbid();
            let done =
                enter(pidfd.as_fd(), user).map_err(|errno| (usize::MAX, errno)).and_then(|root| match add {
                    true => mount_all(root.as_fd(), &mounts, &sources),
                    false => unmount_all(proc.as_fd(), root.as_fd(), &mounts),
                });
            if let Err((at, errno)) = done {
                let [a, b, c, d] = u32::try_from(at).unwrap_or(u32::MAX).to_ne_bytes();
                let [e, f, g, h] = (errno as i32).to_ne_bytes();
                let _ = write(&says, &[a, b, c, d, e, f, g, h]); // the parent waits for it
            }
            exit_now(0)
        }
    };
    drop(says);
    let mut report = [0; 8];
    let len = read(&said, &mut report).during("read", "")?;
    let ended = wait::reap(child.as_fd()).during("waitid", "")?.how;
    let [a, b, c, d, e, f, g, h] = report;
    let errno = Errno::from_raw(i32::from_ne_bytes([e, f, g, h]));
    let at = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok().and_then(|at| mounts.get(at));
    match (len, at) {
        (0, _) if ended == How::Code(0) => Ok(()),
        (0, _) => Err(Error::container(id.as_str(), "who mounts in it was killed")),
        (_, Some(mount)) => Err(failed(mount, if add { "mount" } else { "unmount" }, errno)),
        (_, None) => Err(errno).during("setns", id.as_str()),
    }
}

/// Which mount it was, and why.
type Failed = (usize, Errno);

/// Goes where the container's first process is; returns its root.
fn enter(pidfd: BorrowedFd<'_>, user: CloneFlags) -> nix::Result<OwnedFd> {
    prctl::set_dumpable(false)?;
    setns(pidfd, user | CloneFlags::CLONE_NEWNS)?;
    if !user.is_empty() {
        // What is made on the way belongs to its root, where it has one.
        let _ = credentials::setresgid(0).and_then(|()| credentials::setresuid(0));
    }
    file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)
}

fn mount_all(
    root: BorrowedFd<'_>,
    all: &[Mount<'_>],
    sources: &[Option<OwnedFd>],
) -> std::result::Result<(), Failed> {
    let mut each = all.iter().zip(sources).enumerate();
    each.try_for_each(|(i, (mount, source))| {
        rootfs::apply(root, mount, source.as_ref()).map_err(|errno| (i, errno))
    })
}

/// `proc` is the host's: the container's has other processes in it, or is anything.
fn unmount_all(
    proc: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    all: &[Mount<'_>],
) -> std::result::Result<(), Failed> {
    let one = |mount: &Mount<'_>| {
        let target = rootfs::walk::resolve(root, mount.target)?;
        // By descriptor: the path may lead elsewhere by now.
        let mut path = heapless::String::<24>::new();
        std::fmt::Write::write_fmt(&mut path, format_args!("self/fd/{}", target.as_fd().as_raw_fd()))
            .map_err(|_| Errno::ERANGE)?;
        fchdir(proc)?;
        umount2(path.as_str(), MntFlags::MNT_DETACH)
    };
    all.iter().enumerate().rev().try_for_each(|(i, mount)| one(mount).map_err(|errno| (i, errno)))
}
