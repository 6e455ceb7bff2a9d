//! `mote poweroff`, `mote reboot`, `mote halt`: ask PID 1 to take the device down. It answers at once and takes its time.

use mote::cli::{Command, Context};
use mote::error::{Error, Result};
use mote::json;

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

fn run(context: &Context<'_>) -> Result<i32> {
    ask(&Host::of(context), context.command.name).map(|()| 0)
}

/// Asks.
pub fn ask(host: &Host, word: &str) -> Result<()> {
    let text = host.ask(word)?.next()?.ok_or_else(super::hung_up)?;
    let packet: super::ps::Packet<'_> =
        json::parse(&text).map_err(|flaw| Error::config("the answer", flaw.field, flaw.why))?;
    match packet.error {
        Some(error) => Err(Error::Usage(error.decode().into())),
        None => Ok(()),
    }
}
