//! `mote ps`: the processes of a container. Without an id it is a question to PID 1, which the binary sees to.

use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::container;
use crate::error::{Error, Result};
use crate::output;

/// `ps`
pub const COMMAND: Command = Command {
    name: "ps",
    arguments: "<container id>",
    about: "list the processes of a container, as the host numbers them",
    options: &[Opt {
        name: "format",
        short: Some('f'),
        kind: Kind::Value("FORMAT"),
        about: "table or json (table)",
    }],
    count: (1, usize::MAX),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    if context.options.arguments().len() > 1 {
        let why = "ps: refused: options of ps(1); mote prints a table of its own";
        return Err(Error::usage(format_args!("{why}")));
    }
    let pids = || container::processes(&context.root, &context.id()?);
    let text = match context.options.text("format").as_deref() {
        Some("json") => {
            let pids: Vec<_> = pids()?.iter().map(ToString::to_string).collect();
            // As Go prints a list that was never made.
            if pids.is_empty() { "null\n".to_owned() } else { format!("[{}]\n", pids.join(",")) }
        }
        None | Some("table" | "") => {
            let rows = pids()?.iter().filter_map(|pid| row(pid.as_raw())).collect::<String>();
            format!("UID      PID      PPID     CMD\n{rows}")
        }
        Some(_) => return Err(context.wrong("format", "expected table or json")),
    };
    output::print(&text)?;
    Ok(0)
}

/// One process; `None` for one that has ended meanwhile. proc_pid_status(5), proc_pid_cmdline(5).
fn row(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let args = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let args = String::from_utf8_lossy(&args).trim_end_matches('\0').replace('\0', " ");
    let mut command = String::new();
    if args.is_empty() {
        command = format!("[{}]", field("Name:")?);
    }
    // What a container calls its processes must not move the cursor.
    args.chars().try_for_each(|c| crate::error::put_visible(&mut command, c)).ok()?;
    Some(format!("{:<9}{pid:<9}{:<9}{command}\n", field("Uid:")?, field("PPid:")?))
}
