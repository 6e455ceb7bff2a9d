//! `mote supervise`: the pods of a directory on any Linux host; see `hosted.rs`.

use std::path::{Path, PathBuf};

use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::{During as _, Result};
use nix::errno::Errno;

use crate::hosted;
use crate::paths::DEVICE;

const fn directory(name: &'static str, about: &'static str) -> Opt {
    Opt { name, short: None, kind: Kind::Value("DIR"), about }
}

/// `supervise`
pub const COMMAND: Command = Command {
    name: "supervise",
    arguments: "",
    about: "run pods as PID 1 would, under any init; SIGTERM stops them and ends it",
    options: &[
        directory("manifests", "run the pods described in DIR (/etc/mote/manifests)"),
        directory("bundles", "the bundles that image names are in DIR (/var/lib/mote/bundles)"),
        directory("run", "keep sockets, pins and states below DIR ($MOTE_RUN, or /run/mote)"),
        directory("logs", "write logs below DIR (/var/log/pods)"),
        directory("volumes", "keep volumes on the disk below DIR (/var/lib/mote/volumes)"),
        Opt {
            name: "settings",
            short: None,
            kind: Kind::Value("FILE"),
            about: "take \"network\" from FILE (/etc/mote/init.json)",
        },
    ],
    count: (0, 0),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    // Absolute, so that it stays the same place for every child.
    let place = |name: &str, default: &str| -> Result<&'static str> {
        let given = context.options.path(name).map_or_else(|| PathBuf::from(default), Path::to_owned);
        let whole = std::path::absolute(&given).during("realpath", &*given)?;
        let text =
            whole.into_os_string().into_string().map_err(|_| Errno::EILSEQ).during("realpath", &*given)?;
        Ok(text.leak())
    };
    let run = std::env::var("MOTE_RUN").ok().filter(|run| !run.is_empty());
    let run = place("run", run.as_deref().unwrap_or(DEVICE.run))?;
    hosted::run(
        run,
        [
            place("manifests", DEVICE.manifests)?,
            place("bundles", DEVICE.bundles)?,
            place("logs", DEVICE.logs)?,
            place("volumes", DEVICE.volumes)?,
            place("settings", DEVICE.settings)?,
        ],
    )
}
