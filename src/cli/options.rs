//! Options as runc's command line takes them: `--name value`, `--name=value`, `-name`, before and after arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its long name.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Whether a value follows.
    pub kind: Kind,
    /// One line about it.
    pub about: &'static str,
}

/// Whether a value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None; `--name=true` and `--name=false` are understood as well.
    Flag,
    /// One, which help calls by this word.
    Value(&'static str),
}

/// Every command has it.
pub const HELP: Opt = Opt { name: "help", short: Some('h'), kind: Kind::Flag, about: "print this help" };

/// Two tables as one of `N` options, which is how many they have.
pub const fn joined<const N: usize>(a: &[Opt], b: &[Opt]) -> [Opt; N] {
    assert!(a.len() + b.len() == N, "as many as there are");
    let (mut all, mut i) = ([HELP; N], 0);
    while i < N {
        all[i] = if i < a.len() { a[i] } else { b[i - a.len()] };
        i += 1;
    }
    all
}

/// What was given.
#[derive(Debug, Default, Clone)]
pub struct Options<'a> {
    given: Vec<(&'static str, &'a OsStr)>,
    arguments: Vec<&'a OsStr>,
}

/// Where options end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At the first word that is none: the command.
    Command,
    /// Behind the first word that is none, or at `--`: it names a container, and what follows is another program's.
    First,
    /// At the end, or at `--`.
    End,
    /// At the second word that is none, or at `--`: the first names a container, and what follows is a command with
    /// options of its own.
    Second,
}

/// Takes `words` apart. Returns what is left behind the options as well, if they end before the words do.
pub fn parse<'a>(
    table: &'static [Opt],
    words: &'a [OsString],
    until: Until,
) -> Result<(Options<'a>, &'a [OsString])> {
    let mut options = Options::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.as_bytes();
        if bytes == b"--" && until != Until::Command {
            options.arguments.extend(after.iter().map(OsString::as_os_str));
            return Ok((options, &[]));
        }
        if bytes.len() < 2 || bytes.first() != Some(&b'-') {
            if until == Until::Command {
                return Ok((options, rest));
            }
            if until == Until::Second && !options.arguments.is_empty() {
                options.arguments.extend(rest.iter().map(OsString::as_os_str));
                return Ok((options, &[]));
            }
            options.arguments.push(word);
            rest = after;
            if until == Until::First {
                options.arguments.extend(rest.iter().map(OsString::as_os_str));
                return Ok((options, &[]));
            }
            continue;
        }
        let body = bytes.strip_prefix(b"--").or(bytes.strip_prefix(b"-")).unwrap_or_default();
        let equals = body.iter().position(|&b| b == b'=');
        let (name, value) = match equals {
            Some(at) => (body.get(..at).unwrap_or_default(), body.get(at + 1..)),
            None => (body, None),
        };
        let matches =
            |opt: &&Opt| opt.name.as_bytes() == name || opt.short.is_some_and(|c| [c as u8] == name);
        let Some(opt) = table.iter().chain([&HELP]).find(matches) else {
            if let Some(flags) = cluster(table, bytes) {
                options.given.extend(flags.iter().map(|name| (*name, OsStr::new(""))));
                rest = after;
                continue;
            }
            let word = word.to_string_lossy();
            return Err(Error::usage(format_args!("unknown option \"{}\"", word)));
        };
        rest = after;
        match (opt.kind, value) {
            (Kind::Flag, None | Some(b"true" | b"1")) => options.given.push((opt.name, OsStr::new(""))),
            (Kind::Flag, Some(b"false" | b"0")) => options.given.retain(|(name, _)| *name != opt.name),
            (Kind::Flag, Some(_)) => return Err(wrong(opt, "expected no value, true or false")),
            (Kind::Value(_), Some(value)) => options.given.push((opt.name, OsStr::from_bytes(value))),
            (Kind::Value(_), None) => {
                let (value, after) = rest.split_first().ok_or_else(|| wrong(opt, "expected a value"))?;
                options.given.push((opt.name, value));
                rest = after;
            }
        }
    }
    Ok((options, &[]))
}

