//! A bundle: its config.json, read once, and its root filesystem.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::CONFIG_MAX;
use crate::error::{During, Error, Result, Wrong};
use crate::input::{self, Input};
use crate::json;
use crate::plan::{self, Hooks, Plan};
use crate::spec::Spec;
use crate::state::Id;
use crate::strings;
use crate::sys::file;

/// A bundle's configuration as it was read once.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute.
    pub path: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub text: Vec<u8>,
}

impl Bundle {
    /// Reads `config.json` of the bundle at `path`, or the file that stands in for it.
    pub fn read(path: &Path, config: Option<&Path>) -> Result<Self> {
        let path = std::path::absolute(path).during("getcwd", path)?;
        let file = config.map_or_else(|| path.join("config.json"), Path::to_owned);
        let refuse = |why: &str| Err(Error::config(file.display(), "the file", why));
        let text = match input::read(&file, CONFIG_MAX)? {
            Input::Text(text) => text,
            Input::TooLarge => return refuse("larger than 1 MiB"),
            Input::NotRegular => return refuse("expected a regular file"),
        };
        Ok(Self { path, file, text })
    }

    /// Its shape.
    pub fn parse(&self) -> Result<Spec<'_>> {
        json::parse(&self.text).map_err(|flaw| self.flawed(flaw.field, flaw.why))
    }

    /// The text of its configuration.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The same bundle with another configuration, by who has changed it.
    pub fn with_text(self, text: Vec<u8>) -> Self {
        Self { text, ..self }
    }

    /// Hands the hooks of a container that was made from it to `act`.
    pub fn with_hooks(&self, id: &Id, act: &mut dyn FnMut(&Hooks<'_>) -> Result<()>) -> Result<()> {
        let spec = self.parse()?;
        let mut buffer = vec![0; strings::room_for(self.text.len())];
        let strings = &mut strings::Strings::new(&mut buffer);
        let hooks = plan::plan_hooks(&spec, &self.path, id.as_str(), strings);
        act(&hooks.map_err(|wrong| self.wrong(wrong))?)
    }

    /// A wrong field of it.
    pub fn wrong(&self, wrong: Wrong) -> Error {
        Error::wrong(self.file.display(), wrong)
    }

    /// The same, in parts.
    pub fn flawed(&self, field: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
        Error::config(self.file.display(), field, why)
    }
}

/// Opens the root filesystem, which must be a directory and no symlink: what one leads to can change any time.
pub fn open_root(bundle: &Bundle, plan: &Plan<'_>) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    file::open(plan.rootfs, flags).map_err(|errno| {
        let path = String::from_utf8_lossy(plan.rootfs.to_bytes());
        let why = match errno {
            Errno::ENOTDIR | Errno::ELOOP => "expected a directory, not a symlink or another file",
            other => crate::error::words(other),
        };
        bundle.flawed("root.path", format!("\"{}\": {why}", path))
    })
}
