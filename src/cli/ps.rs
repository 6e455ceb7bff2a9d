//! `mote ps`: the processes of a container. Without an id it is a question to PID 1, which the binary sees to.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;

use nix::unistd::Pid;

use super::options::{Kind, Opt};
use super::{Command, Context, OF_ANOTHER};
use crate::container;
use crate::error::{Error, Result};
use crate::helper::{self, Says};
use crate::output;
use crate::sys::wait::How;

/// `ps`
pub const COMMAND: Command = Command {
    name: "ps",
    arguments: "<container id> [options of ps]",
    about: "list the processes of a container, as the host numbers them; with options by ps(1)",
    options: &[Opt {
        name: "format",
        short: Some('f'),
        kind: Kind::Value("FORMAT"),
        about: "table or json (table)",
    }],
    count: (1, OF_ANOTHER),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let pids = || container::processes(&context.root, &context.id()?);
    // crun takes its option behind the id as well; runc hands all of that to ps(1), which has none like it.
    let behind = context.options.arguments().get(1..).unwrap_or_default();
    let word = |at: usize| behind.get(at).and_then(|word| word.to_str());
    let format = match (word(0), word(1), behind.len()) {
        (Some("-f" | "--format"), Some(format @ ("json" | "table")), 2) => Some(format.to_owned()),
        (Some(one), None, 1) => one.strip_prefix("--format=").map(str::to_owned),
        _ => None,
    };
    let by_ps_itself = !behind.is_empty() && format.is_none();
    let format = format.or_else(|| context.options.text("format").map(Into::into));
    let text = match format.as_deref() {
        Some("json") => {
            let pids: Vec<_> = pids()?.iter().map(ToString::to_string).collect();
            // As Go prints a list that was never made.
            if pids.is_empty() { "null\n".to_owned() } else { format!("[{}]\n", pids.join(",")) }
        }
        None | Some("table" | "") if by_ps_itself => by_ps(behind, &pids()?)?,
        None | Some("table" | "") => {
            let rows = pids()?.iter().filter_map(|pid| row(pid.as_raw())).collect::<String>();
            format!("UID      PID      PPID     CMD\n{rows}")
        }
        Some(_) => return Err(context.wrong("format", "expected table or json")),
    };
    output::print(&text)?;
    Ok(0)
}

/// What ps(1) says with the options that follow the id, as far as it is about these processes: the lines that have one of
/// their numbers in the column `PID`.
fn by_ps(options: &[&OsStr], pids: &[Pid]) -> Result<String> {
    let refused = |why: &str| Error::usage(format_args!("{why}"));
    let args: Vec<CString> = options.iter().filter_map(|arg| CString::new(arg.as_bytes()).ok()).collect();
    let (text, how) = helper::run(c"ps", &args, Says::Out)?
        .ok_or_else(|| refused("ps: options need ps(1), which is not in PATH"))?;
    if how != How::Code(0) {
        // It has said why itself.
        return Err(refused("ps: ps(1) failed"));
    }
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|word| word == "PID");
    let column = column.ok_or_else(|| refused("ps: ps(1) prints no column PID with these options"))?;
    let is_ours = |line: &&str| {
        let number = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        number.is_some_and(|number| pids.contains(&Pid::from_raw(number)))
    };
    let mut out = String::new();
    for line in std::iter::once(header).chain(lines.filter(is_ours)) {
        // What a container calls its processes must not move the cursor.
        let _ = line.chars().try_for_each(|c| crate::error::put_visible(&mut out, c)); // to a String
        out.push('\n');
    }
    Ok(out)
}

/// One process; `None` for one that has ended meanwhile. proc_pid_status(5), proc_pid_cmdline(5).
fn row(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let args = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut args = String::from_utf8_lossy(&args).trim_end_matches('\0').replace('\0', " ");
    if args.is_empty() {
        args = format!("[{}]", field("Name:")?);
    }
    let mut command = String::new();
    // What a container calls its processes must not move the cursor.
    args.chars().try_for_each(|c| crate::error::put_visible(&mut command, c)).ok()?;
    Some(format!("{:<9}{pid:<9}{:<9}{command}\n", field("Uid:")?, field("PPid:")?))
}
