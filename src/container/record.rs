//! What is kept of a container that is being made, for the commands that follow.

use std::ffi::CString;

use nix::unistd::Pid;

use super::Request;
use super::bundle::Bundle;
use crate::json;
use crate::plan::{Plan, When};
use crate::spec::Spec;
use crate::state::{Record, Status};

/// Hooks that are left to other commands than `create`.
const LATER: &[When] = &[When::StartContainer, When::Poststart, When::Poststop];

/// What is known about a container that is being made.
pub fn record(request: &Request<'_>, spec: &Spec<'_>, plan: &Plan<'_>, bundle: &Bundle, pid: Pid) -> Record {
    let text = |text: &std::ffi::CStr| String::from_utf8_lossy(text.to_bytes()).into_owned();
    Record {
        id: request.id.clone(),
        pid,
        // Filled in before it is saved. A child that has died by then has none, and shows as stopped.
        start_ticks: 0,
        status: if request.wait { Status::Created } else { Status::Running },
        bundle: bundle.path.clone(),
        rootfs: text(plan.rootfs).into(),
        created: crate::time::now_rfc3339().as_str().to_owned(),
        cgroup: plan.cgroup.path.to_owned(),
        every_cgroup: plan.cgroup.every,
        rdt: CString::default(),
        hooks: plan.hooks.any(if request.wait { LATER } else { &[When::Poststop] }),
        oci_version: spec.oci_version.decode(),
        annotations: spec.annotations.iter().map(|(key, value)| (key.decode(), value.decode())).collect(),
        kept: kept(request, spec, plan, bundle),
    }
}

/// What `exec` needs: the namespaces, and the process, whose fields are the defaults of those it starts.
fn kept(request: &Request<'_>, spec: &Spec<'_>, plan: &Plan<'_>, bundle: &Bundle) -> String {
    let mut kept = json::Writer::new("");
    let own = plan.join.iter().fold(plan.new_namespaces, |all, join| all | join.kind);
    kept.number("namespaces", own.bits());
    if request.keep_keyring {
        kept.number("keepKeyring", true);
    }
    if crate::image::is_exposed(plan) {
        kept.number("exposed", true);
    }
    if plan.process.keeps_groups {
        kept.number("keepsGroups", true);
    }
    if let Some(filter) = &plan.process.seccomp {
        kept.number("seccomp", true);
        if let Some(listener) = &filter.listener {
            kept.string("listenerPath", &listener.path);
            kept.string("listenerMetadata", &listener.metadata);
        }
    }
    let text = std::str::from_utf8(&bundle.text).unwrap_or_default(); // parsed, so it is
    // Of a key that stands twice the objects are merged; see [`object!`].
    let of = |text, key| {
        let members = json::members(text).filter(move |member| member.key == key);
        members.flat_map(|member| json::members(member.value))
    };
    let object = |members: Vec<&str>| format!("{{{}}}", members.join(","));
    kept.raw("process", &object(of(text, "process").map(|member| member.whole).collect()));
    if spec.linux.personality.is_some() || spec.linux.memory_policy.is_some() {
        let wanted = |member: &json::Member<'_>| member.key == "memoryPolicy" || member.key == "personality";
        kept.raw("linux", &object(of(text, "linux").filter(wanted).map(|member| member.whole).collect()));
    }
    if let Some(rdt) = &plan.rdt {
        kept.list("rdt", &rdt.groups());
    }
    if let Some(cwd) = request.overrides.cwd {
        kept.string("cwd", cwd);
    }
    kept.list("env", request.overrides.env);
    kept.end()
}
