//! What this version does not do yet. Each is refused by name: a limit or a filter that is silently left out would
//! leave a container with more than its author meant.

use super::{Checked, Spec};

/// The same for all of them.
pub const WHY: &str = "this version of mote cannot do it yet, and does not run without it";

/// Refuses the first field that asks for something mote does not do.
pub fn refuse(spec: &Spec<'_>) -> Checked<()> {
    match spec.mounts.iter().position(|m| !m.uid_mappings.is_empty() || !m.gid_mappings.is_empty()) {
        Some(i) => Err((format!("mounts[{i}].uidMappings"), WHY.to_owned()).into()),
        None => Ok(()),
    }
}
