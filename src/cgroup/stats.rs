//! What a container uses, read through descriptors that are kept: sampling it again opens and allocates nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

use super::{Cgroup, Cgroups, Where};

/// What is used of one kind of memory, in bytes; `u64::MAX` for no limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The limit.
    pub limit: u64,
    /// What is used now.
    pub usage: u64,
    /// The most that was ever used.
    pub max: u64,
    /// How often the limit was in the way.
    pub failures: u64,
}

/// One sample. What the host's cgroups do not tell is zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Nanoseconds of processor time.
    pub cpu_ns: u64,
    /// Of these in the program.
    pub user_ns: u64,
    /// Of these in the kernel.
    pub system_ns: u64,
    /// Periods of the quota that have passed.
    pub periods: u64,
    /// Of these in which it was used up.
    pub throttled: u64,
    /// Nanoseconds that the container was made to wait.
    pub throttled_ns: u64,
    /// Memory.
    pub memory: Usage,
    /// Memory and swap together.
    pub swap: Usage,
    /// What the kernel uses for it; cgroup v1 alone.
    pub kernel: Usage,
    /// What of that is for TCP; cgroup v1 alone.
    pub kernel_tcp: Usage,
    /// Bytes of files in memory.
    pub cache: u64,
    /// Processes.
    pub pids: u64,
    /// The most there may be.
    pub pids_limit: u64,
    /// Processes that the OOM killer has ended.
    pub oom_kills: u64,
}

/// A file, and what it says.
struct Row {
    controller: (&'static str, &'static str),
    v2: bool,
    file: &'static str,
    read: fn(&str, &mut Stats),
}

const fn row(
    controller: (&'static str, &'static str),
    v2: bool,
    file: &'static str,
    read: fn(&str, &mut Stats),
) -> Row {
    Row { controller, v2, file, read }
}

const CPU: (&str, &str) = ("cpu", "cpu");
const CPUACCT: (&str, &str) = ("cpuacct", "cpu");
const MEMORY: (&str, &str) = ("memory", "memory");
const PIDS: (&str, &str) = ("pids", "pids");

/// Ticks of `cpuacct.stat` in nanoseconds: `USER_HZ` is 100 wherever Linux runs.
const TICK_NS: u64 = 10_000_000;

/// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
const ROWS: &[Row] = &[
    row(CPU, true, "cpu.stat", |text, stats| {
        stats.cpu_ns = key(text, "usage_usec") * 1000;
        stats.user_ns = key(text, "user_usec") * 1000;
        stats.system_ns = key(text, "system_usec") * 1000;
        stats.periods = key(text, "nr_periods");
        stats.throttled = key(text, "nr_throttled");
        stats.throttled_ns = key(text, "throttled_usec") * 1000;
    }),
    row(CPUACCT, false, "cpuacct.usage", |text, stats| stats.cpu_ns = number(text)),
    row(CPUACCT, false, "cpuacct.stat", |text, stats| {
        stats.user_ns = key(text, "user") * TICK_NS;
        stats.system_ns = key(text, "system") * TICK_NS;
    }),
    row(CPU, false, "cpu.stat", |text, stats| {
        stats.periods = key(text, "nr_periods");
        stats.throttled = key(text, "nr_throttled");
        stats.throttled_ns = key(text, "throttled_time");
    }),
    row(MEMORY, true, "memory.current", |text, stats| stats.memory.usage = number(text)),
    row(MEMORY, true, "memory.max", |text, stats| stats.memory.limit = number(text)),
    row(MEMORY, true, "memory.peak", |text, stats| stats.memory.max = number(text)),
    // After memory.*, which they include as on cgroup v1.
    row(MEMORY, true, "memory.swap.current", |text, stats| {
        stats.swap.usage = stats.memory.usage + number(text);
    }),
    row(MEMORY, true, "memory.swap.max", |text, stats| {
        stats.swap.limit = stats.memory.limit.saturating_add(number(text));
    }),
    row(MEMORY, true, "memory.events", |text, stats| {
        stats.memory.failures = key(text, "max");
        stats.oom_kills = key(text, "oom_kill");
    }),
    row(MEMORY, true, "memory.stat", |text, stats| stats.cache = key(text, "file")),
    row(MEMORY, false, "memory.usage_in_bytes", |text, stats| stats.memory.usage = number(text)),
    row(MEMORY, false, "memory.limit_in_bytes", |text, stats| stats.memory.limit = number(text)),
    row(MEMORY, false, "memory.max_usage_in_bytes", |text, stats| stats.memory.max = number(text)),
    row(MEMORY, false, "memory.failcnt", |text, stats| stats.memory.failures = number(text)),
    row(MEMORY, false, "memory.memsw.usage_in_bytes", |text, stats| stats.swap.usage = number(text)),
    row(MEMORY, false, "memory.memsw.limit_in_bytes", |text, stats| stats.swap.limit = number(text)),
    row(MEMORY, false, "memory.memsw.max_usage_in_bytes", |text, stats| stats.swap.max = number(text)),
    row(MEMORY, false, "memory.memsw.failcnt", |text, stats| stats.swap.failures = number(text)),
    row(MEMORY, false, "memory.kmem.usage_in_bytes", |text, stats| stats.kernel.usage = number(text)),
    row(MEMORY, false, "memory.kmem.limit_in_bytes", |text, stats| stats.kernel.limit = number(text)),
    row(MEMORY, false, "memory.kmem.max_usage_in_bytes", |text, stats| stats.kernel.max = number(text)),
    row(MEMORY, false, "memory.kmem.failcnt", |text, stats| stats.kernel.failures = number(text)),
    row(MEMORY, false, "memory.kmem.tcp.usage_in_bytes", |text, stats| stats.kernel_tcp.usage = number(text)),
    row(MEMORY, false, "memory.kmem.tcp.limit_in_bytes", |text, stats| stats.kernel_tcp.limit = number(text)),
    row(MEMORY, false, "memory.stat", |text, stats| stats.cache = key(text, "cache")),
    row(MEMORY, false, "memory.oom_control", |text, stats| stats.oom_kills = key(text, "oom_kill")),
    row(PIDS, true, "pids.current", |text, stats| stats.pids = number(text)),
    row(PIDS, true, "pids.max", |text, stats| stats.pids_limit = number(text)),
    row(PIDS, false, "pids.current", |text, stats| stats.pids = number(text)),
    row(PIDS, false, "pids.max", |text, stats| stats.pids_limit = number(text)),
];

