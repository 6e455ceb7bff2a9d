//! `mote ps`: the pods' containers, the pods that are not run and why, and what PID 1 itself takes. With the id of a container it is
//! the OCI command.

use std::fmt::Write as _;

use mote::cli::options::{Kind, Opt};
use mote::cli::{self, Command, Context};
use mote::error::{Error, Result};
use mote::json::{self, Str};
use mote::object;
use mote::output;

use super::table::{self, Colour, Table, age, visible};
use super::{Host, watch};

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
        started: Option<Str<'a>> = "started",
        device: Option<bool> = "device",
        manifests: Option<Str<'a>> = "manifests",
        file: Option<Str<'a>> = "file",
        phase: Option<Str<'a>> = "phase",
        role: Option<Str<'a>> = "role",
        ready: bool = "ready",
        stopped: bool = "stopped",
        retry_ms: Option<u64> = "retry_ms",
    }
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
            name: "quiet",
            short: Some('q'),
            kind: Kind::Flag,
            about: "print the names of containers alone",
        },
        Opt { name: "watch", short: Some('w'), kind: Kind::Flag, about: "and each that changes from now on" },
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

/// A container, or a pod that is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The pod.
    pub pod: String,
    /// The container; `-` of a pod that is not run.
    pub container: String,
    /// Where it stands.
    pub state: String,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// How often it was restarted.
    pub restarts: u32,
    /// Whether it is ready to serve.
    pub ready: bool,
    /// `main`, `init` or `sidecar`.
    pub role: String,
    /// Since when its state has been this.
    pub age_ms: u64,
    /// When it is tried again.
    pub retry_ms: Option<u64>,
    /// When it was started last.
    pub started: Option<String>,
    /// How it ended last, in words; empty before.
    pub last: String,
    /// Why it does not run.
    pub reason: Option<String>,
    /// Cells of the table.
    cells: Vec<String>,
    /// The packet.
    pub json: String,
    /// What tells one state from the next.
    key: (String, Option<u32>, u32),
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name; of a manifest that is wrong, the file's.
    pub name: String,
    /// The file, below the directory of the manifests.
    pub file: String,
    /// Kubernetes' phase, or `Invalid` of a manifest that is wrong.
    pub phase: String,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Whether somebody has stopped it.
    pub stopped: bool,
    /// Why it is not run.
    pub reason: Option<String>,
    /// Its network namespace; 0: not known.
    pub netns: u64,
    /// The packet.
    pub json: String,
}

/// What `ps` answers.
#[derive(Debug, Default)]
pub struct Listing {
    /// A row for each container, and for each pod that is not run.
    pub rows: Vec<Row>,
    /// Why a pod or a container does not run.
    pub reasons: Vec<String>,
    /// PID 1: resident and anonymous kilobytes, allocations since boot, milliseconds since the kernel started.
    pub pid_1: [u64; 4],
    /// All pods.
    pub pods: Vec<Pod>,
    /// The directory of the manifests.
    pub manifests: String,
    /// Whether this is another supervisor than a device's PID 1.
    hosted: bool,
    /// The packet about PID 1.
    json: String,
}

fn run(context: &Context<'_>) -> Result<i32> {
    if !context.options.arguments().is_empty() {
        return (cli::ps::COMMAND.run)(context);
    }
    let (json, wide) = match context.options.text("output").as_deref() {
        None => (false, false),
        Some("wide") => (false, true),
        Some("json") => (true, false),
        Some(_) => return Err(context.wrong("output", "expected json or wide")),
    };
    let host = Host::of(context);
    let mut before = ask(&host)?;
    if context.options.has("quiet") {
        let names = before.rows.iter().filter(|row| row.container != "-");
        let names: String =
            names.map(|row| visible(&format!("{}/{}", row.pod, row.container)) + "\n").collect();
        return output::print(&names).map(|()| 0);
    }
    output::print(&if json { before.json() } else { before.text(table::coloured(), wide) })?;
    if !context.options.has("watch") {
        return Ok(0);
    }
    let mut watch = watch::Watch::new(&host)?;
    loop {
        watch.wait()?;
        let now = ask(&host)?;
        let known = |row: &Row| before.rows.iter().any(|old| old.name() == row.name() && old.key == row.key);
        let mut changed = Listing {
            rows: now.rows.iter().filter(|row| !known(row)).cloned().collect(),
            ..Listing::default()
        };
        let gone = |row: &&Row| now.rows.iter().all(|new| new.name() != row.name());
        for row in before.rows.iter().filter(gone) {
            changed.rows.push(row.removed());
        }
        if !changed.rows.is_empty() {
            let text = if json {
                changed.rows.iter().map(|row| row.json.clone() + "\n").collect()
            } else {
                changed
                    .table(table::coloured(), wide)
                    .lines()
                    .skip(1)
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
            };
            output::print(&text)?;
        }
        before = now;
    }
}

