//! `mote ps`: the pods' containers, the pods that are not run and why, and what PID 1 itself takes.

use std::fmt::Write as _;

use mote::cli::options::{Kind, Opt};
use mote::cli::{self, Command, Context};
use mote::error::{Error, Result};
use mote::json::{self, Str};
use mote::object;
use mote::output;

use super::Host;

object! {
    /// Any packet of the answer; see `control.rs`.
    pub struct Packet<'a> {
        error: Option<Str<'a>> = "error",
        end: bool = "end",
        uptime_ms: u64 = "uptime_ms",
        rss_kb: u64 = "rss_kb",
        anonymous_kb: u64 = "anonymous_kb",
        allocations: u64 = "allocations",
        pod: Option<Str<'a>> = "pod",
        container: Option<Str<'a>> = "container",
        state: Option<Str<'a>> = "state",
        pid: Option<u32> = "pid",
        restarts: u32 = "restarts",
        oom_kills: u64 = "oom_kills",
        age_ms: u64 = "age_ms",
        netns: u64 = "netns",
        code: Option<i32> = "code",
        signal: Option<i32> = "signal",
        reason: Option<Str<'a>> = "reason",
    }
}

/// What `ps` answers, for people.
#[derive(Debug, Default)]
pub struct Listing {
    /// A line for each container, under a heading.
    pub rows: Vec<[String; 7]>,
    /// Why a pod or a container does not run.
    pub reasons: Vec<String>,
    /// PID 1: resident and anonymous kilobytes, allocations since boot, milliseconds since the kernel started.
    pub pid_1: [u64; 4],
    /// The packets as they came: about PID 1, containers, pods.
    json: [String; 3],
}

/// `ps`
pub const COMMAND: Command = Command {
    name: "ps",
    arguments: "[container id]",
    about: "list pods and containers; with a container's id its processes",
    options: &[
        super::RUN,
        Opt { name: "output", short: Some('o'), kind: Kind::Value("OUTPUT"), about: "json or wide" },
        Opt {
            name: "format",
            short: Some('f'),
            kind: Kind::Value("FORMAT"),
            about: "with an id: table or json (table)",
        },
    ],
    count: (0, usize::MAX),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    if !context.options.arguments().is_empty() {
        return (cli::ps::COMMAND.run)(context);
    }
    let listing = ask(&Host::of(context))?;
    match context.options.text("output").as_deref() {
        None | Some("wide") => output::print(&listing.text())?,
        Some("json") => output::print(&listing.json())?,
        Some(_) => return Err(context.wrong("output", "expected json or wide")),
    }
    Ok(0)
}

/// Asks PID 1.
pub fn ask(host: &Host) -> Result<Listing> {
    let answer = host.ask("ps")?;
    let mut listing = Listing::default();
    while let Some(text) = answer.next()? {
        let packet: Packet<'_> =
            json::parse(&text).map_err(|flaw| Error::config("the answer", flaw.field, flaw.why))?;
        if let Some(error) = packet.error {
            return Err(Error::Usage(error.decode().into()));
        }
        if packet.end {
            return Ok(listing);
        }
        listing.add(&packet);
        let list = match (packet.pod, packet.container) {
            (None, _) => &mut listing.json[0],
            (Some(_), Some(_)) => &mut listing.json[1],
            (Some(_), None) => &mut listing.json[2],
        };
        let text = std::str::from_utf8(&text).unwrap_or_default(); // parsed above
        list.push_str(if list.is_empty() { "" } else { "," });
        list.push_str(text);
    }
    Err(super::hung_up())
}

