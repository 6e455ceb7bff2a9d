//! `spec.containers[]`: the program, its arguments and environment, and what else only its start needs.

use mote::error::{Error, Result};
use mote::json::Str;

use super::expand::expand;
use super::life::{self, Life};
use super::quantity;
use super::security::{self, Security, word};
use super::text::{ContainerText, Metadata, PodSecurity, ResourceRef, ValueFrom};
use super::volumes::{self, Volume, VolumeMount};
use crate::fields;
use crate::limits::{self, Limits};
use crate::name::{Bundle, Name};
use crate::stdin::Wanted;
use crate::supervise::Role;

/// A checked container.
#[derive(Debug)]
pub struct Container {
    /// Its name in the pod.
    pub name: Name,
    /// The bundle's directory.
    pub bundle: Bundle,
    /// Replaces the bundle's program and arguments.
    pub command: Vec<String>,
    /// Follows `command`, or replaces the arguments of the bundle's program.
    pub args: Vec<String>,
    /// `NAME=VALUE`, replacing the bundle's.
    pub env: Vec<String>,
    /// Replaces the bundle's working directory.
    pub cwd: Option<String>,
    /// Who it runs as, and what it may do.
    pub security: Security,
    /// The volumes that it sees.
    pub mounts: Vec<VolumeMount>,
    /// Where it may leave a last word.
    pub message: Option<Message>,
    /// Take the place of the bundle's.
    pub limits: Limits,
    /// Whether somebody may type to it.
    pub stdin: Wanted,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Its role, probes and hooks.
    pub life: Life,
}

/// Where a container may leave a last word.
#[derive(Debug)]
pub struct Message {
    /// The file, in the container.
    pub path: String,
    /// Whether the end of its log stands in for an empty one after a failure.
    pub or_log: bool,
}

/// What the checks of a container need of its pod.
#[derive(Debug)]
pub struct Around<'t> {
    /// `metadata`
    pub metadata: &'t Metadata<'t>,
    /// `spec.securityContext`
    pub security: &'t PodSecurity<'t>,
    /// `spec.volumes`
    pub volumes: &'t [Volume],
    /// What the lives of all containers have in common.
    pub life: life::Common<'t>,
}

/// Checks one container whose text is `raw`; `at` makes an error from a field's name, `pods` from one below the pod's `securityContext`.
pub fn container(
    text: &ContainerText<'_>,
    raw: &str,
    role: Role,
    around: &Around<'_>,
    at: &dyn Fn(&str, &str) -> Error,
    pods: &dyn Fn(&str, &str) -> Error,
) -> Result<Container> {
    let env = environment(text, raw, around, at)?;
    let strings = |list: &[Str<'_>], field: &str| -> Result<Vec<String>> {
        let one =
            |(k, text): (usize, &Str<'_>)| no_nul(text.decode(), &|why| at(&format!("{field}[{k}]"), why));
        list.iter()
            .enumerate()
            .map(|each| one(each).map(|text| expand(&text, &|name| value_of(&env, name))))
            .collect()
    };
    let (command, args) = (strings(&text.command, "command")?, strings(&text.args, "args")?);
    let cwd = text.working_dir.map(Str::decode).filter(|cwd| !cwd.is_empty());
    if cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/') || cwd.contains('\0')) {
        return Err(at("workingDir", "expected an absolute path"));
    }
    let own = |field: &str, why: &str| at(&format!("securityContext.{field}"), why);
    let security = security::container(&text.security, around.security, &own, pods)?;
    let mounts = volumes::mounts(
        &text.mounts,
        around.volumes,
        security.privileged,
        &|name| value_of(&env, name),
        &|field, why| at(&format!("volumeMounts{field}"), why),
    )?;
    let resources = fields::member(raw, "resources").unwrap_or("");
    Ok(Container {
        name: Name::new(&text.name.decode()).ok_or_else(|| at("name", Name::WANT))?,
        bundle: Bundle::new(text.image.decode()).ok_or_else(|| at("image", Bundle::WANT))?,
        command,
        args,
        env,
        cwd,
        security,
        mounts,
        message: message(text, at)?,
        life: life::life(text, raw, role, &around.life, at)?,
        stdin: match (text.stdin, text.stdin_once) {
            (false, _) => Wanted::No,
            (true, false) => Wanted::Always,
            (true, true) => Wanted::Once,
        },
        tty: text.tty,
        limits: limits::read(resources, &|field, why| at(&format!("resources{field}"), why))?,
    })
}

