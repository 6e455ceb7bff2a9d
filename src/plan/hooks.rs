//! `hooks`: programs that run at points of a container's life, and the state that they are told.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::{Checked, Spec, Strings, in_container, list, refused, wrong};
use crate::json::{List, Writer};
use crate::spec;
use crate::sys::exec::CStrList;

/// When a hook runs; runtime-spec config.md "POSIX-platform Hooks".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum When {
    /// As `CreateRuntime`, before it. Deprecated; Docker's network comes by it.
    Prestart,
    /// In the runtime's namespaces, once the container's namespaces and mounts are there, before pivot_root.
    CreateRuntime,
    /// In the container's namespaces, before pivot_root.
    CreateContainer,
    /// In the container, before its program.
    StartContainer,
    /// In the runtime's namespaces, once the program runs.
    Poststart,
    /// In the runtime's namespaces, once the container is removed.
    Poststop,
}

/// Every kind: its name in config.json and the status that its hooks are told.
pub const KINDS: &[(When, &str, &str)] = &[
    (When::Prestart, "prestart", "creating"),
    (When::CreateRuntime, "createRuntime", "creating"),
    (When::CreateContainer, "createContainer", "creating"),
    (When::StartContainer, "startContainer", "created"),
    (When::Poststart, "poststart", "running"),
    (When::Poststop, "poststop", "stopped"),
];

impl When {
    fn row(self) -> (&'static str, &'static str) {
        KINDS.iter().find(|row| row.0 == self).map_or(("", ""), |row| (row.1, row.2))
    }

    /// Its name in config.json.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The container's status at that time.
    pub fn status(self) -> &'static str {
        self.row().1
    }
}

/// One program.
#[derive(Debug)]
pub struct Hook<'a> {
    /// Absolute.
    pub path: &'a CStr,
    /// Never empty: the path itself where config.json has none.
    pub args: CStrList<'a>,
    /// All of it; nothing of the caller's is added.
    pub env: CStrList<'a>,
    /// How long it may take.
    pub timeout: Option<Duration>,
}

/// All hooks of a container.
#[derive(Debug, Default)]
pub struct Hooks<'a> {
    lists: [Vec<Hook<'a>>; KINDS.len()],
    /// The working directory of those that do not run in the container.
    pub bundle: &'a CStr,
    /// The container's state as JSON: what stands before the status, and what behind the pid.
    pub state: (String, String),
}

/// The most hooks of one kind: their number goes into one byte of a failure.
const MOST: usize = 255;

