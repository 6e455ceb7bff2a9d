//! What follows from the end of a child: who it was, the record, the next step of its container.

use mote::sys::wait::{Ended, How};
use mote::warn;

use super::{UnitRow, World, record};
use crate::history::{Record, What};
use crate::line::Line;
use crate::supervise::{Event, Status, Task};
use crate::{limits, live, logs, task};

impl World<'_> {
    /// A child has been reaped.
    pub fn ended(&mut self, ended: Ended, now_ms: u64) {
        if self.unit_ended(ended, now_ms)
            || self.task_ended(ended, now_ms)
            || logs::ended(self, ended.pid, now_ms)
            || live::ended(self, ended.pid, now_ms)
            || live::cleaned(self, ended.pid, now_ms)
            || self.power.ended(ended, now_ms)
        {
            return;
        }
        if let Some(row) = self.units.iter_mut().find(|row| row.forgetter == ended.pid) {
            row.forgetter = 0;
            let p = row.pod;
            return self.settle(p, now_ms);
        }
        let starter = |row: &UnitRow| row.starter.as_ref().is_some_and(|starter| starter.pid == ended.pid);
        if let Some(i) = self.units.iter().position(starter) {
            self.report(i, now_ms); // written before it ended, if at all
            if self.units.get(i).is_some_and(starter) {
                let reason = match ended.how {
                    How::Code(code) => Line::of(format_args!("its starter ended with code {code}")),
                    How::Signal(signal) => {
                        Line::of(format_args!("its starter was killed by signal {signal}"))
                    }
                };
                self.start_failed(i, reason, now_ms);
            }
            return;
        }
        // An orphan; or a container that has ended before its starter has told of it. It is put down first: a report that has come
        // since is looked up there.
        if self.strangers.is_full() {
            self.strangers.pop_front();
        }
        let _ = self.strangers.push_back(ended); // there is room
        for i in 0..self.units.len() {
            self.report(i, now_ms);
        }
        if self.units.iter().all(|row| row.starter.is_none()) {
            self.strangers.clear(); // nobody is left to whom it could belong
        }
    }

    /// Whether `ended` was the process of a container.
    pub(super) fn unit_ended(&mut self, ended: Ended, now_ms: u64) -> bool {
        let Some(i) = self.units.iter().position(|row| row.unit.pid() == Some(ended.pid)) else {
            return false;
        };
        self.exited(i, ended.how.into(), now_ms);
        true
    }

    /// A child is about to be reaped: if it is a container's, its end is recorded first.
    pub fn will_end(&mut self, ended: Ended) {
        if let Some(i) = self.units.iter().position(|row| row.unit.pid() == Some(ended.pid)) {
            self.record_end(i, ended.how.into());
        }
    }

    /// Records the end of this run of container `i`, once.
    pub(super) fn record_end(&mut self, i: usize, status: Status) {
        if self.units.get(i).is_none_or(|row| row.recorded) {
            return;
        }
        // Before its cgroup goes, which counts them.
        let killed = self.oom_kills_now(i);
        if let Some(row) = self.units.get_mut(i) {
            row.oom_kills += killed;
            row.recorded = true;
        }
        let (code, signal) = match status {
            Status::Code(code) => (code, 0),
            Status::Signal(signal) => (-1, signal),
            Status::Unknown => (-1, 0),
        };
        let Self { pods, units, history, .. } = self;
        let Some(row) = units.get(i) else { return };
        let oom_kills = u32::try_from(killed).unwrap_or(u32::MAX);
        let record = Record { code, signal, oom_kills, ..record(pods, row, What::Exited) };
        history.add(self.paths.events, &record);
        if killed > 0 {
            warn!("{}/{}: out of memory: {killed} of its processes killed", record.pod, record.container);
        }
    }

    /// Records what has happened to container `i`.
    pub(super) fn note(&mut self, i: usize, kind: What) {
        let Self { pods, units, history, .. } = self;
        let Some(row) = units.get(i) else { return };
        let reason = row.reason.as_ref().map_or("", |reason| reason.as_str());
        history.add(self.paths.events, &Record { reason, ..record(pods, row, kind) });
    }

    pub(super) fn exited(&mut self, i: usize, status: Status, now_ms: u64) {
        self.record_end(i, status);
        if let Some(row) = self.units.get_mut(i) {
            row.pidfd = None;
        }
        logs::flush(self, i);
        self.event(i, Event::Exited(status), now_ms);
    }

    /// How many processes of container `i` the OOM killer has ended in this run.
    pub fn oom_kills_now(&self, i: usize) -> u64 {
        let row = self.units.get(i).filter(|row| row.unit.pid().is_some() && !row.recorded);
        row.map_or(0, |row| limits::oom_kills(self.paths, self.pod_name(row.pod), row.name.as_str()))
    }

    /// Whether `ended` was a probe or a hook.
    pub(super) fn task_ended(&mut self, ended: Ended, now_ms: u64) -> bool {
        let find = |row: &UnitRow| {
            row.tasks.iter().position(|task| task.as_ref().is_some_and(|task| task.pid == ended.pid))
        };
        let found = self.units.iter().enumerate().find_map(|(i, row)| Some((i, find(row)?)));
        let Some((i, Some(task))) = found.map(|(i, k)| (i, Task::ALL.get(k).copied())) else { return false };
        self.set_task(i, task, None);
        self.event(i, Event::TaskEnded(task, task::outcome(ended.how)), now_ms);
        true
    }
}
