//! `mote poweroff`, `mote reboot`, `mote halt`: ask PID 1 to take the device down. It answers at once and takes its time.

use mote::error::{Error, Result};
use mote::json;

/// Asks.
pub fn run(word: &str) -> Result<()> {
    let answer = super::ask(word)?.next()?;
    let text =
        answer.ok_or_else(|| Error::Usage("PID 1 has hung up; only root of the device may ask".into()))?;
    let packet: super::ps::Packet<'_> =
        json::parse(&text).map_err(|flaw| Error::config("the answer", flaw.field, flaw.why))?;
    match packet.error {
        Some(error) => Err(Error::Usage(error.decode().into())),
        None => Ok(()),
    }
}
