//! `mote list`: all containers below the root directory.

use std::os::unix::fs::MetadataExt;

use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::container;
use crate::error::{Result, put_visible};
use crate::output;
use crate::state::{Record, Status};

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    about: "list containers",
    options: &[
        Opt { name: "format", short: Some('f'), kind: Kind::Value("FORMAT"), about: "table or json (table)" },
        Opt { name: "quiet", short: Some('q'), kind: Kind::Flag, about: "print ids only" },
    ],
    count: (0, 0),
    run,
};

const HEADER: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

fn run(context: &Context<'_>) -> Result<i32> {
    let format = context.options.text("format");
    let records = container::list(&context.root, context.root_given)?;
    if context.options.has("quiet") {
        output::print(&records.iter().map(|record| format!("{}\n", record.id.as_str())).collect::<String>())?;
        return Ok(0);
    }
    let owned = |record: &Record| owner(&context.root.join(record.id.as_str()));
    match format.as_deref() {
        // Go prints a list that was never made as null, and callers know it.
        Some("json") if records.is_empty() => output::print("null\n")?,
        Some("json") => {
            let all: Vec<_> = records.iter().map(|record| record.to_json("", &owned(record))).collect();
            output::print(&format!("[{}]\n", all.join(",")))?;
        }
        None | Some("table" | "") => {
            let row = |record: &Record| {
                let status = record.status_now();
                let pid = if status == Status::Stopped { 0 } else { record.pid.as_raw() };
                let mut bundle = String::new();
                let path = record.bundle.to_string_lossy();
                let _ = path.chars().try_for_each(|c| put_visible(&mut bundle, c)); // to a String
                let (id, created) = (record.id.as_str().to_owned(), record.created.clone());
                [id, pid.to_string(), status.word().to_owned(), bundle, created, owned(record)]
            };
            table(&records.iter().map(row).collect::<Vec<_>>())?;
        }
        Some(_) => return Err(context.wrong("format", "expected table or json")),
    }
    Ok(0)
}

/// The name of the user that a container's directory belongs to, or `#` and the number.
fn owner(directory: &std::path::Path) -> String {
    let uid = std::fs::metadata(directory).map_or(0, |directory| directory.uid());
    crate::home::user_name(uid).unwrap_or_else(|| format!("#{uid}"))
}

/// Columns at least 12 wide and 3 apart, as runc prints them.
fn table(rows: &[[String; 6]]) -> Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain(HEADER.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEADER.len()).map(|column| (width(column) + 3).max(12)).collect();
    let mut text = String::new();
    let mut line = |cells: [&str; 6]| {
        let padded: String =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.trim_end());
        text.push('\n');
    };
    line(HEADER);
    rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    output::print(&text)
}
