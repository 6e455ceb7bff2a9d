//! `mote poweroff`, `mote reboot`, `mote halt`: ask PID 1 to take the device down; `mote reload`, to look at the manifests. It
//! answers at once and takes its time.

use mote::cli::{Command, Context};
use mote::error::Result;

use super::{Host, RUN};

const fn command(name: &'static str, about: &'static str) -> Command {
    Command { name, arguments: "", about, options: &[RUN], count: (0, 0), run }
}

/// `poweroff`
pub const POWEROFF: Command = command("poweroff", "stop all pods and switch the device off");
/// `reboot`
pub const REBOOT: Command = command("reboot", "stop all pods and start the device again");
/// `halt`
pub const HALT: Command = command("halt", "stop all pods and the device, which stays on");

/// `reload`
pub const RELOAD: Command = command("reload", "look at all manifests again: add, replace and remove pods");

fn run(context: &Context<'_>) -> Result<i32> {
    ask(&Host::of(context), context.command.name).map(|()| 0)
}

/// Asks.
pub fn ask(host: &Host, word: &str) -> Result<()> {
    host.order(word, "")
}
