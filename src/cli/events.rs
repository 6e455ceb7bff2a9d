//! `mote events`: what a container uses, again and again or once, and what the OOM killer did; the shape is runc's.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::cgroup::stats::{Sampler, Stats, Usage, oom_kills};
use crate::cgroup::{Cgroup, Cgroups, Where};
use crate::error::{During, Result};
use crate::output;
use crate::sys::file;
use crate::sys::process::pidfd_open;
use crate::{json, live};

/// `events`
pub const COMMAND: Command = Command {
    name: "events",
    arguments: "<container id>",
    about: "print what a container uses, and when memory runs out in it",
    options: &[
        Opt {
            name: "interval",
            short: None,
            kind: Kind::Value("TIME"),
            about: "how often, such as 500ms or 1m30s (5s)",
        },
        Opt { name: "stats", short: None, kind: Kind::Flag, about: "print what it uses once, and end" },
    ],
    count: (1, 1),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let id = context.id()?;
    let interval = match context.options.text("interval") {
        None => Duration::from_secs(5),
        Some(text) => duration(&text).filter(|interval| !interval.is_zero()).ok_or_else(|| {
            context.wrong("interval", "expected a time greater than 0, such as 5s, 500ms or 1m30s")
        })?,
    };
    let (cgroups, cgroup, record) = live::look(&context.root, &id)?;
    let sampler = Sampler::new(&cgroups, &cgroup);
    let stats = || match sampler.sample() {
        Ok(stats) => output::print(&format!("{}\n", line(id.as_str(), &stats, &cgroups, &cgroup))),
        // Its cgroup was removed meanwhile: the end of what there is to tell.
        Err(Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno).during("read", "statistics"),
    };
    if context.options.has("stats") {
        return stats().map(|()| 0);
    }
    let pidfd = match pidfd_open(record.pid) {
        Err(Errno::ESRCH) => return Ok(0),
        result => result.during("pidfd_open", id.as_str())?,
    };
    let mut oom = Oom::new(&cgroups, &cgroup);
    let mut next = Instant::now() + interval;
    loop {
        let mut fds: heapless::Vec<PollFd<'_>, 2> = heapless::Vec::new();
        let _ = fds.push(PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)); // two at most, for which there is room
        if let Some(oom) = &oom {
            // A file is always readable: only what is urgent counts.
            let flags = if oom.v1 { PollFlags::POLLIN } else { PollFlags::POLLPRI };
            let _ = fds.push(PollFd::new(oom.file.as_fd(), flags)); // as above
        }
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up: a wait that is too short by a part of a millisecond would spin.
        let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX - 1) + 1;
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(Errno::EINTR) => {}
            result => drop(result.during("poll", "")?),
        }
        let mut ready = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        let (ended, pressed) = (ready.next().unwrap_or(false), ready.next().unwrap_or(false));
        drop(fds);
        if pressed || ended {
            for _ in 0..oom.as_mut().map_or(0, |oom| oom.happened(pressed)) {
                output::print(&format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", id.as_str()))?;
            }
        }
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            stats()?;
            next = Instant::now() + interval;
        }
    }
}

/// Where the OOM killer's work shows.
struct Oom {
    file: std::os::fd::OwnedFd,
    v1: bool,
    kills: u64,
}

impl Oom {
    fn new(cgroups: &Cgroups, cgroup: &Cgroup) -> Option<Self> {
        let (file, v1) = cgroup.oom_events(cgroups)?;
        let kills = if v1 { 0 } else { oom_kills(file.as_fd()).unwrap_or(0) };
        Some(Self { file, v1, kills })
    }

    /// How many times it was at work since this was asked last; `pressed` is whether the descriptor says so.
    fn happened(&mut self, pressed: bool) -> u64 {
        if self.v1 {
            let mut count = [0; 8];
            // Blocks when nothing has happened.
            return if pressed && read_all(self.file.as_fd(), &mut count) {
                u64::from_ne_bytes(count)
            } else {
                0
            };
        }
        let before = self.kills;
        self.kills = oom_kills(self.file.as_fd()).unwrap_or(before);
        self.kills - before.min(self.kills)
    }
}

fn read_all(from: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    nix::unistd::read(from, buffer) == Ok(buffer.len())
}

