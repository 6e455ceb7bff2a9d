//! `mounts` of init.json: what the device has besides its root, such as a partition of bundles and one of data. Each is as in
//! `mounts` of runtime-spec, on the device's own paths.
//!
//! They are made before any manifest is read, in order, in a child: a journal is replayed, a disk is slow or hangs. Whatever fails is
//! said, and the boot goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mote::error::{During as _, Result};
use mote::json::{List, Str};
use mote::object;
use mote::sys::mount::mount;
use mote::tables::{Effect, MOUNT_OPTIONS};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use crate::{child, fields};

/// How long the boot waits for all of them.
const BOOT_MS: u16 = 60_000;
/// How long a block device may take to come: drivers look for theirs while the boot goes on.
const DEVICE: Duration = Duration::from_secs(10);
/// What mount(2) takes of the options that are for the file system; it cuts off the rest.
const PAGE: usize = 4096;
const LOOK: Duration = Duration::from_millis(10);

object! {
    /// An element of `mounts`.
    pub struct Text<'a> {
        destination: Str<'a> = "destination", kind: Str<'a> = "type", source: Str<'a> = "source",
        options: List<Str<'a>> = "options",
    }
}

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    destination: PathBuf,
    /// Nothing for a bind mount and a remount.
    kind: Option<PathBuf>,
    source: PathBuf,
    flags: MsFlags,
    /// A propagation type, set afterwards.
    propagation: Option<MsFlags>,
    /// What is not a flag, for the file system.
    data: String,
}

impl Mount {
    /// Checks an element of the array, which `raw` is the text of. An error is the field and what is wrong.
    pub fn new(text: &Text<'_>, raw: &str) -> std::result::Result<Self, (String, String)> {
        let wrong = |field: &str, why: String| Err((field.to_owned(), why));
        let known = ["destination", "type", "source", "options"];
        // An option that is not read could be the one that makes it read-only.
        if let Some((key, _)) = fields::members(raw).find(|(key, _)| !known.contains(key)) {
            return wrong(key, format!("expected one of {}", known.join(", ")));
        }
        let mut mount = Self {
            destination: text.destination.decode().into(),
            kind: None,
            source: text.source.decode().into(),
            flags: MsFlags::empty(),
            propagation: None,
            data: String::new(),
        };
        for (n, option) in text.options.iter().enumerate() {
            let at = format!("options[{n}]");
            match MOUNT_OPTIONS.iter().find(|row| *option == row.name).map(|row| row.effect) {
                Some(Effect::Nothing) => {}
                Some(Effect::Flags { set, clear }) => mount.flags = (mount.flags - clear) | set,
                Some(Effect::Bind(kind)) => mount.flags |= kind,
                Some(Effect::Propagation(kind)) => mount.propagation = Some(kind),
                Some(Effect::Recursive { .. } | Effect::Special(_)) => {
                    return wrong(&at, format!("{} is for mounts of containers", option.decode()));
                }
                None => {
                    mount.data.push_str(if mount.data.is_empty() { "" } else { "," });
                    mount.data.push_str(&option.decode());
                }
            }
        }
        let remount = mount.flags.contains(MsFlags::MS_REMOUNT);
        let bind = mount.flags.contains(MsFlags::MS_BIND) || text.kind == "bind";
        if !remount && !bind {
            let kind = text.kind.decode();
            if kind.is_empty() || kind == "none" {
                return wrong("type", "expected the type of a file system, or bind".to_owned());
            }
            mount.kind = Some(kind.into());
        }
        if mount.data.len() >= PAGE {
            return wrong("options", "longer than the page that mount(2) takes".to_owned());
        }
        if bind {
            mount.flags |= MsFlags::MS_BIND;
            if !remount && !mount.source.is_absolute() {
                return wrong("source", "a bind mount needs an absolute path".to_owned());
            }
            if !mount.data.is_empty() {
                return wrong("options", format!("a bind mount has no option \"{}\"", mount.data));
            }
        }
        // What the rest of the boot stands on; all of it can be remounted.
        let taken =
            ["/", "/proc", "/sys", "/dev", "/run"].iter().any(|path| mount.destination == Path::new(path));
        let climbs = mount.destination.components().any(|part| part == std::path::Component::ParentDir);
        if !mount.destination.is_absolute() || climbs || (taken && !remount) {
            return wrong(
                "destination",
                "expected an absolute path, not /, /proc, /sys, /dev or /run".to_owned(),
            );
        }
        let named = [("destination", &text.destination), ("type", &text.kind), ("source", &text.source)];
        let all = named.into_iter().chain(text.options.iter().map(|option| ("options", option)));
        if let Some((field, _)) = all.into_iter().find(|(_, text)| text.chars().any(|c| c == '\0')) {
            return wrong(field, "a string with a NUL".to_owned());
        }
        Ok(mount)
    }

