//! What a container's life is to be: its role, restarts, probes and hooks. Everything PID 1 keeps of it is in [`Conf`]; what
//! probes and hooks do is read again by the child that does it.

use mote::error::{Error, Result};

use super::RestartPolicy;
use super::annotations::Annotations;
use super::expand::expand;
use super::lifecycle;
use super::probe::{self, Handler, Place};
use super::text::{ContainerText, Env};
use crate::fields;
use crate::supervise::{Conf, Role, Task};

/// The life of one container.
#[derive(Debug)]
pub struct Life {
    /// What PID 1 has to know.
    pub conf: Conf,
    /// What each task does, at its number.
    pub handlers: [Option<Handler>; 5],
}

impl Life {
    /// What `task` does.
    pub fn handler(&self, task: Task) -> Option<&Handler> {
        self.handlers.get(task as usize)?.as_ref()
    }
}

/// What all containers of a pod have in common.
#[derive(Debug)]
pub struct Common<'a> {
    /// `spec.restartPolicy`
    pub policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`
    pub grace_s: u32,
    /// `metadata.annotations`
    pub annotations: &'a Annotations,
}

/// The role of a container of the list `init` or not.
pub fn role(text: &ContainerText<'_>, init: bool, at: &dyn Fn(&str, &str) -> Error) -> Result<Role> {
    match text.restart_policy {
        None if init => Ok(Role::Init),
        None => Ok(Role::Main),
        Some(policy) if init && policy == "Always" => Ok(Role::Sidecar),
        Some(_) if init => Err(at("restartPolicy", "expected \"Always\", which makes it a sidecar")),
        Some(_) => {
            Err(at("restartPolicy", "that of the pod counts; only init containers may have their own"))
        }
    }
}

/// Expands a probe's `command` as kubelet does (`ExpandContainerCommandOnlyStatic`): by the `value` that stands in the manifest, not
/// expanded itself, which is empty beside a `valueFrom`. The commands of hooks it leaves as they are.
fn expand_static(command: &mut [String], env: &[Env<'_>]) {
    if !command.iter().any(|word| word.contains('$')) {
        return;
    }
    let values: Vec<_> = env.iter().map(|var| (var.name.decode(), var.value.decode())).collect();
    let value = |name: &str| {
        let found = values.iter().rev().find(|(own, _)| own == name); // the last of a name counts
        found.map(|(_, value)| value.as_str())
    };
    command.iter_mut().for_each(|word| *word = expand(word, &value));
}

/// Reads the life of a container, whose text is `raw`.
pub fn life(
    text: &ContainerText<'_>,
    raw: &str,
    role: Role,
    common: &Common<'_>,
    at: &dyn Fn(&str, &str) -> Error,
) -> Result<Life> {
    let mut life = Life {
        conf: Conf {
            role,
            policy: role.policy(common.policy),
            grace_ms: common.grace_s.saturating_mul(1000),
            back_off: common.annotations.back_off,
            critical_limit: common.annotations.critical_limit,
            post_start: false,
            pre_stop: false,
            probes: [None; 3],
        },
        handlers: [const { None }; 5],
    };
    let probes = [
        ("startupProbe", Task::Startup, &text.startup),
        ("readinessProbe", Task::Readiness, &text.readiness),
        ("livenessProbe", Task::Liveness, &text.liveness),
    ];
    let within = |outer: &str, field: &str, why: &str| at(&format!("{outer}{field}"), why);
    // An init container is over before anybody could ask.
    let refuse = |field: &str| Err(at(field, "an init container has none, unless it is a sidecar"));
    for (field, task, text_of_probe) in probes {
        let Some(probe) = text_of_probe else { continue };
        if role == Role::Init {
            return refuse(field);
        }
        let at = |inner: &str, why: &str| within(field, inner, why);
        let place = Place { raw: fields::member(raw, field).unwrap_or(""), ports: &text.ports, at: &at };
        let (timing, mut handler) = probe::probe(task, probe, &place)?;
        if let Handler::Exec(command) = &mut handler {
            expand_static(command, &text.env);
        }
        if let (Some(probe), Some(to)) =
            (life.conf.probes.get_mut(task as usize), life.handlers.get_mut(task as usize))
        {
            (*probe, *to) = (Some(timing), Some(handler));
        }
    }
    let lifecycle = fields::member(raw, "lifecycle").unwrap_or("");
    let hooks = text.lifecycle.as_ref().map(|hooks| (&hooks.post_start, &hooks.pre_stop));
    let (post_start, pre_stop) = hooks.map_or((None, None), |(post, pre)| (post.as_ref(), pre.as_ref()));
    for (field, task, hook) in
        [("postStart", Task::PostStart, post_start), ("preStop", Task::PreStop, pre_stop)]
    {
        let Some(hook) = hook else { continue };
        if role == Role::Init {
            return refuse("lifecycle");
        }
        let at = |inner: &str, why: &str| within("lifecycle.", &format!("{field}{inner}"), why);
        let place =
            Place { raw: fields::member(lifecycle, field).unwrap_or(""), ports: &text.ports, at: &at };
        if let Some(to) = life.handlers.get_mut(task as usize) {
            *to = Some(lifecycle::hook(hook, &place)?);
        }
    }
    life.conf.post_start = post_start.is_some();
    life.conf.pre_stop = pre_stop.is_some();
    Ok(life)
}
