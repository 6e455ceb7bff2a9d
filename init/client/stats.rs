//! `mote stats` and `mote top`: what containers use, read from their cgroups by the client itself. PID 1 is asked for their names
//! alone.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mote::cgroup::stats::Sampler;
use mote::cgroup::{Cgroup, Cgroups, Where};
use mote::cli::events::duration;
use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::Result;
use mote::json::Writer;
use mote::state::Id;
use mote::{live, output, time};

use super::packet::Packet;
use super::table::{self, Table, bytes};
use super::{Host, ps};

const INTERVAL: Opt = Opt {
    name: "interval",
    short: None,
    kind: Kind::Value("TIME"),
    about: "the time that use of the processor is measured over, such as 500ms",
};

const fn command(name: &'static str, about: &'static str, options: &'static [Opt]) -> Command {
    Command { name, arguments: "[pod or pod/container]", about, options, count: (0, 1), run }
}

/// `stats`
pub const STATS: Command = command(
    "stats",
    "print what containers of pods use",
    &[
        super::RUN,
        INTERVAL,
        Opt { name: "output", short: Some('o'), kind: Kind::Value("OUTPUT"), about: "json" },
    ],
);

/// `top`
pub const TOP: Command = command(
    "top",
    "show what containers of pods use, again and again, the busiest first",
    &[
        super::RUN,
        INTERVAL,
        Opt { name: "count", short: Some('n'), kind: Kind::Value("N"), about: "show it N times and end" },
    ],
);

/// What one container has used at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    pod: String,
    container: String,
    pid: u64,
    restarts: u64,
    at: Instant,
    cpu_ns: u64,
    memory: u64,
    limit: u64,
    pids: u64,
    read: u64,
    written: u64,
    oom_kills: u64,
    /// Thousandths of one processor since the sample before.
    cpu_milli: u64,
}

fn run(context: &Context<'_>) -> Result<i32> {
    let live = context.command.name == "top";
    let interval = match context.options.text("interval") {
        None => Duration::from_millis(if live { 2000 } else { 500 }),
        Some(text) => duration(&text).filter(|interval| !interval.is_zero()).ok_or_else(|| {
            context.wrong("interval", "expected a time greater than 0, such as 5s or 500ms")
        })?,
    };
    let wanted = context.options.arguments().first().map(|wanted| wanted.to_string_lossy().into_owned());
    let (host, json) = (Host::of(context), super::is_json(context)?);
    let count = if live { super::number(context, "count")? } else { Some(1) };
    let mut before = samples(&host, wanted.as_deref())?;
    for round in 1.. {
        std::thread::sleep(interval);
        let mut now = samples(&host, wanted.as_deref())?;
        now.iter_mut().for_each(|sample| sample.compare(&before));
        if let Some(wanted) = wanted.as_deref().filter(|_| now.is_empty() && !live) {
            return Err(context.usage(&format!("no container of \"{wanted}\" runs")));
        }
        before.clone_from(&now);
        if live {
            now.sort_by_key(|sample| std::cmp::Reverse((sample.cpu_milli, sample.memory)));
        }
        let coloured = table::coloured();
        // From the upper left corner on, over what was there, and away with what is left of it.
        let (home, rest) = if live && coloured { ("\u{1b}[H", "\u{1b}[J") } else { ("", "") };
        let text = if json { to_json(&now) } else { to_table(&now, coloured) };
        output::print(&if home.is_empty() {
            text
        } else {
            format!("{home}{}{rest}", text.replace('\n', "\u{1b}[K\n"))
        })?;
        if count.is_some_and(|count| round >= count) {
            break;
        }
    }
    Ok(0)
}

/// A sample of every container that runs, or of those of a pod or one that are `wanted`.
fn samples(host: &Host, wanted: Option<&str>) -> Result<Vec<Sample>> {
    let listing = ps::ask(host)?;
    let meant = |row: &&Packet| wanted.is_none_or(|wanted| row.is("pod", wanted) || ps::name(row) == wanted);
    let running = listing.containers.iter().filter(|row| row.get("pid").is_some()).filter(meant);
    Ok(running.filter_map(|row| sample(host, row)).collect())
}

