//! The OCI command line: `mote [global options] command [options] [arguments]`, a drop-in for runc's and crun's.
//!
//! Each command is one file: its options as a table, and one function from options to output. What fails is one line
//! on standard error and, with `--log`, one in the log.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::state::{Id, default_root};

mod create;
mod delete;
mod events;
mod help;
mod kill;
mod list;
mod log;
mod options;
mod pause;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod update;

use options::{Kind, Opt, Options};

/// One command.
struct Command {
    name: &'static str,
    /// Its arguments, as help shows them.
    arguments: &'static str,
    /// One line about it.
    about: &'static str,
    options: &'static [Opt],
    /// How many arguments it takes: at least, at most.
    count: (usize, usize),
    run: fn(&Context<'_>) -> Result<i32>,
}

/// What a command is run with.
struct Context<'a> {
    root: PathBuf,
    /// Whether the root directory was given.
    root_given: bool,
    /// Whether `--rootless` says so.
    rootless: Option<bool>,
    options: Options<'a>,
    command: &'static Command,
}

const COMMANDS: &[&Command] = &[
    &create::COMMAND,
    &delete::COMMAND,
    &events::COMMAND,
    &kill::COMMAND,
    &list::COMMAND,
    &pause::PAUSE,
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
    Opt { name: "debug", short: None, kind: Kind::Flag, about: "log warnings too" },
    Opt { name: "version", short: Some('v'), kind: Kind::Flag, about: "print the version" },
    Opt { name: "help", short: Some('h'), kind: Kind::Flag, about: "print this help" },
];

/// What runc exits with for a command that it does not know; engines tell it from a failure.
const UNKNOWN_COMMAND: i32 = 3;

/// Whether `word` is a command of this command line.
pub fn is_command(word: &OsStr) -> bool {
    COMMANDS.iter().any(|command| word == command.name)
}

/// Runs the command line. `args` begins with the program's name. Returns the exit status.
pub fn main(args: &[OsString]) -> i32 {
    let words = args.get(1..).unwrap_or_default();
    // The log first, so that whatever comes after it can be told there.
    let (globals, rest) = match options::parse(GLOBAL, words, options::Until::Command) {
        Ok(parsed) => parsed,
        Err(error) => return log::Log::default().failure(&error, 1),
    };
    let log = match log::Log::open(globals.path("log"), globals.text("log-format")) {
        Ok(log) => log,
        Err(error) => return log::Log::default().failure(&error, 1),
    };
    log.install(globals.has("debug").then_some(::log::LevelFilter::Debug));
    // As runc reads it: Go's words for true and false.
    let rootless = match globals.text("rootless").as_deref() {
        None | Some("auto") => None,
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Some(true),
        Some("false" | "False" | "FALSE" | "f" | "F" | "0") => Some(false),
        Some(_) => return log.failure(&Error::Usage("--rootless: expected true, false or auto".into()), 1),
    };
    if globals.has("version") {
        print!("{}", help::version());
        return 0;
    }
    let Some((name, words)) = rest.split_first() else {
        print!("{}", help::all());
        return if globals.has("help") { 0 } else { UNKNOWN_COMMAND };
    };
    if name == "help" {
        print!("{}", help::all());
        return 0;
    }
    let Some(command) = COMMANDS.iter().find(|command| name == command.name) else {
        let name = name.to_string_lossy();
        let error =
            Error::Usage(format!("unknown command \"{}\"; see mote --help", name.escape_debug()).into());
        return log.failure(&error, UNKNOWN_COMMAND);
    };
    match execute(command, &globals, rootless, words) {
        Ok(status) => status,
        Err(error) => log.failure(&error, 1),
    }
}

fn execute(
    command: &'static Command,
    globals: &Options<'_>,
    rootless: Option<bool>,
    words: &[OsString],
) -> Result<i32> {
    let (options, _) = options::parse(command.options, words, options::Until::End)?;
    if options.has("help") {
        print!("{}", help::one(command));
        return Ok(0);
    }
    let (least, most) = command.count;
    let given = options.arguments().len();
    if !(least..=most).contains(&given) {
        let usage = format!("{0}: expected {1}, got {given} arguments; see mote {0} --help", command.name, {
            if command.arguments.is_empty() { "no arguments" } else { command.arguments }
        });
        return Err(Error::Usage(usage.into()));
    }
    let root = globals.path("root");
    let context = Context {
        root: root.map_or_else(default_root, Path::to_owned),
        root_given: root.is_some(),
        rootless,
        options,
        command,
    };
    (command.run)(&context)
}

impl Context<'_> {
    /// The container id, which is the first argument of most commands.
    fn id(&self) -> Result<Id> {
        let id = self.options.arguments().first().map(|id| id.to_string_lossy());
        Id::new(id.as_deref().unwrap_or_default())
    }

    /// A wrong option of this command.
    fn wrong(&self, option: &str, why: &str) -> Error {
        Error::Usage(format!("{}: --{option}: {why}", self.command.name).into())
    }
}
