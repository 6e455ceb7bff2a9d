//! What has been made for the pods: one file for each below `network/` of the run directory, replaced as a whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use mote::error::{During as _, Result};
use mote::input::{self, Input};
use mote::json::{self, List, Str, Writer};
use mote::object;
use mote::sys::file;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::manifest::{Mode, Network, Port};
use crate::paths::Paths;

/// What the name of a record ends with when its namespace is gone. In no pod's name.
pub const OUTDATED: &str = ".old";

/// Larger ones are not mote's own.
const RECORD_BYTES: u64 = 512 * 1024;

object! {
    struct Text<'a> {
        mode: Str<'a> = "mode", ready: bool = "ready", address: Str<'a> = "address", prefix: u8 = "prefix",
        parent: Str<'a> = "parent", network: Str<'a> = "network", id: Str<'a> = "id", ports: List<Str<'a>> = "ports",
    }
}

/// The record of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was asked for.
    pub mode: Mode,
    /// Whether all of it has been made.
    pub ready: bool,
    /// The pod's address; 0.0.0.0 where mote gives none.
    pub address: Ipv4Addr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The bridge, or the parent of a macvlan.
    pub parent: String,
    /// The CNI network's name.
    pub network: String,
    /// What the plugins know the pod by.
    pub id: String,
    /// The device's ports that lead to it.
    pub ports: Vec<Port>,
    /// The CNI network's configuration, and what its last plugin answered: JSON.
    pub cni: Option<(String, String)>,
}

impl Record {
    /// Nothing made yet.
    pub fn new(network: &Network) -> Self {
        Self {
            mode: network.mode,
            ready: false,
            address: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            parent: String::new(),
            network: String::new(),
            id: String::new(),
            ports: network.ports.clone(),
            cni: None,
        }
    }

    /// Whether it is what the manifest asks for now.
    pub fn fits(&self, network: &Network) -> bool {
        let wish = |wanted: &Option<String>, had: &str| wanted.as_ref().is_none_or(|wanted| wanted == had);
        let address = network.address.is_none_or(|(address, _)| address == self.address);
        self.mode == network.mode
            && address
            && self.ports == network.ports
            && (self.mode != Mode::Macvlan || wish(&network.parent, &self.parent))
            && (self.mode != Mode::Cni || wish(&network.cni, &self.network))
    }

    fn write(&self) -> String {
        let mut out = Writer::new("");
        out.string("mode", self.mode.word());
        out.number("ready", self.ready);
        out.string("address", &self.address.to_string());
        out.number("prefix", self.prefix);
        out.string("parent", &self.parent);
        out.string("network", &self.network);
        out.string("id", &self.id);
        let ports: Vec<String> = self.ports.iter().map(Port::to_string).collect();
        out.list("ports", &ports);
        if let Some((config, result)) = &self.cni {
            out.raw("config", config);
            if !result.is_empty() {
                out.raw("result", result);
            }
        }
        out.end()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let read: Text<'_> = json::parse(text).ok()?;
        let raw = std::str::from_utf8(text).ok()?;
        let part = |key| json::member(raw, key).map(str::to_owned);
        Some(Self {
            mode: Mode::of(&read.mode.decode())?,
            ready: read.ready,
            address: read.address.decode().parse().ok()?,
            prefix: read.prefix,
            parent: read.parent.decode(),
            network: read.network.decode(),
            id: read.id.decode(),
            ports: read.ports.iter().map(|port| Port::parse(&port.decode())).collect::<Option<_>>()?,
            cni: part("config").map(|config| (config, part("result").unwrap_or_default())),
        })
    }
}

/// The directory of the records.
#[derive(Debug)]
pub struct Records(PathBuf);

impl Records {
    /// Those below the run directory.
    pub fn of(paths: &Paths) -> Self {
        Self(PathBuf::from(paths.run).join("network"))
    }

    /// Whether there has been any.
    pub fn any(&self) -> bool {
        self.0.is_dir()
    }

    /// Makes the directory.
    pub fn prepare(&self) -> Result<()> {
        DirBuilder::new().mode(0o700).recursive(true).create(&self.0).during("mkdir", &*self.0)
    }

    /// For what concerns more than one pod: addresses, ports, the bridge. Held for milliseconds.
    pub fn lock(&self) -> Result<Flock<File>> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&self.0);
        let file = file.during("open", &*self.0)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during("flock", &*self.0)
    }

    /// The names of all there are. One that begins with a dot is no record.
    pub fn names(&self) -> Vec<String> {
        let names = file::names(&self.0).unwrap_or_default();
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// All of them but those of `pod`, each with its pod's name.
    pub fn others(&self, pod: &str) -> Vec<(String, Record)> {
        let own = |name: &str| name.trim_end_matches(OUTDATED) == pod;
        let names = self.names().into_iter().filter(|name| !own(name));
        names.filter_map(|name| self.read(&name).ok().flatten().map(|record| (name, record))).collect()
    }

    /// The record `name`. What cannot be understood is as if it were not there: it is mote's own and written as a whole, so
    /// another mote has written it.
    pub fn read(&self, name: &str) -> Result<Option<Record>> {
        match input::read(&self.0.join(name), RECORD_BYTES) {
            Ok(Input::Text(text)) => Ok(Record::parse(&text)),
            Ok(_) => Ok(None),
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Replaces the record `name`.
    pub fn write(&self, name: &str, record: &Record) -> Result<()> {
        let (path, new) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .during("open", &*new)?;
        file.write_all(record.write().as_bytes()).during("write", &*new)?;
        std::fs::rename(&new, &path).during("rename", &*path)
    }

    /// Removes the record `name`.
    pub fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.0.join(name)); // there may be none
    }

    /// The namespace of `pod` is another one now.
    pub fn outdate(&self, pod: &str) -> Result<()> {
        let path = self.0.join(pod);
        match std::fs::rename(&path, self.0.join(format!("{pod}{OUTDATED}"))) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.during("rename", &*path),
        }
    }

    /// A mark that something has been made for all pods.
    pub fn mark(&self, what: &str) -> Result<()> {
        let path = self.0.join(format!(".{what}"));
        File::create(&path).map(drop).during("open", &*path)
    }

    /// Whether that mark is there, which it is not any more afterwards.
    pub fn unmark(&self, what: &str) -> bool {
        std::fs::remove_file(self.0.join(format!(".{what}"))).is_ok()
    }

    /// Removes the directory.
    pub fn remove_all(&self) {
        let _ = std::fs::remove_dir_all(&self.0); // what stays is in nobody's way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let port = |text: &str| Port::parse(text).into_iter();
        let mut record = Record {
            mode: Mode::Bridge,
            ready: true,
            address: Ipv4Addr::new(10, 190, 0, 2),
            prefix: 24,
            parent: "mote0".to_owned(),
            network: String::new(),
            id: String::new(),
            ports: port("tcp 0.0.0.0 8080 80").chain(port("udp 127.0.0.1 53 5353")).collect(),
            cni: None,
        };
        assert_eq!(record.ports.len(), 2);
        assert_eq!(Record::parse(record.write().as_bytes()).as_ref(), Some(&record));
        record.cni = Some((r#"{"name":"a","plugins":[]}"#.to_owned(), String::new()));
        assert_eq!(Record::parse(record.write().as_bytes()).as_ref(), Some(&record));
        for end in 0..record.write().len() {
            assert_eq!(Record::parse(&record.write().as_bytes()[..end]), None);
        }
    }
}
