//! `mote update`: other limits for a container that runs.

use std::io::Read as _;
use std::path::Path;

use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::error::{During, Error, Result};
use crate::input::{self, Input};
use crate::json;
use crate::live;
use crate::spec::Resources;

pub const COMMAND: Command = Command {
    name: "update",
    arguments: "<container id>",
    about: "change the limits of a container",
    options: OPTIONS,
    count: (1, 1),
    run,
};

const fn value(name: &'static str, word: &'static str, about: &'static str) -> Opt {
    Opt { name, short: None, kind: Kind::Value(word), about }
}

const OPTIONS: &[Opt] = &[
    Opt {
        name: "resources",
        short: Some('r'),
        kind: Kind::Value("FILE"),
        about: "JSON shaped as linux.resources, - for standard input; other options are passed over",
    },
    value("blkio-weight", "N", "weight of its I/O, 10 to 1000"),
    value("cpu-burst", "US", "microseconds that may be saved up"),
    value("cpu-idle", "0|1", "1 for SCHED_IDLE"),
    value("cpu-period", "US", "period of the quota"),
    value("cpu-quota", "US", "microseconds a period, -1 for no limit"),
    value("cpu-rt-period", "US", "period of the real-time runtime"),
    value("cpu-rt-runtime", "US", "real-time microseconds a period"),
    value("cpu-share", "N", "weight among others, 2 to 262144"),
    value("cpuset-cpus", "LIST", "processors, such as 0-3,5"),
    value("cpuset-mems", "LIST", "memory nodes"),
    value("kernel-memory", "BYTES", "deprecated; cgroup v1 alone"),
    value("kernel-memory-tcp", "BYTES", "deprecated; cgroup v1 alone"),
    value("l3-cache-schema", "TEXT", "share of the cache, of a container with linux.intelRdt"),
    value("mem-bw-schema", "TEXT", "share of the memory bandwidth, likewise"),
    Opt {
        name: "memory",
        short: Some('m'),
        kind: Kind::Value("BYTES"),
        about: "limit, such as 512M, -1 for none",
    },
    value("memory-reservation", "BYTES", "what is not taken from it easily"),
    value("memory-swap", "BYTES", "limit of memory and swap together, -1 for none"),
    value("pids-limit", "N", "most processes, -1 for any number"),
];

fn run(context: &Context<'_>) -> Result<i32> {
    let id = context.id()?;
    match context.options.path("resources") {
        Some(path) => {
            let text = read(path)?;
            let broken = |flaw: json::Flaw| Error::config(path.display(), flaw.field, flaw.why);
            let limits: Resources<'_> = json::parse(&text).map_err(broken)?;
            live::update(&context.root, &id, &limits, &path.to_string_lossy(), "")?;
        }
        None => {
            let text = as_json(context)?;
            let limits: Resources<'_> = json::parse(text.as_bytes())
                .map_err(|flaw| Error::usage(format_args!("update: {}: {}", flaw.field, flaw.why)))?;
            let rdt = rdt(context)?;
            live::update(&context.root, &id, &limits, "update", "")?;
            if !rdt.is_empty() {
                live::update_rdt(&context.root, &id, &rdt)?;
            }
        }
    }
    Ok(0)
}

/// The lines for the container's group of resctrl.
fn rdt(context: &Context<'_>) -> Result<String> {
    let mut text = json::Writer::new("");
    for (option, field) in [("l3-cache-schema", "l3CacheSchema"), ("mem-bw-schema", "memBwSchema")] {
        text.string(field, &context.options.text(option).unwrap_or_default());
    }
    let text = text.end();
    let usage = |field: &str, why: &str| Error::usage(format_args!("update: {field}: {why}"));
    let rdt = json::parse(text.as_bytes()).map_err(|flaw| usage(&flaw.field, &flaw.why))?;
    crate::plan::rdt_schemata(&rdt, "").map_err(|wrong| usage(&wrong.0, &wrong.1))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let max = crate::container::CONFIG_MAX;
    let input = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().take(max + 1).read_to_end(&mut text).during("read", "standard input")?;
        if text.len() as u64 > max { Input::TooLarge } else { Input::Text(text) }
    } else {
        input::read(path, max)?
    };
    match input {
        Input::Text(text) => Ok(text),
        Input::TooLarge => Err(Error::config(path.display(), "the file", "larger than 1 MiB")),
        Input::NotRegular => Err(Error::config(path.display(), "the file", "expected a regular file")),
    }
}