/// Asks PID 1.
pub fn ask(host: &Host) -> Result<Listing> {
    let answer = host.ask("ps")?;
    let mut listing = Listing::default();
    while let Some(text) = answer.next()? {
        let packet: Packet<'_> =
            json::parse(&text).map_err(|flaw| Error::config("the answer", flaw.field, flaw.why))?;
        if let Some(error) = packet.error {
            return Err(Error::usage(format_args!("{}", error.decode())));
        }
        if packet.end {
            return Ok(listing);
        }
        listing.add(&packet, std::str::from_utf8(&text).unwrap_or_default()); // parsed above
    }
    Err(super::hung_up())
}

const HEADING: [&str; 7] = ["POD", "CONTAINER", "STATE", "PID", "RESTARTS", "AGE", "NETNS"];
const WIDE: [&str; 10] =
    ["POD", "CONTAINER", "STATE", "PID", "RESTARTS", "AGE", "NETNS", "STARTED", "LAST", "OOM"];

impl Row {
    /// `pod/container`
    pub fn name(&self) -> (&str, &str) {
        (&self.pod, &self.container)
    }

    fn removed(&self) -> Self {
        let mut row = self.clone();
        for (cell, text) in row.cells.iter_mut().skip(2).zip(["removed", "-", "-", "-", "-", "-", "-", "-"]) {
            text.clone_into(cell);
        }
        let (mut pod, mut container) = (String::new(), String::new());
        let _ = json::escape(&mut pod, &row.pod).and_then(|()| json::escape(&mut container, &row.container));
        row.json = format!(r#"{{"pod":"{pod}","container":"{container}","state":"removed"}}"#);
        row
    }
}

impl Listing {
    fn add(&mut self, packet: &Packet<'_>, json: &str) {
        let text = |text: Option<Str<'_>>| text.map_or_else(|| "-".to_owned(), |text| text.decode());
        let Some(pod) = packet.pod else {
            self.pid_1 = [packet.rss_kb, packet.anonymous_kb, packet.allocations, packet.uptime_ms];
            json.clone_into(&mut self.json);
            self.manifests = packet.manifests.map(Str::decode).unwrap_or_default();
            self.hosted = packet.device == Some(false);
            return;
        };
        if packet.container.is_none() {
            let wrong = packet.state.is_some();
            self.pods.push(Pod {
                name: pod.decode(),
                file: packet.file.map(Str::decode).unwrap_or_default(),
                phase: if wrong { "Invalid".to_owned() } else { text(packet.phase) },
                ready: packet.ready,
                stopped: packet.stopped,
                reason: packet.reason.map(Str::decode),
                netns: packet.netns,
                json: json.to_owned(),
            });
        }
        let failed = packet.state.is_some_and(|state| state == "failed");
        if packet.container.is_none() && !failed {
            if let Some(reason) = packet.reason {
                let reason = format!("{}: runs on as it was; {}", pod.decode(), reason.decode());
                self.reasons.push(visible(&reason));
            }
            return; // told of by its containers
        }
        if let Some(reason) = packet.reason {
            let container = packet.container.map(|name| format!("/{name}")).unwrap_or_default();
            self.reasons.push(visible(&format!("{}{container}: {}", pod.decode(), reason.decode())));
        }
        if let (Some(container), kills @ 1..) = (packet.container, packet.oom_kills) {
            self.reasons.push(format!("{pod}/{container}: out of memory: {kills} of its processes killed"));
        }
        let last = match (packet.code, packet.signal) {
            (Some(code), _) => format!("code {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => String::new(),
        };
        let mut state = text(packet.state);
        if !failed && packet.pid.is_none() && !last.is_empty() {
            let _ = write!(state, " ({last})"); // a String takes it
        }
        let known = |yes: bool, text: String| if yes { text } else { "-".to_owned() };
        let cells = vec![
            pod.decode(),
            text(packet.container),
            state.clone(),
            packet.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            known(!failed, packet.restarts.to_string()),
            known(!failed, age(packet.age_ms)),
            known(packet.netns != 0, format!("net:[{}]", packet.netns)),
            text(packet.started),
            known(!last.is_empty(), last.clone()),
            known(!failed, packet.oom_kills.to_string()),
        ];
        self.rows.push(Row {
            pod: pod.decode(),
            container: text(packet.container),
            key: (state.clone(), packet.pid, packet.restarts),
            state,
            pid: packet.pid,
            restarts: packet.restarts,
            ready: packet.ready,
            role: packet.role.map_or_else(|| "main".to_owned(), Str::decode),
            age_ms: packet.age_ms,
            retry_ms: packet.retry_ms,
            started: packet.started.map(Str::decode),
            last,
            reason: packet.reason.map(Str::decode),
            cells,
            json: json.to_owned(),
        });
    }

    fn table(&self, coloured: bool, wide: bool) -> String {
        let heading: &[&str] = if wide { &WIDE } else { &HEADING };
        let mut table = Table::new(heading);
        for row in &self.rows {
            table.row(row.cells.iter().take(heading.len()).cloned());
        }
        table.text(coloured, |column, cell| match column {
            2 => table::of_state(cell),
            9 if cell != "0" && cell != "-" => Some(Colour::Bad),
            _ => None,
        })
    }

    /// The rows lined up, then the reasons, then PID 1.
    pub fn text(&self, coloured: bool, wide: bool) -> String {
        let mut out = self.table(coloured, wide);
        for reason in &self.reasons {
            let _ = writeln!(out, "{reason}"); // a String takes it, as below
        }
        let [rss_kb, anonymous_kb, allocations, uptime_ms] = self.pid_1;
        let uptime = age(uptime_ms);
        let who = if self.hosted { "supervisor" } else { "PID 1" };
        let _ = writeln!(
            out,
            "{who}: {rss_kb} KB resident, {anonymous_kb} KB anonymous, {allocations} allocations since the boot, up {uptime}"
        );
        out
    }

    /// Everything as one JSON document.
    fn json(&self) -> String {
        let containers: Vec<_> =
            self.rows.iter().filter(|row| row.container != "-").map(|row| row.json.as_str()).collect();
        let pods: Vec<_> = self.pods.iter().map(|pod| pod.json.as_str()).collect();
        format!(
            "{{\"supervisor\":{},\"containers\":[{}],\"pods\":[{}]}}\n",
            self.json,
            containers.join(","),
            pods.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_line_up_whatever_the_names() {
        let mut listing = Listing::default();
        for text in [
            r#"{"version":1,"uptime_ms":125000,"rss_kb":400,"anonymous_kb":60,"allocations":0}"#,
            r#"{"pod":"gateway","container":"broker","state":"running","pid":71,"restarts":2,"oom_kills":3,"age_ms":9000,"netns":4026532,"signal":9,"started":"2026-11-25T00:15:48Z"}"#,
            r#"{"pod":"gateway","container":"x","state":"backoff","restarts":0,"age_ms":1,"netns":4026532,"code":1,"reason":"no bundle"}"#,
            r#"{"pod":"gateway","netns":4026532}"#,
            r#"{"pod":"bad\u001b","state":"failed","reason":"bad.json: spec: wrong"}"#,
        ] {
            let Ok(packet) = json::parse::<Packet<'_>>(text.as_bytes()) else { unreachable!() };
            listing.add(&packet, text);
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
        assert_eq!(listing.text(false, false), want.trim_start());
        let wide = listing.text(false, true);
        assert!(wide.contains("  2026-11-25T00:15:48Z  signal 9  3\n"), "{wide}");
        assert!(listing.json().starts_with(r#"{"supervisor":{"version":1,"#));
    }
}
