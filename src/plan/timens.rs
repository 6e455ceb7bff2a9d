//! `linux.timeOffsets`: what the clocks of a new time namespace are ahead; time_namespaces(7).

use std::ffi::CStr;

use nix::sched::CloneFlags;

use super::{Checked, Spec, Strings, refused, wrong};
use crate::sys::clone::CLONE_NEWTIME;

/// The clocks that a time namespace has, by runtime-spec's name and by the one `timens_offsets` knows.
const CLOCKS: &[&str] = &["monotonic", "boottime"];

/// As `/proc/self/timens_offsets` takes it; empty without offsets.
pub fn plan<'a>(spec: &Spec<'_>, new: CloneFlags, strings: &mut Strings<'a>) -> Checked<&'a CStr> {
    let offsets = &spec.linux.time_offsets;
    if offsets.is_empty() {
        return Ok(c"");
    }
    if !new.contains(CLONE_NEWTIME) {
        return wrong(
            "linux.timeOffsets",
            "needs a namespace of type time in linux.namespaces, and one that is new",
        );
    }
    let mut text = String::new();
    for (clock, offset) in offsets.iter() {
        let field = format!("linux.timeOffsets[\"{clock}\"]");
        let Some(name) = CLOCKS.iter().find(|name| *clock == **name) else {
            return wrong(field, &format!("is none of {}", CLOCKS.join(", ")));
        };
        if offset.nanosecs > 999_999_999 {
            return wrong(format!("{field}.nanosecs"), "expected a number from 0 to 999999999");
        }
        text += &format!("{name} {} {}\n", offset.secs, offset.nanosecs);
    }
    strings.concat(&[text.as_bytes()]).map_err(|e| refused("linux.timeOffsets", e))
}
