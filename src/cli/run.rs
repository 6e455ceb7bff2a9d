//! `mote run`: makes a container, starts it and, without `--detach`, waits for its end and removes it.

use super::create::{
    self, BUNDLE, CONFIG, CONSOLE_SOCKET, NO_NEW_KEYRING, NO_PIVOT, NO_SUBREAPER, PID_FILE, PIDFD_SOCKET,
    PRESERVE_FDS,
};
use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::container::Request;
use crate::error::Result;
use crate::notify::Manager;
use crate::run;

pub const COMMAND: Command = Command {
    name: "run",
    arguments: "<container id>",
    about: "make and start a container, wait for its end and remove it",
    options: OPTIONS,
    count: (1, 1),
    run: execute,
};

const OPTIONS: &[Opt] = &[
    BUNDLE,
    CONFIG,
    CONSOLE_SOCKET,
    Opt { name: "detach", short: Some('d'), kind: Kind::Flag, about: "return once the program runs" },
    Opt {
        name: "keep",
        short: None,
        kind: Kind::Flag,
        about: "leave the container's state when it has ended",
    },
    NO_NEW_KEYRING,
    NO_PIVOT,
    NO_SUBREAPER,
    PID_FILE,
    PIDFD_SOCKET,
    PRESERVE_FDS,
];

fn execute(context: &Context<'_>) -> Result<i32> {
    let id = context.id()?;
    if context.options.has("detach") {
        create::create(context, &id, false)?;
        return Ok(0);
    }
    if context.options.path("console-socket").is_some() {
        return Err(
            context.wrong("console-socket", "needs --detach; in the foreground the terminal is the caller's")
        );
    }
    let manager = Manager::of_caller()?;
    let request = Request { manager: manager.as_ref(), ..create::request(context, &id)? };
    run::run(&request, context.options.has("keep"))
}
