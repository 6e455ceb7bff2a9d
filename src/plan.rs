//! `config.json` checked and resolved: everything a create will do, in the order it will do it, before the kernel is
//! asked for anything. What is wrong is named by its JSON path; what mote cannot do is refused, never ignored.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use crate::cgroup::{Cgroups, Place, Resources, Setting};
use crate::error::Wrong;
use crate::json::{List, Str};
use crate::seccomp::{Filter, Wish, raw};
use crate::spec::{self, Spec};
use crate::stage::Asks;
use crate::strings::{Refused, Strings};
use crate::sys::exec::CStrList;
use crate::tables::{self, Effect, lookup};

mod hooks;
pub mod idmap;
pub mod ids;
mod mounts;
mod netdevices;
mod nodes;
mod process;
mod rdt;
pub mod resources;
mod scheduling;
pub mod sysctl;
mod timens;

pub use hooks::{Hook, Hooks, KINDS as HOOK_KINDS, When, plan as plan_hooks};
pub use mounts::{Kind, Mount, Specials, later as later_mounts};
pub use netdevices::NetDevice;
pub use nodes::Node;
pub use process::{CapabilitySets, Process, path_of, plan as process};
pub use rdt::{Rdt, schemata as rdt_schemata};
pub use scheduling::{NumberSet, Scheduling, plan as scheduling};

/// The result of checking a field.
pub type Checked<T> = Result<T, Wrong>;

/// Everything a create will do.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Namespaces to make.
    pub new_namespaces: CloneFlags,
    /// Namespaces to join, in order.
    pub join: Vec<Join<'a>>,
    /// Whether the user namespace is the container's own, new or joined.
    pub user_namespace: bool,
    /// Its ids: to be written to a new one, to be found in a joined one; may be empty for that.
    pub maps: ids::Maps,
    /// The offsets of a new time namespace as the kernel takes them; may be empty.
    pub time_offsets: &'a CStr,
    /// The root filesystem on the host.
    pub rootfs: &'a CStr,
    /// Whether the root is read-only in the end.
    pub root_readonly: bool,
    /// A writable layer over it: the root filesystem is on one that is mounted read-only.
    pub layer: bool,
    /// Propagation given to the whole mount namespace first.
    pub propagation: MsFlags,
    /// Mounts in order.
    pub mounts: Vec<Mount<'a>>,
    /// Mount targets that become read-only once everything has been made in them.
    pub sealed: Vec<&'a CStr>,
    /// The option that labels mounts for SELinux.
    pub mount_label: Option<&'a CStr>,
    /// Paths in the container that read as empty.
    pub masked: Vec<&'a CStr>,
    /// Paths in the container that cannot be written.
    pub readonly: Vec<&'a CStr>,
    /// Whether `/dev` is the container's own, to be filled with the default devices.
    pub make_devices: bool,
    /// The group of the resctrl filesystem to be in.
    pub rdt: Option<Rdt<'a>>,
    /// Network devices to move into the container.
    pub net_devices: Vec<NetDevice<'a>>,
    /// Device nodes to make, in order.
    pub nodes: Vec<Node<'a>>,
    /// Kernel parameters: path below `/proc` and value.
    pub sysctls: Vec<(&'a CStr, &'a CStr)>,
    /// Name of the host.
    pub hostname: Option<&'a CStr>,
    /// NIS domain name.
    pub domainname: Option<&'a CStr>,
    /// The program and who it runs as.
    pub process: Process<'a>,
    /// When it gets the processor and the disk, and where its memory comes from.
    pub scheduling: Scheduling,
    /// The container's cgroup.
    pub cgroup: Place<'a>,
    /// Whether nobody has asked for a cgroup of this name, or for anything that needs one.
    pub cgroup_by_default: bool,
    /// What it is limited to.
    pub resources: Resources,
    /// Programs to run at points of its life.
    pub hooks: Hooks<'a>,
    /// What the parent has to do while the child waits.
    pub asks: Asks,
}

