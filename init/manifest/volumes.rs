//! `spec.volumes` and the containers' `volumeMounts`.

use mote::error::{Error, Result};
use mote::json::Str;

use super::expand::expand;
use super::quantity;
use super::security::{is_below, word};
use super::text::{MountText, VolumeText};
use crate::fields;
use crate::name::Name;

/// A volume of a pod.
#[derive(Debug)]
pub struct Volume {
    /// Its name in the pod.
    pub name: Name,
    /// What it is.
    pub source: Source,
}

/// What a volume is.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of the pod's own on the disk.
    Disk {
        /// `sizeLimit`
        limit: Option<u64>,
    },
    /// A tmpfs of the pod's own, of so many bytes at most.
    Memory {
        /// `sizeLimit`
        limit: Option<u64>,
    },
    /// Something of the device.
    Host {
        /// Where; absolute.
        path: String,
        /// What has to be there.
        kind: HostKind,
    },
}

/// The `type` of a hostPath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// Anything; a directory is made where there is nothing, as containerd does.
    Any,
    /// A directory, which is made where there is nothing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, which is made where there is nothing.
    FileOrCreate,
    /// A file.
    File,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// The kinds by their names.
const HOST_KINDS: [(&str, HostKind); 7] = [
    ("DirectoryOrCreate", HostKind::DirectoryOrCreate),
    ("Directory", HostKind::Directory),
    ("FileOrCreate", HostKind::FileOrCreate),
    ("File", HostKind::File),
    ("Socket", HostKind::Socket),
    ("CharDevice", HostKind::CharDevice),
    ("BlockDevice", HostKind::BlockDevice),
];

/// A volume as a container sees it.
#[derive(Debug)]
pub struct VolumeMount {
    /// Its place in the pod's volumes.
    pub volume: usize,
    /// Where, in the container; absolute.
    pub path: String,
    /// The part of the volume that is shown; below its root.
    pub sub_path: Option<String>,
    /// Whether it cannot be written to.
    pub read_only: Option<ReadOnly>,
    /// `mountPropagation`
    pub propagation: Propagation,
}

/// How far a mount is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// Itself, but not what is mounted below.
    Top,
    /// With all below where the kernel can do that, and else itself.
    IfPossible,
    /// With all below.
    All,
}

/// How mounts that are made later travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    None,
    /// Into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// Checks the volumes of a pod, whose text is `raw`.
