//! `spec.containers[]`: the program, its arguments and environment.

use mote::error::{Error, Result};
use mote::json::Str;
use mote::seccomp::Wish;

use super::text::ContainerText;
use crate::limits::{self, Limits};
use crate::name::{Bundle, Name};
use crate::stdin::Wanted;

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
    /// Which system calls it may make where the bundle does not say; the container's word counts before the pod's.
    pub seccomp: Option<Wish>,
    /// Take the place of the bundle's.
    pub limits: Limits,
    /// Whether somebody may type to it.
    pub stdin: Wanted,
}

/// Checks one container; `at` makes an error from a field's name.
pub fn container(text: &ContainerText<'_>, at: &dyn Fn(&str, &str) -> Error) -> Result<Container> {
    // What goes to execve ends at the first NUL, so a NUL inside would cut it short unseen.
    let strings = |list: &[Str<'_>], field: &str| -> Result<Vec<String>> {
        let decoded = list.iter().map(|text| text.decode()).enumerate();
        decoded
            .map(|(k, text)| {
                if text.contains('\0') { Err(at(&format!("{field}[{k}]"), "holds a NUL")) } else { Ok(text) }
            })
            .collect()
    };
    let mut env = Vec::with_capacity(text.env.len());
    for (k, var) in text.env.iter().enumerate() {
        let (name, value) = (var.name.decode(), var.value.decode());
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(at(&format!("env[{k}].name"), "expected a name without = and NUL"));
        }
        if value.contains('\0') {
            return Err(at(&format!("env[{k}].value"), "holds a NUL"));
        }
        env.push(format!("{name}={value}"));
    }
    let cwd = text.working_dir.map(Str::decode).filter(|cwd| !cwd.is_empty());
    if cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/') || cwd.contains('\0')) {
        return Err(at("workingDir", "expected an absolute path"));
    }
    Ok(Container {
        name: Name::new(&text.name.decode()).ok_or_else(|| at("name", Name::WANT))?,
        bundle: Bundle::new(text.image.decode()).ok_or_else(|| at("image", Bundle::WANT))?,
        command: strings(&text.command, "command")?,
        args: strings(&text.args, "args")?,
        env,
        cwd,
        seccomp: None,
        stdin: match (text.stdin, text.stdin_once) {
            (false, _) => Wanted::No,
            (true, false) => Wanted::Always,
            (true, true) => Wanted::Once,
        },
        limits: limits::read(&text.resources.limits, &|field, why| {
            at(&format!("resources.limits{field}"), why)
        })?,
    })
}
