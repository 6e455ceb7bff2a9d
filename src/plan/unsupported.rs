//! What this version does not do yet. Each is refused by name: a limit or a filter that is silently left out would
//! leave a container with more than its author meant.

use super::{Checked, Spec};

/// The same for all of them.
pub const WHY: &str = "this version of mote cannot do it yet, and does not run without it";

/// Refuses the first field that asks for something mote does not do.
pub fn refuse(spec: &Spec<'_>) -> Checked<()> {
    let asked = [(spec.linux.intel_rdt.0, "linux.intelRdt")];
    let mapped = spec.mounts.iter().position(|m| !m.uid_mappings.is_empty() || !m.gid_mappings.is_empty());
    let mapped = mapped.map(|i| format!("mounts[{i}].uidMappings"));
    let first = asked.into_iter().find(|(asked, _)| *asked).map(|(_, field)| field.to_owned());
    match first.or(mapped) {
        Some(field) => Err((field, WHY.to_owned())),
        None => Ok(()),
    }
}
