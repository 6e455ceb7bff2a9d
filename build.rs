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
    let out = Path::new(&variable("OUT_DIR")).join("board.rs");
    fs::write(&out, constants).unwrap_or_else(|e| fail(&format!("{}: {e}", out.display())));
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
