//! `linux.sysctl`: only what belongs to a namespace that is the container's own. That a namespace which is joined is not
//! the caller's is checked by [`host`](crate::host).

use std::ffi::CStr;

use nix::sched::CloneFlags;

use super::{Checked, Spec, Strings, refused};
use crate::tables::SYSCTLS;

/// Paths below `/proc`, and values.
pub fn plan<'a>(
    spec: &Spec<'_>,
    own: CloneFlags,
    strings: &mut Strings<'a>,
) -> Checked<Vec<(&'a CStr, &'a CStr)>> {
    let mut sysctls: Vec<(&'a CStr, &'a CStr)> = Vec::with_capacity(spec.linux.sysctl.len());
    for (key, value) in spec.linux.sysctl.iter() {
        let (name, field) = (key.decode(), format!("linux.sysctl[\"{key}\"]"));
        let words = words(&name);
        // A plain alphabet, so that the name cannot climb out of /proc/sys.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b':');
        if !words.iter().all(|word| !matches!(&**word, "" | "." | "..") && word.bytes().all(plain)) {
            let why = "expected words of letters, digits, _ and - with dots between them";
            return Err((field, why.to_owned()).into());
        }
        let dotted = words.join(".");
        let Some(namespace) = namespace(&dotted) else {
            return Err((field, "belongs to no namespace, so it would change the host".to_owned()).into());
        };
        if !own.contains(namespace) {
            return Err((field, "needs an own namespace of its kind in linux.namespaces".to_owned()).into());
        }
        let rival = match &*dotted {
            "kernel.hostname" => Some("hostname"),
            "kernel.domainname" => spec.domainname.filter(|name| !name.is_empty()).map(|_| "domainname"),
            _ => None,
        };
        if let Some(rival) = rival {
            return Err((field, format!("in conflict with the field {rival}, which is for this")).into());
        }
        let path = strings.concat(&[b"sys/", words.join("/").as_bytes()]).map_err(|e| refused(&field, e))?;
        if sysctls.iter().any(|(other, _)| *other == path) {
            return Err((field, "stands twice".to_owned()).into());
        }
        sysctls.push((path, strings.decode(b"", *value).map_err(|e| refused(&field, e))?));
    }
    Ok(sysctls)
}

/// The components of a name. The first separator counts, sysctl(8): after a slash dots belong to the words (`eth0.1`);
/// after a dot a slash stands for one (`eth0/1`).
fn words(name: &str) -> Vec<String> {
    let slash = name.find(['.', '/']).is_some_and(|at| name.as_bytes().get(at) == Some(&b'/'));
    match slash {
        true => name.split('/').map(str::to_owned).collect(),
        false => name.split('.').map(|word| word.replace('/', ".")).collect(),
    }
}

/// The name with dots of one that was planned.
pub fn name(path: &CStr) -> String {
    let path = String::from_utf8_lossy(path.to_bytes());
    path.strip_prefix("sys/").unwrap_or_default().replace('/', ".")
}

/// The namespace that a sysctl belongs to, its name with dots.
pub fn namespace(name: &str) -> Option<CloneFlags> {
    let row = SYSCTLS.iter().find(|(prefix, _)| match prefix.strip_suffix('.') {
        Some(_) => name.starts_with(prefix),
        None => name == *prefix,
    });
    row.map(|(_, namespace)| *namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_is_the_one_that_counts() {
        assert_eq!(words("net.ipv4.ip_forward"), ["net", "ipv4", "ip_forward"]);
        assert_eq!(words("net/ipv4/conf/eth0.1/forwarding"), ["net", "ipv4", "conf", "eth0.1", "forwarding"]);
        assert_eq!(words("net.ipv4.conf.eth0/1.forwarding"), ["net", "ipv4", "conf", "eth0.1", "forwarding"]);
        assert_eq!(words(""), [""]);
    }

    #[test]
    fn only_what_belongs_to_a_namespace_is_known() {
        for name in ["net.ipv4.ip_forward", "net.core.somaxconn", "net.x"] {
            assert_eq!(namespace(name), Some(CloneFlags::CLONE_NEWNET), "{name}");
        }
        for name in ["kernel.msgmax", "kernel.shm_rmid_forced", "kernel.sem", "fs.mqueue.msg_max"] {
            assert_eq!(namespace(name), Some(CloneFlags::CLONE_NEWIPC), "{name}");
        }
        assert_eq!(namespace("kernel.domainname"), Some(CloneFlags::CLONE_NEWUTS));
        assert_eq!(namespace("user.max_net_namespaces"), Some(CloneFlags::CLONE_NEWUSER));
        for name in
            ["kernel.msgmaxx", "kernel.panic", "fs.mqueue", "fs.file-max", "net", "vm.overcommit_memory", ""]
        {
            assert_eq!(namespace(name), None, "{name}");
        }
    }
}
