//! `mote exec`: a process in a container of a pod, made by the client itself: its descriptors are the process's, and with `-t` its
//! terminal. With the id of a container it is the OCI command.

use std::ffi::OsString;

use mote::cli::options::{Kind, Opt, joined};
use mote::cli::{self, Command, Context};
use mote::error::{During as _, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::dup2_stdin;

use super::Host;

const OCI: &[Opt] = cli::exec::COMMAND.options;
const OPTIONS: [Opt; OCI.len() + 2] = joined(
    OCI,
    &[
        super::RUN,
        Opt {
            name: "interactive",
            short: Some('i'),
            kind: Kind::Flag,
            about: "in a pod: pass standard input on, which is empty otherwise",
        },
    ],
);

/// `exec`
pub const COMMAND: Command = Command {
    name: "exec",
    arguments: "<pod/container, or container id> [command [argument...]]",
    about: "run a process in a container",
    options: &OPTIONS,
    count: (1, usize::MAX),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let first = context.options.arguments().first().map(|first| first.as_encoded_bytes());
    if !first.is_some_and(|first| first.contains(&b'/')) {
        return (cli::exec::COMMAND.run)(context);
    }
    let (pod, container) = super::target(context)?;
    let options = &context.options;
    if !options.has("interactive") && !options.has("tty") {
        // Of a shell script's loop that reads from standard input the rest would be gone.
        let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
        null.and_then(dup2_stdin).during("open", "/dev/null")?;
    }
    let id = OsString::from(format!("{pod}_{container}"));
    (cli::exec::COMMAND.run)(&context.on(Host::of(context).run, &id))
}