impl<'a> Hooks<'a> {
    /// The hooks of one kind, in order.
    pub fn of(&self, when: When) -> &[Hook<'a>] {
        self.lists.get(when as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether there is a hook of one of these kinds.
    pub fn any(&self, kinds: &[When]) -> bool {
        kinds.iter().any(|when| !self.of(*when).is_empty())
    }
}

/// Checks and resolves `hooks`.
pub fn plan<'a>(spec: &Spec<'_>, bundle: &Path, id: &str, strings: &mut Strings<'a>) -> Checked<Hooks<'a>> {
    let given = &spec.hooks;
    let given: [&List<spec::Hook<'_>>; KINDS.len()] = [
        &given.prestart,
        &given.create_runtime,
        &given.create_container,
        &given.start_container,
        &given.poststart,
        &given.poststop,
    ];
    let mut hooks = Hooks::default();
    if given.iter().all(|list| list.is_empty()) {
        return Ok(hooks);
    }
    for ((list, given), (_, name, _)) in hooks.lists.iter_mut().zip(given).zip(KINDS) {
        if given.len() > MOST {
            return wrong(format!("hooks.{name}"), "more than 255 hooks");
        }
        for (i, hook) in given.iter().enumerate() {
            list.push(one(hook, &format!("hooks.{name}[{i}]"), strings)?);
        }
    }
    hooks.bundle = strings.concat(&[bundle.as_os_str().as_bytes()]).map_err(|e| refused("hooks", e))?;
    hooks.state = state(spec, bundle, id);
    Ok(hooks)
}

fn one<'a>(hook: &spec::Hook<'_>, field: &str, strings: &mut Strings<'a>) -> Checked<Hook<'a>> {
    let path = in_container(strings, hook.path, &format!("{field}.path"))?;
    let mut words = |words: &List<crate::json::Str<'_>>, name: &str| {
        list(words.iter().enumerate().map(|(i, word)| {
            strings.decode(b"", *word).map_err(|e| refused(&format!("{field}.{name}[{i}]"), e))
        }))
    };
    let (mut args, env) = (words(&hook.args, "args")?, words(&hook.env, "env")?);
    if args.iter().next().is_none() {
        args.push(path);
    }
    let timeout = match hook.timeout.map(u64::try_from) {
        None => None,
        Some(Ok(seconds @ 1..)) => Some(Duration::from_secs(seconds)),
        Some(_) => return wrong(format!("{field}.timeout"), "expected at least 1 second"),
    };
    Ok(Hook { path, args, env, timeout })
}

/// The container's state as runtime-spec has it, but for status and pid, which change.
fn state(spec: &Spec<'_>, bundle: &Path, id: &str) -> (String, String) {
    let mut head = Writer::new("");
    head.string("ociVersion", &spec.oci_version.decode());
    head.string("id", id);
    let mut tail = Writer::new("");
    tail.string("bundle", &bundle.to_string_lossy());
    if !spec.annotations.is_empty() {
        let annotations = spec.annotations.iter().map(|(key, value)| (key.decode(), value.decode()));
        tail.strings("annotations", &annotations.collect::<Vec<_>>());
    }
    let (mut head, mut tail) = (head.end(), tail.end());
    head.pop(); // one object in two pieces
    tail.replace_range(..1, ",");
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn planned<'a>(text: &str, buffer: &'a mut [u8]) -> Checked<Hooks<'a>> {
        let Ok(spec) = json::parse::<Spec<'_>>(text.as_bytes()) else { unreachable!("{text}") };
        plan(&spec, Path::new("/b"), "x", &mut Strings::new(buffer))
    }

    #[test]
    fn the_kinds_stand_in_the_order_of_their_numbers() {
        for (n, (when, name, status)) in KINDS.iter().enumerate() {
            assert_eq!(*when as usize, n);
            assert_eq!((when.name(), when.status()), (*name, *status));
        }
    }

    #[test]
    fn a_hook_without_arguments_has_its_path_and_nothing_of_the_caller_s_environment() {
        let mut buffer = [0; 256];
        let Ok(hooks) = planned(r#"{"hooks":{"poststop":[{"path":"/x"}]}}"#, &mut buffer) else {
            unreachable!()
        };
        let [hook] = hooks.of(When::Poststop) else { unreachable!() };
        assert_eq!(hook.args.iter().collect::<Vec<_>>(), [c"/x"]);
        assert_eq!(hook.env.iter().count(), 0);
        assert!(hooks.any(&[When::Prestart, When::Poststop]) && !hooks.any(&[When::Prestart]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (hooks, field, why) in [
            (r#"{"prestart":[{}]}"#, "hooks.prestart[0].path", "expected an absolute path"),
            (r#"{"poststart":[{"path":"/a"},{"path":"b"}]}"#, "hooks.poststart[1].path", "absolute"),
            (r#"{"poststop":[{"path":"/a","timeout":0}]}"#, "hooks.poststop[0].timeout", "at least 1"),
            (r#"{"poststop":[{"path":"/a","timeout":-9}]}"#, "hooks.poststop[0].timeout", "at least 1"),
            (r#"{"poststop":[{"path":"/a","env":["\u0000"]}]}"#, "hooks.poststop[0].env[0]", "NUL"),
        ] {
            let Err(wrong) = planned(&format!(r#"{{"hooks":{hooks}}}"#), &mut [0; 256]) else {
                unreachable!("{hooks}")
            };
            assert!(wrong.0 == field && wrong.1.contains(why), "{wrong:?}");
        }
    }
}
