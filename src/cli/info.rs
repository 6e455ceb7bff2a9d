//! `mote info`: what there is on this host for containers, for a person.

use std::fmt::Write as _;

use nix::sys::utsname::uname;

use super::{Command, Context};
use crate::board::{COMMIT, VERSION};
use crate::cgroup::Cgroups;
use crate::error::{During, Result};
use crate::output;
use crate::sys::seccomp;
use crate::tables;

pub const COMMAND: Command = Command {
    name: "info",
    arguments: "",
    about: "say what this host has for containers: kernel, cgroups, namespaces",
    options: &[],
    count: (0, 0),
    run,
};

fn run(_: &Context<'_>) -> Result<i32> {
    let kernel = uname().during("uname", "")?;
    let word = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = file("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown").trim();
    let online = file("/sys/devices/system/cpu/online");
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<15}{value}"); // to a String
    };
    line("version", &format!("{VERSION}, commit {COMMIT}"));
    line(
        "kernel",
        &format!("{} {}, {}", word(kernel.sysname()), word(kernel.release()), word(kernel.machine())),
    );
    line("processors", online.trim_end());
    line("memory", memory);
    let cgroups = Cgroups::detect();
    let hierarchies = cgroups.hierarchies().unwrap_or(&[]);
    let kind = match (cgroups.has_v2(), hierarchies.iter().any(|hierarchy| !hierarchy.v2)) {
        (true, false) => "v2",
        (true, true) => "v1 and v2",
        (false, true) => "v1",
        (false, false) => "none",
    };
    line("cgroups", kind);
    for hierarchy in hierarchies {
        let name = if hierarchy.v2 { cgroups.controllers().trim_end() } else { &hierarchy.name };
        line("", &format!("{} {}", hierarchy.mount.display(), name));
    }
    let there = |name: &str| {
        let file = match name {
            "network" => "net",
            "mount" => "mnt",
            name => name,
        };
        std::path::Path::new("/proc/self/ns").join(file).exists()
    };
    let names = tables::NAMESPACES.iter().map(|(name, _)| *name).filter(|name| there(name));
    line("namespaces", &names.collect::<Vec<_>>().join(" "));
    line("seccomp", if seccomp::knows_flag(seccomp::FLAG_LOG) { "yes" } else { "no" });
    output::print(&out)?;
    Ok(0)
}
