//! Who the program runs as, and its capabilities.

use mote::spec;
use mote::tables::CAPABILITIES;

use super::{Config, Found};
use crate::manifest::security::{Capabilities, Security};
use crate::manifest::{Container, Pod};

/// `process.user`
pub fn user(
    config: &mut Config,
    process: &spec::Process<'_>,
    pod: &Pod,
    container: &Container,
    found: &Found,
) -> Result<(), (&'static str, String)> {
    let (own, security, shared) = (&process.user, &container.security, &pod.security);
    let uid = security.user.unwrap_or(own.uid);
    if security.non_root && uid == 0 {
        let why = "the bundle's user is root, which runAsNonRoot forbids".to_owned();
        return Err(("securityContext.runAsNonRoot", why));
    }
    // Another user has the image's groups and not those of config.json.
    let same = uid == own.uid;
    let gid = security.group.unwrap_or(if same { own.gid } else { found.group.unwrap_or(0) });
    let mut groups = if same && !shared.strict_groups { own.additional_gids.to_vec() } else { Vec::new() };
    for group in found.groups.iter().chain(&shared.fs_group).chain(&shared.groups) {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    if (uid, gid, groups.as_slice()) == (own.uid, own.gid, &own.additional_gids[..]) {
        return Ok(());
    }
    config.set(&["process", "user", "uid"], &uid.to_string());
    config.set(&["process", "user", "gid"], &gid.to_string());
    let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
    config.set(&["process", "user", "additionalGids"], &format!("[{}]", groups.join(",")));
    Ok(())
}

/// `process.capabilities`; `all` has those that can be had.
pub fn capabilities(config: &mut Config, process: &spec::Process<'_>, security: &Security, all: u64) {
    let change = match (security.privileged, security.capabilities) {
        (true, _) => Capabilities { base: Some(all), add: 0, drop: 0 },
        (false, change) if change == Capabilities::default() => return,
        (false, change @ Capabilities { base: Some(1..), .. }) => Capabilities { base: Some(all), ..change },
        (false, change) => change,
    };
    let none = spec::Capabilities::default();
    let own = process.capabilities.as_ref().unwrap_or(&none);
    for (key, names, added) in [
        ("bounding", &own.bounding, true),
        ("effective", &own.effective, true),
        ("permitted", &own.permitted, true),
        // As kubelet's runtimes: a program that is not root's gets what is added by what its file says, and not by itself.
        ("inheritable", &own.inheritable, false),
        ("ambient", &own.ambient, false),
    ] {
        let bit = |name: &mote::json::Str<'_>| {
            CAPABILITIES.iter().find(|(known, _)| *name == *known).map_or(0, |(_, number)| 1 << number)
        };
        let set = change.apply(names.iter().fold(0, |set, name| set | bit(name)), added);
        let names = CAPABILITIES.iter().filter(|(_, number)| set >> number & 1 == 1);
        let names: Vec<_> = names.map(|(name, _)| format!("\"{name}\"")).collect();
        config.set(&["process", "capabilities", key], &format!("[{}]", names.join(",")));
    }
}
