//! `mote state`: prints a container's state as runtime-spec has it.

use super::{Command, Context};
use crate::container;
use crate::error::Result;
use crate::output;

pub const COMMAND: Command = Command {
    name: "state",
    arguments: "<container id>",
    about: "print the state of a container as JSON",
    options: &[],
    count: (1, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    // runc ends it without a newline and with an owner that is always empty; callers compare.
    output::print(&container::state(&context.root, &context.id()?)?.to_json("  ", ""))?;
    Ok(0)
}
