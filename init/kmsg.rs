//! Where PID 1 and its children say what happens: the kernel's log, which is there before any file system, never blocks
//! and carries times; standard error where there is no `/dev/kmsg`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use mote::sys::file::write_all;
use mote::sys::terminal::STDERR;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Metadata, Record};

use crate::line::Line;

/// The longest message; the kernel takes about 1,000 bytes.
const MESSAGE_BYTES: usize = 480;

struct Kmsg;

static KMSG: OnceLock<File> = OnceLock::new();

/// Sends `log`'s messages here.
pub fn install() {
    let _ = log::set_logger(&Kmsg); // fails only when it was called before
    log::set_max_level(LevelFilter::Info);
}

/// The kernel's log, opened for the first message that comes when `/dev` and `/proc` are mounted.
fn kmsg() -> Option<&'static File> {
    if KMSG.get().is_none() {
        let file = OpenOptions::new().write(true).open("/dev/kmsg").ok()?;
        // By default the kernel drops what a process writes beyond ten lines in five seconds; a boot is more. The newline
        // counts. If it fails some lines are lost.
        let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
        let _ = KMSG.set(file); // nobody else can have set it
    }
    KMSG.get()
}

impl log::Log for Kmsg {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Priorities of syslog(2); the kernel itself adds the facility "user".
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let text = Line::<MESSAGE_BYTES>::of(*record.args());
        // One write is one message. What cannot be logged cannot be told anybody either.
        let mut message = heapless::String::<{ MESSAGE_BYTES + 16 }>::new();
        let _ = match kmsg() {
            Some(mut kmsg) => {
                let _ = std::fmt::write(&mut message, format_args!("<{priority}>mote: {text}\n"));
                kmsg.write_all(message.as_bytes())
            }
            None => {
                let _ = std::fmt::write(&mut message, format_args!("mote: {text}\n"));
                write_all(STDERR, message.as_bytes()).map_err(Into::into)
            }
        };
    }

    fn flush(&self) {}
}
