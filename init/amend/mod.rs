//! A bundle's config.json as the pod wants it: the fields that a manifest has a word on are set in the text, so that everything
//! that follows, and `mote exec` later, sees one configuration and checks it by one set of rules.

use mote::json::{self, escape};
use mote::spec::{self, Spec};

use crate::manifest::security::Profile;
use crate::manifest::{Container, Pod};

mod gather;
mod process;

pub use gather::bundle;

/// What a container sees of something outside of its root.
#[derive(Debug)]
pub struct Bind {
    /// Where, in the container.
    pub target: String,
    /// What the parent knows it by.
    pub source: String,
    /// Options of the mount.
    pub options: Vec<&'static str>,
}

/// What is found out about the device and the bundle, for [`amend`].
#[derive(Debug, Default)]
pub struct Found {
    /// What is bound into the container, in order.
    pub binds: Vec<Bind>,
    /// The profile that `seccompProfile` names, which is JSON.
    pub seccomp: Option<String>,
    /// The group that the bundle's passwd has for the user, where that is not the bundle's own.
    pub group: Option<u32>,
    /// The groups that the bundle's group has such a user in.
    pub groups: Vec<u32>,
    /// Every capability that can be had, a bit each, where somebody is to have all of them.
    pub capabilities: u64,
    /// The device nodes of the device, for privileged containers: the members of each for `linux.devices`.
    pub devices: Vec<String>,
}

/// Sets in `text`, which is the config.json that `spec` was read from, what pod and container say. An error is a field of the
/// manifest below the container, and the reason.
pub fn amend(
    text: &str,
    spec: &Spec<'_>,
    pod: &Pod,
    container: &Container,
    found: &Found,
) -> std::result::Result<String, (&'static str, String)> {
    let mut config = Config(text.to_owned());
    let security = &container.security;
    if let Some(process) = &spec.process {
        if process.terminal != container.tty {
            config.set(&["process", "terminal"], if container.tty { "true" } else { "false" });
        }
        process::user(&mut config, process, pod, container, found)?;
        process::capabilities(&mut config, process, security, found.capabilities);
    }
    let gains = if security.privileged { Some(true) } else { security.escalation };
    if let Some(gains) = gains {
        config.set(&["process", "noNewPrivileges"], if gains { "false" } else { "true" });
    }
    if let Some(profile) = &security.apparmor {
        config.set(&["process", "apparmorProfile"], &quoted(profile));
    } else if security.privileged {
        config.set(&["process", "apparmorProfile"], "\"\"");
    }
    if let Some(read_only) = security.read_only_root {
        config.set(&["root", "readonly"], if read_only { "true" } else { "false" });
    }
    if security.unmasked || security.privileged {
        config.set(&["linux", "maskedPaths"], "[]");
        config.set(&["linux", "readonlyPaths"], "[]");
    }
    if security.privileged {
        config.set(&["linux", "devices"], &format!("[{}]", found.devices.join(",")));
        config.set(&["linux", "resources", "devices"], r#"[{"allow":true,"access":"rwm"}]"#);
    }
    if let (Some(Profile::File(_)), Some(profile)) = (&security.seccomp, &found.seccomp) {
        config.set(&["linux", "seccomp"], profile);
    }
    if !pod.security.sysctls.is_empty() {
        let own = spec.linux.sysctl.iter().map(|(name, value)| (name.decode(), value.decode()));
        let own = own.filter(|(name, _)| {
            pod.security.sysctls.iter().all(|(other, _)| *other != name.replace('/', "."))
        });
        let all: Vec<_> = own.chain(pod.security.sysctls.iter().cloned()).collect();
        let all: Vec<_> =
            all.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
        config.set(&["linux", "sysctl"], &format!("{{{}}}", all.join(",")));
    }
    if security.privileged || !found.binds.is_empty() {
        config.set(&["mounts"], &mounts(&spec.mounts, security.privileged, &found.binds));
    }
    Ok(config.0)
}

/// The mounts of the bundle but for those that something is bound on, and what is bound.
fn mounts(own: &[spec::Mount<'_>], privileged: bool, binds: &[Bind]) -> String {
    let mut all = Vec::with_capacity(own.len() + binds.len());
    for mount in own.iter().filter(|mount| binds.iter().all(|bind| mount.destination != bind.target.as_str()))
    {
        let kernels = ["sysfs", "cgroup", "cgroup2"].iter().any(|kind| mount.kind == *kind);
        let keep = |option: &&json::Str<'_>| !(privileged && kernels && **option == "ro");
        let options: Vec<_> =
            mount.options.iter().filter(keep).map(|option| quoted(&option.decode())).collect();
        let maps = |maps: &[spec::IdMapping]| {
            let one = |map: &spec::IdMapping| {
                format!(
                    r#"{{"containerID":{},"hostID":{},"size":{}}}"#,
                    map.container_id, map.host_id, map.size
                )
            };
            maps.iter().map(one).collect::<Vec<_>>().join(",")
        };
        all.push(format!(
            r#"{{"destination":{},"type":{},"source":{},"options":[{}],"uidMappings":[{}],"gidMappings":[{}]}}"#,
            quoted(&mount.destination.decode()),
            quoted(&mount.kind.decode()),
            quoted(&mount.source.decode()),
            options.join(","),
            maps(&mount.uid_mappings),
            maps(&mount.gid_mappings),
        ));
    }
    for bind in binds {
        let options: Vec<_> = bind.options.iter().map(|option| quoted(option)).collect();
        all.push(format!(
            r#"{{"destination":{},"type":"bind","source":{},"options":[{}]}}"#,
            quoted(&bind.target),
            quoted(&bind.source),
            options.join(",")
        ));
    }
    format!("[{}]", all.join(","))
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let _ = escape(&mut out, text); // to a String
    out + "\""
}

/// The text of a configuration.
struct Config(String);

impl Config {
    /// Sets the field that `path` leads to.
    fn set(&mut self, path: &[&str], value: &str) {
        self.0 = set(&self.0, path, value);
    }
}

/// The object `text` with the field that `path` leads to set to `value`. Of a key that stands twice the objects are merged, as
/// they are where it is read.
fn set(text: &str, path: &[&str], value: &str) -> String {
    let Some((key, rest)) = path.split_first() else { return value.to_owned() };
    let (mut others, mut inside) = (Vec::new(), Vec::new());
    for member in json::members(text) {
        if member.key != *key {
            others.push(member.whole);
        } else if !rest.is_empty() {
            inside.extend(json::members(member.value).map(|member| member.whole));
        }
    }
    let field = format!("\"{key}\":{}", set(&format!("{{{}}}", inside.join(",")), rest, value));
    others.push(&field);
    format!("{{{}}}", others.join(","))
}

#[cfg(test)]
mod tests;
