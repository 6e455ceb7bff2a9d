//! Files that are made for the containers of a pod and bound into them: `/etc/hosts`, `/etc/resolv.conf`, and where a last word
//! may be left. A pod that asks for none of them has none.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mote::error::{During as _, Result};
use mote::sys::file;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};

use crate::amend::Bind;
use crate::cri;
use crate::manifest::{Container, Mode, Pod};
use crate::network::address;
use crate::paths::Paths;
use crate::volumes::{Places, path_of, private};

/// As much of a last word as counts; Kubernetes' own bound.
const MESSAGE_BYTES: usize = 4096;

/// Makes and opens what `container` is to have; what it mounts itself is left alone. A pod on a network has `/etc/hosts` and
/// the device's `/etc/resolv.conf` without being asked, where `root`, the root of its files, has room for them.
pub fn open(
    paths: &Paths,
    places: &Places,
    (pod, container): (&Pod, &Container),
    root: &Path,
    binds: &mut Vec<Bind>,
) -> Result<()> {
    let is_mounted = |binds: &[Bind], target: &str| binds.iter().any(|bind| bind.target == target);
    let networked = matches!(pod.network.mode, Mode::Bridge | Mode::Macvlan | Mode::Cni);
    // A file to bind on, or a directory where one can be made.
    let has_room = |name: &str| {
        let etc = root.join("etc");
        let meta = std::fs::symlink_metadata(etc.join(name));
        meta.map_or_else(|_| access(&etc, AccessFlags::W_OK).is_ok(), |meta| meta.is_file())
    };
    let unasked = networked && has_room("hosts");
    if (!pod.aliases.is_empty() || unasked) && !is_mounted(binds, "/etc/hosts") {
        let device = if pod.host_network { std::fs::read_to_string("/etc/hosts").ok() } else { None };
        let name = pod.hostname.as_ref().unwrap_or(&pod.name);
        let own = if networked { address(paths, pod.name.as_str()) } else { None };
        let text = hosts(device, own.unwrap_or(Ipv4Addr::LOCALHOST), name.as_str(), &pod.aliases);
        binds.push(one(places, "hosts", text.as_bytes(), "/etc/hosts")?);
    }
    if let Some(dns) = &pod.dns
        && !is_mounted(binds, "/etc/resolv.conf")
    {
        let device = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        binds.push(one(places, "resolv.conf", dns.text(&device).as_bytes(), "/etc/resolv.conf")?);
    }
    if networked && pod.dns.is_none() && has_room("resolv.conf") && !is_mounted(binds, "/etc/resolv.conf") {
        let device = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        if !device.is_empty() {
            binds.push(one(places, "resolv.conf", device.as_bytes(), "/etc/resolv.conf")?);
        }
    }
    if let Some(message) = &container.message
        && !is_mounted(binds, &message.path)
    {
        let [now, last, or_log] = messages(&places.memory, container.name.as_str());
        let _ = std::fs::rename(&now, last); // none the first time
        binds.push(one(places, &format!("{}.message", container.name), b"", &message.path)?);
        // Whoever the program runs as may write to it.
        let everyone = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&now, everyone).during("chmod", &*now)?;
        let _ = std::fs::remove_file(&or_log); // from another time, if at all
        if message.or_log {
            std::fs::write(&or_log, b"").during("write", &*or_log)?;
        }
    }
    Ok(())
}

/// Makes one file anew and opens it. Containers that run keep the one that they have.
fn one(places: &Places, name: &str, text: &[u8], target: &str) -> Result<Bind> {
    private(&places.memory)?;
    let path = places.memory.join(name);
    let new = places.memory.join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&new, text).during("write", &*new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o644)).during("chmod", &*new)?;
    std::fs::rename(&new, &path).during("rename", &*path)?;
    let file = file::open(&path, OFlag::O_PATH | OFlag::O_NOFOLLOW).during("open", &*path)?;
    let source = path_of(file.as_fd());
    std::mem::forget(file); // open until the starter ends
    Ok(Bind { target: target.to_owned(), source, options: vec!["bind", "rprivate"] })
}

/// `/etc/hosts` as kubelet makes it.
fn hosts(device: Option<String>, own: Ipv4Addr, name: &str, aliases: &str) -> String {
    let kubelets = || {
        format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n\
             fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n{own}\t{name}\n"
        )
    };
    let all = device.unwrap_or_else(kubelets);
    if aliases.is_empty() { all } else { format!("{all}\n# Entries added by HostAliases.\n{aliases}") }
}

/// Where the last word of a container is: of this run, and of the one before; and a file that is there when the end of its log
/// may stand in.
fn messages(memory: &Path, container: &str) -> [PathBuf; 3] {
    ["message", "last", "or-log"].map(|kind| memory.join(format!("{container}.{kind}")))
}

/// The last word of the run that a container of a pod has ended last; empty when it has left none. While it is in this `state`
/// that may be the run before. After a failure the end of its log stands in where the manifest wants that.
pub fn last_word(run: &Path, logs: &Path, [pod, container]: [&str; 2], state: &str, failed: bool) -> String {
    let [now, before, or_log] = messages(&run.join("pods").join(pod), container);
    let mut text = Vec::new();
    let files: &[_] = match state {
        "running" | "stopping" => &[before],
        // Its starter may have put them in their new places, or not yet.
        "starting" => &[before, now],
        _ => &[now],
    };
    for file in files {
        if text.is_empty() {
            text = end_of(file, 0).unwrap_or_default();
        }
    }
    text.truncate(MESSAGE_BYTES);
    if text.is_empty() && failed && or_log.exists() {
        // Kubernetes' bounds: 80 lines and 2048 bytes.
        let log = end_of(&logs.join(pod).join(container).join("0.log"), LOG_BYTES).unwrap_or_default();
        let lines: Vec<_> =
            log.split(|&b| b == b'\n').filter_map(cri::parse).filter(|piece| !piece.end).collect();
        for piece in lines.iter().skip(lines.len().saturating_sub(80)) {
            text.extend_from_slice(piece.text);
            text.extend_from_slice(if piece.full { b"\n" } else { b"" });
        }
        text.drain(..text.len().saturating_sub(2048));
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// As much of a log as is looked at.
const LOG_BYTES: u64 = 8192;

/// At most [`LOG_BYTES`] of a regular file: the last `end` of it, or the first with 0. What cannot be read says nothing.
fn end_of(path: &Path, end: u64) -> Option<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    if end > 0 {
        file.seek(SeekFrom::Start(length.saturating_sub(end))).ok()?;
    }
    let mut text = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}