/// `env`, each entry expanded by those before it.
fn environment(
    text: &ContainerText<'_>,
    raw: &str,
    around: &Around<'_>,
    at: &dyn Fn(&str, &str) -> Error,
) -> Result<Vec<String>> {
    let whole = raw;
    let mut raws = fields::elements(fields::member(raw, "env").unwrap_or(""));
    let mut env = Vec::<String>::with_capacity(text.env.len());
    for (k, var) in text.env.iter().enumerate() {
        let at = |field: &str, why: &str| at(&format!("env[{k}].{field}"), why);
        let (name, raw) = (var.name.decode(), raws.next().unwrap_or(""));
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(at("name", "expected a name without = and NUL"));
        }
        let value = match &var.from {
            None => {
                expand(&no_nul(var.value.decode(), &|why| at("value", why))?, &|name| value_of(&env, name))
            }
            Some(_) if !var.value.is_empty() => return Err(at("valueFrom", "only without value")),
            Some(ValueFrom { resource: Some(resource), field: None }) => {
                let raw =
                    fields::member(raw, "valueFrom").and_then(|raw| fields::member(raw, "resourceFieldRef"));
                amount(resource, raw.unwrap_or(""), text, whole, &at)?
            }
            Some(from) => no_nul(value_from(from, around, &at)?, &|why| at("valueFrom.fieldRef", why))?,
        };
        // Of two with the same name the last one counts.
        let entry = format!("{name}={value}");
        match env.iter_mut().find(|other| other.get(..=name.len()) == entry.get(..=name.len())) {
            Some(other) => *other = entry,
            None => env.push(entry),
        }
    }
    Ok(env)
}

/// What goes to execve ends at the first NUL, so a NUL inside would cut it short unseen.
fn no_nul(text: String, wrong: &dyn Fn(&str) -> Error) -> Result<String> {
    if text.contains('\0') { Err(wrong("holds a NUL")) } else { Ok(text) }
}

fn value_of<'e>(env: &'e [String], name: &str) -> Option<&'e str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// `valueFrom.fieldRef`, as far as there is something that it could name.
fn value_from(from: &ValueFrom<'_>, around: &Around<'_>, at: &dyn Fn(&str, &str) -> Error) -> Result<String> {
    let Some(field) = &from.field else {
        return Err(at("valueFrom", "expected fieldRef or resourceFieldRef"));
    };
    let path = field.path.decode();
    let metadata = around.metadata;
    let keyed = |key: &str, pairs: &[(Str<'_>, Str<'_>)]| {
        let key = path.strip_prefix(key)?.strip_prefix("['")?.strip_suffix("']")?;
        let found = pairs.iter().find(|(name, _)| *name == key);
        Some(found.map(|(_, value)| value.decode()).unwrap_or_default())
    };
    match &*path {
        "metadata.name" => Some(metadata.name.decode()),
        "metadata.namespace" => Some(metadata.namespace.map_or_else(|| "default".to_owned(), Str::decode)),
        _ => keyed("metadata.labels", &metadata.labels).or_else(|| keyed("metadata.annotations", &metadata.annotations)),
    }
    .ok_or_else(|| at("valueFrom.fieldRef.fieldPath", "expected metadata.name, metadata.namespace, metadata.labels['...'] or metadata.annotations['...']"))
}

/// `valueFrom.resourceFieldRef`, whose text is `raw`: a limit or request of this container, whose text is `whole`, in units of
/// the divisor, rounded up.
fn amount(
    from: &ResourceRef<'_>,
    raw: &str,
    text: &ContainerText<'_>,
    whole: &str,
    at: &dyn Fn(&str, &str) -> Error,
) -> Result<String> {
    let at = |field: &str, why: &str| at(&format!("valueFrom.resourceFieldRef.{field}"), why);
    if from.container.is_some_and(|name| !name.is_empty() && name.decode() != text.name.decode()) {
        return Err(at("containerName", "expected this container"));
    }
    let all = fields::member(whole, "resources").unwrap_or("");
    let of = |kind: &str, name: &str| {
        let value = fields::member(all, kind).and_then(|kind| fields::member(kind, name));
        value.and_then(quantity::milli).filter(|milli| *milli > 0)
    };
    let resource = from.resource.decode();
    let milli = match &*resource {
        "limits.cpu" | "limits.memory" => {
            resource.strip_prefix("limits.").and_then(|name| of("limits", name))
        }
        "requests.cpu" | "requests.memory" => {
            let name = resource.strip_prefix("requests.").unwrap_or_default();
            of("requests", name).or_else(|| of("limits", name))
        }
        _ => {
            return Err(at(
                "resource",
                "expected limits.cpu, limits.memory, requests.cpu or requests.memory",
            ));
        }
    };
    let milli = milli.ok_or_else(|| at("resource", "this container has none"))?;
    let divisor = match fields::member(raw, "divisor").map(|text| (text, quantity::milli(text))) {
        None | Some(("null", _) | (_, Some(0))) => 1000,
        Some((_, Some(divisor))) => divisor,
        Some((_, None)) => return Err(at("divisor", "expected a quantity such as 1 or 1Mi")),
    };
    Ok(milli.div_ceil(divisor).to_string())
}

/// `terminationMessagePath` and `terminationMessagePolicy`. A pod that names neither has none: Kubernetes' default would be a
/// file and a mount for each container, which few programs write to.
fn message(text: &ContainerText<'_>, at: &dyn Fn(&str, &str) -> Error) -> Result<Option<Message>> {
    let policy =
        word(text.message_policy, &["File", "FallbackToLogsOnError"], "terminationMessagePolicy", at)?;
    let path = match text.message_path.filter(|path| !path.is_empty()) {
        Some(path) => volumes::path(path)
            .filter(|path| path != "/")
            .ok_or_else(|| at("terminationMessagePath", "expected an absolute path without .. in it"))?,
        None if policy.is_some() => "/dev/termination-log".to_owned(),
        None => return Ok(None),
    };
    Ok(Some(Message { path, or_log: policy == Some(1) }))
}
