//! `mote completion`: completions for a shell, from the tables that the command line is read with.

use std::fmt::Write as _;

use super::options::{HELP, Kind, Opt};
use super::{Command, Commands, Context, GLOBAL, runtime};
use crate::error::{Error, Result};
use crate::output;

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "<bash|zsh|fish>",
    about: "print a script that completes mote's command lines",
    options: &[],
    count: (1, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let shell = context.options.arguments().first().and_then(|shell| shell.to_str());
    let text = match shell {
        Some("bash") => bash(context.device),
        // zsh runs bash's functions; its own style would say the same in other words.
        Some("zsh") => {
            format!("#compdef mote\nautoload -U +X bashcompinit && bashcompinit\n{}", bash(context.device))
        }
        Some("fish") => fish(context.device),
        _ => return Err(Error::usage(format_args!("completion: expected bash, zsh or fish"))),
    };
    output::print(&text)?;
    Ok(0)
}

/// What may follow an option or stand as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Files,
    Directories,
    /// These words, with blanks or bars between them.
    Words(&'static str),
    /// What these commands print with `-q`.
    Listed(&'static str),
    /// Nothing that could be known.
    Free,
}

fn values(opt: &Opt) -> Option<Values> {
    let Kind::Value(word) = opt.kind else { return None };
    Some(match word {
        "DIR" => Values::Directories,
        "FILE" | "SOCKET" => Values::Files,
        "OUTPUT" => Values::Words(if opt.about.starts_with("json or wide") { "json wide" } else { "json" }),
        "WHEN" => Values::Words("true false auto"),
        "LEVEL" => Values::Words("error warning info debug"),
        "MANAGER" => Values::Words("cgroupfs disabled"),
        "FORMAT" if opt.name == "log-format" => Values::Words("text json"),
        "FORMAT" => Values::Words("table json"),
        _ => Values::Free,
    })
}

fn argument(command: &Command) -> Values {
    let arguments = command.arguments;
    let first = arguments.split(['>', ']']).next().unwrap_or_default();
    match first.get(1..).unwrap_or_default() {
        "container id" => Values::Listed("list"),
        words if words.contains('|') => Values::Words(words),
        words if words.ends_with("container id") => Values::Listed("ps list"),
        words if words.starts_with("pod") => Values::Listed("ps"),
        _ => Values::Files,
    }
}

/// Every command.
fn all(device: Commands) -> impl Iterator<Item = &'static Command> {
    runtime(device).chain(device.iter().copied())
}

/// Options that help shows.
fn shown(table: &'static [Opt]) -> impl Iterator<Item = &'static Opt> {
    table.iter().filter(|opt| !opt.about.is_empty())
}

/// The options of a command as words, and for each that takes a value a case of what follows it.
fn bash_options(out: &mut String, table: &'static [Opt], before: &str) -> String {
    let mut words = String::new();
    for opt in shown(table) {
        let _ = write!(words, "--{} ", opt.name); // to a String, here and below
        let Some(values) = values(opt) else { continue };
        let short = opt.short.map(|c| format!("|{before}:-{c}")).unwrap_or_default();
        let _ = writeln!(out, "    {before}:--{}{short}) {} ;;", opt.name, bash_reply(values));
    }
    words
}

fn bash_reply(values: Values) -> String {
    match values {
        Values::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
        Values::Directories => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
        Values::Words(words) => {
            format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.replace('|', " "))
        }
        Values::Listed(by) => {
            let list = format!("for by in {by}; do \"${{mote[@]}}\" $by -q 2>/dev/null; done");
            format!("COMPREPLY=($(compgen -W \"$({list})\" -- \"$cur\"))")
        }
        Values::Free => "COMPREPLY=()".to_owned(),
    }
}