/// The flags of a word such as `-it`, if it is one.
fn cluster(table: &'static [Opt], word: &[u8]) -> Option<Vec<&'static str>> {
    let letters = word.strip_prefix(b"-").filter(|letters| letters.len() > 1)?;
    let flag = |letter: &u8| {
        let is =
            |opt: &&Opt| opt.kind == Kind::Flag && opt.short.is_some_and(|c| c as u32 == u32::from(*letter));
        table.iter().find(is).map(|opt| opt.name)
    };
    letters.iter().map(flag).collect()
}

fn wrong(opt: &Opt, why: &str) -> Error {
    Error::usage(format_args!("--{}: {why}", opt.name))
}

impl<'a> Options<'a> {
    /// Whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, name: &str) -> Option<&'a OsStr> {
        self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// All values of an option, in order.
    pub fn values(&self, name: &'static str) -> impl Iterator<Item = &'a OsStr> + '_ {
        self.given.iter().filter(move |(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// The value as a path; an empty one is none, as engines pass it.
    pub fn path(&self, name: &str) -> Option<&'a Path> {
        self.value(name).filter(|value| !value.is_empty()).map(Path::new)
    }

    /// The value as text, or what can be read of it.
    pub fn text(&self, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        self.value(name).map(OsStr::to_string_lossy)
    }

    /// The same with another first argument.
    pub fn with_first(&self, argument: &'a OsStr) -> Self {
        let mut options = self.clone();
        if let Some(first) = options.arguments.first_mut() {
            *first = argument;
        }
        options
    }

    /// What is not an option.
    pub fn arguments(&self) -> &[&'a OsStr] {
        &self.arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt] = &[
        Opt { name: "bundle", short: Some('b'), kind: Kind::Value("DIR"), about: "" },
        Opt { name: "force", short: Some('f'), kind: Kind::Flag, about: "" },
        Opt { name: "quiet", short: Some('q'), kind: Kind::Flag, about: "" },
    ];

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn options_stand_before_and_after_arguments_in_all_spellings() {
        for line in
            ["--bundle /b id -f", "id --bundle=/b --force", "-bundle /b -force id", "-b /b --force=true id"]
        {
            let words = words(line);
            let Ok((options, _)) = parse(TABLE, &words, Until::End) else { unreachable!("{line}") };
            assert_eq!(options.path("bundle"), Some(Path::new("/b")), "{line}");
            assert!(options.has("force"), "{line}");
            assert_eq!(options.arguments(), [OsStr::new("id")], "{line}");
        }
    }

    #[test]
    fn flags_stand_together_behind_one_dash() {
        let line = words("-qf id");
        let Ok((options, _)) = parse(TABLE, &line, Until::End) else { unreachable!() };
        assert!(options.has("force") && options.has("quiet") && options.arguments() == ["id"]);
    }

    #[test]
    fn options_end_at_the_command_or_at_two_dashes() {
        let line = words("-f run --bundle x");
        let Ok((options, rest)) = parse(TABLE, &line, Until::Command) else { unreachable!() };
        assert!(options.has("force") && rest.len() == 3 && options.path("bundle").is_none());
        let line = words("-- -f");
        let Ok((options, _)) = parse(TABLE, &line, Until::End) else { unreachable!() };
        assert!(!options.has("force") && options.arguments() == [OsStr::new("-f")]);
    }

    #[test]
    fn a_command_after_the_container_keeps_its_options() {
        for line in ["-f id ls -f --bundle", "id -f ls -f --bundle", "-f id -- ls -f --bundle"] {
            let words = words(line);
            let Ok((options, _)) = parse(TABLE, &words, Until::Second) else { unreachable!("{line}") };
            assert!(options.has("force") && options.path("bundle").is_none(), "{line}");
            assert_eq!(options.arguments(), ["id", "ls", "-f", "--bundle"].map(OsStr::new), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, message) in [
            ("--nope", "unknown option \"--nope\""),
            ("-fx", "unknown option \"-fx\""),
            ("-fb", "unknown option \"-fb\""),
            ("id --bundle", "--bundle: expected a value"),
            ("--force=maybe", "--force: expected no value, true or false"),
        ] {
            let words = words(line);
            let Err(error) = parse(TABLE, &words, Until::End) else { unreachable!("{line}") };
            assert_eq!(error.to_string(), message);
        }
    }
}
