//! `mote exec`: runs a process in a container.

use std::os::unix::ffi::OsStrExt;

use super::create::{self, CONSOLE_SOCKET, PIDFD_SOCKET, PRESERVE_FDS};
use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::container::Terminal;
use crate::error::Result;
use crate::exec::{self, Changes, Request};
use crate::image;
use crate::tables;

/// `exec`
pub const COMMAND: Command = Command {
    name: "exec",
    arguments: "<container id> [command [argument...]]",
    about: "run a process in a container",
    options: OPTIONS,
    count: (1, usize::MAX),
    run,
};

const fn flag(name: &'static str, short: Option<char>, about: &'static str) -> Opt {
    Opt { name, short, kind: Kind::Flag, about }
}

const fn value(name: &'static str, short: Option<char>, word: &'static str, about: &'static str) -> Opt {
    Opt { name, short, kind: Kind::Value(word), about }
}

const OPTIONS: &[Opt] = &[
    value("additional-gids", Some('g'), "GID", "another supplementary group; may be repeated"),
    value("apparmor", None, "PROFILE", "AppArmor profile of the process"),
    value("cap", Some('c'), "CAP", "another capability; may be repeated"),
    value(
        "cgroup",
        None,
        "PATH",
        "[CONTROLLER,...:]PATH of its cgroup, below the container's; may be repeated",
    ),
    CONSOLE_SOCKET,
    value("cwd", None, "DIR", "working directory in the container"),
    flag("detach", Some('d'), "return once the program runs"),
    value("env", Some('e'), "NAME=VALUE", "add to the environment; may be repeated"),
    flag("ignore-paused", None, "also in a container that is paused, where it waits"),
    flag("no-new-privs", None, "execve gains no privileges"),
    value("pid-file", None, "FILE", "write the process's pid to FILE"),
    PIDFD_SOCKET,
    PRESERVE_FDS,
    value("process", Some('p'), "FILE", "read the process, as in config.json, from FILE"),
    value("process-label", None, "LABEL", "SELinux label of the process"),
    flag("tty", Some('t'), "give it a terminal"),
    value("user", Some('u'), "UID[:GID]", "user and group of the process, as numbers"),
];

fn run(context: &Context<'_>) -> Result<i32> {
    let id = context.id()?;
    let options = &context.options;
    let changes = changes(context)?;
    let process = options.path("process");
    if process.is_none() && changes.args.is_empty() {
        return Err(context.usage("expected a command, or --process"));
    }
    if process.is_some() && !changes.args.is_empty() {
        return Err(context.usage("expected no command with --process, which has one"));
    }
    let detach = options.has("detach");
    let console = options.path("console-socket");
    if console.is_some() && !detach {
        let why = "needs --detach; in the foreground the terminal is the caller's";
        return Err(context.wrong("console-socket", why));
    }
    let preserved = create::preserved(context)?;
    image::protect()?;
    exec::exec(&Request {
        root: &context.root,
        id: &id,
        process,
        changes,
        terminal: match console {
            Some(path) => Terminal::Console(path),
            None if detach => Terminal::Refused,
            None => Terminal::Foreground,
        },
        detach,
        pid_file: options.path("pid-file"),
        pidfd_to: options.path("pidfd-socket"),
        preserved,
        cgroup: options.values("cgroup").collect(),
        ignore_paused: options.has("ignore-paused"),
        deadly: false,
    })
}

/// What the options have for the process.
fn changes<'a>(context: &Context<'a>) -> Result<Changes<'a>> {
    let options = &context.options;
    let mut changes = Changes {
        args: options.arguments().get(1..).unwrap_or_default().to_vec(),
        env: options.values("env").collect(),
        cwd: options.value("cwd").filter(|cwd| !cwd.is_empty()),
        apparmor: options.value("apparmor").filter(|profile| !profile.is_empty()),
        label: options.value("process-label").filter(|label| !label.is_empty()),
        no_new_privileges: options.has("no-new-privs"),
        terminal: options.has("tty"),
        ..Changes::default()
    };
    if changes.args.first().is_some_and(|program| program.is_empty()) {
        return Err(context.usage("the program's name is empty: executable file not found in $PATH"));
    }
    if changes.env.iter().any(|entry| !matches!(entry.as_bytes().iter().position(|&b| b == b'='), Some(1..)))
    {
        return Err(context.wrong("env", "expected NAME=VALUE"));
    }
    if changes.cwd.is_some_and(|cwd| cwd.as_bytes().first() != Some(&b'/')) {
        return Err(context.wrong("cwd", "expected an absolute path"));
    }
    if let Some(user) = options.value("user") {
        let mut parts = user.as_bytes().splitn(2, |&b| b == b':');
        let (uid, gid) = (parts.next().and_then(number), parts.next().map(number));
        if uid.is_none() || gid == Some(None) {
            return Err(context.wrong("user", "expected uid or uid:gid, numbers from 0 to 4294967294"));
        }
        (changes.uid, changes.gid) = (uid, gid.flatten());
    }
    for gid in options.values("additional-gids") {
        let why = "expected a number from 0 to 4294967294";
        changes.groups.push(number(gid.as_bytes()).ok_or_else(|| context.wrong("additional-gids", why))?);
    }
    for name in options.values("cap") {
        let row = tables::CAPABILITIES.iter().find(|(known, _)| name == *known);
        let Some((_, bit)) = row else {
            return Err(context.wrong("cap", "expected the name of a capability, such as CAP_CHOWN"));
        };
        changes.capabilities |= 1 << bit;
    }
    Ok(changes)
}

/// A user's or group's number, in decimal and in no other way: what reads as another number elsewhere is refused.
fn number(digits: &[u8]) -> Option<u32> {
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    let number = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
    // -1 is "no change" to the kernel; setresuid(2).
    (number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_users_are_plain_decimals() {
        for (text, value) in [("0", 0), ("1", 1), ("1000", 1000), ("4294967294", u32::MAX - 1)] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "01",
            "-1",
            "+1",
            "1x",
            " 1",
            "1 ",
            "0x1",
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "root",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }
}