impl Listing {
    fn add(&mut self, packet: &Packet<'_>) {
        let text = |text: Option<Str<'_>>| text.map_or_else(|| "-".to_owned(), |text| text.to_string());
        let Some(pod) = packet.pod else {
            self.pid_1 = [packet.rss_kb, packet.anonymous_kb, packet.allocations, packet.uptime_ms];
            return;
        };
        let failed = packet.state.is_some_and(|state| state == "failed");
        if packet.container.is_none() && !failed {
            return; // told of by its containers
        }
        if let Some(reason) = packet.reason {
            let container = packet.container.map(|name| format!("/{name}")).unwrap_or_default();
            self.reasons.push(format!("{pod}{container}: {reason}"));
        }
        if let (Some(container), kills @ 1..) = (packet.container, packet.oom_kills) {
            self.reasons.push(format!("{pod}/{container}: out of memory: {kills} of its processes killed"));
        }
        let mut state = text(packet.state);
        if !failed && packet.pid.is_none() {
            let _ = match (packet.code, packet.signal) {
                (Some(code), _) => write!(state, " (code {code})"),
                (_, Some(signal)) => write!(state, " (signal {signal})"),
                _ => Ok(()),
            }; // a String takes it
        }
        let known = |yes: bool, text: String| if yes { text } else { "-".to_owned() };
        self.rows.push([
            pod.to_string(),
            text(packet.container),
            state,
            packet.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            known(!failed, packet.restarts.to_string()),
            known(!failed, age(packet.age_ms)),
            known(packet.netns != 0, format!("net:[{}]", packet.netns)),
        ]);
    }

    /// Everything as one JSON document.
    pub fn json(&self) -> String {
        let [supervisor, containers, pods] = &self.json;
        format!("{{\"supervisor\":{supervisor},\"containers\":[{containers}],\"pods\":[{pods}]}}\n")
    }

    /// The rows lined up, then the reasons, then PID 1.
    pub fn text(&self) -> String {
        const HEADING: [&str; 7] = ["POD", "CONTAINER", "STATE", "PID", "RESTARTS", "AGE", "NETNS"];
        let heading = HEADING.map(str::to_owned);
        let rows = || std::iter::once(&heading).chain(&self.rows);
        let widths: [usize; 7] = std::array::from_fn(|column| {
            rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        });
        let mut out = String::new();
        for row in rows() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(line, "{cell:width$}  "); // as everywhere here: a String takes it
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for reason in &self.reasons {
            let _ = writeln!(out, "{reason}");
        }
        let [rss_kb, anonymous_kb, allocations, uptime_ms] = self.pid_1;
        let uptime = age(uptime_ms);
        let _ = writeln!(
            out,
            "PID 1: {rss_kb} KB resident, {anonymous_kb} KB anonymous, {allocations} allocations since the boot, up {uptime}"
        );
        out
    }
}

/// `7s`, `3m10s`, `2h5m`, `4d3h`, as kubectl has it.
fn age(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..120 => format!("{s}s"),
        120..7_200 => format!("{}m{}s", s / 60, s % 60),
        7_200..172_800 => format!("{}h{}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_lined_up_and_says_why() {
        let mut listing = Listing::default();
        for text in [
            r#"{"version":1,"uptime_ms":125000,"rss_kb":400,"anonymous_kb":60,"allocations":0}"#,
            r#"{"pod":"gateway","container":"broker","state":"running","pid":71,"restarts":2,"oom_kills":3,"age_ms":9000,"netns":4026532,"signal":9}"#,
            r#"{"pod":"gateway","container":"x","state":"backoff","restarts":0,"age_ms":1,"netns":4026532,"code":1,"reason":"no bundle"}"#,
            r#"{"pod":"gateway","netns":4026532}"#,
            r#"{"pod":"bad\u001b","state":"failed","reason":"bad.json: spec: wrong"}"#,
        ] {
            let Ok(packet) = json::parse::<Packet<'_>>(text.as_bytes()) else { unreachable!() };
            listing.add(&packet);
        }
        let want = r"
POD        CONTAINER  STATE             PID  RESTARTS  AGE  NETNS
gateway    broker     running           71   2         9s   net:[4026532]
gateway    x          backoff (code 1)  -    0         0s   net:[4026532]
bad\u{1b}  -          failed            -    -         -    -
gateway/broker: out of memory: 3 of its processes killed
gateway/x: no bundle
bad\u{1b}: bad.json: spec: wrong
PID 1: 400 KB resident, 60 KB anonymous, 0 allocations since the boot, up 2m5s
";
        assert_eq!(listing.text(), want.trim_start());
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(age);
        assert_eq!(ages, ["0s", "119s", "2m0s", "119m59s", "2h0m", "2d0h"]);
    }
}