    fn make(&self) -> Result<()> {
        let (to, remount) = (self.destination.as_path(), self.flags.contains(MsFlags::MS_REMOUNT));
        if !remount {
            std::fs::create_dir_all(to).during("mkdir", to)?;
        }
        let source = (!self.source.as_os_str().is_empty()).then_some(self.source.as_path());
        let data = (!self.data.is_empty()).then_some(Path::new(&self.data));
        // As mount(8) lists it: the kernel says ENODEV for a type that it lacks.
        let on = format!("{} on {}", self.source.display(), to.display());
        let what = self.kind.iter().fold(on, |on, kind| format!("{on} type {}", kind.display()));
        self.once_it_can(|| mount(source, to, self.kind.as_deref(), self.flags, data))
            .during("mount", &*what)?;
        let finished = self.finish().during("mount", &*what);
        if finished.is_err() && !remount {
            // What was to be read-only must not stay writable.
            umount2(to, MntFlags::MNT_DETACH).during("umount", to)?;
        }
        finished
    }

    /// What mount(2) does not do in one call.
    fn finish(&self) -> nix::Result<()> {
        let (to, bind) = (self.destination.as_path(), MsFlags::MS_BIND | MsFlags::MS_REC);
        let done = self.flags.contains(MsFlags::MS_REMOUNT) || bind.contains(self.flags);
        // The flags of a bind mount, but for MS_REC, are ignored.
        if self.flags.contains(MsFlags::MS_BIND) && !done {
            let flags = (self.flags - MsFlags::MS_REC) | MsFlags::MS_REMOUNT;
            mount(None, to, None, flags, None)?;
        }
        self.propagation.map_or(Ok(()), |kind| mount(None, to, None, kind, None))
    }

    /// mount(2), again and again while its device is not there yet, or is there and cannot be opened yet.
    fn once_it_can(&self, mut mount: impl FnMut() -> nix::Result<()>) -> nix::Result<()> {
        let waits = self.source.starts_with("/dev") && !self.flags.contains(MsFlags::MS_BIND);
        let mut since = None;
        loop {
            match mount() {
                Err(Errno::ENOENT | Errno::ENXIO) if waits => {}
                result => return result,
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= DEVICE {
                return mount();
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Makes all of them.
pub fn make_all(mounts: &[Mount]) {
    child::each(c"mote-mounts", "mounts", BOOT_MS, mounts, Mount::make);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> std::result::Result<Mount, (String, String)> {
        Mount::new(&mote::json::parse(raw.as_bytes()).unwrap_or_default(), raw)
    }

    #[test]
    fn options_become_flags_data_and_propagation() {
        let mount = read(
            r#"{"destination":"/var/lib/mote","type":"ext4","source":"/dev/vda2","options":["defaults","ro","noatime","rw","data=ordered","shared","commit=60"]}"#,
        );
        let want = Mount {
            destination: "/var/lib/mote".into(),
            kind: Some("ext4".into()),
            source: "/dev/vda2".into(),
            flags: MsFlags::MS_NOATIME,
            propagation: Some(MsFlags::MS_SHARED),
            data: "data=ordered,commit=60".to_owned(),
        };
        assert_eq!(mount, Ok(want));
        let bind = read(
            r#"{"destination":"/etc/mote/manifests","source":"/data/manifests","options":["rbind","ro"]}"#,
        );
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY;
        assert!(bind.is_ok_and(|mount| mount.flags == flags && mount.kind.is_none()));
        let root = read(r#"{"destination":"/","options":["remount","rw","noatime"]}"#);
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOATIME;
        assert!(root.is_ok_and(|mount| mount.flags == flags && mount.kind.is_none()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!(r#"{{"destination":"/a","type":"tmpfs","options":["{}"]}}"#, "x".repeat(PAGE));
        for (text, field, why) in [
            (&*long, "options", "longer than the page"),
            (
                r#"{"destination":"/a","source":"/dev/vda"}"#,
                "type",
                "expected the type of a file system, or bind",
            ),
            (r#"{"destination":"/a","type":"none","source":"x"}"#, "type", "expected the type"),
            (r#"{"destination":"a","type":"ext4"}"#, "destination", "expected an absolute path"),
            (r#"{"destination":"/a/../proc","type":"ext4"}"#, "destination", "expected an absolute path"),
            (r#"{"destination":"/proc/","type":"tmpfs"}"#, "destination", "not /, /proc"),
            (
                r#"{"destination":"/a","type":"bind","source":"b"}"#,
                "source",
                "a bind mount needs an absolute path",
            ),
            (
                r#"{"destination":"/a","type":"bind","source":"/b","options":["size=1"]}"#,
                "options",
                "no option \"size=1\"",
            ),
            (
                r#"{"destination":"/a","type":"tmpfs","options":["ro","tmpcopyup"]}"#,
                "options[1]",
                "tmpcopyup is for",
            ),
            (
                r#"{"destination":"/a","type":"tmpfs","option":["ro"]}"#,
                "option",
                "expected one of destination, type",
            ),
            (r#"{"destination":"/a\u0000","type":"tmpfs"}"#, "destination", "a string with a NUL"),
        ] {
            let got = read(text);
            assert!(matches!(&got, Err((at, said)) if at == field && said.contains(why)), "{text}: {got:?}");
        }
    }
}
