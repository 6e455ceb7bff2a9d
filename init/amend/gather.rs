//! What a starter finds out, makes and opens before the bundle's configuration is amended.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use mote::container::Bundle;
use mote::error::{During as _, Error, Result};
use mote::home;
use mote::input::{self, Input};
use mote::json;
use mote::rootfs::walk;
use mote::spec::{self, Spec};
use mote::sys::file;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

use super::{Found, amend, quoted};
use crate::files;
use crate::manifest::security::Profile;
use crate::manifest::{Container, Pod};
use crate::namespaces;
use crate::paths::Paths;
use crate::volumes::{self, Places, SHARED_MEMORY};

/// The largest profile that is read.
const PROFILE_BYTES: u64 = 1024 * 1024;

/// The bundle of `container` as its manifest wants it, with all that it mounts made and open.
pub fn bundle(paths: &Paths, pod: &Pod, container: &Container) -> Result<Bundle> {
    let path = Path::new(paths.bundles).join(container.bundle.as_str());
    let bundle = Bundle::read(&path, None)?;
    let text = {
        let spec = bundle.parse()?;
        let found = find(paths, pod, container, &path, &spec)?;
        let text = std::str::from_utf8(bundle.text()).unwrap_or_default(); // parsed, so it is
        let amended = amend(text, &spec, pod, container, &found);
        amended.map_err(|(field, why)| {
            Error::config(format_args!("{}/{}", pod.name, container.name), field, why)
        })?
    };
    Ok(bundle.with_text(text.into_bytes()))
}

fn find(paths: &Paths, pod: &Pod, container: &Container, bundle: &Path, spec: &Spec<'_>) -> Result<Found> {
    let (security, places) = (&container.security, Places::new(paths, pod.name.as_str()));
    let mut found = Found::default();
    if security.privileged || security.capabilities.base == Some(u64::MAX) {
        found.capabilities = capabilities();
    }
    places.open(pod, container, &mut found.binds)?;
    let root = spec.root.as_ref().map_or_else(String::new, |root| root.path.decode());
    files::open(paths, &places, (pod, container), &bundle.join(root), &mut found.binds)?;
    let wanted = spec.mounts.iter().any(|mount| mount.destination == SHARED_MEMORY);
    let over = found.binds.iter().any(|bind| bind.target == SHARED_MEMORY);
    if (pod.host_ipc || namespaces::is_shared(pod)) && wanted && !over {
        found.binds.insert(0, places.shared_memory(pod)?); // what a container mounts may stand in it
    }
    let own = spec.process.as_ref().map_or(0, |process| process.user.uid);
    if let Some(user) = security.user.filter(|user| *user != own) {
        let root = root_of(bundle, spec).during("open", bundle)?;
        if security.group.is_none() {
            found.group = home::group(root.as_fd(), user);
        }
        if !pod.security.strict_groups {
            let path = bundle.join("etc/group");
            found.groups = home::groups(root.as_fd(), user).during("runAsUser: read", &*path)?;
        }
    }
    if let Some(Profile::File(name)) = &security.seccomp {
        found.seccomp = Some(profile(paths, name)?);
    }
    let over_dev = found.binds.iter().any(|bind| bind.target == "/dev");
    if security.privileged && !over_dev {
        devices(Path::new("/dev"), &mut found.devices);
    }
    Ok(found)
}

/// Every capability that can be had here: of those that the kernel knows, what this process may pass on.
fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// The root of the image.
fn root_of(bundle: &Path, spec: &Spec<'_>) -> nix::Result<OwnedFd> {
    let path = spec.root.as_ref().map(|root| root.path.decode()).unwrap_or_default();
    file::open(&bundle.join(path), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
}

/// Reads a seccomp profile: below the directory `seccomp` beside the bundles, and no symlink leads out of it.
fn profile(paths: &Paths, name: &str) -> Result<String> {
    let directory = Path::new(paths.bundles).with_file_name("seccomp");
    let root = file::open(&directory, OFlag::O_PATH | OFlag::O_DIRECTORY).during("open", &*directory)?;
    let inside = CString::new(format!("/{name}")).unwrap_or_default();
    let path = directory.join(name);
    let opened = walk::resolve(root.as_fd(), &inside).during("seccompProfile: open", &*path)?;
    let wrong = |field: &str, why: &str| Error::config(path.display(), field, why);
    let text = match input::read(Path::new(&volumes::path_of(opened.as_fd())), PROFILE_BYTES)? {
        Input::Text(text) => text,
        Input::TooLarge => return Err(wrong("the file", "larger than 1 MiB")),
        Input::NotRegular => return Err(wrong("the file", "expected a regular file")),
    };
    // As JSON alone: what it says is checked with the rest of the configuration.
    json::parse::<spec::Seccomp<'_>>(&text).map_err(|flaw| wrong(&flaw.field, &flaw.why))?;
    String::from_utf8(text).map_err(|_| wrong("the file", "not UTF-8"))
}

/// The nodes in a directory and below it, but for what a container has its own of.
fn devices(directory: &Path, nodes: &mut Vec<String>) {
    const OWN: [&str; 6] = ["console", "fd", "mqueue", "pts", "ptmx", "shm"];
    for name in file::names(directory).unwrap_or_default() {
        let path = directory.join(&name);
        // A symlink is none of these.
        let Ok(meta) = path.symlink_metadata() else { continue };
        let kind = match meta.file_type() {
            _ if OWN.iter().any(|own| name == *own) => continue,
            kind if kind.is_dir() => {
                devices(&path, nodes);
                continue;
            }
            kind if kind.is_char_device() => "c",
            kind if kind.is_block_device() => "b",
            _ => continue,
        };
        let Some(path) = path.to_str() else { continue };
        let (number, mode) = (meta.rdev(), meta.mode() & 0o7777);
        nodes.push(format!(
            r#"{{"type":"{kind}","path":{},"major":{},"minor":{},"fileMode":{mode},"uid":{},"gid":{}}}"#,
            quoted(path),
            major(number),
            minor(number),
            meta.uid(),
            meta.gid()
        ));
    }
}
