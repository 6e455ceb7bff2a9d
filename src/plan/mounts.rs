//! `mounts`: what goes where, with which flags.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use super::idmap::{self, Idmap};
use super::{Checked, Effect, Refused, Spec, Strings, on_host, refused, wrong};
use crate::cgroup::{self, Cgroups, Place};
use crate::spec;
use crate::sys::mount::attr;
use crate::tables::{MOUNT_ATTRIBUTES, MOUNT_OPTIONS, Special};

/// One mount.
#[derive(Debug)]
pub struct Mount<'a> {
    /// What is mounted.
    pub kind: Kind,
    /// A device, a path of the host for bind mounts, or a name.
    pub source: &'a CStr,
    /// Filesystem type; empty for bind mounts.
    pub fstype: &'a CStr,
    /// Where, in the container, absolute.
    pub target: &'a CStr,
    /// For a new filesystem: flags of mount(2).
    pub flags: MsFlags,
    /// For a new filesystem: its own options, comma-separated; may be empty.
    pub data: &'a CStr,
    /// For a bind mount: attributes to set and to clear on this mount.
    pub attributes: (u64, u64),
    /// Attributes to set and to clear on this mount and all below it.
    pub recursive: (u64, u64),
    /// Propagation types to give in the end, in order.
    pub propagation: heapless::Vec<MsFlags, 4>,
    /// Options that are no flags.
    pub special: Specials,
    /// For a bind mount: which ids its files show with.
    pub idmap: Option<Idmap>,
    /// Index into `mounts` of config.json, for messages.
    pub index: u16,
}

/// Options that are no flags; see [`Special`].
#[derive(Debug, Default, Clone, Copy)]
pub struct Specials {
    /// [`Special::CopyUp`]
    pub copy_up: bool,
    /// [`Special::CopySymlink`]
    pub copy_symlink: bool,
    /// [`Special::SourceNofollow`]
    pub source_nofollow: bool,
    /// [`Special::TargetNofollow`]
    pub target_nofollow: bool,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new filesystem.
    New,
    /// Something of the host that is there already.
    Bind {
        /// With all mounts below it.
        recursive: bool,
    },
    /// Other flags for what is mounted on the target.
    Remount,
    /// A symlink to `source`, named `data`, in the directory `target`.
    Symlink,
}

/// What the plan has of mounts.
#[derive(Default)]
pub struct Mounts<'a> {
    /// In order.
    pub mounts: Vec<Mount<'a>>,
    /// Targets of new tmpfs that become read-only once everything has been made in them.
    pub sealed: Vec<&'a CStr>,
    /// Whose ids are to be mapped: which mount, whether with all below, how.
    pub idmaps: Vec<(usize, bool, idmap::Asked)>,
}

/// Checks and resolves `mounts`.
pub fn plan<'a>(
    spec: &Spec<'_>,
    bundle: &Path,
    own: CloneFlags,
    cgroups: &Cgroups,
    own_cgroup: Place<'_>,
    strings: &mut Strings<'a>,
) -> Checked<Mounts<'a>> {
    let mut mounts = Mounts { mounts: Vec::with_capacity(spec.mounts.len()), ..Mounts::default() };
    for (i, entry) in spec.mounts.iter().enumerate() {
        let index =
            u16::try_from(i).map_err(|_| (format!("mounts[{i}]"), "more than 65536 mounts".to_owned()))?;
        let (mut mount, idmap) = one(entry, bundle, index, strings)?;
        if let Some((recursive, asked)) = idmap {
            mounts.idmaps.push((mounts.mounts.len(), recursive, asked));
        }
        if mount.kind == Kind::New && mount.fstype == c"tmpfs" && mount.flags.contains(MsFlags::MS_RDONLY) {
            mount.flags -= MsFlags::MS_RDONLY;
            mounts.sealed.push(mount.target);
        }
        if mount.kind == Kind::New && mount.fstype == c"cgroup" {
            cgroup_view(mount, own, (cgroups, own_cgroup), strings, &mut mounts)?;
        } else {
            mounts.mounts.push(mount);
        }
    }
    Ok(mounts)
}

