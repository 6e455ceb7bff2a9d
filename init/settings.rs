//! What the device is told: `/etc/mote/init.json`, and `mote.<key>=<value>` on the kernel command line, which is stronger.
//!
//! | init.json | command line | meaning |
//! | --- | --- | --- |
//! | `"hostname"` | `mote.hostname=` | the device's name |
//! | `"log"` | `mote.log=` | `error`, `warn`, `info` or `debug` |
//! | `"modules"` | | modules of the kernel to load, each with its parameters behind a blank |
//! | `"mounts"` | | mounts of the device: `mounts.rs` |
//! | `"network"` | | read by `network/settings.rs` when a pod needs it |
//! | `"sysctls"` | `mote.sysctl.<name>=` | written below /proc/sys; dots as sysctl(8) has them |
//! | `"watchdog"` | `mote.watchdog=` | seconds after which the hardware restarts a device that hangs; 0 for none |
//! | | `mote.demo=` | seconds after which the device shows itself and powers off |
//!
//! Anything else is named in a warning. Reading ends in settings whatever the text holds.

use std::path::Path;

use log::LevelFilter;
use mote::input::{self, Input};
use mote::json::{self, List, Pairs, Str};
use mote::object;
use nix::errno::Errno;

use crate::fields;
use crate::mounts::{self, Mount};

/// Larger files are not read.
const FILE_BYTES: u64 = 64 * 1024;

/// The settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The device's name.
    pub hostname: String,
    /// What is logged.
    pub log: LevelFilter,
    /// Modules of the kernel, with parameters.
    pub modules: Vec<String>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Name with slashes, and value, in order.
    pub sysctls: Vec<(String, String)>,
    /// The timeout of the watchdog in seconds, if there is to be one.
    pub watchdog: Option<i32>,
    /// See `client/demo.rs`.
    pub demo: Option<u32>,
}

object! {
    /// `init.json`
    pub struct File<'a> {
        hostname: Option<Str<'a>> = "hostname", log: Option<Str<'a>> = "log", sysctls: Pairs<'a, Str<'a>> = "sysctls",
        modules: List<Str<'a>> = "modules", mounts: List<mounts::Text<'a>> = "mounts",
        watchdog: Option<u32> = "watchdog",
    }
}

impl Settings {
    /// Before anything is read.
    pub fn new() -> Self {
        let hostname = mote::board::HOSTNAME.to_owned();
        let log = LevelFilter::Info;
        Self {
            hostname,
            log,
            modules: Vec::new(),
            mounts: Vec::new(),
            sysctls: Vec::new(),
            watchdog: None,
            demo: None,
        }
    }

    /// Reads both sources; `warn` takes each complaint.
    pub fn read(warn: &mut dyn FnMut(String)) -> Self {
        let mut settings = Self::new();
        let file = Path::new(crate::paths::DEVICE.settings);
        match input::read(file, FILE_BYTES) {
            Ok(Input::Text(text)) => settings.file(&text, warn),
            Ok(_) => warn("init.json: not a regular file of at most 64 KiB; left aside".to_owned()),
            Err(e) if e.errno() == Some(Errno::ENOENT) => {}
            Err(e) => warn(format!("init.json: {e}; left aside")),
        }
        match std::fs::read("/proc/cmdline") {
            Ok(line) => settings.command_line(&String::from_utf8_lossy(&line), warn),
            Err(e) => warn(format!("/proc/cmdline: {e}; nothing on it counts")),
        }
        settings
    }