/// A time as Go writes it: numbers with units, one after the other.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, u64)] = &[
        ("ns", 1),
        ("us", 1000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let part = part.get(..part.len().min(9))?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        let fraction = if part.is_empty() { 0 } else { part.parse::<u64>().ok()? };
        if number.is_empty() || number == "." {
            return None;
        }
        let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
        let fraction = u128::from(fraction) * u128::from(*nanoseconds) / u128::from(scale);
        total = total
            .checked_add(whole.checked_mul(*nanoseconds)?)?
            .checked_add(u64::try_from(fraction).ok()?)?;
        rest = after;
    }
    Some(Duration::from_nanos(total))
}

/// JSON objects within each other, one line.
struct Line(String);

impl Line {
    fn name(&mut self, name: &str) {
        if !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
        if !name.is_empty() {
            self.0.push('"');
            let _ = json::escape(&mut self.0, name); // to a String, here and below
            self.0.push_str("\":");
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    fn object(&mut self, name: &str, body: &mut dyn FnMut(&mut Self)) {
        self.name(name);
        self.0.push('{');
        body(self);
        self.0.push('}');
    }

    fn list(&mut self, name: &str, body: &mut dyn FnMut(&mut Self)) {
        self.name(name);
        self.0.push('[');
        body(self);
        self.0.push(']');
    }

    fn usage(&mut self, name: &str, usage: &Usage) {
        self.object(name, &mut |line| {
            line.number("limit", usage.limit);
            line.number("usage", usage.usage);
            line.number("max", usage.max);
            line.number("failcnt", usage.failures);
        });
    }
}

/// One sample as runc prints it; its types/events.go.
fn line(id: &str, stats: &Stats, cgroups: &Cgroups, cgroup: &Cgroup) -> String {
    let read = |v1: &str, v2: &str, file: &str| {
        cgroups.find(v1, v2).and_then(|at| cgroup.read(at, file)).unwrap_or_default()
    };
    let mut out = Line(format!("{{\"type\":\"stats\",\"id\":\"{id}\""));
    out.object("data", &mut |out| {
        out.object("cpu", &mut |out| {
            out.object("usage", &mut |out| {
                out.number("total", stats.cpu_ns);
                let each = read("cpuacct", "", "cpuacct.usage_percpu");
                if !each.is_empty() {
                    out.list("percpu", &mut |out| numbers(out, &each));
                }
                out.number("kernel", stats.system_ns);
                out.number("user", stats.user_ns);
            });
            out.object("throttling", &mut |out| {
                out.number("periods", stats.periods);
                out.number("throttledPeriods", stats.throttled);
                out.number("throttledTime", stats.throttled_ns);
            });
            pressure(out, cgroup, "cpu.pressure");
        });
        out.object("cpuset", &mut |out| {
            for (name, file) in [("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")] {
                let mut list = read("cpuset", "cpuset", file);
                if list.trim().is_empty() {
                    list = read("cpuset", "cpuset", &format!("{file}.effective"));
                }
                out.list(name, &mut |out| ranges(out, list.trim()));
            }
        });
        out.object("memory", &mut |out| {
            out.number("cache", stats.cache);
            out.usage("usage", &stats.memory);
            out.usage("swap", &stats.swap);
            out.usage("kernel", &stats.kernel);
            out.usage("kernelTCP", &stats.kernel_tcp);
            let raw = read("memory", "memory", "memory.stat");
            out.object("raw", &mut |out| {
                for (name, value) in raw.lines().filter_map(|line| line.split_once(' ')) {
                    out.number(name, value.parse().unwrap_or(0));
                }
            });
            pressure(out, cgroup, "memory.pressure");
        });
        out.object("pids", &mut |out| {
            out.number("current", stats.pids);
            // runc has 0 for no limit.
            out.number("limit", if stats.pids_limit == u64::MAX { 0 } else { stats.pids_limit });
        });
        out.object("blkio", &mut |out| {
            blkio(out, cgroups, cgroup);
            pressure(out, cgroup, "io.pressure");
        });
        out.object("hugetlb", &mut |out| hugetlb(out, cgroups, cgroup));
        out.object("intel_rdt", &mut |_| {});
        out.name("network_interfaces");
        out.0.push_str("null");
    });
    out.0.push('}');
    out.0
}

/// How much of the time some, or all, of the processes waited; cgroup v2 alone, Documentation/accounting/psi.rst. Nothing where
/// the kernel does not count it.
fn pressure(out: &mut Line, cgroup: &Cgroup, file: &str) {
    let Some(text) = cgroup.read(Where::V2, file) else { return };
    out.object("psi", &mut |out| {
        for who in ["some", "full"] {
            // Processor pressure has no line for all before Linux 5.13.
            let line = text.lines().find_map(|line| line.strip_prefix(who)).unwrap_or_default();
            out.object(who, &mut |out| {
                for name in ["avg10", "avg60", "avg300", "total"] {
                    let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
                    let value = words.find(|(key, _)| *key == name).map_or("0", |(_, value)| value);
                    out.name(name);
                    out.0.push_str(value); // digits with a point among them, which JSON takes
                }
            });
        }
    });
}

fn numbers(out: &mut Line, text: &str) {
    text.split_whitespace().for_each(|number| out.number("", number.parse().unwrap_or(0)));
}

/// A list such as `0-3,5`, number by number.
fn ranges(out: &mut Line, text: &str) {
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) {
            (first..=last.min(first + 8191)).for_each(|number| out.number("", number));
        }
    }
}

