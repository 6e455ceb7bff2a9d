//! `process`: the program, who it runs as, what it may do.

use std::ffi::CStr;

use nix::sys::resource::Resource;

use super::{Checked, List, Overrides, Str, Strings, list, missing, refused, wrong};
use crate::error::put_visible;
use crate::label::Labels;
use crate::seccomp::Filter;
use crate::spec;
use crate::sys::exec::CStrList;
use crate::tables::{self, lookup};

/// The program and how it starts.
#[derive(Debug)]
pub struct Process<'a> {
    /// Program and arguments; never empty.
    pub args: CStrList<'a>,
    /// Environment.
    pub env: CStrList<'a>,
    /// The value of PATH in it.
    pub path: &'a CStr,
    /// The program's name: the first of the arguments.
    pub program: &'a CStr,
    /// Working directory in the container, absolute.
    pub cwd: &'a CStr,
    /// Whether a working directory that is missing is made.
    pub make_cwd: bool,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; they replace the caller's.
    pub groups: Vec<u32>,
    /// Whether the groups stay the caller's instead: nobody may set them in its new user namespace, or the engine wants it so.
    pub keeps_groups: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets; empty ones without `process.capabilities`, as runc and crun have it.
    pub capabilities: CapabilitySets,
    /// Resource limits: which, soft, hard.
    pub rlimits: Vec<(Resource, u64, u64)>,
    /// Whether `execve` may gain no privileges.
    pub no_new_privileges: bool,
    /// Judges its system calls; `linux.seccomp`.
    pub seccomp: Option<Filter>,
    /// For `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// What the security modules call it.
    pub labels: Labels<'a>,
    /// Whether it gets a pseudoterminal.
    pub terminal: bool,
    /// The pseudoterminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

impl Process<'_> {
    /// Whether somebody outside answers some of its system calls.
    pub fn has_listener(&self) -> bool {
        self.seccomp.as_ref().is_some_and(|filter| filter.listener.is_some())
    }
}

/// A bit for each capability in each set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What it may ever have.
    pub bounding: u64,
    /// What it has.
    pub effective: u64,
    /// What files may pass on.
    pub inheritable: u64,
    /// What it may take.
    pub permitted: u64,
    /// What it keeps over execve.
    pub ambient: u64,
}

/// Checks and resolves `process`.
pub fn plan<'a>(
    process: &spec::Process<'_>,
    overrides: &Overrides<'_>,
    keeps_groups: bool,
    strings: &mut Strings<'a>,
) -> Checked<Process<'a>> {
    let args = match overrides.args {
        Some(args) => list(
            args.iter().map(|arg| strings.concat(&[arg.as_bytes()]).map_err(|e| refused("process.args", e))),
        )?,
        None => decoded(&process.args, "process.args", strings)?,
    };
    let Some(program) = args.iter().next() else { return Err(missing("process.args")) };
    if program.is_empty() {
        return wrong("process.args[0]", "the program's name is empty: executable file not found in $PATH");
    }
    let env = environment(process, overrides, strings)?;

    let cwd = match overrides.cwd {
        Some(cwd) => strings.concat(&[cwd.as_bytes()]).map_err(|e| refused("process.cwd", e))?,
        None => strings.decode(b"", process.cwd).map_err(|e| refused("process.cwd", e))?,
    };
    if cwd.to_bytes().first() != Some(&b'/') {
        return wrong("process.cwd", "expected an absolute path");
    }
    let user = &process.user;
    for (id, field) in [(user.uid, "process.user.uid"), (user.gid, "process.user.gid")] {
        check_id(id, field)?;
    }
    for (i, &gid) in user.additional_gids.iter().enumerate() {
        check_id(gid, &format!("process.user.additionalGids[{i}]"))?;
    }
    if user.umask.is_some_and(|umask| umask > 0o777) {
        return wrong("process.user.umask", "expected a number from 0 to 511 (octal 777)");
    }
    if process.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return wrong("process.oomScoreAdj", "expected a number from -1000 to 1000");
    }
    Ok(Process {
        path: path_of(&env),
        program,
        args,
        env,
        cwd,
        make_cwd: true,
        uid: user.uid,
        gid: user.gid,
        groups: user.additional_gids.to_vec(),
        keeps_groups,
        umask: user.umask.unwrap_or(0o022),
        capabilities: process.capabilities.as_ref().map(capabilities).unwrap_or_default(),
        rlimits: rlimits(process)?,
        no_new_privileges: process.no_new_privileges,
        seccomp: None,
        oom_score_adj: process.oom_score_adj,
        labels: Labels {
            apparmor: label(b"exec ", process.apparmor_profile, "process.apparmorProfile", strings)?,
            selinux: label(b"", process.selinux_label, "process.selinuxLabel", strings)?,
        },
        terminal: process.terminal,
        console_size: process.console_size.as_ref().map(|size| (size.height, size.width)),
    })
}

