//! Rows come into the tables and leave them; those that stay keep their places, by which others know them. A place that was left
//! is taken by the next who comes.

use std::fmt;

use mote::board::{MAX_CONTAINERS, MAX_PODS};
use nix::errno::Errno;

use crate::clock;
use crate::line::Line;
use crate::logs::{self, Pipe};
use crate::manifest::RestartPolicy;
use crate::name::Name;
use crate::nofile;
use crate::order;
use crate::stdin::{Stdin, Wanted};
use crate::supervise::{Conf, State, Task, Unit};
use crate::tty::Tty;
use crate::world::{FILE_BYTES, PodRow, Reason, UnitRow, World};

/// The pod of a container's place that nobody has.
pub const NOBODY: usize = usize::MAX;

impl PodRow {
    /// A pod called `name`, of which nothing else is known.
    pub fn new(name: &str, file: heapless::String<FILE_BYTES>) -> Self {
        Self {
            name: Line::of(format_args!("{name}")),
            file,
            failed: None,
            grace_ms: 0,
            policy: RestartPolicy::Never,
            after: heapless::String::new(),
            begun: false,
            stop: None,
            again: false,
            leaving: false,
            cleaner: 0,
            hash: 0,
            wrong: None,
            netns: 0,
            control: false,
            held: Default::default(),
        }
    }

    /// Whether nobody has this place.
    pub fn is_vacant(&self) -> bool {
        self.name.as_str().is_empty()
    }
}

impl World<'_> {
    /// How many pods and containers there is room for.
    pub fn room(&self) -> (usize, usize) {
        let pods = self.pods.iter().filter(|pod| !pod.is_vacant()).count();
        let units = self.units.iter().filter(|row| row.pod != NOBODY).count();
        (MAX_PODS - pods, MAX_CONTAINERS - units)
    }

    /// Adds a pod; returns its place, or `None` when the table is full.
    pub fn add_pod(&mut self, row: PodRow) -> Option<usize> {
        if let Some(p) = self.pods.iter().position(PodRow::is_vacant) {
            *self.pods.get_mut(p)? = row;
            return Some(p);
        }
        self.pods.push(row).ok()?;
        Some(self.pods.len() - 1)
    }

    /// Adds a container to pod `p`, behind those that it has already.
    /// Errors: `ENOSPC` when the table is full, those of `pipe2(2)`.
    pub fn add_unit(
        &mut self,
        p: usize,
        name: Name,
        conf: Conf,
        stdin: Wanted,
        tty: bool,
    ) -> Result<usize, Errno> {
        if self.units.len() >= nofile::MANY {
            nofile::raise();
        }
        let (out, err) = (Pipe::new()?, Pipe::new()?);
        let row = UnitRow {
            pod: p,
            name,
            conf,
            unit: Unit::new(),
            changed_ms: clock::now_ms(),
            tasks: [const { None }; Task::COUNT],
            starter: None,
            queued: false,
            pidfd: None,
            stdin: Stdin::new(stdin, tty),
            tty: Tty::new(tty),
            out,
            err,
            reason: None,
            forgetter: 0,
            started_ns: 0,
            recorded: false,
            oom_kills: 0,
        };
        // The order of the table is that of the manifest.
        let behind = self.units.iter().rposition(|row| row.pod == p).map_or(0, |last| last + 1);
        let vacant = self.units.iter().skip(behind).position(|row| row.pod == NOBODY);
        if let Some(i) = vacant.map(|i| i + behind) {
            *self.units.get_mut(i).ok_or(Errno::ENOSPC)? = row;
            logs::send_away(self, i);
            self.logs.forget(i);
            return Ok(i);
        }
        self.units.push(row).map_err(|_| Errno::ENOSPC)?;
        Ok(self.units.len() - 1)
    }

    /// Pod `p` is not run, for this reason. None of its containers has been started.
    pub fn fail_pod(&mut self, p: usize, why: fmt::Arguments<'_>) {
        self.leave_units(p);
        if let Some(pod) = self.pods.get_mut(p) {
            mote::error!("pod {} is not run: {why}", pod.name);
            pod.failed = Some(Reason::of(why));
        }
    }

    /// Fails the pods that come after each other.
    pub fn fail_cycles(&mut self) {
        if self.pods.iter().all(|pod| pod.after.is_empty()) {
            return;
        }
        // First all are found: of a cycle with one pod less nothing would be left to find.
        let mut found = heapless::Vec::<(usize, Reason), MAX_PODS>::new();
        for p in 0..self.pods.len() {
            if let Some(why) = order::in_cycle(self.pods, p) {
                let _ = found.push((p, why)); // as many as there are pods
            }
        }
        for (p, why) in found {
            self.fail_pod(p, format_args!("{why}"));
        }
    }

    /// Takes the containers of pod `p` out of the table. Their pipes stay until somebody else comes: a log writer may not be
    /// through with them.
    pub fn leave_units(&mut self, p: usize) {
        for row in self.units.iter_mut().filter(|row| row.pod == p) {
            row.pod = NOBODY;
            row.unit = Unit { state: State::Done, ..Unit::new() };
        }
    }
}
