//! `mote start`: lets a created container's program run.

use super::{Command, Context};
use crate::container;
use crate::error::Result;
use crate::notify::Manager;

pub const COMMAND: Command = Command {
    name: "start",
    arguments: "<container id>",
    about: "start the program of a created container",
    options: &[],
    count: (1, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let manager = Manager::of_caller()?;
    container::start(&context.root, &context.id()?, manager.as_ref())?;
    Ok(0)
}
