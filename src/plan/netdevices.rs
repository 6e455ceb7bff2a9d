//! `linux.netDevices`: network devices of the host that become the container's.

use std::ffi::CStr;

use nix::sched::CloneFlags;

use super::{Checked, Str, Strings, refused, wrong};
use crate::spec;

/// One device.
#[derive(Debug)]
pub struct NetDevice<'a> {
    /// Its name on the host.
    pub name: &'a CStr,
    /// Its name in the container.
    pub inside: &'a CStr,
}

/// Checks and resolves all of them.
pub fn plan<'a>(
    linux: &spec::Linux<'_>,
    own: CloneFlags,
    strings: &mut Strings<'a>,
) -> Checked<Vec<NetDevice<'a>>> {
    let mut devices: Vec<NetDevice<'a>> = Vec::with_capacity(linux.net_devices.len());
    for (key, device) in linux.net_devices.iter() {
        let field = format!("linux.netDevices[\"{key}\"]");
        if !own.contains(CloneFlags::CLONE_NEWNET) {
            return wrong(field, "needs a namespace of type network in linux.namespaces");
        }
        let name = checked(*key, &field, strings)?;
        let inside = match device.name.is_empty() {
            true => name,
            false => checked(device.name, &format!("{field}.name"), strings)?,
        };
        if devices.iter().any(|other| other.name == name) {
            return wrong(field, "stands twice");
        }
        if devices.iter().any(|other| other.inside == inside) {
            return wrong(format!("{field}.name"), "another device has this name already");
        }
        devices.push(NetDevice { name, inside });
    }
    Ok(devices)
}

/// A name that the kernel takes (`dev_valid_name`) as it stands: with a percent sign it would be a pattern.
fn checked<'a>(name: Str<'_>, field: &str, strings: &mut Strings<'a>) -> Checked<&'a CStr> {
    let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    let name = match strings.decode(b"", name) {
        Ok(decoded) if !name.chars().any(bad) => decoded,
        Ok(_) => return wrong(field, "blanks, control characters, /, : and % are not allowed in a name"),
        Err(reason) => return Err(refused(field, reason)),
    };
    match name.to_bytes() {
        b"" | b"." | b".." => wrong(field, "expected a name"),
        bytes if bytes.len() > 15 => wrong(field, "longer than the 15 bytes that the kernel allows"),
        _ => Ok(name),
    }
}
