//! passwd(5) and group(5). HOME for a program whose environment has none, or an empty one: engines leave it to the runtime. As runc has
//! it; crun keeps one that is empty.

use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::rootfs::walk;
use crate::sys::exec::CStrList;

/// As much of the image's passwd and group as is looked at.
const TEXT_MAX: u64 = 256 * 1024;

/// Whether `env` lacks it.
pub fn is_missing(env: &CStrList<'_>) -> bool {
    let home = |entry: &CStr| entry.to_bytes().strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty());
    !env.iter().any(home)
}

/// `HOME=` and the directory that the image's `/etc/passwd` has for `uid`; `/` when it has none.
pub fn variable(root: BorrowedFd<'_>, uid: u32) -> CString {
    let text = passwd(root);
    let home = find(&text, uid).unwrap_or(b"/");
    CString::new([b"HOME=", home].concat()).unwrap_or_else(|_| c"HOME=/".to_owned())
}

/// The group that the image's `/etc/passwd` has for `uid`.
pub fn group(root: BorrowedFd<'_>, uid: u32) -> Option<u32> {
    std::str::from_utf8(entry(&passwd(root), uid, 3)?).ok()?.parse().ok()
}

/// The groups of which the image's `/etc/group` has `uid` as a member, by the name that its `/etc/passwd` has for it.
/// Errors: `EFBIG` when that is larger than is looked at, those of reading it.
pub fn groups(root: BorrowedFd<'_>, uid: u32) -> nix::Result<Vec<u32>> {
    let passwd = passwd(root);
    let Some(name) = entry(&passwd, uid, 0) else { return Ok(Vec::new()) };
    let text = read(root, c"etc/group")?;
    // Of one that is cut some would be missing, and others' names would be shorter.
    if text.len() as u64 > TEXT_MAX {
        return Err(Errno::EFBIG);
    }
    Ok(groups_of(&text, name))
}

/// The groups that have `name` in the list at the end of their lines; group(5).
fn groups_of(text: &[u8], name: &[u8]) -> Vec<u32> {
    let mut groups = Vec::new();
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':').skip(2);
        let number = fields.next().and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let mut members = fields.next().unwrap_or_default().split(|&b| b == b',');
        if let Some(number) = number
            && members.any(|member| member.trim_ascii() == name)
            && !groups.contains(&number)
        {
            groups.push(number);
        }
    }
    groups
}

fn passwd(root: BorrowedFd<'_>) -> Vec<u8> {
    // What cannot be read, or is cut, has no entry for the user.
    read(root, c"etc/passwd").unwrap_or_default()
}

/// A file of the image, up to one byte more than is looked at; empty when it is not there.
fn read(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<Vec<u8>> {
    // A symlink in the image leads to a file of the image or to none.
    let file = match walk::open_file(root, path) {
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        file => file?,
    };
    let mut text = Vec::new();
    let all = std::fs::File::from(file).take(TEXT_MAX + 1).read_to_end(&mut text);
    all.map(|_| text).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

/// The name that this host's `/etc/passwd` has for `uid`.
pub fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read("/etc/passwd").ok()?;
    entry(&text, uid, 0).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// The home directory of `uid`.
fn find(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    entry(passwd, uid, 5)
}

/// One field of the first line whose third is `uid`; passwd(5).
fn entry(passwd: &[u8], uid: u32, field: usize) -> Option<&[u8]> {
    passwd.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let number = std::str::from_utf8(fields.clone().nth(2)?).ok()?.parse::<u32>().ok()?;
        let wanted = fields.nth(field).filter(|text| !text.is_empty());
        if number == uid { wanted } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_those_that_name_the_user() {
        let text = b"root:x:0:root\nweb:x:1000:\nadm:x:4:syslog,web\nwebmaster:x:5:webmaster\nbad:x:web\nvideo:x:44: web ,a\n\
            #c:x:6:web\ntwice:x:4:web\nnone:x:y:web\naudio:x:29:web:more\nlast:x:7:web";
        assert_eq!(groups_of(text, b"web"), [4, 44, 6, 29, 7]);
        assert_eq!(groups_of(text, b"x"), []);
        assert_eq!(groups_of(b"", b""), []);
    }

    #[test]
    fn the_home_is_that_of_the_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\nx:y\nu:x:01000:1:::/bin/sh\nweb:x:1000:1000::/srv/web:/bin/sh\n";
        assert_eq!(find(passwd, 0), Some(b"/root".as_slice()));
        assert_eq!(find(passwd, 1000), Some(b"/srv/web".as_slice()));
        assert_eq!(find(passwd, 1), None);
    }
}
