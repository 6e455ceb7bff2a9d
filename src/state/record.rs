//! What is known about one container, as it stands in its state file and as others are told.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::Id;
use crate::cgroup::{Cgroups, Place};
use crate::error::{Error, Result};
use crate::json::{self, Pairs, Str};
use crate::object;
use crate::sys::file;

/// Where in its life a container is; runtime-spec runtime.md "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being made: its hooks run.
    Creating,
    /// Made, waiting for `start`.
    Created,
    /// Started.
    Running,
    /// Started, and standing still.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known about one container.
#[derive(Debug)]
pub struct Record {
    /// Its name.
    pub id: Id,
    /// Its first process, in the pid namespace of the commands.
    pub pid: Pid,
    /// When that process began, in clock ticks since boot, which tells it from another with its number.
    pub start_ticks: u64,
    /// What the last command made of it; see [`Record::status_now`] for what has become of it since.
    pub status: Status,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root filesystem, absolute.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The path of its cgroup; see [`Place`].
    pub cgroup: CString,
    /// Whether that is in every hierarchy.
    pub every_cgroup: bool,
    /// The group of the resctrl filesystem that goes with it; empty for none.
    pub rdt: CString,
    /// `ociVersion` of its config.json.
    pub oci_version: String,
    /// Whether later commands have hooks to run; see [`Entry::config`].
    pub hooks: bool,
    /// From its config.json.
    pub annotations: Vec<(String, String)>,
    /// What `exec` needs of config.json, as it stood there when the container was created: a JSON object.
    pub kept: String,
}

object! {
    /// `state.json`
    struct Stored<'a> {
        oci_version: Str<'a> = "ociVersion",
        id: Str<'a> = "id",
        pid: i32 = "pid",
        status: Str<'a> = "status",
        bundle: Str<'a> = "bundle",
        rootfs: Str<'a> = "rootfs",
        created: Str<'a> = "created",
        annotations: Pairs<'a, Str<'a>> = "annotations",
        start_ticks: u64 = "startTicks",
        cgroup: Str<'a> = "cgroup",
        hooks: bool = "hooks",
        rdt: Str<'a> = "rdt",
        every_cgroup: bool = "everyCgroup",
    }
}

impl Record {
    /// What the container is now: a first process that is gone, or only waits to be reaped, is a stopped container, and
    /// one that runs may have been paused.
    pub fn status_now(&self) -> Status {
        match self.status {
            _ if !self.is_alive() => Status::Stopped,
            Status::Running if self.is_frozen() => Status::Paused,
            status => status,
        }
    }

    /// Whether the first process is there and no other that has its number now.
    pub fn is_alive(&self) -> bool {
        process_start(self.pid) == Some(self.start_ticks)
    }

    /// Lets go of what the freezer of cgroup v1 holds: what is frozen by it ends only then, whatever killed it.
    pub fn thaw_v1(&self) -> Result<()> {
        let cgroups = Cgroups::detect();
        if cgroups.unified || !self.every_cgroup {
            return Ok(());
        }
        cgroups.open(&self.place())?.thaw_v1(&cgroups)
    }

    fn is_frozen(&self) -> bool {
        let cgroups = Cgroups::detect();
        cgroups.open(&self.place()).is_ok_and(|cgroup| cgroup.is_frozen(&cgroups))
    }

