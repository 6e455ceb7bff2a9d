//! `mote events`: what has become of the containers, from the ring that PID 1 writes (`history.rs`); PID 1 is not asked. With the
//! id of a container it is the OCI command.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mote::cli::options::{Kind, Opt, joined};
use mote::cli::{self, Command, Context};
use mote::error::{During as _, Result};
use mote::json::Writer;
use mote::{output, time};

use super::Host;
use super::table::{self, visible};
use super::watch::Watch;
use crate::history::{self, Record, What};

const OCI: &[Opt] = cli::events::COMMAND.options;
const OPTIONS: [Opt; OCI.len() + 4] = joined(
    OCI,
    &[
        super::RUN,
        Opt { name: "follow", short: Some('f'), kind: Kind::Flag, about: "and what happens from now on" },
        Opt {
            name: "output",
            short: Some('o'),
            kind: Kind::Value("OUTPUT"),
            about: "json: a document a line",
        },
        Opt { name: "tail", short: None, kind: Kind::Value("N"), about: "the last N alone" },
    ],
);

/// `events`
pub const COMMAND: Command = Command {
    name: "events",
    arguments: "[container id]",
    about: "print what has become of pods; with a container's id what it uses",
    options: &OPTIONS,
    count: (0, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    if !context.options.arguments().is_empty() {
        return (cli::events::COMMAND.run)(context);
    }
    let json = super::is_json(context)?;
    let tail = super::number(context, "tail")?;
    let host = Host::of(context);
    let path = host.run.join(history::FILE);
    // Before the first look, so that nothing falls between the two.
    let mut watch = context.options.has("follow").then(|| Watch::new(&host)).transpose()?;
    let mut records = read(&path)?;
    records.drain(..records.len().saturating_sub(tail.unwrap_or(usize::MAX)));
    let mut seen = 0;
    loop {
        let mut text = String::new();
        for record in &records {
            if record.number <= seen {
                continue;
            }
            if seen > 0 && record.number > seen + 1 && !json {
                let _ = writeln!(text, "{} older events are lost", record.number - seen - 1); // a String takes it
            }
            text += &if json { to_json(record) } else { line(record) };
            seen = record.number;
        }
        output::print(&text)?;
        let Some(watch) = &mut watch else { return Ok(0) };
        watch.wait_long()?;
        records = read(&path)?;
    }
}

/// The records of the device; none where nothing has happened yet.
pub fn read(path: &Path) -> Result<Vec<Record<String>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        text => Ok(history::records(&text.during("read", path)?)),
    }
}

/// A time, to the millisecond.
pub fn at(ns: u64) -> String {
    time::rfc3339(Duration::from_millis(ns / 1_000_000)).as_str().to_owned()
}

/// For people.
pub fn line(record: &Record<String>) -> String {
    let name = format!("{}/{}", record.pod, record.container);
    format!("{:<24} {:<8} {}: {}\n", at(record.at_ns), record.kind.word(), visible(&name), details(record))
}

/// What there is to say besides time, kind and name.
pub fn details(record: &Record<String>) -> String {
    let mut out = String::new();
    let _ = match (record.kind, record.code, record.signal) {
        (What::Exited, _, signal @ 1..) => write!(out, "signal {signal}"), // a String takes it, here and below
        (What::Exited, code @ 0.., _) => write!(out, "code {code}"),
        (What::Exited, ..) => write!(out, "unseen"),
        _ => Ok(()),
    };
    let mut and = |text: String| {
        out += if out.is_empty() { "" } else { ", " };
        out += &text;
    };
    if record.kind == What::Exited && record.started_ns > 0 {
        let ran = record.at_ns.saturating_sub(record.started_ns) / 1_000_000;
        and(format!("after {}", table::age(ran)));
    }
    if record.pid > 0 {
        and(format!("pid {}", record.pid));
    }
    if record.restarts > 0 {
        and(format!("restarts {}", record.restarts));
    }
    if record.oom_kills > 0 {
        and(format!("out of memory: {} processes killed", record.oom_kills));
    }
    if !record.reason.is_empty() {
        and(visible(&record.reason));
    }
    out
}

/// For programs.
pub fn to_json(record: &Record<String>) -> String {
    let exact = |ns: u64| time::rfc3339(Duration::from_nanos(ns));
    let mut out = Writer::new("");
    out.number("number", record.number);
    out.string("time", &exact(record.at_ns));
    out.string("event", record.kind.word());
    out.string("pod", &record.pod);
    out.string("container", &record.container);
    if record.pid > 0 {
        out.number("pid", record.pid);
    }
    match (record.kind, record.code, record.signal) {
        (What::Exited, _, signal @ 1..) => out.number("signal", signal),
        (What::Exited, code @ 0.., _) => out.number("code", code),
        _ => {}
    }
    if record.started_ns > 0 {
        out.string("started", &exact(record.started_ns));
    }
    out.number("restarts", record.restarts);
    out.number("oom_kills", record.oom_kills);
    if !record.reason.is_empty() {
        out.string("reason", &record.reason);
    }
    out.end() + "\n"
}
