//! A manifest: a Kubernetes `Pod` in JSON, checked and made into what PID 1 and the starter need.
//!
//! PID 1 reads every manifest once at boot and keeps only what its tables hold; the starter of a container reads it
//! again. Both come through [`read`], so both see the same checks. One file each: the shape of the document (`text`), the
//! fields that are not read (`known`), and the subjects.

use std::path::Path;

use mote::board::{MAX_CONTAINERS, MAX_PODS};
use mote::error::{Error, Result};
use mote::input::{self, Input};
use mote::json;
use nix::sched::CloneFlags;

use crate::fields;
use crate::limits::{self, Limits};
use crate::name::Name;
use crate::supervise::Role;
use text::PodText;

mod annotations;
mod container;
mod expand;
mod hosts;
mod known;
mod life;
mod lifecycle;
mod network;
mod probe;
pub mod quantity;
pub mod security;
mod text;
pub mod volumes;

pub use annotations::AFTER_BYTES;
pub use container::Container;
pub use hosts::Dns;
pub use network::{Mode, Network, Port, is_interface, network_of};
pub use probe::{Address, Handler};

/// The largest manifest that is read. A Pod with 32 containers takes about 20 KB.
pub const MANIFEST_BYTES: u64 = 256 * 1024;

/// The longest grace period, a day: beyond it a number is more likely a slip than a wish.
const GRACE_MAX_S: i64 = 86_400;

/// When a container that has ended is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartPolicy {
    /// Whatever its exit code was; Kubernetes' default.
    Always,
    /// Only after a failure.
    OnFailure,
    /// Not at all.
    Never,
}

/// A checked pod.
#[derive(Debug)]
pub struct Pod {
    /// `metadata.name`.
    pub name: Name,
    /// Whether its containers stay in the device's own network namespace.
    pub host_network: bool,
    /// What its network is.
    pub network: Network,
    /// Whether its containers see all processes of the device.
    pub host_pid: bool,
    /// Whether its containers have the device's ipc namespace.
    pub host_ipc: bool,
    /// Whether its containers see each other's processes.
    pub share_pid: bool,
    /// The containers' host name; `None` with `host_network`, where it is the device's.
    pub hostname: Option<Name>,
    /// Holds for all containers of the pod.
    pub restart: RestartPolicy,
    /// From SIGTERM to SIGKILL.
    pub grace_s: u32,
    /// What the pod says of all its containers.
    pub security: security::Shared,
    /// Lines for the containers' `/etc/hosts`.
    pub aliases: String,
    /// The containers' `/etc/resolv.conf`.
    pub dns: Option<Dns>,
    /// Named by the containers' mounts.
    pub volumes: Vec<volumes::Volume>,
    /// The pods that it comes after, with a blank between.
    pub after: heapless::String<AFTER_BYTES>,
    /// Whether its containers may use the control socket.
    pub control: bool,
    /// Those of `initContainers` first, then at least one of `containers`.
    pub containers: Vec<Container>,
    /// Of all containers together.
    pub limits: Limits,
    /// Fields that were passed over.
    pub passed: Vec<String>,
}

/// Reads and checks the manifest at `path`; errors name its last component.
pub fn read(path: &Path) -> Result<Pod> {
    read_with_text(path).map(|(pod, _)| pod)
}

/// The same, with the text that it was made of.
pub fn read_with_text(path: &Path) -> Result<(Pod, Vec<u8>)> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let refuse = |why: &str| Err(Error::config(&file, "the document", why));
    let text = match input::read(path, MANIFEST_BYTES)? {
        Input::Text(text) => text,
        Input::TooLarge => return refuse("larger than 256 KiB"),
        Input::NotRegular => return refuse("not a regular file"),
    };
    parse(&file, &text).map(|pod| (pod, text))
}

/// What keeps a right manifest from being run: the manifest `other` has the same name, or there is room for so many pods and containers only.
pub fn refused(
    file: &str,
    pod: &Pod,
    other: Option<&str>,
    (pods, containers): (usize, usize),
) -> Option<Error> {
    let refuse = |field: &str, why: String| Some(Error::config(file, field, why));
    if let Some(other) = other {
        return refuse("metadata.name", format!("{other} has the same name"));
    }
    if pods == 0 {
        return refuse("the document", format!("this board allows {MAX_PODS} pods"));
    }
    if pod.containers.len() > containers {
        let why = format!("this board allows {MAX_CONTAINERS} containers, {containers} are left");
        return refuse("spec.containers", why);
    }
    None
}

