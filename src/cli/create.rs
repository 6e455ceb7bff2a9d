//! `mote create`: makes a container whose program waits for `start`.

use std::os::fd::AsFd;

use super::options::{Kind, Opt};
use super::{Command, Context, Manager};
use crate::container::{self, Preserved, Request, Terminal};
use crate::error::{Error, Result};
use crate::plan::Overrides;
use crate::state::Id;

pub const COMMAND: Command = Command {
    name: "create",
    arguments: "<container id>",
    about: "make a container; its program waits for start",
    options: OPTIONS,
    count: (1, 1),
    run,
};

pub const BUNDLE: Opt = Opt {
    name: "bundle",
    short: Some('b'),
    kind: Kind::Value("DIR"),
    about: "directory with config.json (.)",
};
pub const CONSOLE_SOCKET: Opt = Opt {
    name: "console-socket",
    short: None,
    kind: Kind::Value("SOCKET"),
    about: "send the terminal's master to this unix socket",
};
pub const PID_FILE: Opt = Opt {
    name: "pid-file",
    short: None,
    kind: Kind::Value("FILE"),
    about: "write the first process's pid to FILE",
};

pub const PRESERVE_FDS: Opt = Opt {
    name: "preserve-fds",
    short: None,
    kind: Kind::Value("N"),
    about: "leave N descriptors after standard error open in the program",
};

pub const PIDFD_SOCKET: Opt = Opt {
    name: "pidfd-socket",
    short: None,
    kind: Kind::Value("SOCKET"),
    about: "send a pidfd of the process to this unix socket",
};

pub const NO_NEW_KEYRING: Opt =
    Opt { name: "no-new-keyring", short: None, kind: Kind::Flag, about: "keep the caller's session keyring" };
pub const NO_PIVOT: Opt = Opt {
    name: "no-pivot",
    short: None,
    kind: Kind::Flag,
    about: "for a host on a ramdisk, which mote sees and pivots on all the same",
};

pub const CONFIG: Opt = Opt {
    name: "config",
    short: Some('f'),
    kind: Kind::Value("FILE"),
    about: "read FILE instead of the bundle's config.json",
};
pub const NO_SUBREAPER: Opt =
    Opt { name: "no-subreaper", short: None, kind: Kind::Flag, about: "adopt no orphans; mote never does" };

const OPTIONS: &[Opt] = &[
    BUNDLE,
    CONFIG,
    CONSOLE_SOCKET,
    NO_NEW_KEYRING,
    NO_PIVOT,
    NO_SUBREAPER,
    PID_FILE,
    PIDFD_SOCKET,
    PRESERVE_FDS,
];

fn run(context: &Context<'_>) -> Result<i32> {
    create(context, &context.id()?, true)?;
    Ok(0)
}

/// What `create` and `run --detach` share: `wait` for `start`, or not.
pub fn create(context: &Context<'_>, id: &Id, wait: bool) -> Result<()> {
    let terminal = context.options.path("console-socket").map_or(Terminal::Refused, Terminal::Console);
    let manager = crate::notify::Manager::of_caller()?;
    let manager = manager.as_ref();
    let mut made = container::create(&Request { terminal, wait, manager, ..request(context, id)? })?;
    match made.pending(manager) {
        Some(pending) if !wait => pending.wait(made.pidfd.as_fd())?,
        _ => {}
    }
    std::mem::forget(made); // the end of this process closes what it has open
    Ok(())
}

/// The request that the options make; no terminal, and nobody waits.
pub fn request<'a>(context: &'a Context<'_>, id: &'a Id) -> Result<Request<'a>> {
    if let Manager::Systemd(option) = context.cgroups {
        let why = "refused: mote makes cgroups itself and does not ask systemd for them";
        return Err(Error::usage(format_args!("--{option}: {why}")));
    }
    let disabled = context.cgroups == Manager::Disabled;
    Ok(Request {
        root: &context.root,
        id,
        bundle: context.options.path("bundle").unwrap_or(std::path::Path::new(".")),
        overrides: Overrides { cgroup: disabled.then_some(""), ..Overrides::default() },
        stdio: None,
        terminal: Terminal::Refused,
        pid_file: context.options.path("pid-file"),
        wait: false,
        sibling: false,
        rootless: context.rootless,
        no_cgroup: disabled,
        config: context.options.path("config"),
        keep_keyring: context.options.has("no-new-keyring"),
        preserved: preserved(context)?,
        pidfd_to: context.options.path("pidfd-socket"),
        manager: None,
        protect: true,
    })
}

/// How many descriptors after standard error the program gets: those of a service manager, sd_listen_fds(3), and after them
/// those of `--preserve-fds`. What mote opens itself closes with execve whatever its number, so nothing of it can be among
/// them.
pub fn preserved(context: &Context<'_>) -> Result<Preserved> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let ours = number("LISTEN_PID") == Some(std::process::id());
    let listening = number("LISTEN_FDS").filter(|count| ours && *count <= 1024).unwrap_or(0);
    match context.options.text("preserve-fds").map(|count| count.parse()) {
        None => Ok(Preserved { all: listening, listening }),
        Some(Ok(count @ 0..=1024)) => Ok(Preserved { all: listening + count, listening }),
        Some(_) => Err(context.wrong("preserve-fds", "expected a number from 0 to 1024")),
    }
}