impl Plan<'_> {
    /// Does without a cgroup of its own: what was to be seen of it is what there is.
    pub fn lose_cgroup(&mut self, cgroups: &Cgroups) {
        let all = if cgroups.unified { c"/sys/fs/cgroup" } else { c"/sys/fs/cgroup/unified" };
        let own = [all.to_bytes(), b"/", self.cgroup.path.to_bytes()].concat();
        for mount in self.mounts.iter_mut().filter(|mount| mount.source.to_bytes() == own) {
            mount.source = all;
        }
        self.cgroup.path = c"";
    }
}

/// A namespace to join.
#[derive(Debug)]
pub struct Join<'a> {
    /// Its kind.
    pub kind: CloneFlags,
    /// Where it is to be found on the host.
    pub path: &'a CStr,
}

/// What the caller asks for besides `config.json`: PID 1 overrides parts of a bundle by the pod's manifest.
#[derive(Debug, Default, Clone, Copy)]
pub struct Overrides<'o> {
    /// Whether a root filesystem that is to be writable and cannot be gets a writable layer, in memory.
    pub layer: bool,
    /// Instead of what `linux.namespaces` says of these kinds: a namespace to join, or `None` for the caller's own. What is
    /// the host's or the pod's keeps its name: `hostname` and `domainname` are left aside with one of type uts.
    pub namespaces: &'o [(CloneFlags, Option<&'o Path>)],
    /// Instead of `process.args`.
    pub args: Option<&'o [String]>,
    /// `NAME=VALUE` entries that take the place of those with the same name.
    pub env: &'o [String],
    /// Instead of `process.cwd`.
    pub cwd: Option<&'o str>,
    /// Instead of `hostname`.
    pub hostname: Option<&'o str>,
    /// Instead of `linux.cgroupsPath`; empty for a container without a cgroup of its own.
    pub cgroup: Option<&'o str>,
    /// A filter where `linux.seccomp` is missing, or none at all.
    pub seccomp: Option<Wish>,
    /// Limits that take the place of those in `linux.resources` for the same files.
    pub limits: &'o [Setting],
}

