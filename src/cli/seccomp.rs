//! `mote seccomp explain`: what `linux.seccomp` of a config.json means, for a person.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Command, Context};
use crate::container::CONFIG_MAX;
use crate::error::{Error, Result, Wrong};
use crate::input::{self, Input};
use crate::json;
use crate::output;
use crate::seccomp::profile::Profile;
use crate::seccomp::split::compile;
use crate::seccomp::{default, explain};
use crate::spec::Spec;
use crate::tables::CAPABILITIES;

pub const COMMAND: Command = Command {
    name: "seccomp",
    arguments: "explain <config.json>|RuntimeDefault",
    about: "say what a profile means: linux.seccomp of a config.json, or mote's own",
    options: &[],
    count: (2, 2),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let [word, path] = context.options.arguments() else { return Ok(1) };
    if *word != "explain" {
        return Err(Error::usage(format_args!(
            "seccomp: expected explain and <config.json> or RuntimeDefault; see mote seccomp --help"
        )));
    }
    if *path == "RuntimeDefault" {
        return Ok(runtime_default());
    }
    let file =
        if Path::new(path).is_dir() { Path::new(path).join("config.json") } else { PathBuf::from(path) };
    let flaw = |field: &str, why: &str| Error::config(file.display(), field, why);
    let text = match input::read(&file, CONFIG_MAX)? {
        Input::Text(text) => text,
        Input::TooLarge => return Err(flaw("the file", "larger than 1 MiB")),
        Input::NotRegular => return Err(flaw("the file", "expected a regular file")),
    };
    let spec: Spec<'_> = json::parse(&text).map_err(|wrong| flaw(&wrong.field, &wrong.why))?;
    let none = || flaw("linux.seccomp", "missing: every call is allowed");
    let seccomp = spec.linux.seccomp.ok_or_else(none)?;
    let wrong = |wrong: Wrong| flaw(&format!("linux.seccomp.{}", wrong.0), &wrong.1);
    let profile = Profile::check(&seccomp).map_err(wrong)?.ok_or_else(none)?;
    let programs = compile(&profile).map_err(|why| flaw("linux.seccomp.syscalls", &why))?;
    Ok(print(&explain::explain(&profile, &programs)))
}

/// Explains the profile of mote's own, for a container without capabilities.
fn runtime_default() -> i32 {
    let mut out = String::from("denied, why, and the capability that a container gets them with\n");
    for group in default::DENIED {
        let has = CAPABILITIES.iter().find(|row| group.unless == Some(row.1));
        let has = has.map_or("nobody gets them", |row| row.0);
        let _ = writeln!(out, "{}\n    {}: {has}", group.calls, group.reason); // to a String
    }
    let profile = default::profile(0);
    out.push('\n');
    out.push_str(&explain::explain(&profile, &compile(&profile).unwrap_or_default()));
    print(&out)
}

/// Prints and says with which status to end.
fn print(text: &str) -> i32 {
    output::print(text).map_or(1, |()| 0) // a reader that has seen enough closed its end
}
