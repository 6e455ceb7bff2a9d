//! `mote spec`: writes a `config.json` to start from.

use std::io::Write as _;

use super::create::BUNDLE;
use super::{Command, Context};
use crate::error::{During, Error, Result};

pub const COMMAND: Command = Command {
    name: "spec",
    arguments: "",
    about: "write a config.json to start from",
    options: &[BUNDLE],
    count: (0, 0),
    run,
};

/// A shell with a terminal, few capabilities, its own namespaces, and a read-only root.
const TEMPLATE: &str = include_str!("spec.json");

fn run(context: &Context<'_>) -> Result<i32> {
    let directory = context.options.path("bundle").unwrap_or(std::path::Path::new("."));
    let path = directory.join("config.json");
    let file = match std::fs::File::create_new(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Usage(format!("File {} exists. Remove it first", path.display()).into()));
        }
        result => result.during("open", &*path),
    };
    file?.write_all(TEMPLATE.as_bytes()).during("write", &*path)?;
    Ok(0)
}
