//! `mote spec`: writes a `config.json` to start from.

use std::io::Write as _;

use super::create::BUNDLE;
use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::error::{During, Error, Result};

pub const COMMAND: Command = Command {
    name: "spec",
    arguments: "",
    about: "write a config.json to start from",
    options: &[
        BUNDLE,
        Opt {
            name: "file",
            short: Some('f'),
            kind: Kind::Value("FILE"),
            about: "write to FILE of the bundle (config.json)",
        },
        Opt { name: "config", short: None, kind: Kind::Value("FILE"), about: "" },
    ],
    count: (0, 0),
    run,
};

/// A shell with a terminal, few capabilities, its own namespaces, and a read-only root.
const TEMPLATE: &str = include_str!("spec.json");

fn run(context: &Context<'_>) -> Result<i32> {
    let directory = context.options.path("bundle").unwrap_or(std::path::Path::new("."));
    let name = context.options.path("file").or(context.options.path("config"));
    let name = name.unwrap_or(std::path::Path::new("config.json"));
    let path = directory.join(name);
    let file = match std::fs::File::create_new(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Usage(format!("File {} exists. Remove it first", name.display()).into()));
        }
        result => result.during("open", &*path),
    };
    file?.write_all(TEMPLATE.as_bytes()).during("write", &*path)?;
    Ok(0)
}