/// What an option's value is.
enum Unit {
    Number,
    Bytes,
    List,
}

/// Options, and where they stand in `linux.resources`.
const FIELDS: &[(&str, &str, &str, Unit)] = &[
    ("blkio-weight", "blockIO", "weight", Unit::Number),
    ("cpu-burst", "cpu", "burst", Unit::Number),
    ("cpu-idle", "cpu", "idle", Unit::Number),
    ("cpu-period", "cpu", "period", Unit::Number),
    ("cpu-quota", "cpu", "quota", Unit::Number),
    ("cpu-rt-period", "cpu", "realtimePeriod", Unit::Number),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Unit::Number),
    ("cpu-share", "cpu", "shares", Unit::Number),
    ("cpuset-cpus", "cpu", "cpus", Unit::List),
    ("cpuset-mems", "cpu", "mems", Unit::List),
    ("kernel-memory", "memory", "kernel", Unit::Bytes),
    ("kernel-memory-tcp", "memory", "kernelTCP", Unit::Bytes),
    ("memory", "memory", "limit", Unit::Bytes),
    ("memory-reservation", "memory", "reservation", Unit::Bytes),
    ("memory-swap", "memory", "swap", Unit::Bytes),
    ("pids-limit", "pids", "limit", Unit::Number),
];

/// The options as the document that they are short for.
fn as_json(context: &Context<'_>) -> Result<String> {
    let mut text = String::from("{");
    for object in ["blockIO", "cpu", "memory", "pids"] {
        text.push_str(if text.len() > 1 { "," } else { "" });
        text.push_str(&format!("\"{object}\":{{"));
        let mut comma = "";
        for (option, _, field, unit) in FIELDS.iter().filter(|(_, within, ..)| *within == object) {
            let Some(given) = context.options.text(option).filter(|given| !given.is_empty()) else {
                continue;
            };
            let value = match unit {
                Unit::Number => given.parse::<i64>().ok().map(|number| number.to_string()),
                Unit::Bytes => bytes(&given).map(|number| number.to_string()),
                Unit::List => {
                    let mut quoted = String::from("\"");
                    let _ = json::escape(&mut quoted, &given); // to a String
                    Some(quoted + "\"")
                }
            };
            let expected = match unit {
                Unit::Bytes => "expected a number of bytes such as 512M, or -1 for no limit",
                _ => "expected a whole number",
            };
            let value = value.ok_or_else(|| context.wrong(option, expected))?;
            text.push_str(&format!("{comma}\"{field}\":{value}"));
            comma = ",";
        }
        text.push('}');
    }
    text.push('}');
    Ok(text)
}

/// A size as people write it: `512M`, `1.5g`, `64MiB`, a plain number, -1. Units are powers of 1024, as for runc.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim_start().to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<i64>().ok()?.checked_mul(1 << shift)?;
    // Nine digits behind the point are more than anybody means.
    let part = part.get(..part.len().min(9))?;
    let digits = u32::try_from(part.len()).ok()?;
    let fraction = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? };
    let fraction = (fraction << shift) / 10_i128.pow(digits);
    whole.checked_add(i64::try_from(fraction).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("512M", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            ("64MiB", Some(64 << 20)),
            ("10 kB", Some(10 << 10)),
            ("2b", Some(2)),
            ("-1", Some(-1)),
            ("-2", None),
            ("", None),
            ("M", None),
            ("1x", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9000000P", None),
            ("1.2.3", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn every_field_has_its_option() {
        for (option, ..) in FIELDS {
            assert!(OPTIONS.iter().any(|opt| opt.name == *option), "{option}");
        }
    }
}
