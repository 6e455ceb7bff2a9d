//! `--help` and `--version`, from the same tables that the options are read with.

use std::fmt::Write as _;

use super::options::{HELP, Kind, Opt};
use super::{Command, Commands, GLOBAL, runtime};
use crate::board::{COMMIT, VERSION};

/// The version of runtime-spec that mote follows.
pub const SPEC_VERSION: &str = "1.3.0";

/// Name and version first, then what go-runc looks for.
pub fn version() -> String {
    format!("mote version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}

/// Help for all of mote.
pub fn all(device: Commands) -> String {
    let mut text = String::from("mote - an OCI container runtime and a PID 1 for small Linux devices\n\n");
    text.push_str("Usage: mote [options] command [options] [arguments]\n\nCommands of the runtime:\n");
    for command in runtime(device) {
        let _ = writeln!(text, "  {:<11} {}", command.name, command.about); // to a String, here and below
    }
    text.push_str("\nCommands to mote as PID 1, or as supervisor of pods:\n");
    for command in device {
        let _ = writeln!(text, "  {:<11} {}", command.name, command.about);
    }
    text.push_str("\nOptions:\n");
    options(&mut text, GLOBAL);
    text
}

/// Help for one command.
pub fn one(command: &Command) -> String {
    let mut text = format!(
        "{}\n\nUsage: mote {} [options]{}{}\n\nOptions:\n",
        command.about,
        command.name,
        if command.arguments.is_empty() { "" } else { " " },
        command.arguments
    );
    options(&mut text, command.options);
    options(&mut text, &[HELP]);
    text
}

fn options(text: &mut String, table: &[Opt]) {
    // Second spellings have nothing about them.
    for opt in table.iter().filter(|opt| !opt.about.is_empty()) {
        let short = opt.short.map(|c| format!("-{c}, ")).unwrap_or_default();
        let value = if let Kind::Value(word) = opt.kind { format!(" {word}") } else { String::new() };
        let _ = writeln!(text, "  {:<28} {}", format!("{short}--{}{value}", opt.name), opt.about);
    }
}