/// Checks and resolves mounts for a container that runs. What takes more than a place in its mount namespace is for create alone.
pub fn later<'a>(
    entries: &[spec::Mount<'_>],
    bundle: &Path,
    strings: &mut Strings<'a>,
) -> Checked<Vec<Mount<'a>>> {
    let check = |(i, entry): (usize, &spec::Mount<'_>)| {
        let index = u16::try_from(i).map_err(|_| ("mounts".to_owned(), "more than 65536".to_owned()))?;
        let (mount, idmap) = one(entry, bundle, index, strings)?;
        if idmap.is_some() || mount.special.copy_symlink || entry.kind == "cgroup" {
            return wrong(
                format!("mounts[{i}]"),
                "mapped ids, copy-symlink and type cgroup are for the creation of a container",
            );
        }
        Ok(mount)
    };
    entries.iter().enumerate().map(check).collect()
}

/// Checks and resolves one entry.
fn one<'a>(
    entry: &spec::Mount<'_>,
    bundle: &Path,
    index: u16,
    strings: &mut Strings<'a>,
) -> Checked<(Mount<'a>, Option<(bool, idmap::Asked)>)> {
    let at = |field: &str| format!("mounts[{index}].{field}");
    if entry.destination.is_empty() {
        return wrong(at("destination"), "missing, or empty");
    }
    // runtime-spec: one that is relative is meant to begin at the root.
    let root: &[u8] = if entry.destination.chars().next() == Some('/') { b"" } else { b"/" };
    let target = strings.decode(root, entry.destination).map_err(|e| refused(&at("destination"), e))?;
    if target.to_bytes().iter().all(|&b| b == b'/') {
        return wrong(at("destination"), "the root itself cannot be a mount's destination");
    }
    let mut mount = Mount {
        kind: if entry.kind == "bind" { Kind::Bind { recursive: false } } else { Kind::New },
        source: c"",
        fstype: c"",
        target,
        flags: MsFlags::empty(),
        data: c"",
        attributes: (0, 0),
        recursive: (0, 0),
        propagation: heapless::Vec::new(),
        special: Specials::default(),
        idmap: None,
        index,
    };
    let (mut data, mut idmap) = (String::new(), None);
    for (n, option) in entry.options.iter().enumerate() {
        let effect = MOUNT_OPTIONS.iter().find(|row| *option == row.name).map(|row| row.effect);
        match effect {
            Some(Effect::Special(what)) => match what {
                Special::CopyUp => mount.special.copy_up = true,
                Special::CopySymlink => mount.special.copy_symlink = true,
                Special::SourceNofollow => mount.special.source_nofollow = true,
                Special::TargetNofollow => mount.special.target_nofollow = true,
                Special::Idmap(recursive) => idmap = Some((n, recursive, String::new())),
            },
            Some(Effect::Nothing) => {}
            Some(Effect::Flags { set, clear }) => flags(&mut mount, set, clear),
            Some(Effect::Recursive { set, clear }) => {
                mount.recursive = ((mount.recursive.0 & !clear) | set, (mount.recursive.1 & !set) | clear);
            }
            Some(Effect::Propagation(kind)) => {
                let full = |_| (at("options"), "more than four propagation types".to_owned());
                mount.propagation.push(kind).map_err(full)?;
            }
            Some(Effect::Bind(kind)) => mount.kind = Kind::Bind { recursive: kind.contains(MsFlags::MS_REC) },
            None if option.chars().any(|c| c == '\0') => {
                return Err((format!("mounts[{index}].options[{n}]"), Refused::Nul.why().to_owned()).into());
            }
            None if option.chars().take(6).eq("idmap=".chars()) => {
                idmap = Some((n, false, option.chars().skip(6).collect()));
            }
            None if option.chars().take(7).eq("ridmap=".chars()) => {
                idmap = Some((n, true, option.chars().skip(7).collect()));
            }
            None => {
                data.push_str(if data.is_empty() { "" } else { "," });
                data.extend(option.chars());
            }
        }
    }
    let idmap = idmap::one(entry, index, matches!(mount.kind, Kind::Bind { .. }), idmap)?;
    let special = &mount.special;
    let for_binds = special.copy_symlink || special.source_nofollow;
    if let Kind::Bind { .. } = mount.kind {
        if special.copy_up {
            return wrong(at("options"), "tmpcopyup is for a tmpfs");
        }
        if entry.source.is_empty() {
            return wrong(at("source"), "a bind mount needs a path");
        }
        if !data.is_empty() {
            return Err((at("options"), format!("a bind mount has no option \"{}\"", data)).into());
        }
        mount.source = on_host(strings, bundle, entry.source).map_err(|e| refused(&at("source"), e))?;
        return Ok((mount, idmap));
    }
    if for_binds {
        return wrong(at("options"), "copy-symlink and src-nofollow are for bind mounts");
    }
    if special.copy_up && entry.kind != "tmpfs" {
        return wrong(at("options"), "tmpcopyup is for a tmpfs");
    }
    if mount.flags.contains(MsFlags::MS_REMOUNT) {
        mount.kind = Kind::Remount;
    } else if entry.kind.is_empty() {
        return wrong(at("type"), "expected a filesystem type, or bind");
    }
    mount.fstype = strings.decode(b"", entry.kind).map_err(|e| refused(&at("type"), e))?;
    mount.source = strings.decode(b"", entry.source).map_err(|e| refused(&at("source"), e))?;
    mount.data = strings.concat(&[data.as_bytes()]).map_err(|e| refused(&at("options"), e))?;
    if data.len() >= 4096 {
        return wrong(at("options"), "longer than the page that mount(2) takes");
    }
    Ok((mount, idmap))
}