/// A function that walks the words up to the cursor: `command` is the command so far, `last` the option whose value is next.
fn bash(device: Commands) -> String {
    let mut cases = String::new();
    let global = bash_options(&mut cases, GLOBAL, "");
    let mut words = format!("    :-*) COMPREPLY=($(compgen -W \"{global}\" -- \"$cur\")) ;;\n");
    let names: Vec<_> = all(device).map(|command| command.name).collect();
    let _ = writeln!(words, "    :*) COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")) ;;", names.join(" "));
    // The options of `mote` whose value is the next word, while there is no command yet.
    let taking: Vec<_> =
        GLOBAL.iter().filter(|opt| opt.kind != Kind::Flag).map(|opt| format!("--{}", opt.name)).collect();
    for command in all(device) {
        let name = command.name;
        let options = bash_options(&mut cases, command.options, name);
        let help = HELP.name;
        let _ =
            writeln!(words, "    {name}:-*) COMPREPLY=($(compgen -W \"{options}--{help}\" -- \"$cur\")) ;;");
        let _ = writeln!(words, "    {name}:*) {} ;;", bash_reply(argument(command)));
    }
    format!(
        "_mote() {{\n\
        \x20   local cur=${{COMP_WORDS[COMP_CWORD]}} last=${{COMP_WORDS[COMP_CWORD-1]}} command= i n\n\
        \x20   local -a mote=(\"${{COMP_WORDS[0]}}\")\n\
        \x20   [[ $last == = ]] && last=${{COMP_WORDS[COMP_CWORD-2]}}\n\
        \x20   [[ $cur == = ]] && cur= last=${{COMP_WORDS[COMP_CWORD-1]}}\n\
        \x20   for ((i = 1; i < COMP_CWORD; i++)); do\n\
        \x20       case ${{COMP_WORDS[i]}} in\n\
        \x20       {}) n=$((i + 1)); [[ ${{COMP_WORDS[n]}} == = ]] && ((n++))\n\
        \x20           [[ ${{COMP_WORDS[i]}} == --root ]] && mote+=(--root \"${{COMP_WORDS[n]}}\"); i=$n ;;\n\
        \x20       -*) ;;\n\
        \x20       *) command=${{COMP_WORDS[i]}}; break ;;\n\
        \x20       esac\n\
        \x20   done\n\
        \x20   case $command:$last in\n{cases}\
        \x20   *) case $command:$cur in\n{words}    esac ;;\n\
        \x20   esac\n\
        }}\n\
        complete -o filenames -F _mote mote\n",
        taking.join("|")
    )
}

fn fish(device: Commands) -> String {
    let mut out = String::from("complete -c mote -f\n");
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let options = |out: &mut String, table: &'static [Opt], condition: &str| {
        for opt in shown(table) {
            let short = opt.short.map(|c| format!(" -s {c}")).unwrap_or_default();
            let takes = match values(opt) {
                None => String::new(),
                Some(Values::Files) => " -r -F".to_owned(),
                Some(Values::Directories) => " -x -a '(__fish_complete_directories)'".to_owned(),
                Some(Values::Words(words)) => format!(" -x -a '{}'", words.replace('|', " ")),
                Some(_) => " -x".to_owned(),
            };
            let (name, about) = (opt.name, quoted(opt.about));
            let _ = writeln!(out, "complete -c mote -n {condition} -l {name}{short}{takes} -d '{about}'");
        }
    };
    options(&mut out, GLOBAL, "__fish_use_subcommand");
    for command in all(device) {
        let (name, about) = (command.name, quoted(command.about));
        let _ = writeln!(out, "complete -c mote -n __fish_use_subcommand -a {name} -d '{about}'");
        let condition = format!("'__fish_seen_subcommand_from {name}'");
        options(&mut out, command.options, &condition);
        match argument(command) {
            Values::Listed(by) => {
                let list = format!("for by in {by}; mote $by -q 2>/dev/null; end");
                let _ = writeln!(out, "complete -c mote -n {condition} -a '({list})'");
            }
            Values::Words(words) => {
                let words = words.replace('|', " ");
                let _ = writeln!(out, "complete -c mote -n {condition} -a '{words}'");
            }
            _ => {}
        }
    }
    out
}