    /// Its cgroup.
    pub fn place(&self) -> Place<'_> {
        Place { path: &self.cgroup, every: self.every_cgroup }
    }

    /// The state as runtime-spec has it, in the order and shape that runc prints; `indent` is empty for one line.
    pub fn to_json(&self, indent: &str, owner: &str) -> String {
        let status = self.status_now();
        let pid = if status == Status::Stopped { 0 } else { self.pid.as_raw() };
        let mut json = self.fields(json::Writer::new(indent), pid, status);
        json.string("owner", owner);
        json.end()
    }

    /// The fields that the state and the state file share.
    fn fields(&self, mut json: json::Writer, pid: i32, status: Status) -> json::Writer {
        json.string("ociVersion", &self.oci_version);
        json.string("id", self.id.as_str());
        json.number("pid", pid);
        json.string("status", status.word());
        json.string("bundle", &self.bundle.to_string_lossy());
        json.string("rootfs", &self.rootfs.to_string_lossy());
        json.string("created", &self.created);
        if !self.annotations.is_empty() {
            json.strings("annotations", &self.annotations);
        }
        json
    }

    /// The state as runtime-spec has it, of a container that is `status` now.
    pub fn to_spec(&self, status: Status) -> String {
        self.fields(json::Writer::new(""), self.pid.as_raw(), status).end()
    }

    /// As it stands in the state file.
    pub(super) fn to_file(&self) -> String {
        let begun = begun(&self.place(), &self.rdt.to_string_lossy());
        let mut json = self.fields(begun, self.pid.as_raw(), self.status);
        json.number("startTicks", self.start_ticks);
        if self.hooks {
            json.number("hooks", true);
        }
        if !self.kept.is_empty() {
            json.raw("kept", &self.kept);
        }
        json.end()
    }

    /// Reads that.
    pub(super) fn from_file(text: &[u8], id: &str, file: &Path) -> Result<Self> {
        let broken = |flaw: json::Flaw| Error::config(file.display(), flaw.field, flaw.why);
        let stored: Stored<'_> = json::parse(text).map_err(broken)?;
        // Parsed, so it is UTF-8.
        let kept = std::str::from_utf8(text).ok().and_then(|text| json::member(text, "kept"));
        let status = [Status::Creating, Status::Created, Status::Running]
            .into_iter()
            .find(|s| stored.status == s.word());
        Ok(Self {
            id: Id::new(&if stored.id.is_empty() { id.to_owned() } else { stored.id.decode() })?,
            pid: Pid::from_raw(stored.pid),
            start_ticks: stored.start_ticks,
            status: status.unwrap_or(Status::Stopped),
            bundle: stored.bundle.decode().into(),
            rootfs: stored.rootfs.decode().into(),
            created: stored.created.decode(),
            cgroup: CString::new(stored.cgroup.decode())
                .map_err(|_| Error::config(file.display(), "cgroup", "holds a NUL"))?,
            every_cgroup: stored.every_cgroup,
            rdt: CString::new(stored.rdt.decode())
                .map_err(|_| Error::config(file.display(), "rdt", "holds a NUL"))?,
            oci_version: stored.oci_version.decode(),
            hooks: stored.hooks,
            annotations: stored
                .annotations
                .iter()
                .map(|(key, value)| (key.decode(), value.decode()))
                .collect(),
            kept: kept.unwrap_or_default().to_owned(),
        })
    }
}

/// How a state file begins: with what there is to take back besides the container's directory.
pub(super) fn beginning(place: &Place<'_>, rdt: &str) -> String {
    begun(place, rdt).unfinished()
}

fn begun(place: &Place<'_>, rdt: &str) -> json::Writer {
    let mut json = json::Writer::new("");
    json.string("cgroup", &place.path.to_string_lossy());
    json.number("everyCgroup", place.every);
    if !rdt.is_empty() {
        json.string("rdt", rdt);
    }
    json
}

/// When a process began, in clock ticks since boot; `None` for one that is gone or only waits to be reaped.
/// proc_pid_stat(5), fields 3 and 22.
pub fn process_start(pid: Pid) -> Option<u64> {
    let mut buffer = [0; 1024];
    let file = file::open(format!("/proc/{pid}/stat").as_str(), OFlag::O_RDONLY).ok()?;
    let len = nix::unistd::read(file, &mut buffer).ok()?;
    let text = std::str::from_utf8(buffer.get(..len)?).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let Ok(id) = Id::new("web") else { unreachable!() };
        let record = Record {
            id,
            pid: Pid::from_raw(7),
            start_ticks: 99,
            status: Status::Created,
            bundle: "/b \"x\"".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-23T21:23:30Z".into(),
            cgroup: c"mote-web".to_owned(),
            every_cgroup: true,
            rdt: c"gold/mon_groups/c1".into(),
            oci_version: "1.3.0".into(),
            hooks: true,
            annotations: vec![("a\nb".into(), "c\\d".into())],
            kept: r#"{"process":{"args":["\"}"]}}"#.into(),
        };
        let Ok(read) = Record::from_file(record.to_file().as_bytes(), "other", Path::new("x")) else {
            unreachable!()
        };
        assert_eq!(format!("{read:?}"), format!("{record:?}"));
    }
}
