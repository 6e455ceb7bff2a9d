//! `securityContext` of pods and containers.

use mote::error::{Error, Result};
use mote::seccomp::Wish;

use super::text::Security;

/// `seccompProfile`; `wrong` makes an error of its type.
pub fn seccomp(security: &Security<'_>, wrong: &dyn Fn(&str) -> Error) -> Result<Option<Wish>> {
    match &security.seccomp {
        None => Ok(None),
        Some(profile) if profile.kind == "RuntimeDefault" => Ok(Some(Wish::RuntimeDefault)),
        Some(profile) if profile.kind == "Unconfined" => Ok(Some(Wish::Unconfined)),
        Some(profile) if profile.kind == "Localhost" => {
            Err(wrong("Localhost: profiles stand in the bundle's config.json (linux.seccomp)"))
        }
        Some(_) => Err(wrong("expected \"RuntimeDefault\" or \"Unconfined\"")),
    }
}
