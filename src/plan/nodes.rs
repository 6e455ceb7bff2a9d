//! `linux.devices`: device nodes besides the default ones.

use std::ffi::CStr;

use nix::sys::stat::{SFlag, makedev};

use super::process::check_id;
use super::{Checked, Strings, in_container, missing, one_of, refused, wrong};
use crate::spec;

/// One node.
#[derive(Debug)]
pub struct Node<'a> {
    /// Where, in the container, absolute.
    pub path: &'a CStr,
    /// The directory of it, and its name there.
    pub directory: &'a CStr,
    /// As above.
    pub name: &'a CStr,
    /// What it is.
    pub kind: SFlag,
    /// Major and minor number.
    pub device: u64,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Values of `linux.devices[].type`; mknod(1).
const KINDS: &[(&str, SFlag)] =
    &[("c", SFlag::S_IFCHR), ("u", SFlag::S_IFCHR), ("b", SFlag::S_IFBLK), ("p", SFlag::S_IFIFO)];

/// Checks and resolves all of them.
pub fn plan<'a>(linux: &spec::Linux<'_>, strings: &mut Strings<'a>) -> Checked<Vec<Node<'a>>> {
    linux.devices.iter().enumerate().map(|(i, device)| one(device, i, strings)).collect()
}

fn one<'a>(device: &spec::Device<'_>, index: usize, strings: &mut Strings<'a>) -> Checked<Node<'a>> {
    let at = |field: &str| format!("linux.devices[{index}].{field}");
    let kind = one_of(KINDS, device.kind, &at("type"))?;
    let path = in_container(strings, device.path, &at("path"))?;
    let bytes = path.to_bytes();
    let slash = bytes.iter().rposition(|&b| b == b'/').unwrap_or(0);
    let (directory, name) = bytes.split_at(slash);
    let name = name.get(1..).unwrap_or_default();
    if matches!(name, b"" | b"." | b"..") {
        return wrong(at("path"), "expected a path that ends in a name");
    }
    let directory = if directory.is_empty() { b"/" } else { directory };
    // What the kernel's dev_t has room for: 12 and 20 bits.
    let number = |number: Option<i64>, field: &str, most: u32| match number {
        Some(0) | None if kind == SFlag::S_IFIFO => Ok(0),
        Some(_) if kind == SFlag::S_IFIFO => wrong(at(field), "a fifo has no numbers"),
        None => Err(missing(&at(field))),
        Some(number) => match u32::try_from(number).ok().filter(|number| *number <= most) {
            Some(number) => Ok(u64::from(number)),
            None => Err((at(field), format!("expected a number from 0 to {most}")).into()),
        },
    };
    let (major, minor) = (number(device.major, "major", 0xfff)?, number(device.minor, "minor", 0xf_ffff)?);
    // Engines write the mode as stat(2) gives it, with the type in it.
    let mode = device.file_mode.unwrap_or(0o666) & !SFlag::S_IFMT.bits();
    if mode > 0o7777 {
        return wrong(at("fileMode"), "expected permissions of at most 4095 (octal 7777)");
    }
    check_id(device.uid, &at("uid"))?;
    check_id(device.gid, &at("gid"))?;
    let full = |e| refused(&at("path"), e);
    Ok(Node {
        path,
        directory: strings.concat(&[directory]).map_err(full)?,
        name: strings.concat(&[name]).map_err(full)?,
        kind,
        device: makedev(major, minor),
        mode,
        uid: device.uid,
        gid: device.gid,
    })
}