/// Bytes and operations of each block device: `io.stat` of cgroup v2, two files of v1.
fn blkio(out: &mut Line, cgroups: &Cgroups, cgroup: &Cgroup) {
    let Some(at) = cgroups.find("blkio", "io") else { return };
    let device = |text: &str| {
        let (major, minor) = text.split_once(':')?;
        Some((major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?))
    };
    let entry = |out: &mut Line, on: &str, operation: &str, value: &str| {
        let (Some((major, minor)), Ok(value)) = (device(on), value.parse()) else { return };
        out.object("", &mut |out| {
            out.number("major", major);
            out.number("minor", minor);
            out.name("op");
            let _ = write!(out.0, "\"{operation}\"");
            out.number("value", value);
        });
    };
    let lists = [
        ("ioServiceBytesRecursive", "bytes", "blkio.throttle.io_service_bytes_recursive"),
        ("ioServicedRecursive", "ios", "blkio.throttle.io_serviced_recursive"),
    ];
    for (name, unit, file) in lists {
        let text = cgroup.read(at, if at == Where::V2 { "io.stat" } else { file }).unwrap_or_default();
        if text.lines().all(|line| !line.contains(':')) {
            continue;
        }
        out.list(name, &mut |out| {
            for line in text.lines() {
                let mut words = line.split_whitespace();
                let on = words.next().unwrap_or_default();
                if at != Where::V2 {
                    let (operation, value) =
                        (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    entry(out, on, operation, value);
                    continue;
                }
                for (key, value) in words.filter_map(|word| word.split_once('=')) {
                    let operation = [("r", "Read"), ("w", "Write"), ("d", "Discard")];
                    let found = operation.iter().find(|(letter, _)| key.strip_prefix(letter) == Some(unit));
                    if let Some((_, operation)) = found {
                        entry(out, on, operation, value);
                    }
                }
            }
        });
    }
}

/// Huge pages, by the sizes that the kernel has.
fn hugetlb(out: &mut Line, cgroups: &Cgroups, cgroup: &Cgroup) {
    let Some(at) = cgroups.find("hugetlb", "hugetlb") else { return };
    let sizes = file::names("/sys/kernel/mm/hugepages").unwrap_or_default();
    for size in sizes.iter().filter_map(|name| name.to_str()) {
        let kilobytes = size.strip_prefix("hugepages-").and_then(|size| size.strip_suffix("kB"));
        let Some(kilobytes) = kilobytes.and_then(|text| text.parse::<u64>().ok()) else { continue };
        let size = match kilobytes {
            0..1024 => format!("{kilobytes}KB"),
            1024..1_048_576 => format!("{}MB", kilobytes >> 10),
            _ => format!("{}GB", kilobytes >> 20),
        };
        let files = match at {
            Where::V2 => ["current", "", "events"],
            Where::V1(_) => ["usage_in_bytes", "max_usage_in_bytes", "failcnt"],
        };
        let [usage, max, failures] =
            files.map(|file| cgroup.read(at, &format!("hugetlb.{size}.{file}")).unwrap_or_default());
        if usage.is_empty() {
            continue;
        }
        let number = |text: &str| text.trim().trim_start_matches("max ").parse().unwrap_or(0);
        out.object(&size, &mut |out| {
            out.number("usage", number(&usage));
            out.number("max", number(&max));
            out.number("failcnt", number(&failures));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("5s", Some(5000)),
            ("100ms", Some(100)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("0.25s", Some(250)),
        ] {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
        for text in ["5", "s", "5x", "-1s", "1.s.", "5s5"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_spelt_out() {
        let mut line = Line("[".to_owned());
        ranges(&mut line, "0-2,5");
        assert_eq!(line.0, "[0,1,2,5");
    }
}
