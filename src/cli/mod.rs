//! The OCI command line: `mote [global options] command [options] [arguments]`, a drop-in for runc's and crun's.
//!
//! The binary adds the commands to a device, in the same form; one of the same name as a command here goes before it.
//!
//! Each command is one file: its options as a table, and one function from options to output. What fails is one line
//! on standard error and, with `--log`, one in the log.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::container;
use crate::error::{Error, Result};
use crate::output;
use crate::state::{Id, default_root};
use crate::sys::process::set_default_action;

mod completion;
mod create;
mod delete;
pub mod events;
pub mod exec;
mod features;
mod help;
mod info;
mod kill;
mod list;
mod log;
mod mounts;
pub mod options;
mod pause;
pub mod ps;
mod regex;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod update;

use options::{Kind, Opt, Options};

/// One command.
#[derive(Debug)]
pub struct Command {
    /// The word.
    pub name: &'static str,
    /// Its arguments, as help shows them.
    pub arguments: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it can be told.
    pub options: &'static [Opt],
    /// How many arguments it takes: at least, at most. Behind any number of them come no options of its own.
    pub count: (usize, usize),
    /// Does it; returns the exit status.
    pub run: fn(&Context<'_>) -> Result<i32>,
}

/// In [`Command::count`]: any number of arguments, and all behind the first are another program's.
pub const OF_ANOTHER: usize = usize::MAX - 1;

/// Commands, and what they are for.
pub type Commands = &'static [&'static Command];

/// What a command is run with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The root directory.
    pub root: PathBuf,
    /// Whether it was given.
    pub root_given: bool,
    /// Whether `--rootless` says so.
    rootless: Option<bool>,
    cgroups: Manager,
    /// What was given.
    pub options: Options<'a>,
    /// The command.
    pub command: &'static Command,
    /// The commands of the binary.
    device: Commands,
}

/// Who makes a container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    /// mote.
    Cgroupfs,
    /// Nobody: it stays in the caller's.
    Disabled,
    /// systemd, as this option asks for: refused by the commands that make one.
    Systemd(&'static str),
}

const COMMANDS: Commands = &[
    &completion::COMMAND,
    &create::COMMAND,
    &delete::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &features::COMMAND,
    &info::COMMAND,
    &kill::COMMAND,
    &list::COMMAND,
    &mounts::COMMAND,
    &pause::PAUSE,
    &ps::COMMAND,
    &pause::RESUME,
    &run::COMMAND,
    &seccomp::COMMAND,
    &spec::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &update::COMMAND,
];

/// Options that stand before the command.
const GLOBAL: &[Opt] = &[
    Opt {
        name: "root",
        short: None,
        kind: Kind::Value("DIR"),
        about: "keep containers below DIR (/run/mote, or $XDG_RUNTIME_DIR/mote)",
    },
    Opt { name: "log", short: None, kind: Kind::Value("FILE"), about: "append errors to FILE as well" },
    Opt { name: "log-format", short: None, kind: Kind::Value("FORMAT"), about: "text or json (text)" },
    Opt {
        name: "rootless",
        short: None,
        kind: Kind::Value("WHEN"),
        about: "true, false or auto: do without a cgroup where none can be made (auto: unless root)",
    },
    Opt { name: "debug", short: None, kind: Kind::Flag, about: "log everything there is to say" },
    Opt {
        name: "log-level",
        short: None,
        kind: Kind::Value("LEVEL"),
        about: "log error, warning, info or debug, and what is worse",
    },
    Opt {
        name: "cgroup-manager",
        short: None,
        kind: Kind::Value("MANAGER"),
        about: "cgroupfs, or disabled for no cgroup at all (cgroupfs)",
    },
    Opt { name: "systemd-cgroup", short: None, kind: Kind::Flag, about: "refused where a cgroup is made" },
    Opt { name: "version", short: Some('v'), kind: Kind::Flag, about: "print the version" },
    Opt { name: "version", short: Some('V'), kind: Kind::Flag, about: "" },
    Opt { name: "help", short: Some('h'), kind: Kind::Flag, about: "print this help" },
];