/// `linux.mountLabel` as the option that filesystems take.
pub fn label<'a>(linux: &spec::Linux<'_>, strings: &mut Strings<'a>) -> Checked<Option<&'a CStr>> {
    let Some(label) = linux.mount_label.filter(|label| !label.is_empty()) else { return Ok(None) };
    if label.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return wrong("linux.mountLabel", "quotes, backslashes and control characters are not allowed here");
    }
    // In quotes, as commas are part of it.
    let option = format!("context=\"{}\"", label.decode());
    strings.concat(&[option.as_bytes()]).map(Some).map_err(|e| refused("linux.mountLabel", e))
}

/// Adds the label to new filesystems. Those that label their files themselves refuse the option.
pub fn add_label<'a>(mounts: &mut [Mount<'a>], label: &'a CStr, strings: &mut Strings<'a>) -> Checked<()> {
    const OWN: [&CStr; 5] = [c"proc", c"sysfs", c"mqueue", c"cgroup", c"cgroup2"];
    for mount in mounts.iter_mut().filter(|m| m.kind == Kind::New && !OWN.contains(&m.fstype)) {
        let data = mount.data.to_bytes();
        let comma: &[u8] = if data.is_empty() { b"" } else { b"," };
        let all = strings.concat(&[data, comma, label.to_bytes()]);
        mount.data = all.map_err(|e| refused("linux.mountLabel", e))?;
    }
    Ok(())
}

/// Applies an option that sets or clears flags: the last one counts, as for mount(8).
fn flags(mount: &mut Mount<'_>, set: MsFlags, clear: MsFlags) {
    mount.flags = (mount.flags - clear) | set;
    let attributes = |flags: MsFlags| {
        MOUNT_ATTRIBUTES.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |all, (_, attr)| all | attr)
    };
    let (on, off) = (attributes(set), attributes(clear));
    mount.attributes = ((mount.attributes.0 & !off) | on, (mount.attributes.1 & !on) | off);
    // The access time kinds share one field, which has to be cleared as a whole before one is set.
    let atime = MsFlags::MS_NOATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME;
    if (set | clear).intersects(atime) {
        let kind = attributes(set & atime);
        mount.attributes = ((mount.attributes.0 & !attr::ATIME) | kind, mount.attributes.1 | attr::ATIME);
    }
}