    /// Takes over what `init.json` says.
    fn file(&mut self, text: &[u8], warn: &mut dyn FnMut(String)) {
        let file: File<'_> = match json::parse(text) {
            Ok(file) => file,
            Err(flaw) => return warn(format!("init.json: {}: {}; left aside", flaw.field, flaw.why)),
        };
        let source = "init.json: ";
        if let Some(name) = file.hostname {
            self.set("hostname", &name.decode(), source, warn);
        }
        if let Some(level) = file.log {
            self.set("log", &level.decode(), source, warn);
        }
        if let Some(seconds) = file.watchdog {
            self.set("watchdog", &seconds.to_string(), source, warn);
        }
        self.modules = file.modules.iter().map(|module| module.decode()).collect();
        for (name, value) in file.sysctls.iter() {
            self.set(&format!("sysctl.{}", name.decode()), &value.decode(), source, warn);
        }
        let text = std::str::from_utf8(text).unwrap_or("");
        let raw = fields::elements(fields::member(text, "mounts").unwrap_or(""));
        for (n, (mount, raw)) in file.mounts.iter().zip(raw).enumerate() {
            match Mount::new(mount, raw) {
                Ok(mount) => self.mounts.push(mount),
                Err((field, why)) => warn(format!("init.json: mounts[{n}].{field}: {why}; left aside")),
            }
        }
        for (key, _) in fields::members(text) {
            if !["hostname", "log", "modules", "mounts", "network", "sysctls", "watchdog"].contains(&key) {
                warn(format!("init.json: {key}: not a key that mote knows; left aside"));
            }
        }
    }

    /// Takes over what the kernel command line says. Double quotes keep blanks together, as in the kernel's own parser.
    fn command_line(&mut self, line: &str, warn: &mut dyn FnMut(String)) {
        let mut quoted = false;
        let words = line.split(|c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        });
        for word in words {
            let word = word.replace('"', "");
            if word == "--" {
                break; // what follows is for init's own arguments
            }
            if let Some((key, value)) =
                word.strip_prefix("mote.").map(|rest| rest.split_once('=').unwrap_or((rest, "")))
            {
                self.set(key, value, "mote.", warn);
            }
        }
    }

    /// One key from either source.
    fn set(&mut self, key: &str, value: &str, source: &str, warn: &mut dyn FnMut(String)) {
        let mut refuse = |why: &str| warn(format!("{source}{key}: {why}; left aside"));
        match key {
            "hostname" if is_hostname(value) => value.clone_into(&mut self.hostname),
            "hostname" => refuse("expected 1 to 63 letters, digits, dots and -"),
            "log" => match value {
                "error" => self.log = LevelFilter::Error,
                "warn" => self.log = LevelFilter::Warn,
                "info" => self.log = LevelFilter::Info,
                "debug" => self.log = LevelFilter::Debug,
                _ => refuse("expected error, warn, info or debug"),
            },
            "watchdog" => match value.parse() {
                Ok(0) => self.watchdog = None,
                Ok(seconds) if (2..=3600).contains(&seconds) => self.watchdog = Some(seconds),
                _ => refuse("expected 2 to 3600 seconds, or 0"),
            },
            "demo" => match value.parse() {
                Ok(seconds) if seconds <= 3600 => self.demo = Some(seconds),
                _ => refuse("expected 0 to 3600 seconds"),
            },
            _ => match key.strip_prefix("sysctl.").map(sysctl_path) {
                Some(Some(path)) => {
                    self.sysctls.retain(|(other, _)| *other != path);
                    self.sysctls.push((path, value.to_owned()));
                }
                Some(None) => refuse("not the name of a sysctl"),
                None => refuse("not a key that mote knows"),
            },
        }
    }
}

/// sethostname(2) takes 64 bytes of anything; RFC 1123 is what others can use.
fn is_hostname(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    plain && (1..=63).contains(&text.len()) && !text.starts_with(['-', '.']) && !text.ends_with(['-', '.'])
}

