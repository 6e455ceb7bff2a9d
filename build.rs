//! Turns the chosen board's `board.conf` into constants and stamps version and commit; `src/board.rs` includes the result.

#[path = "board/parse.rs"]
mod parse;

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

/// What goes into the binary: a change in any of it makes the commit "dirty".
const SOURCES: &[&str] = &["src", "init", "board", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-env-changed=BOARD");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let conf = board_conf(&env::var("BOARD").unwrap_or_else(|_| "generic".into()));
    let text = fs::read_to_string(&conf).unwrap_or_else(|e| fail(&format!("{}: {e}", conf.display())));
    let mut constants = parse::constants(&text)
        .unwrap_or_else(|e| fail(&format!("{}:{}: {}", conf.display(), e.line, e.why)));
    constants += &format!(
        "/// The version in `Cargo.toml`.\npub const VERSION: &str = {:?};\n\
         /// The git commit built from, with `-dirty` after it when the sources differ, or `unknown`.\n\
         pub const COMMIT: &str = {:?};\n",
        variable("CARGO_PKG_VERSION"),
        commit(),
    );
    write("board.rs", &constants);
    let names = "src/seccomp/names.tsv";
    let text = fs::read_to_string(names).unwrap_or_else(|e| fail(&format!("{names}: {e}")));
    write(
        "syscalls.rs",
        &syscalls(&text).unwrap_or_else(|line| fail(&format!("{names}: wrong line {line:?}"))),
    );
}

/// Writes a file for `include!`.
fn write(name: &str, text: &str) {
    let out = Path::new(&variable("OUT_DIR")).join(name);
    fs::write(&out, text).unwrap_or_else(|e| fail(&format!("{}: {e}", out.display())));
}

/// The table of system calls as constants: all names in one text and where each ends, and a column of numbers for each
/// architecture. Two bytes hold a number: arm's private calls (0x0f0000 and up) have bit 15 set, a call that the
/// architecture lacks is 0xffff. The error is the line at fault.
fn syscalls(text: &str) -> Result<String, String> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let header = lines.next().ok_or("")?;
    let mut columns: Vec<(&str, Vec<u16>)> =
        header.split('\t').skip(1).map(|name| (name, Vec::new())).collect();
    let (mut names, mut ends, mut last) = (String::new(), Vec::new(), "");
    for line in lines {
        let mut cells = line.split('\t');
        let name = cells.next().filter(|name| *name > last).ok_or(line)?;
        last = name;
        names += name;
        ends.push(names.len());
        for (_, numbers) in &mut columns {
            let number = match cells.next().ok_or(line)? {
                "-" => Some(0xffff),
                cell => cell.parse::<u32>().ok().and_then(|number| match number {
                    0..0x8000 => u16::try_from(number).ok(),
                    0x0f_0000..0x0f_7fff => u16::try_from(0x8000 + number - 0x0f_0000).ok(),
                    _ => None,
                }),
            };
            numbers.push(number.ok_or(line)?);
        }
    }
    let mut out = format!(
        "/// All names, sorted, one after the other.\npub static NAMES: &str = {names:?};\n\
         /// Where each name ends.\npub static ENDS: [u16; {}] = {ends:?};\n",
        ends.len()
    );
    for (name, numbers) in columns {
        let upper = name.to_uppercase();
        out +=
            &format!("/// Numbers on {name}.\npub static {upper}: [u16; {}] = {numbers:?};\n", numbers.len());
    }
    Ok(out)
}

/// `generic` is short for `generic/generic`; any other board is named `<family>/<machine>`.
fn board_conf(board: &str) -> PathBuf {
    let directory = if board == "generic" { "generic/generic" } else { board };
    Path::new("board").join(directory).join("board.conf")
}

fn commit() -> String {
    // HEAD's reflog gets a line whenever another commit is checked out or made; no other file says so for all of packed
    // refs, branches and worktrees. Without one the stamp follows the next change of a source.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    let Some(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    let diff = [&["diff", "--quiet", "HEAD", "--"], SOURCES].concat();
    if git(&diff).is_some() { hash } else { hash + "-dirty" }
}

/// What git prints, or `None` when it fails or there is none.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().into())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| fail(&format!("{name}: {e}")))
}

/// Ends the build with one line instead of a panic and its backtrace.
fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    exit(1)
}
