//! The rows of the two large tables.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

use mote::board::{MAX_CONTAINERS, MAX_PODS};

use crate::line::Line;
use crate::logs::Pipe;
use crate::manifest::{AFTER_BYTES, RestartPolicy};
use crate::name::Name;
use crate::namespaces;
use crate::paths::Paths;
use crate::stdin::Stdin;
use crate::supervise::{Conf, Task, Unit};
use crate::task;
use crate::tty::Tty;

/// Why a pod or a start failed.
pub type Reason = Line<200>;

/// A pod as PID 1 knows it.
#[derive(Debug)]
pub struct PodRow {
    /// Its name; of a manifest that could not be read, the file's.
    pub name: Line<63>,
    /// The manifest, below the manifest directory.
    pub file: heapless::String<FILE_BYTES>,
    /// Why it is not run at all.
    pub failed: Option<Reason>,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: u64,
    /// When its containers are started again.
    pub policy: RestartPolicy,
    /// The pods that it comes after, with a blank between.
    pub after: heapless::String<AFTER_BYTES>,
    /// Whether its containers may run: what it comes after is there.
    pub begun: bool,
    /// With what grace it is being ended.
    pub stop: Option<u64>,
    /// Whether it is to run again once it has ended.
    pub again: bool,
    /// Whether it is to be forgotten once it has ended.
    pub leaving: bool,
    /// The child that removes what it has left; 0: none is at work.
    pub cleaner: i32,
    /// What the text of its manifest comes to, as it was accepted.
    pub hash: u64,
    /// What is wrong with its manifest as it is now.
    pub wrong: Option<Reason>,
    /// The number of its network namespace, once known; 0 before.
    pub netns: u64,
    /// Whether its containers may use the control socket.
    pub control: bool,
    /// Its namespaces, held open.
    pub held: namespaces::Held,
}

impl PodRow {
    /// Holds its namespaces open, those of the device aside.
    pub fn hold(&mut self, paths: &Paths) {
        if self.netns != 0 {
            namespaces::hold(paths, self.name.as_str(), self.netns, &mut self.held);
        }
    }
}

/// The longest file name of a manifest.
pub const FILE_BYTES: usize = 100;

/// A container as PID 1 knows it.
#[derive(Debug)]
pub struct UnitRow {
    /// Its pod's place in the table.
    pub pod: usize,
    /// Its name in the pod.
    pub name: Name,
    /// What the manifest says about its life.
    pub conf: Conf,
    /// Where its life stands.
    pub unit: Unit,
    /// Since when that has been its state.
    pub changed_ms: u64,
    /// The probes and hooks at work for it, each at its number.
    pub tasks: [Option<task::Running>; Task::COUNT],
    /// The starter at work for it.
    pub starter: Option<Starter>,
    /// Whether it waits for its turn to have one.
    pub queued: bool,
    /// Its process, while there is one.
    pub pidfd: Option<OwnedFd>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Its terminal; standard input, output and error then.
    pub tty: Tty,
    /// Its standard output.
    pub out: Pipe,
    /// Its standard error.
    pub err: Pipe,
    /// Why it could not be started, last time.
    pub reason: Option<Reason>,
    /// The child that removes what it has left; 0: none is at work.
    pub forgetter: i32,
    /// When it was started last, in nanoseconds since 1970; 0 before.
    pub started_ns: u64,
    /// Whether the end of this run has been recorded.
    pub recorded: bool,
    /// How many of its processes the OOM killer has ended, in all runs whose end is recorded.
    pub oom_kills: u64,
}

/// A starter child at work.
#[derive(Debug)]
pub struct Starter {
    /// Its number, to know it again when it is reaped.
    pub pid: i32,
    /// To kill it.
    pub pidfd: OwnedFd,
    /// Where its report comes from.
    pub report: OwnedFd,
    /// When it began.
    pub since_ms: u64,
}

/// All pods, the failed ones included.
pub type Pods = heapless::Vec<PodRow, MAX_PODS>;

/// All containers.
pub type Units = heapless::Vec<UnitRow, MAX_CONTAINERS>;

/// The two large tables. Locked once, by PID 1, for good; a mutex only because a static needs one. Empty they are all
/// zeros, so they take no room in the file.
pub static TABLES: Mutex<(Pods, Units)> = Mutex::new((heapless::Vec::new(), heapless::Vec::new()));
