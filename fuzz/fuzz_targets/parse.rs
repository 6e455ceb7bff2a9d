//! The parser on any bytes: config.json of `create`, and the resources of `update`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mote::{json, spec};

fuzz_target!(|data: &[u8]| {
    if let Err(flaw) = json::parse::<spec::Spec<'_>>(data) {
        // What is said of it goes to a terminal.
        assert!(!flaw.why.is_empty());
    }
    let _ = json::parse::<spec::Resources<'_>>(data);
});
