//! A packet of PID 1's answer, looked at by the names of its fields: what they are stands in `control/answer.rs`.

use mote::error::{Error, Result};
use mote::json::{self, Member, Str};

use super::table::visible;

/// One JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet(String);

impl Packet {
    /// Checks what has come. An answer that says why not is an error.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        let flaw = |why: &str| Error::config("the answer", "the document", why);
        json::scan(&bytes).map_err(|(_, why)| flaw(why))?;
        let packet = Self(String::from_utf8(bytes).map_err(|_| flaw("not UTF-8"))?);
        match packet.get("error") {
            Some(why) => Err(Error::usage(format_args!("{}", visible(&why)))),
            None => Ok(packet),
        }
    }

    /// Its text.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// All fields.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        json::members(&self.0)
    }

    /// A field as text: of a string what it says.
    pub fn get(&self, key: &str) -> Option<String> {
        json::member(&self.0, key).map(decoded)
    }

    /// The same, or `-`.
    pub fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_else(|| "-".to_owned())
    }

    /// A field that is a number; 0 where it is not there.
    pub fn number(&self, key: &str) -> u64 {
        json::member(&self.0, key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Whether a field says so.
    pub fn is(&self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|there| there == value)
    }
}

/// A value as text.
pub fn decoded(value: &str) -> String {
    Str::quoted(value).map_or_else(|| value.to_owned(), Str::decode)
}