/// The path below /proc/sys of `net.ipv4.ip_forward` or `net/ipv4/conf/eth0.1/forwarding`: as sysctl(8), the separator that
/// comes first decides. `None` for what would climb out.
fn sysctl_path(name: &str) -> Option<String> {
    let dots = name.find(['.', '/']).is_some_and(|at| name.as_bytes().get(at) == Some(&b'.'));
    let path = if dots { name.replace('.', "/") } else { name.to_owned() };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
    };
    path.split('/').all(plain).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, line: &str) -> (Settings, Vec<String>) {
        let (mut settings, mut said) = (Settings::new(), Vec::new());
        settings.file(file.as_bytes(), &mut |line| said.push(line));
        settings.command_line(line, &mut |line| said.push(line));
        (settings, said)
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let file = r#"{"hostname":"a","log":"debug","modules":["i2c-dev","loop max_loop=2"],"sysctls":{"net.ipv4.ip_forward":"1","kernel.panic":"5"}}"#;
        let line = "console=ttyS0 quiet mote.hostname=b mote.sysctl.kernel.panic=\"7 8\" mote.demo=3 -- mote.hostname=c\n";
        let (settings, said) = read(file, line);
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(
            (settings.hostname.as_str(), settings.log, settings.demo),
            ("b", LevelFilter::Debug, Some(3))
        );
        assert_eq!(settings.modules, ["i2c-dev", "loop max_loop=2"]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(settings.sysctls, [pair("net/ipv4/ip_forward", "1"), pair("kernel/panic", "7 8")]);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_left_aside() {
        for (file, line, said) in [
            ("{", "", "init.json: line 1 column 2: ends in the middle; left aside"),
            (r#"{"hostname":7}"#, "", "init.json: hostname: expected a string; left aside"),
            (r#"{"modules":"loop"}"#, "", "init.json: modules: expected an array; left aside"),
            (r#"{"mounts":{}}"#, "", "init.json: mounts: expected an array; left aside"),
            (
                r#"{"mounts":[{"destination":"b","type":"tmpfs"}]}"#,
                "",
                "init.json: mounts[0].destination: expected an absolute path, not /, /proc, /sys, /dev or /run; left aside",
            ),
            (r#"{"color":1}"#, "", "init.json: color: not a key that mote knows; left aside"),
            ("{}", "mote.x", "mote.x: not a key that mote knows; left aside"),
            (r#"{"watchdog":1}"#, "", "init.json: watchdog: expected 2 to 3600 seconds, or 0; left aside"),
            (
                r#"{"watchdog":"30"}"#,
                "",
                "init.json: watchdog: expected a whole number from 0 to 4294967295; left aside",
            ),
            ("{}", "mote.watchdog=", "mote.watchdog: expected 2 to 3600 seconds, or 0; left aside"),
            ("{}", "mote.demo=soon", "mote.demo: expected 0 to 3600 seconds; left aside"),
            (
                "{}",
                "mote.hostname=a/b",
                "mote.hostname: expected 1 to 63 letters, digits, dots and -; left aside",
            ),
            (
                "{}",
                "mote.sysctl.kernel/../../x=1",
                "mote.sysctl.kernel/../../x: not the name of a sysctl; left aside",
            ),
        ] {
            assert_eq!(read(file, line), (Settings::new(), vec![said.to_owned()]));
        }
    }

    #[test]
    fn a_mount_that_is_wrong_takes_no_other_with_it() {
        let file = r#"{"mounts":[{"destination":"/a","type":"tmpfs"},{"type":"tmpfs"},{"destination":"/c","type":"tmpfs"}]}"#;
        let (settings, said) = read(file, "");
        assert_eq!((settings.mounts.len(), said.len()), (2, 1), "{said:?}");
        // Each goes with its own text, whatever stands before it, and of two arrays the last one counts.
        let file = r#"{"mounts":[{"type":"x"}],"mounts":[{"type":"tmpfs"},{"destination":"/a","type":"tmpfs","option":[]},{"destination":"/c","type":"tmpfs"}]}"#;
        let (settings, said) = read(file, "");
        assert_eq!(settings.mounts.len(), 1, "{said:?}");
        assert!(said.len() == 2 && said[1].starts_with("init.json: mounts[1].option: "), "{said:?}");
    }

    #[test]
    fn the_command_line_can_switch_the_watchdog_off() {
        assert_eq!(read(r#"{"watchdog":30}"#, "").0.watchdog, Some(30));
        assert_eq!(read(r#"{"watchdog":30}"#, "mote.watchdog=0").0.watchdog, None);
    }

    #[test]
    fn sysctl_names_follow_sysctl_8() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward").as_deref(), Some("net/ipv4/ip_forward"));
        let dotted = "net/ipv4/conf/eth0.1/forwarding";
        assert_eq!(sysctl_path(dotted).as_deref(), Some(dotted));
        for bad in ["", "/", "a//b", "../x", "a/../b", "a..b", "a%2fb", "a b", "/etc/passwd"] {
            assert_eq!(sysctl_path(bad), None, "{bad}");
        }
    }
}
