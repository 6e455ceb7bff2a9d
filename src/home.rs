//! passwd(5). HOME for a program whose environment has none: engines leave it to the runtime, as runc and crun do it.

use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::BorrowedFd;

use crate::rootfs::walk;

/// As much of the image's passwd as is looked at.
const PASSWD_MAX: u64 = 256 * 1024;

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

fn passwd(root: BorrowedFd<'_>) -> Vec<u8> {
    // A symlink in the image leads to a file of the image or to none.
    let mut text = Vec::new();
    if let Ok(file) = walk::open_file(root, c"etc/passwd") {
        // What cannot be read, or is cut, has no entry for the user.
        let _ = std::fs::File::from(file).take(PASSWD_MAX).read_to_end(&mut text);
    }
    text
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
    fn the_home_is_that_of_the_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\nx:y\nu:x:01000:1:::/bin/sh\nweb:x:1000:1000::/srv/web:/bin/sh\n";
        assert_eq!(find(passwd, 0), Some(b"/root".as_slice()));
        assert_eq!(find(passwd, 1000), Some(b"/srv/web".as_slice()));
        assert_eq!(find(passwd, 1), None);
    }
}