/// The files of one cgroup, open.
#[derive(Debug)]
pub struct Sampler {
    files: heapless::Vec<(usize, OwnedFd), { ROWS.len() }>,
}

impl Sampler {
    /// Opens the files that there are.
    pub fn new(cgroups: &Cgroups, cgroup: &Cgroup) -> Self {
        let mut files = heapless::Vec::new();
        for (i, row) in ROWS.iter().enumerate() {
            let at = cgroups.find(row.controller.0, row.controller.1);
            // In the hierarchy that has the controller, or in what there is of cgroup v2, which counts time always.
            let v1 = at.filter(|at| *at != Where::V2).and_then(|at| cgroup.at(at));
            let directory = if row.v2 { cgroup.directory().filter(|_| v1.is_none()) } else { v1 };
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let file = directory.and_then(|directory| openat(directory, row.file, flags, Mode::empty()).ok());
            if let Some(file) = file {
                let _ = files.push((i, file)); // there is room for all
            }
        }
        Self { files }
    }

    /// Reads all of them. `ENODEV` once the cgroup is gone.
    pub fn sample(&self) -> Result<Stats, Errno> {
        let mut stats = Stats::default();
        let mut buffer = [0; 8192];
        for (i, file) in &self.files {
            let len = pread(file, &mut buffer, 0)?;
            let text = std::str::from_utf8(buffer.get(..len).unwrap_or_default()).unwrap_or_default();
            if let Some(row) = ROWS.get(*i) {
                (row.read)(text, &mut stats);
            }
        }
        Ok(stats)
    }
}

/// How many processes the OOM killer has ended in the cgroup v2 directory and below, by its `memory.events`.
pub fn oom_kills(memory_events: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut buffer = [0; 512];
    let len = pread(memory_events, &mut buffer, 0)?;
    Ok(key(std::str::from_utf8(buffer.get(..len).unwrap_or_default()).unwrap_or_default(), "oom_kill"))
}

/// A file that is one number, or `max`.
fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        digits => digits.parse().unwrap_or(0),
    }
}

/// The number behind `name` in a file of lines `name number`.
fn key(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| line.split_once(' '));
    values.into_iter().find(|(key, _)| *key == name).map_or(0, |(_, value)| number(value))
}

impl Cgroup {
    /// A descriptor that becomes readable, or has something urgent, when the OOM killer was at work, and whether it is
    /// the former: on cgroup v1 an eventfd, on v2 `memory.events`, to be read before it is waited on.
    pub fn oom_events(&self, cgroups: &Cgroups) -> Option<(OwnedFd, bool)> {
        let at = cgroups.find("memory", "memory")?;
        let directory = self.at(at)?;
        let open =
            |name: &str| openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok();
        if at == Where::V2 {
            return Some((open("memory.events")?, false));
        }
        let event = nix::sys::eventfd::EventFd::from_flags(nix::sys::eventfd::EfdFlags::EFD_CLOEXEC).ok()?;
        let control = open("memory.oom_control")?;
        let number = |fd: BorrowedFd<'_>| std::os::fd::AsRawFd::as_raw_fd(&fd);
        let registration = format!("{} {}", number(event.as_fd()), number(control.as_fd()));
        super::put(directory, "cgroup.event_control", &registration).ok()?;
        Some((event.into(), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_numbers_are_read() {
        assert_eq!([number("17\n"), number("max\n"), number("x")], [17, u64::MAX, 0]);
        let text = "low 0\nmax 3\noom 2\noom_kill 5\n";
        assert_eq!([key(text, "max"), key(text, "oom_kill"), key(text, "kill")], [3, 5, 0]);
    }
}
