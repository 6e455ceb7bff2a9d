//! `mote delete`: removes a container and all that it left.

use super::kill::REGEX;
use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::container;
use crate::error::Result;

pub const COMMAND: Command = Command {
    name: "delete",
    arguments: "<container id>",
    about: "remove a container that has stopped or was never started",
    options: &[
        Opt {
            name: "force",
            short: Some('f'),
            kind: Kind::Flag,
            about: "kill it if it runs; one that is not there is fine",
        },
        REGEX,
    ],
    count: (1, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let force = context.options.has("force");
    context.each(&|id| container::delete(&context.root, id, force))
}