/// Checks `spec` and resolves it for `bundle`.
pub fn make<'a>(
    spec: &Spec<'_>,
    bundle: &Path,
    id: &str,
    overrides: &Overrides<'_>,
    cgroups: &Cgroups,
    buffer: &'a mut [u8],
) -> Checked<Plan<'a>> {
    let strings = &mut Strings::new(buffer);
    if !is_version_1(&spec.oci_version.decode()) {
        return wrong("ociVersion", "expected a version 1.x of runtime-spec");
    }
    if spec.annotations.iter().any(|(key, _)| key.is_empty()) {
        return wrong("annotations[\"\"]", "a key must not be empty");
    }
    let process = spec.process.as_ref().ok_or_else(|| missing("process"))?;

    let (new_namespaces, join) = namespaces(spec, overrides, strings)?;
    if !new_namespaces.contains(CloneFlags::CLONE_NEWNS)
        && !join.iter().any(|j| j.kind == CloneFlags::CLONE_NEWNS)
    {
        return wrong(
            "linux.namespaces",
            "a namespace of type mount is needed: without one the mounts would be the host's",
        );
    }
    let own = join.iter().fold(new_namespaces, |all, j| all | j.kind);
    let maps = ids::plan(spec, new_namespaces, &join)?;

    let propagation = match spec.linux.rootfs_propagation {
        None => MsFlags::MS_SLAVE | MsFlags::MS_REC,
        Some(word) if word.is_empty() => MsFlags::MS_SLAVE | MsFlags::MS_REC,
        Some(word) => lookup(tables::ROOTFS_PROPAGATION, word).ok_or_else(|| {
            let allowed = tables::names(tables::ROOTFS_PROPAGATION);
            ("linux.rootfsPropagation".to_owned(), format!("\"{word}\" is none of {allowed}"))
        })?,
    };

    let root = spec.root.as_ref().ok_or_else(|| missing("root"))?;
    if root.path.is_empty() {
        return Err(missing("root.path"));
    }
    let rootfs = on_host(strings, bundle, root.path).map_err(|e| refused("root.path", e))?;
    let mut settings = resources::plan(&spec.linux.resources, "linux.resources.", cgroups, &|_, _| None)?;
    if !overrides.limits.is_empty() {
        settings.retain(|setting| overrides.limits.iter().all(|limit| limit.file != setting.file));
        settings.extend_from_slice(overrides.limits);
    }
    let (path, asked) = match (overrides.cgroup, spec.linux.cgroups_path) {
        (Some(path), _) => (strings.concat(&[path.as_bytes()]), true),
        (None, Some(path)) if !path.is_empty() => (Ok(cgroups_path(path, strings)?), true),
        _ => (strings.concat(&[b"mote-", id.as_bytes()]), false),
    };
    let path = path.map_err(|e| refused("linux.cgroupsPath", e))?;
    // A container that may write to what it sees there must see what is its own alone.
    let writes =
        |mount: &spec::Mount<'_>| mount.kind == "cgroup" && !mount.options.iter().any(|o| *o == "ro");
    let every = asked
        || !settings.is_empty()
        || (!cgroups.has_v2() || spec.mounts.iter().any(writes)) && !crate::userns::is_rootless();
    let cgroup = Place { path, every };
    if path.is_empty()
        && let Some(setting) = settings.first()
    {
        return wrong(setting.field.as_str(), "a container without a cgroup of its own cannot be limited");
    }
    let mount_label = mounts::label(&spec.linux, strings)?;
    let mounts::Mounts { mut mounts, sealed, idmaps } =
        mounts::plan(spec, bundle, own, cgroups, cgroup, strings)?;
    idmap::settle(&mut mounts, idmaps, &maps, &join, own)?;
    if let Some(label) = mount_label {
        mounts::add_label(&mut mounts, label, strings)?;
    }
    let paths = |list: &List<Str<'_>>, name: &str, strings: &mut Strings<'a>| {
        let path = |(i, path): (usize, &Str<'_>)| in_container(strings, *path, &format!("linux.{name}[{i}]"));
        list.iter().enumerate().map(path).collect::<Checked<Vec<_>>>()
    };
    let masked = paths(&spec.linux.masked_paths, "maskedPaths", strings)?;
    let readonly = paths(&spec.linux.readonly_paths, "readonlyPaths", strings)?;

    let uts = own.contains(CloneFlags::CLONE_NEWUTS);
    let named = overrides.namespaces.iter().any(|(kind, _)| *kind == CloneFlags::CLONE_NEWUTS);
    let hostname = match overrides.hostname {
        Some(name) => Some(strings.concat(&[name.as_bytes()]).map_err(|e| refused("hostname", e))?),
        None if named => None,
        None => host_word(spec.hostname, "hostname", uts, strings)?,
    };
    let domainname = if named { None } else { host_word(spec.domainname, "domainname", uts, strings)? };
    let keeps_groups = new_namespaces.contains(CloneFlags::CLONE_NEWUSER) && ids::denies_groups(&maps)
        || ids::keeps_groups(spec)?;
    let hooks = hooks::plan(spec, bundle, id, strings)?;
    let scheduling = scheduling::plan(process, &spec.linux)?;
    let mut process = process::plan(process, overrides, keeps_groups, strings)?;
    process.seccomp =
        Filter::new(spec.linux.seccomp.as_ref(), overrides.seccomp, process.capabilities.bounding)
            .map_err(|wrong| Wrong::new((format!("linux.seccomp.{}", wrong.0), wrong.1)))?;
    if let (Some((key, program)), None) =
        (spec.annotations.iter().find(|(key, _)| *key == raw::ANNOTATION), overrides.seccomp)
    {
        let field = format!("annotations[\"{key}\"]");
        if process.seccomp.is_some() {
            return wrong(field, "linux.seccomp has a profile already; expected one of both");
        }
        process.seccomp = Some(raw::read(*program).map_err(|why| (field, why.to_owned()))?);
    }
    let asks = Asks {
        maps: new_namespaces.contains(CloneFlags::CLONE_NEWUSER),
        container: hooks.any(&[When::Prestart, When::CreateRuntime]),
        runtime: !spec.linux.net_devices.is_empty(),
        listener: process.has_listener(),
    };
    Ok(Plan {
        new_namespaces,
        join,
        user_namespace: own.contains(CloneFlags::CLONE_NEWUSER),
        maps,
        time_offsets: timens::plan(spec, new_namespaces, strings)?,
        rootfs,
        root_readonly: root.readonly,
        layer: overrides.layer && !root.readonly,
        propagation,
        // A bound /dev is somebody else's; runc and crun leave it alone as well.
        make_devices: !mounts.iter().any(|m| m.target == c"/dev" && matches!(m.kind, Kind::Bind { .. })),
        mounts,
        sealed,
        mount_label,
        masked,
        readonly,
        sysctls: sysctl::plan(spec, own, strings)?,
        hostname,
        domainname,
        scheduling,
        process,
        cgroup,
        cgroup_by_default: !every,
        rdt: rdt::plan(&spec.linux, id, strings)?,
        net_devices: netdevices::plan(&spec.linux, own, strings)?,
        nodes: nodes::plan(&spec.linux, strings)?,
        resources: Resources {
            settings,
            devices: Some(resources::devices(&spec.linux.resources.devices, "linux.resources.")?),
        },
        hooks,
        asks,
    })
}