/// `None` for a container that has ended meanwhile.
fn sample(host: &Host, row: &Packet) -> Option<Sample> {
    let (pod, container) = (row.text("pod"), row.text("container"));
    let id = Id::new(&format!("{pod}_{container}")).ok()?;
    let (cgroups, cgroup, _) = live::look(&host.run, &id).ok()?;
    let stats = Sampler::new(&cgroups, &cgroup).sample().ok()?;
    let (read, written) = io(&cgroups, &cgroup);
    Some(Sample {
        pod,
        container,
        pid: row.number("pid"),
        restarts: row.number("restarts"),
        at: Instant::now(),
        cpu_ns: stats.cpu_ns,
        memory: stats.memory.usage,
        limit: stats.memory.limit,
        pids: stats.pids,
        read,
        written,
        oom_kills: stats.oom_kills,
        cpu_milli: 0,
    })
}

/// Bytes read from and written to block devices.
fn io(cgroups: &Cgroups, cgroup: &Cgroup) -> (u64, u64) {
    let Some(at) = cgroups.find("blkio", "io") else { return (0, 0) };
    let file = if at == Where::V2 { "io.stat" } else { "blkio.throttle.io_service_bytes" };
    bytes_of(&cgroup.read(at, file).unwrap_or_default())
}

/// Adds up what a file says about all devices: `8:0 rbytes=1 wbytes=2 ...` on cgroup v2, `8:0 Read 1` on v1.
fn bytes_of(text: &str) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        while let Some(word) = words.next() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let value = if value.is_empty() { words.next().unwrap_or_default() } else { value };
            let sum = match key {
                "rbytes" | "Read" => &mut read,
                "wbytes" | "Write" => &mut written,
                _ => continue,
            };
            *sum = sum.saturating_add(value.parse().unwrap_or(0));
        }
    }
    (read, written)
}

impl Sample {
    /// Fills in what was used since the sample of the same process.
    fn compare(&mut self, before: &[Self]) {
        let same =
            |old: &&Self| (&old.pod, &old.container, old.pid) == (&self.pod, &self.container, self.pid);
        let Some(old) = before.iter().find(same) else { return };
        let wall_ns = u64::try_from(self.at.duration_since(old.at).as_nanos()).unwrap_or(u64::MAX).max(1);
        self.cpu_milli = self.cpu_ns.saturating_sub(old.cpu_ns).saturating_mul(1000) / wall_ns;
    }
}

fn to_table(samples: &[Sample], coloured: bool) -> String {
    let mut table =
        Table::new(&["POD", "CONTAINER", "CPU", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "RESTARTS"]);
    for sample in samples {
        // No limit is the largest number on cgroup v2, and on v1 the largest multiple of a page.
        let limited = sample.limit < u64::MAX >> 2 && sample.limit > 0;
        table.row([
            sample.pod.clone(),
            sample.container.clone(),
            format!("{}.{}%", sample.cpu_milli / 10, sample.cpu_milli % 10),
            bytes(sample.memory),
            if limited { bytes(sample.limit) } else { "-".to_owned() },
            sample.pids.to_string(),
            bytes(sample.read),
            bytes(sample.written),
            sample.restarts.to_string(),
        ]);
    }
    table.text(coloured, &|_, _| None)
}

fn to_json(samples: &[Sample]) -> String {
    let mut all = String::new();
    for sample in samples {
        let mut out = Writer::new("");
        out.string("pod", &sample.pod);
        out.string("container", &sample.container);
        out.number("cpu_ns", sample.cpu_ns);
        out.number("cpu_milli", sample.cpu_milli);
        out.number("memory_bytes", sample.memory);
        if sample.limit < u64::MAX >> 2 && sample.limit > 0 {
            out.number("memory_limit_bytes", sample.limit);
        }
        out.number("pids", sample.pids);
        out.number("read_bytes", sample.read);
        out.number("written_bytes", sample.written);
        out.number("restarts", sample.restarts);
        out.number("oom_kills", sample.oom_kills);
        let _ = write!(all, "{}{}", if all.is_empty() { "" } else { "," }, out.end()); // a String takes it
    }
    format!("{{\"time\":\"{}\",\"containers\":[{all}]}}\n", time::now_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_are_added_up() {
        let v2 = "8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2\n";
        assert_eq!(bytes_of(v2), (11, 22));
        let v1 = "8:0 Read 5\n8:0 Write 6\n8:0 Sync 1\n8:0 Total 11\nTotal 11\n";
        assert_eq!(bytes_of(v1), (5, 6));
        assert_eq!(bytes_of(""), (0, 0));
    }
}
