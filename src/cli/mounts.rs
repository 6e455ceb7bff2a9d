//! `mote mounts`: mounts of a container that runs.

use std::path::Path;

use super::{Command, Context};
use crate::error::Result;
use crate::state::Id;
use crate::{image, live};

pub const COMMAND: Command = Command {
    name: "mounts",
    arguments: "add|remove <container id> <file>",
    about: "mount in a container that runs, or unmount, what a file has as mounts of config.json",
    options: &[],
    count: (3, 3),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let [word, id, file] = context.options.arguments() else { return Ok(1) };
    let add = match word.to_str() {
        Some("add") => true,
        Some("remove") => false,
        _ => return Err(context.usage("expected add or remove")),
    };
    let id = Id::new(&id.to_string_lossy())?;
    image::protect()?;
    live::change_mounts(&context.root, &id, Path::new(file), add)?;
    Ok(0)
}
