//! `linux.seccomp` checked: names are numbers, words are values, and rules that say nothing new are gone.

use super::names::{self, ARCHES, Arch, NATIVE, Name};
use crate::error::Wrong;
use crate::json::Str;
use crate::spec;
use crate::sys::seccomp::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV};
use crate::tables::{self, lookup};

// `SECCOMP_RET_*` of linux/seccomp.h
/// Ends the process.
pub const KILL_PROCESS: u32 = 0x8000_0000;
/// Ends the thread.
pub const KILL_THREAD: u32 = 0;
/// Sends SIGSYS.
pub const TRAP: u32 = 0x0003_0000;
/// Fails with the error in the lower half.
pub const ERRNO: u32 = 0x0005_0000;
/// Asks the listener.
pub const NOTIFY: u32 = 0x7fc0_0000;
/// Asks a tracer.
pub const TRACE: u32 = 0x7ff0_0000;
/// Allows and logs.
pub const LOG: u32 = 0x7ffc_0000;
/// Allows.
pub const ALLOW: u32 = 0x7fff_0000;
/// The part of a verdict that is the action; the rest is its data.
pub const ACTION: u32 = 0xffff_0000;

/// Actions; runtime-spec config-linux.md "Seccomp".
pub const ACTIONS: &[(&str, u32)] = &[
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_TRAP", TRAP),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", NOTIFY),
];

/// Operators.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("SCMP_CMP_NE", Operator::Ne),
    ("SCMP_CMP_LT", Operator::Lt),
    ("SCMP_CMP_LE", Operator::Le),
    ("SCMP_CMP_EQ", Operator::Eq),
    ("SCMP_CMP_GE", Operator::Ge),
    ("SCMP_CMP_GT", Operator::Gt),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEq),
];

/// Flags of seccomp(2). TSYNC is for other threads, of which there are none before execve: runc passes it over too.
pub const FLAGS: &[(&str, u32)] = &[
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_LOG", FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV),
];

/// The largest error number there is; `MAX_ERRNO`.
const MAX_ERRNO: u32 = 4095;

/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `(argument & mask) == (value & mask)`
    MaskedEq,
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: u64,
    /// All ones but for masked comparisons.
    pub mask: u64,
}

/// One rule: what becomes of calls whose conditions all hold.
#[derive(Debug)]
pub struct Rule {
    /// `SECCOMP_RET_*` with its data.
    pub verdict: u32,
    /// Sorted by argument.
    pub conditions: Vec<Condition>,
}

/// A checked profile.
#[derive(Debug)]
pub struct Profile {
    /// What becomes of calls that no rule is about.
    pub default: u32,
    /// The machine's architecture first.
    pub arches: Vec<&'static Arch>,
    /// Rules.
    pub rules: Vec<Rule>,
    /// Which calls each rule is about, in the order of the file.
    pub entries: Vec<(Name, usize)>,
    /// Every call that is named at all.
    pub named: Vec<Name>,
    /// For seccomp(2).
    pub flags: u32,
    /// Whether a rule asks the listener.
    pub notifies: bool,
}

impl Profile {
    /// One without rules, for this machine alone.
    pub fn new(default: u32) -> Self {
        Self {
            default,
            arches: vec![NATIVE],
            rules: Vec::new(),
            entries: Vec::new(),
            named: Vec::new(),
            flags: FLAG_SPEC_ALLOW,
            notifies: false,
        }
    }

    /// Checks `linux.seccomp` for this machine. `None` if it says nothing: no default and no rules.
    pub fn check(spec: &spec::Seccomp<'_>) -> Result<Option<Self>, Wrong> {
        Self::check_for(spec, NATIVE)
    }

    /// The same for a machine of the architecture `native`.
    pub fn check_for(spec: &spec::Seccomp<'_>, native: &'static Arch) -> Result<Option<Self>, Wrong> {
        // What engines write for "no profile"; runc reads it so too.
        if spec.default_action.is_empty() && spec.syscalls.is_empty() {
            return Ok(None);
        }
        let default =
            verdict(spec.default_action, spec.default_errno_ret, "defaultAction", "defaultErrnoRet", "")?;
        if default == NOTIFY {
            return wrong(
                "defaultAction",
                "SCMP_ACT_NOTIFY cannot be the default: what starts the container would wait too",
            );
        }
        let mut profile = Self { arches: arches(&spec.architectures, native)?, ..Self::new(default) };
        // runc's default for profiles that do not speak of flags.
        if let Some(flags) = &spec.flags {
            profile.flags = flags.iter().enumerate().try_fold(0, |all, (i, flag)| {
                let known = lookup(FLAGS, *flag);
                known
                    .map(|flag| all | flag)
                    .ok_or_else(|| none_of(format!("flags[{i}]"), *flag, tables::names(FLAGS)))
            })?;
        }
        for (i, rule) in spec.syscalls.iter().enumerate() {
            profile.add(rule, &format!("syscalls[{i}]."))?;
        }
        if profile.notifies && spec.listener_path.is_empty() {
            return wrong("listenerPath", "missing, and SCMP_ACT_NOTIFY needs it");
        }
        if profile.notifies && spec.listener_path.chars().next() != Some('/') {
            return wrong("listenerPath", "expected an absolute path");
        }
        if !profile.notifies {
            profile.flags &= !FLAG_WAIT_KILLABLE_RECV; // the kernel takes it for a listener only
        }
        Ok(Some(profile))
    }