pub fn volumes(
    texts: &[VolumeText<'_>],
    raw: &str,
    wrong: &dyn Fn(&str, &str) -> Error,
) -> Result<Vec<Volume>> {
    let mut volumes = Vec::<Volume>::with_capacity(texts.len());
    for (i, (text, raw)) in texts.iter().zip(fields::elements(raw)).enumerate() {
        let at = |field: &str, why: &str| wrong(&format!("[{i}]{field}"), why);
        let name = Name::new(&text.name.decode()).ok_or_else(|| at(".name", Name::WANT))?;
        if volumes.iter().any(|other| other.name == name) {
            return Err(at(".name", "another volume of this pod has this name"));
        }
        let source = match (&text.empty_dir, &text.host_path) {
            (Some(_), Some(_)) => return Err(at("", "expected one kind of volume")),
            // Kubernetes, too, makes an emptyDir of a volume that says nothing.
            (None, None) => Source::Disk { limit: None },
            (Some(empty), None) => {
                let raw = fields::member(raw, "emptyDir").and_then(|raw| fields::member(raw, "sizeLimit"));
                let limit = raw.map(|raw| {
                    quantity::bytes(raw).ok_or_else(|| at(".emptyDir.sizeLimit", quantity::WANT_BYTES))
                });
                let limit = limit.transpose()?.filter(|limit| *limit > 0);
                match word(empty.medium, &["Memory"], ".emptyDir.medium", &at)? {
                    Some(_) => Source::Memory { limit },
                    None => Source::Disk { limit },
                }
            }
            (None, Some(host)) => {
                let words = HOST_KINDS.map(|(word, _)| word);
                let kind = word(host.kind, &words, ".hostPath.type", &at)?;
                let kind =
                    kind.and_then(|kind| HOST_KINDS.get(kind)).map_or(HostKind::Any, |(_, kind)| *kind);
                Source::Host { path: path(host.path).ok_or_else(|| at(".hostPath.path", ABSOLUTE))?, kind }
            }
        };
        volumes.push(Volume { name, source });
    }
    Ok(volumes)
}

/// What is wanted of a path.
const ABSOLUTE: &str = "expected an absolute path without .. in it";

/// Checks what a container mounts.
pub fn mounts<'v>(
    texts: &[MountText<'_>],
    volumes: &[Volume],
    privileged: bool,
    value: &dyn Fn(&str) -> Option<&'v str>,
    wrong: &dyn Fn(&str, &str) -> Error,
) -> Result<Vec<VolumeMount>> {
    let mut mounts = Vec::<VolumeMount>::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let at = |field: &str, why: &str| wrong(&format!("[{i}].{field}"), why);
        let name = text.name.decode();
        let volume = volumes.iter().position(|volume| volume.name.as_str() == name);
        let volume = volume.ok_or_else(|| at("name", "the pod has no volume of this name"))?;
        let path = path(text.path).ok_or_else(|| at("mountPath", ABSOLUTE))?;
        if path == "/" {
            return Err(at("mountPath", "the root itself cannot be a mount"));
        }
        if mounts.iter().any(|other| other.path == path) {
            return Err(at("mountPath", "another mount of this container is there"));
        }
        let sub_path = text.sub_path.map(Str::decode).filter(|path| !path.is_empty());
        let sub_path = match text.sub_path_expr.map(Str::decode).filter(|expr| !expr.is_empty()) {
            None => sub_path,
            Some(_) if sub_path.is_some() => return Err(at("subPathExpr", "only without subPath")),
            Some(expr) => {
                // Unlike in env, a name that is nothing must not become a part of a path.
                let missing = std::cell::Cell::new(false);
                let path = expand(&expr, &|name| {
                    value(name).or_else(|| {
                        missing.set(true);
                        None
                    })
                });
                if missing.get() || !is_below(&path) {
                    return Err(at(
                        "subPathExpr",
                        "expected a relative path without .. in it, of variables in env",
                    ));
                }
                Some(path)
            }
        };
        if sub_path.as_ref().is_some_and(|path| !is_below(path)) {
            return Err(at("subPath", "expected a relative path without .. in it"));
        }
        let propagation = match word(
            text.propagation,
            &["None", "HostToContainer", "Bidirectional"],
            "mountPropagation",
            &at,
        )? {
            Some(2) if !privileged => {
                return Err(at("mountPropagation", "Bidirectional is for privileged containers"));
            }
            Some(2) => Propagation::Bidirectional,
            Some(1) => Propagation::HostToContainer,
            _ => Propagation::None,
        };
        let recursive =
            word(text.recursive, &["Disabled", "IfPossible", "Enabled"], "recursiveReadOnly", &at)?;
        let read_only = match (text.read_only, recursive) {
            (false, Some(1..)) => return Err(at("recursiveReadOnly", "only with readOnly: true")),
            (true, Some(2)) if propagation != Propagation::None => {
                return Err(at("recursiveReadOnly", "only without mountPropagation"));
            }
            (false, _) => None,
            (true, Some(0)) => Some(ReadOnly::Top),
            (true, Some(2)) => Some(ReadOnly::All),
            (true, _) => Some(ReadOnly::IfPossible),
        };
        mounts.push(VolumeMount { volume, path, sub_path, read_only, propagation });
    }
    // What is deeper comes later, or it would be covered.
    mounts.sort_by_key(|mount| mount.path.split('/').count());
    Ok(mounts)
}

/// An absolute path that does not climb, without slashes at its end.
pub fn path(text: Str<'_>) -> Option<String> {
    let text = text.decode();
    let good = text.starts_with('/') && !text.contains('\0') && !text.split('/').any(|part| part == "..");
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    good.then(|| parts.fold(String::new(), |path, part| path + "/" + part))
        .map(|path| if path.is_empty() { "/".to_owned() } else { path })
}