/// What runc exits with for a command that it does not know; engines tell it from a failure.
const UNKNOWN_COMMAND: i32 = 3;

/// Whether `word` can begin this command line: a command, or an option that stands before one.
pub fn begins(word: &OsStr) -> bool {
    let word = word.as_bytes();
    let name = word.split(|&byte| byte == b'=').next().unwrap_or_default();
    COMMANDS.iter().any(|command| word == command.name.as_bytes())
        || GLOBAL.iter().any(|option| {
            let short = option.short.is_some_and(|short| word == [b'-', short as u8]);
            short || name.strip_prefix(b"--") == Some(option.name.as_bytes())
        })
}

/// The commands of the runtime that `device` does not have.
fn runtime(device: Commands) -> impl Iterator<Item = &'static Command> {
    let taken = move |name: &str| device.iter().any(|command| command.name == name);
    COMMANDS.iter().copied().filter(move |command| !taken(command.name))
}

/// Runs the command line. `args` begins with the program's name; `device` are more commands. Returns the exit status.
pub fn main(args: &[OsString], device: Commands) -> i32 {
    let words = args.get(1..).unwrap_or_default();
    // Of a caller that ignores it: the kernel would reap every child before it could be waited for. It is a signal, so it cannot fail.
    let _ = set_default_action(libc::SIGCHLD);
    // The log first, so that whatever comes after it can be told there.
    let (globals, rest) = match options::parse(GLOBAL, words, options::Until::Command) {
        Ok(parsed) => parsed,
        Err(error) => return log::Log::default().failure(&error, 1),
    };
    let log = match log::Log::open(globals.path("log"), globals.text("log-format")) {
        Ok(log) => log,
        Err(error) => return log::Log::default().failure(&error, 1),
    };
    match level(&globals) {
        Ok(level) => log.install(level),
        Err(error) => return log.failure(&error, 1),
    }
    let printed = |text: &str, status| match output::print(text) {
        Ok(()) => status,
        Err(error) => log.failure(&error, 1),
    };
    // As runc reads it: Go's words for true and false.
    let rootless = match globals.text("rootless").as_deref() {
        None | Some("auto") => None,
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Some(true),
        Some("false" | "False" | "FALSE" | "f" | "F" | "0") => Some(false),
        Some(_) => {
            return log.failure(&Error::usage(format_args!("--rootless: expected true, false or auto")), 1);
        }
    };
    if globals.has("version") {
        return printed(&help::version(), 0);
    }
    let Some((name, words)) = rest.split_first() else {
        return printed(&help::all(device), if globals.has("help") { 0 } else { UNKNOWN_COMMAND });
    };
    if name == "help" {
        return printed(&help::all(device), 0);
    }
    // Before their options, of which there are many: CRIU would have to be asked, a program that a device does not have.
    if name == "checkpoint" || name == "restore" {
        let why = "mote neither saves nor restores the state of running programs";
        return log.failure(&Error::usage(format_args!("{}: refused: {why}", name.to_string_lossy())), 1);
    }
    let Some(command) = device.iter().chain(COMMANDS).find(|command| name == command.name) else {
        let name = name.to_string_lossy();
        let error = Error::usage(format_args!("unknown command \"{}\"; see mote --help", name));
        return log.failure(&error, UNKNOWN_COMMAND);
    };
    match execute(command, device, &globals, rootless, words) {
        Ok(status) => status,
        // What a program exits with itself, which is what `exec` passes on, is seldom 255.
        Err(error) if error.is_usage() || command.name != "exec" => log.failure(&error, 1),
        Err(error) => log.failure(&error, 255),
    }
}

/// `--debug` and `--log-level`, in the words of crun and youki.
fn level(globals: &Options<'_>) -> Result<Option<::log::LevelFilter>> {
    use ::log::LevelFilter::{Debug, Error as Errors, Info, Trace, Warn};
    let Some(word) = globals.text("log-level").filter(|_| !globals.has("debug")) else {
        return Ok(globals.has("debug").then_some(Debug));
    };
    let levels = [
        ("error", Errors),
        ("warning", Warn),
        ("warn", Warn),
        ("info", Info),
        ("debug", Debug),
        ("trace", Trace),
    ];
    match levels.iter().find(|(name, _)| word == *name) {
        Some((_, level)) => Ok(Some(*level)),
        None => Err(Error::usage(format_args!("--log-level: expected error, warning, info or debug"))),
    }
}