    /// Checks one rule of the file.
    fn add(&mut self, rule: &spec::SeccompRule<'_>, at: &str) -> Result<(), Wrong> {
        let verdict = verdict(rule.action, rule.errno_ret, "action", "errnoRet", at)?;
        if rule.names.is_empty() {
            return wrong(format!("{at}names"), "expected at least one system call");
        }
        if rule.args.len() > 6 {
            return wrong(format!("{at}args"), "more than the 6 arguments that a system call has");
        }
        let mut conditions = Vec::with_capacity(rule.args.len());
        for (i, arg) in rule.args.iter().enumerate() {
            conditions.push(condition(arg).map_err(|(field, why)| (format!("{at}args[{i}].{field}"), why))?);
        }
        // libseccomp takes an argument once in a rule. For those that do not keep to that runc makes a rule of each
        // comparison, so that one of them is enough.
        conditions.sort_unstable();
        let twice = conditions.windows(2).any(|pair| matches!(pair, [a, b] if a.argument == b.argument));
        let first = self.rules.len();
        if twice {
            self.rules.extend(conditions.iter().map(|c| Rule { verdict, conditions: vec![*c] }));
        } else {
            self.rules.push(Rule { verdict, conditions });
        }
        for (i, name) in rule.names.iter().enumerate() {
            let field = || format!("{at}names[{i}]");
            if name.is_empty() {
                return wrong(field(), "expected the name of a system call");
            }
            if verdict == NOTIFY && *name == "write" {
                return wrong(
                    field(),
                    "SCMP_ACT_NOTIFY cannot be used for write: what starts the container would wait too",
                );
            }
            let Some(found) = Name::find(*name) else {
                // Engines name calls of newer and older kernels, and of other architectures.
                crate::debug!("linux.seccomp.{}: {name} is unknown and ignored", field());
                continue;
            };
            self.named.push(found);
            // Says what would be without it; runc passes it over as well, whatever other rules say.
            if verdict != self.default {
                self.notifies |= verdict == NOTIFY;
                self.entries.extend((first..self.rules.len()).map(|rule| (found, rule)));
            }
        }
        Ok(())
    }
}

/// An action and its error as the kernel takes them.
fn verdict(
    action: Str<'_>,
    errno: Option<u32>,
    field: &str,
    errno_field: &str,
    at: &str,
) -> Result<u32, Wrong> {
    let Some(action) = lookup(ACTIONS, action) else {
        return Err(none_of(format!("{at}{field}"), action, tables::names(ACTIONS)).into());
    };
    let most = match action {
        ERRNO => MAX_ERRNO,
        TRACE => 0xffff,
        // It means nothing there; runc passes it over.
        _ => return Ok(action),
    };
    match errno.unwrap_or(libc::EPERM.unsigned_abs()) {
        errno if errno <= most => Ok(action | errno),
        _ => wrong(format!("{at}{errno_field}"), format!("expected a number from 0 to {most}")),
    }
}

/// The architectures that calls may come from: the machine's own always.
fn arches(words: &[Str<'_>], native: &'static Arch) -> Result<Vec<&'static Arch>, Wrong> {
    let mut arches = vec![native];
    for (i, word) in words.iter().enumerate() {
        let known =
            names::WORDS.iter().find(|known| word.chars().eq("SCMP_ARCH_".chars().chain(known.chars())));
        let Some(known) = known else {
            return Err(none_of(
                format!("architectures[{i}]"),
                *word,
                format!("SCMP_ARCH_ and one of {}", names::WORDS.join(", ")),
            )
            .into());
        };
        // No call of an architecture that this machine cannot run ever comes.
        let arch = ARCHES.iter().find(|arch| arch.word.eq_ignore_ascii_case(known) && arch.runs_on(native));
        arches.extend(arch.filter(|arch| !arches.iter().any(|other| std::ptr::eq(*other, **arch))));
    }
    Ok(arches)
}

/// One comparison.
fn condition(arg: &spec::SeccompArg<'_>) -> Result<Condition, (&'static str, String)> {
    let Some(operator) = lookup(OPERATORS, arg.op) else {
        let (field, why) = none_of("op", arg.op, tables::names(OPERATORS));
        return Err((field, why));
    };
    let argument = u8::try_from(arg.index).ok().filter(|index| *index < 6);
    let argument = argument.ok_or_else(|| ("index", "expected a number from 0 to 5".to_owned()))?;
    let (value, mask) = match operator {
        Operator::MaskedEq => (arg.value_two & arg.value, arg.value),
        _ => (arg.value, u64::MAX),
    };
    Ok(Condition { argument, operator, value, mask })
}

fn wrong<T>(field: impl Into<String>, why: impl Into<String>) -> Result<T, Wrong> {
    Err((field.into(), why.into()).into())
}

/// A word that is not in its table.
fn none_of<F>(field: F, word: Str<'_>, allowed: String) -> (F, String) {
    (field, format!("\"{word}\" is none of {allowed}"))
}
