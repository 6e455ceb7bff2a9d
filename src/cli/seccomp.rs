//! `mote seccomp explain`: what `linux.seccomp` of a config.json means, for a person.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Command, Context};
use crate::container::CONFIG_MAX;
use crate::error::{Error, Result};
use crate::input::{self, Input};
use crate::json;
use crate::seccomp::compile::compile;
use crate::seccomp::profile::{Profile, Wrong};
use crate::seccomp::{explain::explain, too_long};
use crate::spec::Spec;

pub const COMMAND: Command = Command {
    name: "seccomp",
    arguments: "explain <config.json>",
    about: "say what linux.seccomp of a config.json means",
    options: &[],
    count: (2, 2),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let [word, path] = context.options.arguments() else { return Ok(1) };
    if *word != "explain" {
        return Err(Error::Usage("seccomp: expected explain <config.json>; see mote seccomp --help".into()));
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
    let program = compile(&profile).ok_or_else(|| flaw("linux.seccomp.syscalls", &too_long()))?;
    // A reader that has seen enough, such as head, closes its end.
    let _ = std::io::stdout().write_all(explain(&profile, &program).as_bytes());
    Ok(0)
}
