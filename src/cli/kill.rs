//! `mote kill`: signals a container's first process.

use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::error::{Error, Result};
use crate::{container, tables};

pub const COMMAND: Command = Command {
    name: "kill",
    arguments: "<container id> [signal]",
    about: "send a signal, SIGTERM unless another is named",
    options: &[
        Opt { name: "all", short: Some('a'), kind: Kind::Flag, about: "to every process of the container" },
        REGEX,
    ],
    count: (1, 2),
    run,
};

/// As crun has it.
pub const REGEX: Opt = Opt {
    name: "regex",
    short: Some('r'),
    kind: Kind::Flag,
    about: "all containers whose ids match the id as a regular expression",
};

fn run(context: &Context<'_>) -> Result<i32> {
    let word = context.options.arguments().get(1).map_or("SIGTERM".into(), |word| word.to_string_lossy());
    let signal = tables::signal(&word).ok_or_else(|| {
        let word = word;
        Error::usage(format_args!(
            "kill: unknown signal \"{word}\": expected 1 to 64, or a name such as TERM"
        ))
    })?;
    let all = context.options.has("all");
    context.each(&|id| container::kill(&context.root, id, signal, all))
}
