//! Device nodes: the default ones, and those of `linux.devices`. Runs in the child: no allocation.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, makedev, mknodat};
use nix::unistd::{AccessFlags, fchownat, read, symlinkat};

use super::clone_tree;
use super::walk::{self, Missing, resolve_or_make};
use crate::plan::Node;
use crate::sys::file::{self, Passing, access};
use crate::sys::mount::{At, move_mount};

/// The default devices of runtime-spec config-linux.md: name, major, minor.
const DEVICES: &[(&CStr, u64, u64)] = &[
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

/// Symlinks that programs expect in `/dev`; runtime-spec runtime-linux.md "Dev symbolic links".
const DEVICE_LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
    (c"core", c"/proc/kcore"),
];

/// Makes the default devices and links. One that is there must be what it says: the image may have put anything there.
/// Those that `nodes` has are left to it.
pub fn make_defaults(root: BorrowedFd<'_>, nodes: &[Node<'_>]) -> nix::Result<()> {
    let dev = resolve_or_make(root, c"/dev", Missing::Directory)?;
    let mode = Mode::from_bits_truncate(0o666);
    let own = |name| nodes.iter().any(|node| node.directory == c"/dev" && node.name == name);
    for (name, major, minor) in DEVICES.iter().filter(|(name, ..)| !own(*name)) {
        let device = makedev(*major, *minor);
        match mknodat(&dev, *name, SFlag::S_IFCHR, mode, device) {
            Err(Errno::EEXIST) => {
                let found = fstatat(&dev, *name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                if !is(&found, SFlag::S_IFCHR, device) {
                    return Err(Errno::EEXIST);
                }
            }
            // In a user namespace nobody may make one.
            Err(Errno::EPERM) => {
                let host = Passing::from(file::open(c"/dev", OFlag::O_PATH | OFlag::O_DIRECTORY)?);
                bind(At::Beneath(host.as_fd(), name), SFlag::S_IFCHR, device, dev.as_fd(), name)?;
            }
            result => result?,
        }
    }
    // As runc and crun have it: a link to what this kernel may not have would dangle.
    let core = access(c"/proc/kcore", AccessFlags::F_OK).is_ok();
    for (name, target) in DEVICE_LINKS.iter().filter(|(name, _)| core || *name != c"core") {
        match symlinkat(*target, &dev, *name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Makes one node of `linux.devices`. One that is there must be what it says, and stays as it is.
///
/// Engines give a privileged container all nodes of the host, with `/dev/ptmx` among them. That is the way to the host's
/// terminals; the container has its own instance, and the default link to it.
pub fn make(root: BorrowedFd<'_>, node: &Node<'_>) -> nix::Result<()> {
    if node.path == c"/dev/ptmx" {
        return Ok(());
    }
    let directory = resolve_or_make(root, node.directory, Missing::Directory)?;
    let mode = Mode::from_bits_truncate(node.mode);
    let made = mknodat(&directory, node.name, node.kind, mode, node.device);
    if made == Err(Errno::EPERM) && in_user_namespace() {
        return bind(At::Path(node.path, true), node.kind, node.device, directory.as_fd(), node.name);
    }
    // Through a descriptor: somebody who shares the directory may have put something else in its place.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || openat(&directory, node.name, flags, Mode::empty());
    match made {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let found = Passing::from(open()?);
    if !is(&fstat(&found)?, node.kind, node.device) {
        return Err(Errno::EEXIST);
    }
    match made {
        Ok(()) => fchownat(&found, c"", Some(node.uid.into()), Some(node.gid.into()), AtFlags::AT_EMPTY_PATH),
        Err(_) => Ok(()),
    }
}

/// Binds a node of the host, as long as it is the one that is meant.
fn bind(host: At<'_>, kind: SFlag, device: u64, directory: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    let tree = clone_tree(host, false)?;
    if !is(&fstat(&tree)?, kind, device) {
        return Err(Errno::ENODEV);
    }
    move_mount(tree.as_fd(), walk::make_file(directory, name)?.as_fd())
}

fn is(found: &FileStat, kind: SFlag, device: u64) -> bool {
    // A fifo has no numbers.
    found.st_mode & libc::S_IFMT == kind.bits() && (kind == SFlag::S_IFIFO || found.st_rdev == device)
}

/// Whether this process has other ids than the host's. A node that the host's root may not make is refused to it by the
/// cgroup; bound, it would be one whose mode the container can change for the host.
fn in_user_namespace() -> bool {
    let mut map = [0; 64];
    let length = file::open(c"/proc/self/uid_map", OFlag::O_RDONLY).and_then(|file| read(file, &mut map));
    // All ids there are, mapped to themselves: user_namespaces(7).
    let all = b"4294967295";
    !matches!(length, Ok(length) if map.get(..length).unwrap_or_default().windows(all.len()).any(|part| part == all))
}
