//! Modules of the kernel: loaded by name or alias, after those they depend on, as modprobe(8) does it by what depmod(8) has
//! written below `/lib/modules/<release>`.
//!
//! Mostly nobody has to ask for one: the kernel calls `/sbin/modprobe` when a bridge, an expression of nftables or a file
//! system is wanted that it lacks, and where that is a link to mote, [`modprobe`] is what runs. `modules` in init.json is for
//! what nothing asks for.

use std::ffi::{CStr, CString, OsString};
use std::path::PathBuf;

use mote::error;
use mote::error::{During as _, Error, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::utsname::uname;

use crate::{child, kmsg};

/// How long the boot waits for the modules of init.json.
const BOOT_MS: u16 = 10_000;

/// `MODULE_INIT_COMPRESSED_FILE` of include/uapi/linux/module.h: the kernel unpacks it. Linux 5.17.
const COMPRESSED: i32 = 4;

/// The program `modprobe [-q] [--] NAME [PARAMETER=VALUE...]`, which the kernel calls. Returns the exit code.
pub fn modprobe(args: &[OsString]) -> i32 {
    kmsg::install();
    let words: Vec<_> = args.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let options = words.iter().take_while(|word| word.starts_with('-')).count();
    let (options, wanted) = words.split_at(options);
    if let Some(other) = options.iter().find(|option| !["-q", "--quiet", "--"].contains(&&***option)) {
        error!("modprobe: {other}: not an option of this one, which is mote");
        return 1;
    }
    match load(&wanted.join(" ")) {
        Ok(()) => 0,
        // The kernel asks for a lot that nobody has.
        Err(e) if e.errno() == Some(Errno::ENOENT) && !options.is_empty() => 1,
        Err(e) => {
            error!("modprobe: {e}");
            1
        }
    }
}

/// Loads the modules of init.json, each with its parameters behind a blank.
pub fn load_all(wanted: &[String]) {
    child::each(c"mote-modules", "modules", BOOT_MS, wanted, |one| load(one));
}

/// Loads what `wanted` names, by name or alias; parameters may follow behind a blank. One that is there is fine.
/// Errors: `ENOENT` when there is none.
fn load(wanted: &str) -> Result<()> {
    let (name, parameters) = wanted.trim().split_once(' ').unwrap_or((wanted.trim(), ""));
    let root = PathBuf::from("/lib/modules").join(uname().during("uname", "")?.release());
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let index = Index { modules: read("modules.dep"), aliases: read("modules.alias") };
    let files = index.files(name);
    if files.is_empty() {
        if index.built_in(&read("modules.builtin"), name) {
            return Ok(());
        }
        return Err(Error::refused("load", Errno::ENOENT, name.as_bytes()));
    }
    let parameters = CString::new(parameters).map_err(|_| Errno::EINVAL).during("load", name)?;
    for (file, asked) in files {
        insert(&root.join(file), if asked { &parameters } else { c"" })?;
    }
    Ok(())
}

fn insert(path: &std::path::Path, parameters: &CStr) -> Result<()> {
    let file = std::fs::File::open(path).during("open", path)?;
    let plain = path.extension().is_some_and(|ending| ending == "ko");
    let flags = ModuleInitFlags::from_bits_retain(if plain { 0 } else { COMPRESSED.cast_unsigned() });
    match finit_module(file, parameters, flags) {
        Err(Errno::EEXIST) => Ok(()),
        result => result.during("finit_module", path),
    }
}

/// What depmod(8) writes, as text.
struct Index {
    /// Lines of `FILE: FILE...`: a module and all it depends on, the one that comes first last.
    modules: String,
    /// Lines of `alias PATTERN MODULE`.
    aliases: String,
}

impl Index {
    /// The files to load for `name`, in order, each with whether it is one that was asked for. A name counts before aliases.
    fn files(&self, name: &str) -> Vec<(&str, bool)> {
        let mut files = self.of(name);
        if files.is_empty() {
            for line in self.aliases.lines() {
                let mut fields = line.split_whitespace();
                if let (Some("alias"), Some(pattern), Some(module)) =
                    (fields.next(), fields.next(), fields.next())
                    && matches(pattern.as_bytes(), name.as_bytes())
                {
                    files.extend(self.of(module));
                }
            }
        }
        files
    }

    fn of(&self, module: &str) -> Vec<(&str, bool)> {
        let lines = || self.modules.lines().filter_map(|line| line.split_once(':'));
        let found = lines().find(|(file, _)| is_named(file, module));
        let Some((file, needs)) = found else { return Vec::new() };
        needs.split_whitespace().rev().map(|file| (file, false)).chain([(file, true)]).collect()
    }

    fn built_in(&self, list: &str, module: &str) -> bool {
        list.lines().any(|file| is_named(file, module))
    }
}

/// Whether the module in `file`, with or without a compression's ending, has this name.
fn is_named(file: &str, module: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split_once(".ko").map_or(name, |(name, _)| name);
    name.len() == module.len() && name.bytes().map(plain).eq(module.bytes().map(plain))
}

/// In names of modules `-` and `_` are the same.
fn plain(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// Whether an alias is `name`; `*` and `?` stand for others. Ranges in brackets, which only hardware has, match nothing here.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            (0..=name.len()).any(|n| name.get(n..).is_some_and(|name| matches(rest, name)))
        }
        ([b'?', pattern @ ..], [_, name @ ..]) => matches(pattern, name),
        ([p, pattern @ ..], [n, name @ ..]) => plain(*p) == plain(*n) && matches(pattern, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index {
            modules: "kernel/net/802/stp.ko: kernel/net/llc/llc.ko\nkernel/net/llc/llc.ko:\n\
                kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko\n\
                kernel/drivers/i2c/i2c-dev.ko.xz:\nkernel/drivers/block/loop.ko:\n"
                .to_owned(),
            aliases:
                "# Aliases\nalias rtnl-link-bridge bridge\nalias block-major-7-* loop\nalias gone nothing\n"
                    .to_owned(),
        }
    }

    #[test]
    fn what_a_module_needs_comes_first() {
        let bridge = [
            ("kernel/net/llc/llc.ko", false),
            ("kernel/net/802/stp.ko", false),
            ("kernel/net/bridge/bridge.ko", true),
        ];
        assert_eq!(index().files("bridge"), bridge);
        assert_eq!(index().files("rtnl-link-bridge"), bridge);
        assert_eq!(index().files("rtnl_link_bridge"), bridge);
    }

    #[test]
    fn names_and_aliases_are_matched_whole() {
        assert_eq!(index().files("i2c_dev"), [("kernel/drivers/i2c/i2c-dev.ko.xz", true)]);
        assert_eq!(index().files("block-major-7-3"), [("kernel/drivers/block/loop.ko", true)]);
        for none in ["brid", "bridge2", "block-major-8-0", "gone", "", "bridge.ko"] {
            assert_eq!(index().files(none), [], "{none}");
        }
        assert!(matches(b"a*c?e", b"abbcde") && !matches(b"a*c?e", b"abbce") && !matches(b"[0-9]", b"1"));
        assert!(index().built_in("kernel/net/unix/unix.ko\n", "unix"));
    }
}