/// `type: cgroup`: what the container sees of its cgroups, made of mounts that there are.
///
/// With cgroup v2 it is the hierarchy itself, which a cgroup namespace cuts down to the container's own part; without
/// one, the container's own directory is bound. On a v1 or hybrid host it is a tmpfs with the caller's own directory of
/// each hierarchy bound into it, the layout that runc makes.
fn cgroup_view<'a>(
    mount: Mount<'a>,
    own: CloneFlags,
    (cgroups, own_cgroup): (&Cgroups, Place<'_>),
    strings: &mut Strings<'a>,
    mounts: &mut Mounts<'a>,
) -> Checked<()> {
    let full = |e| refused(&format!("mounts[{}]", mount.index), e);
    let (attributes, target, index) = (mount.attributes, mount.target, mount.index);
    let like = |kind, source, target, attributes| Mount {
        kind,
        source,
        fstype: c"",
        target,
        flags: MsFlags::empty(),
        data: c"",
        attributes,
        recursive: (0, 0),
        propagation: heapless::Vec::new(),
        special: Specials::default(),
        idmap: None,
        index,
    };
    if cgroups.unified {
        if own.contains(CloneFlags::CLONE_NEWCGROUP) {
            mounts.mounts.push(Mount { fstype: c"cgroup2", data: c"", ..mount });
        } else {
            let below = match own_cgroup.path.to_bytes() {
                // Without a cgroup of its own it is in its caller's.
                b"" => {
                    let all = cgroups.hierarchies().map_err(|why| (format!("mounts[{index}]"), why))?;
                    let callers = all.iter().find(|hierarchy| hierarchy.v2).map_or("", |found| &found.own);
                    callers.trim_start_matches('/').as_bytes()
                }
                path => path,
            };
            let source = strings.concat(&[cgroup::MOUNT.as_bytes(), b"/", below]).map_err(full)?;
            mounts.mounts.push(like(Kind::Bind { recursive: false }, source, target, attributes));
        }
        return Ok(());
    }
    mounts.mounts.push(Mount {
        fstype: c"tmpfs",
        source: c"tmpfs",
        data: c"mode=755",
        flags: mount.flags - MsFlags::MS_RDONLY,
        ..mount
    });
    for hierarchy in cgroups.hierarchies().map_err(|why| (format!("mounts[{index}]"), why))? {
        // Where it has no cgroup of its own it is in its caller's.
        let below = match own_cgroup.path.to_bytes() {
            path if !path.is_empty() && (own_cgroup.every || hierarchy.v2) => path,
            _ => hierarchy.own.trim_start_matches('/').as_bytes(),
        };
        let source = strings.concat(&[hierarchy.mount.as_os_str().as_bytes(), b"/", below]).map_err(full)?;
        let at = strings.concat(&[target.to_bytes(), b"/", hierarchy.name.as_bytes()]).map_err(full)?;
        mounts.mounts.push(like(Kind::Bind { recursive: false }, source, at, attributes));
        for alias in hierarchy.name.split(',').filter(|alias| *alias != hierarchy.name) {
            let source = strings.concat(&[hierarchy.name.as_bytes()]).map_err(full)?;
            let data = strings.concat(&[alias.as_bytes()]).map_err(full)?;
            mounts.mounts.push(Mount { data, ..like(Kind::Symlink, source, target, (0, 0)) });
        }
    }
    if attributes.0 & attr::RDONLY != 0 {
        mounts.sealed.push(target);
    }
    Ok(())
}
