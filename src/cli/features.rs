//! `mote features`: what this mote can do, for engines; runtime-spec features.md and features-linux.md. All of it comes from
//! the tables that containers are made with.

use std::fmt::Write as _;

use super::help::SPEC_VERSION;
use super::{Command, Context};
use crate::board::{COMMIT, VERSION};
use crate::error::Result;
use crate::json::escape;
use crate::output;
use crate::plan::{HOOK_KINDS, ids};
use crate::seccomp::{names, profile, raw};
use crate::sys::seccomp;
use crate::tables::{self, MOUNT_OPTIONS};

pub const COMMAND: Command = Command {
    name: "features",
    arguments: "",
    about: "print what mote can do as JSON",
    options: &[],
    count: (0, 0),
    run,
};

fn run(_: &Context<'_>) -> Result<i32> {
    output::print(&format!("{}\n", features()))?;
    Ok(0)
}

/// JSON in the layout of `runc features`: four spaces a level.
#[derive(Default)]
struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// Begins a member or an element; `name` is empty for the latter.
    fn begin(&mut self, name: &str) {
        if !matches!(self.out.bytes().last(), None | Some(b'{' | b'[')) {
            self.out.push(',');
        }
        self.line();
        if !name.is_empty() {
            let _ = write!(self.out, "\"{name}\": "); // to a String, here and below
        }
    }

    fn line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        (0..self.depth).for_each(|_| self.out.push_str("    "));
    }

    fn within(&mut self, name: &str, [open, close]: [char; 2], inside: &mut dyn FnMut(&mut Self)) {
        self.begin(name);
        self.out.push(open);
        self.depth += 1;
        let before = self.out.len();
        inside(self);
        self.depth -= 1;
        if self.out.len() > before {
            self.line();
        }
        self.out.push(close);
    }

    fn object(&mut self, name: &str, inside: &mut dyn FnMut(&mut Self)) {
        self.within(name, ['{', '}'], inside);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.begin(name);
        self.out.push('"');
        let _ = escape(&mut self.out, value);
        self.out.push('"');
    }

    fn list(&mut self, name: &str, items: &mut dyn Iterator<Item = &str>) {
        self.within(name, ['[', ']'], &mut |this| items.for_each(|item| this.text("", item)));
    }

    fn sorted(&mut self, name: &str, items: &mut dyn Iterator<Item = &str>) {
        let mut all: Vec<_> = items.collect();
        all.sort_unstable();
        self.list(name, &mut all.into_iter());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.begin(name);
        let _ = write!(self.out, "{value}");
    }

    fn flags(&mut self, name: &str, flags: &[(&str, bool)]) {
        self.object(name, &mut |this| flags.iter().for_each(|(name, value)| this.flag(name, *value)));
    }
}

fn features() -> String {
    let mut text = Text::default();
    text.object("", &mut |top| {
        top.text("ociVersionMin", "1.0.0");
        top.text("ociVersionMax", SPEC_VERSION);
        top.list("hooks", &mut HOOK_KINDS.iter().map(|row| row.1));
        top.sorted("mountOptions", &mut MOUNT_OPTIONS.iter().map(|option| option.name));
        top.object("linux", &mut linux);
        top.object("annotations", &mut |annotations| {
            annotations.text("mote.commit", COMMIT);
            annotations.text("mote.version", VERSION);
        });
        top.list(
            "potentiallyUnsafeConfigAnnotations",
            &mut [ids::KEEP_ORIGINAL_GROUPS, raw::ANNOTATION].into_iter(),
        );
    });
    text.out
}

fn linux(linux: &mut Text) {
    linux.sorted("namespaces", &mut tables::NAMESPACES.iter().map(|row| row.0));
    linux.list("capabilities", &mut tables::CAPABILITIES.iter().map(|row| row.0));
    let cgroup = [("v1", true), ("v2", true), ("systemd", false), ("systemdUser", false), ("rdma", true)];
    linux.flags("cgroup", &cgroup);
    linux.object("seccomp", &mut |this| {
        this.flag("enabled", true);
        this.sorted("actions", &mut profile::ACTIONS.iter().map(|row| row.0));
        this.sorted("operators", &mut profile::OPERATORS.iter().map(|row| row.0));
        let archs: Vec<_> = names::WORDS.iter().map(|word| format!("SCMP_ARCH_{word}")).collect();
        this.sorted("archs", &mut archs.iter().map(String::as_str));
        this.sorted("knownFlags", &mut profile::FLAGS.iter().map(|row| row.0));
        let by_kernel = profile::FLAGS.iter().filter(|(_, flag)| seccomp::knows_flag(*flag));
        this.sorted("supportedFlags", &mut by_kernel.map(|row| row.0));
    });
    let on = [("enabled", true)];
    linux.flags("apparmor", &on);
    linux.flags("selinux", &on);
    linux.flags("intelRdt", &[on[0], ("schemata", true), ("monitoring", true)]);
    linux.object("memoryPolicy", &mut |this| {
        this.sorted("modes", &mut tables::MEMORY_MODES.iter().map(|row| row.0));
        this.sorted("flags", &mut tables::MEMORY_FLAGS.iter().map(|row| row.0));
    });
    linux.object("mountExtensions", &mut |this| {
        this.flags("idmap", &[("enabled", MOUNT_OPTIONS.iter().any(|option| option.name == "idmap"))]);
    });
    linux.flags("netDevices", &on);
}
