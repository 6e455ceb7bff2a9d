//! Where failures are told: standard error always, and what `--log` names, one line each: a file, or as crun has it
//! `journald:NAME` and `syslog:NAME`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::error::{During, Error, Result};
use crate::json::{Writer, escape};
use crate::output;
use crate::time::now_rfc3339;

/// The log of one command.
#[derive(Debug, Default)]
pub struct Log {
    to: Option<Sink>,
    json: bool,
}

/// Where `--log` goes.
#[derive(Debug)]
enum Sink {
    File(File),
    /// A service, and the name that it shall have for this.
    Service(&'static Service, Box<str>),
}

/// What takes a message in one datagram.
#[derive(Debug)]
struct Service {
    prefix: &'static str,
    socket: &'static str,
    /// What is added to the priority.
    facility: u8,
    /// What stands before the priority, before the name and before the message.
    parts: [&'static str; 3],
    end: &'static str,
}

/// systemd's protocol for fields (JOURNAL_NATIVE_PROTOCOL), and syslog(3)'s: facility user, which is 1, times 8.
const SERVICES: &[Service] = &[
    Service {
        prefix: "journald:",
        socket: "/run/systemd/journal/socket",
        facility: 0,
        parts: ["PRIORITY=", "\nSYSLOG_IDENTIFIER=", "\nMESSAGE="],
        end: "\n",
    },
    Service { prefix: "syslog:", socket: "/dev/log", facility: 8, parts: ["<", ">", ": "], end: "" },
];

impl Log {
    /// Opens the file to append to. Engines share it between commands and read it whole.
    pub fn open(path: Option<&Path>, format: Option<std::borrow::Cow<'_, str>>) -> Result<Self> {
        let json = match format.as_deref() {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(_) => return Err(Error::usage(format_args!("--log-format: expected text or json"))),
        };
        let open = |path: &Path| {
            let word = path.to_str().unwrap_or_default();
            let service =
                SERVICES.iter().find_map(|service| Some((service, word.strip_prefix(service.prefix)?)));
            if let Some((service, name)) = service {
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
                return match name {
                    "" => Ok(Sink::Service(service, "mote".into())),
                    name if name.chars().all(plain) => Ok(Sink::Service(service, name.into())),
                    _ => {
                        Err(Error::usage(format_args!("--log: expected a name of letters, digits and ._-+@")))
                    }
                };
            }
            let path = word.strip_prefix("file:").map_or(path, Path::new);
            let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            file.during("open", path).map(Sink::File)
        };
        Ok(Self { to: path.map(open).transpose()?, json })
    }

    /// Tells a failure and returns `status`.
    pub fn failure(&self, error: &Error, status: i32) -> i32 {
        let message = error.to_string();
        // Engines match texts on standard error also when they gave a log file.
        output::complain(&format!("mote: {message}"));
        self.line("error", &message);
        status
    }

    /// Takes what the library has to say. Warnings go to standard error, unless a `level` is asked for: then all of that level
    /// goes to the log. Engines expect nothing but failures in there.
    pub fn install(&self, level: Option<log::LevelFilter>) {
        static WARNINGS: OnceLock<Warnings> = OnceLock::new();
        let to = match self.to.as_ref().filter(|_| level.is_some()) {
            Some(Sink::File(file)) => file.try_clone().ok().map(Sink::File),
            Some(Sink::Service(service, name)) => Some(Sink::Service(service, name.clone())),
            None => None,
        };
        let warnings = WARNINGS.get_or_init(|| Warnings(Self { to, json: self.json }));
        if log::set_logger(warnings).is_ok() {
            log::set_max_level(level.unwrap_or(log::LevelFilter::Warn));
        }
    }

    fn line(&self, level: &str, message: &str) {
        let mut file = match &self.to {
            Some(Sink::File(file)) => file,
            Some(Sink::Service(service, name)) => return service.send(level, name, message),
            None => return,
        };
        let time = now_rfc3339();
        let line = if self.json {
            let mut json = Writer::new("");
            json.string("level", level);
            json.string("msg", message);
            json.string("time", &time);
            json.end()
        } else {
            let mut quoted = String::new();
            let _ = escape(&mut quoted, message); // to a String
            format!("time=\"{time}\" level={level} msg=\"{quoted}\"")
        };
        let _ = file.write_all(format!("{line}\n").as_bytes()); // a full disk must not hide the failure itself
    }
}

impl Service {
    /// Sends one message; a service that is not there is told nothing, and standard error has it.
    fn send(&self, level: &str, name: &str, message: &str) {
        let priority = self.facility
            + match level {
                "error" => 3,
                "warning" => 4,
                "info" => 6,
                _ => 7,
            };
        let [first, second, third] = self.parts;
        let text = format!("{first}{priority}{second}{name}{third}{message}{}", self.end);
        if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
            let _ = socket.send_to(text.as_bytes(), self.socket);
        }
    }
}

struct Warnings(Log);

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => "error",
            log::Level::Warn => "warning",
            log::Level::Info => "info",
            _ => "debug",
        };
        let message = record.args().to_string();
        if self.0.to.is_none() {
            output::complain(&format!("mote: {level}: {message}"));
        }
        self.0.line(level, &message);
    }

    fn flush(&self) {}
}