/// Whether this is a version 1.x as semver.org has it: `1.2.0`, `1.2.0-rc.1+dev`. The last number may be missing.
fn is_version_1(version: &str) -> bool {
    let end = version.find(['-', '+']).unwrap_or(version.len());
    let (numbers, more) = version.split_at(end);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let words =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'));
    let minor = numbers.strip_prefix("1.").unwrap_or_default();
    minor.split('.').all(digits) && minor.split('.').count() <= 2 && words(more) && more.len() != 1
}

/// `linux.namespaces` as flags to make and paths to join.
fn namespaces<'a>(
    spec: &Spec<'_>,
    overrides: &Overrides<'_>,
    strings: &mut Strings<'a>,
) -> Checked<(CloneFlags, Vec<Join<'a>>)> {
    let (mut new, mut seen, mut join) = (CloneFlags::empty(), CloneFlags::empty(), Vec::new());
    for (i, namespace) in spec.linux.namespaces.iter().enumerate() {
        let at = |field: &str| format!("linux.namespaces[{i}].{field}");
        let kind = lookup(tables::NAMESPACES, namespace.kind).ok_or_else(|| {
            let allowed = tables::names(tables::NAMESPACES);
            (at("type"), format!("\"{}\" is none of {allowed}", namespace.kind))
        })?;
        if seen.contains(kind) {
            return Err((at("type"), format!("\"{}\" stands twice", namespace.kind)).into());
        }
        seen |= kind;
        match namespace.path {
            _ if overrides.namespaces.iter().any(|(other, _)| *other == kind) => {}
            Some(path) if !path.is_empty() => {
                join.push(Join { kind, path: in_container(strings, path, &at("path"))? })
            }
            _ => new |= kind,
        }
    }
    for (kind, path) in overrides.namespaces {
        let Some(path) = path else { continue };
        let path =
            strings.concat(&[path.as_os_str().as_bytes()]).map_err(|e| refused("linux.namespaces", e))?;
        join.push(Join { kind: *kind, path });
    }
    Ok((new, join))
}