/// Whether containers get a cgroup.
fn cgroups(globals: &Options<'_>) -> Result<Manager> {
    let systemd = globals.has("systemd-cgroup").then_some("systemd-cgroup");
    match globals.text("cgroup-manager").as_deref() {
        None | Some("cgroupfs" | "") => Ok(systemd.map_or(Manager::Cgroupfs, Manager::Systemd)),
        Some("disabled") => Ok(Manager::Disabled),
        Some("systemd") => Ok(Manager::Systemd("cgroup-manager")),
        Some(_) => {
            Err(Error::usage(format_args!("--cgroup-manager: expected cgroupfs, systemd or disabled")))
        }
    }
}

fn execute(
    command: &'static Command,
    device: Commands,
    globals: &Options<'_>,
    rootless: Option<bool>,
    words: &[OsString],
) -> Result<i32> {
    let until = match command.count.1 {
        // Of all commands exec alone takes any number of arguments: they are a command with options of its own.
        usize::MAX => options::Until::Second,
        OF_ANOTHER => options::Until::First,
        _ => options::Until::End,
    };
    let (options, _) = options::parse(command.options, words, until)?;
    if options.has("help") {
        output::print(&help::one(command))?;
        return Ok(0);
    }
    let (least, most) = command.count;
    let given = options.arguments().len();
    if !(least..=most).contains(&given) {
        let usage = format!("{0}: expected {1}, got {given} arguments; see mote {0} --help", command.name, {
            if command.arguments.is_empty() { "no arguments" } else { command.arguments }
        });
        return Err(Error::usage(format_args!("{usage}")));
    }
    let root = globals.path("root");
    let context = Context {
        root: root.map_or_else(default_root, Path::to_owned),
        root_given: root.is_some(),
        rootless,
        cgroups: cgroups(globals)?,
        options,
        command,
        device,
    };
    (command.run)(&context)
}

impl Context<'_> {
    /// The container id, which is the first argument of most commands.
    fn id(&self) -> Result<Id> {
        let id = self.options.arguments().first().map(|id| id.to_string_lossy());
        Id::new(id.as_deref().unwrap_or_default())
    }

    /// The containers that a command with `--regex` is for; otherwise the one that is named.
    fn ids(&self) -> Result<Vec<Id>> {
        if !self.options.has("regex") {
            return Ok(vec![self.id()?]);
        }
        let pattern = self.options.arguments().first().map(|text| text.to_string_lossy());
        let pattern = regex::Regex::new(pattern.as_deref().unwrap_or_default());
        let pattern = pattern.map_err(|why| self.wrong("regex", why))?;
        let ids = container::ids(&self.root, self.root_given)?;
        Ok(ids.into_iter().filter(|id| pattern.is_match(id.as_str())).collect())
    }

    /// Does a thing to each of [`Context::ids`]. Among several a failure is a warning and the others are tried, as crun has it.
    fn each(&self, act: &dyn Fn(&Id) -> Result<()>) -> Result<i32> {
        for id in self.ids()? {
            match act(&id) {
                Err(error) if self.options.has("regex") => crate::warn!("{error}"),
                result => result?,
            }
        }
        Ok(0)
    }

    /// The same command on another container.
    pub fn on<'o>(&'o self, root: PathBuf, id: &'o OsStr) -> Context<'o> {
        Context { root, root_given: true, options: self.options.with_first(id), ..*self }
    }

    /// A command line that cannot be meant so.
    pub fn usage(&self, why: &str) -> Error {
        Error::usage(format_args!("{}: {why}", self.command.name))
    }

    /// A wrong option of this command.
    pub fn wrong(&self, option: &str, why: &str) -> Error {
        Error::usage(format_args!("{}: --{option}: {why}", self.command.name))
    }
}
