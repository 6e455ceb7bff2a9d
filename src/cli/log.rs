//! Where failures are told: standard error always, and the file of `--log`, one line each.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::error::{During, Error, Result};
use crate::json::{Writer, escape};
use crate::time::now_rfc3339;

/// The log of one command.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    json: bool,
}

impl Log {
    /// Opens the file to append to. Engines share it between commands and read it whole.
    pub fn open(path: Option<&Path>, format: Option<std::borrow::Cow<'_, str>>) -> Result<Self> {
        let json = match format.as_deref() {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(_) => return Err(Error::Usage("--log-format: expected text or json".into())),
        };
        let open = |path: &Path| {
            OpenOptions::new().append(true).create(true).mode(0o644).open(path).during("open", path)
        };
        Ok(Self { file: path.map(open).transpose()?, json })
    }

    /// Tells a failure and returns `status`.
    pub fn failure(&self, error: &Error, status: i32) -> i32 {
        let message = error.to_string();
        // Engines match texts on standard error also when they gave a log file. Where it is closed, nobody asked.
        let _ = writeln!(std::io::stderr(), "mote: {message}");
        self.line("error", &message);
        status
    }

    /// Takes what the library has to say. Warnings go to standard error, unless a `level` is asked for: then all of that level
    /// goes to the log. Engines expect nothing but failures in there.
    pub fn install(&self, level: Option<log::LevelFilter>) {
        static WARNINGS: OnceLock<Warnings> = OnceLock::new();
        let file = self.file.as_ref().filter(|_| level.is_some()).and_then(|file| file.try_clone().ok());
        let warnings = WARNINGS.get_or_init(|| Warnings(Self { file, json: self.json }));
        if log::set_logger(warnings).is_ok() {
            log::set_max_level(level.unwrap_or(log::LevelFilter::Warn));
        }
    }

    fn line(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
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
        if self.0.file.is_none() {
            let _ = writeln!(std::io::stderr(), "mote: {level}: {message}");
        }
        self.0.line(level, &message);
    }

    fn flush(&self) {}
}