/// A host or domain name: the container's own UTS namespace, 64 bytes at most (`__NEW_UTS_LEN`, uname(2)).
fn host_word<'a>(
    word: Option<Str<'_>>,
    field: &str,
    uts: bool,
    strings: &mut Strings<'a>,
) -> Checked<Option<&'a CStr>> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
    if !uts {
        return wrong(field, "needs a namespace of type uts in linux.namespaces");
    }
    let name = strings.decode(b"", word).map_err(|e| refused(field, e))?;
    if name.count_bytes() > 64 {
        return wrong(field, "longer than the 64 bytes that the kernel allows");
    }
    Ok(Some(name))
}

/// `linux.cgroupsPath` without its leading slash; it must not climb.
fn cgroups_path<'a>(path: Str<'_>, strings: &mut Strings<'a>) -> Checked<&'a CStr> {
    let field = "linux.cgroupsPath";
    let decoded = path.decode();
    let parts = decoded.split('/').filter(|part| !part.is_empty());
    if parts.clone().any(|part| part == "." || part == "..") {
        return wrong(field, "the components . and .. are not allowed");
    }
    let clean = parts.collect::<Vec<_>>().join("/");
    if clean.is_empty() {
        return wrong(field, "the root of the hierarchy cannot be a container's cgroup");
    }
    strings.concat(&[clean.as_bytes()]).map_err(|e| refused(field, e))
}

/// A path of the host: absolute, or relative to the bundle.
fn on_host<'a>(strings: &mut Strings<'a>, bundle: &Path, path: Str<'_>) -> Result<&'a CStr, Refused> {
    if path.chars().next() == Some('/') {
        return strings.decode(b"", path);
    }
    let mut prefix = bundle.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    strings.decode(&prefix, path)
}

/// An absolute path. It is resolved later, beneath a descriptor where it is the container's.
fn in_container<'a>(strings: &mut Strings<'a>, path: Str<'_>, field: &str) -> Checked<&'a CStr> {
    if path.chars().next() != Some('/') {
        return wrong(field, "expected an absolute path");
    }
    strings.decode(b"", path).map_err(|e| refused(field, e))
}

/// What a word of a table stands for.
fn one_of<T: Copy>(table: &[(&'static str, T)], word: Str<'_>, field: &str) -> Checked<T> {
    lookup(table, word)
        .ok_or_else(|| (field.to_owned(), format!("\"{word}\" is none of {}", tables::names(table))).into())
}

/// The flags that the words of a list stand for, together.
fn flags(table: &[(&'static str, u32)], words: &List<Str<'_>>, field: &str) -> Checked<u32> {
    words
        .iter()
        .enumerate()
        .try_fold(0, |all, (i, word)| Ok(all | one_of(table, *word, &format!("{field}[{i}]"))?))
}

/// A wrong field.
fn wrong<T>(field: impl AsRef<str>, why: &str) -> Checked<T> {
    Err(flaw(field.as_ref(), why))
}

#[cold]
#[inline(never)]
fn flaw(field: &str, why: &str) -> Wrong {
    Box::new((field.to_owned(), why.to_owned()))
}

/// A field that has to be there.
fn missing(field: &str) -> Wrong {
    flaw(field, "missing")
}

/// A string that cannot be handed to the kernel.
fn refused(field: &str, reason: Refused) -> Wrong {
    flaw(field, reason.why())
}

/// `process.args` and the like as a list for execve.
fn list<'a>(strings: impl ExactSizeIterator<Item = Checked<&'a CStr>>) -> Checked<CStrList<'a>> {
    let mut list = CStrList::with_capacity(strings.len());
    for string in strings {
        list.push(string?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_1_x_are_told_from_others() {
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.2.0-rc.1+dev", "1.1.0+dev", "1.10.20", "1.0"] {
            assert!(is_version_1(version), "{version}");
        }
        for version in [
            "", "1", "1.", "2.0.0", "0.9.0", "10.0.0", "1.x", "1.0.", "1.0.0.0", "1.0.0-", "1.0.0 ",
            "v1.0.0", "1.-1",
        ] {
            assert!(!is_version_1(version), "{version}");
        }
    }
}