/// Checks the manifest `text`; `file` names it in errors.
pub fn parse(file: &str, text: &[u8]) -> Result<Pod> {
    let flaw = |field: &str, why: &str| Error::config(file, field, why);
    let doc: PodText<'_> = json::parse(text).map_err(|f| flaw(&f.field, &f.why))?;
    // The kind first: of a file that is no Pod at all the fields do not matter.
    if doc.api_version != "v1" {
        return Err(flaw("apiVersion", "expected \"v1\""));
    }
    if doc.kind != "Pod" {
        return Err(flaw("kind", "expected \"Pod\""));
    }
    // parse() has seen that it is UTF-8.
    let raw = std::str::from_utf8(text).unwrap_or("");
    let mut passed = known::check(file, raw)?;
    let raw = fields::member(raw, "spec").unwrap_or("");
    let raw = |key| fields::member(raw, key).unwrap_or("");
    let name = Name::new(&doc.metadata.name.decode()).ok_or_else(|| flaw("metadata.name", Name::WANT))?;
    let spec = doc.spec.ok_or_else(|| flaw("spec", "expected an object"))?;
    let restart = match spec.restart_policy {
        None => RestartPolicy::Always,
        Some(policy) if policy == "Always" => RestartPolicy::Always,
        Some(policy) if policy == "OnFailure" => RestartPolicy::OnFailure,
        Some(policy) if policy == "Never" => RestartPolicy::Never,
        Some(_) => return Err(flaw("spec.restartPolicy", "expected \"Always\", \"OnFailure\" or \"Never\"")),
    };
    let grace_s = match spec.grace_s {
        None => mote::board::GRACE_DEFAULT_S,
        Some(grace_s) => {
            (0..=GRACE_MAX_S).contains(&grace_s).then(|| u32::try_from(grace_s).ok()).flatten().ok_or_else(
                || flaw("spec.terminationGracePeriodSeconds", "expected a whole number from 0 to 86400"),
            )?
        }
    };
    let network = network::network(
        spec.host_network,
        &doc.metadata.annotations,
        [&spec.init_containers, &spec.containers],
        &flaw,
    )?;
    let host_network = network.mode == Mode::Host;
    let hostname = match spec.hostname {
        _ if host_network => None,
        None => Some(name.clone()),
        Some(text) => Some(Name::new(&text.decode()).ok_or_else(|| flaw("spec.hostname", Name::WANT))?),
    };
    if spec.containers.is_empty() {
        return Err(flaw("spec.containers", "expected at least one container"));
    }
    if spec.share_pid && spec.host_pid {
        return Err(flaw("spec.shareProcessNamespace", "in conflict with hostPID"));
    }
    let of_pod = |field: &str, why: &str| flaw(&format!("spec.securityContext.{field}"), why);
    let mut host = CloneFlags::empty();
    host.set(CloneFlags::CLONE_NEWNET, host_network);
    host.set(CloneFlags::CLONE_NEWIPC, spec.host_ipc);
    let security = security::shared(&spec.security, host, &of_pod)?;
    let volumes = volumes::volumes(&spec.volumes, raw("volumes"), &|field, why| {
        flaw(&format!("spec.volumes{field}"), why)
    })?;
    let annotations = annotations::read(file, &doc.metadata.annotations)?;
    let around = container::Around {
        metadata: &doc.metadata,
        security: &spec.security,
        volumes: &volumes,
        life: life::Common { policy: restart, grace_s, annotations: &annotations },
    };
    let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    let count = lists.iter().map(|(_, texts)| texts.len()).sum();
    let mut containers = Vec::<Container>::with_capacity(count);
    for (list, texts) in lists {
        for (i, (text, raw)) in texts.iter().zip(fields::elements(raw(list))).enumerate() {
            let at = |field: &str, why: &str| flaw(&format!("spec.{list}[{i}].{field}"), why);
            let role = life::role(text, list == "initContainers", &at)?;
            let made = container::container(text, raw, role, &around, &at, &of_pod)?;
            if containers.iter().any(|other| other.name == made.name) {
                return Err(at("name", "another container of this pod has this name"));
            }
            containers.push(made);
        }
    }
    let own = limits::read(raw("resources"), &|field, why| flaw(&format!("spec.resources{field}"), why))?;
    let limits = own.or(limits::together(
        containers.iter().map(|container| (container.life.conf.role != Role::Init, &container.limits)),
    ));
    Ok(Pod {
        name,
        host_network,
        network,
        host_pid: spec.host_pid,
        host_ipc: spec.host_ipc,
        share_pid: spec.share_pid,
        hostname,
        restart,
        grace_s,
        security,
        aliases: hosts::aliases(&spec.host_aliases, &flaw)?,
        dns: hosts::dns(&spec, &flaw, &mut passed)?,
        volumes,
        after: annotations.after,
        control: annotations.control,
        containers,
        limits,
        passed,
    })
}

#[cfg(test)]
mod tests;
