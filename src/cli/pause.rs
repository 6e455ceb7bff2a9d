//! `mote pause` and `mote resume`.

use super::{Command, Context};
use crate::error::Result;
use crate::live;

pub const PAUSE: Command = Command {
    name: "pause",
    arguments: "<container id>",
    about: "stop every process of a container where it is",
    options: &[],
    count: (1, 1),
    run: |context| set(context, true),
};

pub const RESUME: Command = Command {
    name: "resume",
    arguments: "<container id>",
    about: "let a paused container go on",
    options: &[],
    count: (1, 1),
    run: |context| set(context, false),
};

fn set(context: &Context<'_>, pause: bool) -> Result<i32> {
    live::pause(&context.root, &context.id()?, pause)?;
    Ok(0)
}