/// A label behind `prefix`; an empty one is none, as engines write it.
fn label<'a>(
    prefix: &[u8],
    label: Option<Str<'_>>,
    field: &str,
    strings: &mut Strings<'a>,
) -> Checked<Option<&'a CStr>> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(None) };
    if label.chars().any(char::is_control) {
        return wrong(field, "control characters are not allowed here");
    }
    strings.decode(prefix, label).map(Some).map_err(|e| refused(field, e))
}

/// The value of PATH in an environment.
pub fn path_of<'a>(env: &CStrList<'a>) -> &'a CStr {
    let path = env.iter().find_map(|entry| entry.to_bytes_with_nul().strip_prefix(b"PATH="));
    path.and_then(|value| CStr::from_bytes_with_nul(value).ok()).unwrap_or(DEFAULT_PATH)
}

/// Where programs are looked for without PATH: what execvp(3) of the C libraries takes.
const DEFAULT_PATH: &CStr = c"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// -1 is "no change" to the kernel, so it can be nobody's id; setresuid(2).
pub fn check_id(id: u32, field: &str) -> Checked<()> {
    if id == u32::MAX { wrong(field, "expected a number from 0 to 4294967294") } else { Ok(()) }
}

/// Strings of an array as a list for execve.
fn decoded<'a>(array: &List<Str<'_>>, field: &str, strings: &mut Strings<'a>) -> Checked<CStrList<'a>> {
    list(
        array
            .iter()
            .enumerate()
            .map(|(i, text)| strings.decode(b"", *text).map_err(|e| refused(&format!("{field}[{i}]"), e))),
    )
}

/// `process.env`, with what the caller adds in the place of entries of the same name.
fn environment<'a>(
    process: &spec::Process<'_>,
    overrides: &Overrides<'_>,
    strings: &mut Strings<'a>,
) -> Checked<CStrList<'a>> {
    let mut env = CStrList::with_capacity(process.env.len() + overrides.env.len());
    for (i, text) in process.env.iter().enumerate() {
        let field = || format!("process.env[{i}]");
        let entry = strings.decode(b"", *text).map_err(|e| refused(&field(), e))?;
        let Some(equals) = entry.to_bytes().iter().position(|&b| b == b'=').filter(|&at| at > 0) else {
            return wrong(field(), "expected NAME=VALUE");
        };
        let name = &entry.to_bytes()[..=equals];
        if !overrides.env.iter().any(|other| other.as_bytes().starts_with(name)) {
            // Of two with the same name programs see the first, and mean the last: so do runc and crun.
            env.put(name, entry);
        }
    }
    for entry in overrides.env {
        env.push(strings.concat(&[entry.as_bytes()]).map_err(|e| refused("process.env", e))?);
    }
    Ok(env)
}

/// `process.capabilities`: a name that this kernel's headers did not know yet is passed over with a warning, as
/// runtime-spec allows ("log a warning") and engines with newer tables rely on.
fn capabilities<'s>(sets: &spec::Capabilities<'s>) -> CapabilitySets {
    let mut unknown: Option<Str<'s>> = None;
    let mut bits = |names: &List<Str<'s>>| {
        names.iter().fold(0, |set, name| match lookup(tables::CAPABILITIES, *name) {
            Some(number) => set | 1 << number,
            None => {
                unknown.get_or_insert(*name);
                set
            }
        })
    };
    let (inheritable, permitted) = (bits(&sets.inheritable), bits(&sets.permitted));
    let planned = CapabilitySets {
        bounding: bits(&sets.bounding),
        effective: bits(&sets.effective),
        inheritable,
        permitted,
        // Only what is both permitted and inheritable can be ambient, capabilities(7). `runc spec` writes ambient
        // sets that are not, which runc drops as well.
        ambient: bits(&sets.ambient) & inheritable & permitted,
    };
    // One line, however many there are and whatever they hold.
    if let Some(name) = unknown {
        let mut shown = String::new();
        let _ = name.chars().take(40).try_for_each(|c| put_visible(&mut shown, c)); // to a String
        crate::warn!("process.capabilities: {shown} is unknown and ignored");
    }
    planned
}

/// `process.rlimits`
fn rlimits(process: &spec::Process<'_>) -> Checked<Vec<(Resource, u64, u64)>> {
    let mut limits: Vec<(Resource, u64, u64)> = Vec::with_capacity(process.rlimits.len());
    for (i, limit) in process.rlimits.iter().enumerate() {
        let at = |field: &str| format!("process.rlimits[{i}].{field}");
        let resource = lookup(tables::RLIMITS, limit.kind).ok_or_else(|| {
            (at("type"), format!("\"{}\" is none of {}", limit.kind, tables::names(tables::RLIMITS)))
        })?;
        if limits.iter().any(|(other, ..)| *other == resource) {
            return Err((at("type"), format!("\"{}\" stands twice", limit.kind)).into());
        }
        if limit.soft > limit.hard {
            return Err((at("soft"), format!("{} is above the hard limit {}", limit.soft, limit.hard)).into());
        }
        limits.push((resource, limit.soft, limit.hard));
    }
    Ok(limits)
}
