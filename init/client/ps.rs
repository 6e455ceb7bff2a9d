//! `mote ps`: the pods' containers, the pods that are not run and why, and what PID 1 itself takes. With the id of a container it is
//! the OCI command.

use std::fmt::Write as _;

use mote::cli::options::{Kind, Opt};
use mote::cli::{self, Command, Context};
use mote::error::Result;
use mote::output;

use super::packet::Packet;
use super::table::{self, Colour, Table, age, visible};
use super::{Host, watch};

/// `ps`
pub const COMMAND: Command = Command {
    name: "ps",
    arguments: "[container id [options of ps]]",
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
    count: (0, cli::OF_ANOTHER),
    run,
};

/// What `ps` answers.
#[derive(Debug, Default)]
pub struct Listing {
    /// PID 1.
    pub supervisor: Packet,
    /// All containers.
    pub containers: Vec<Packet>,
    /// All pods.
    pub pods: Vec<Packet>,
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
        let names: String = before.containers.iter().map(|row| visible(&name(row)) + "\n").collect();
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
        let mut changed = Listing::default();
        for row in &now.containers {
            let old = before.containers.iter().find(|old| name(old) == name(row));
            let same = |key| old.is_some_and(|old| old.get(key) == row.get(key));
            if !["state", "pid", "restarts", "ready"].into_iter().all(same) {
                changed.containers.push(row.clone());
            }
        }
        for row in &before.containers {
            if now.containers.iter().all(|new| name(new) != name(row)) {
                let (pod, container) = (row.text("pod"), row.text("container")); // names with nothing to escape
                let gone = format!(r#"{{"pod":"{pod}","container":"{container}","state":"removed"}}"#);
                changed.containers.push(Packet::new(gone.into_bytes())?);
            }
        }
        let text: String = if json {
            changed.containers.iter().map(|row| row.json().to_owned() + "\n").collect()
        } else {
            changed.table(table::coloured(), wide).split_inclusive('\n').skip(1).collect()
        };
        output::print(&text)?;
        before = now;
    }
}

/// `pod/container`
pub fn name(row: &Packet) -> String {
    format!("{}/{}", row.text("pod"), row.text("container"))
}

/// Asks PID 1.
pub fn ask(host: &Host) -> Result<Listing> {
    let answer = host.ask("ps")?;
    let mut listing = Listing::default();
    while let Some(bytes) = answer.next()? {
        let packet = Packet::new(bytes)?;
        if packet.is("end", "true") {
            return Ok(listing);
        }
        match (packet.get("pod"), packet.get("container")) {
            (None, _) => listing.supervisor = packet,
            (_, Some(_)) => listing.containers.push(packet),
            (_, None) => listing.pods.push(packet),
        }
    }
    Err(super::hung_up())
}

const HEADING: [&str; 10] =
    ["POD", "CONTAINER", "STATE", "PID", "RESTARTS", "AGE", "NETNS", "STARTED", "LAST", "OOM"];

/// How many of the columns are shown unless more are asked for.
const NARROW: usize = 7;

/// How a container ended last: `code 1` or `signal 9`.
pub fn last(row: &Packet) -> Option<String> {
    ["code", "signal"].into_iter().find_map(|key| row.get(key).map(|value| format!("{key} {value}")))
}

/// The cells of a row.
fn cells(row: &Packet) -> [String; 10] {
    let known = |yes: bool, text: String| if yes { text } else { "-".to_owned() };
    let (container, last) = (row.get("container").is_some(), last(row));
    let mut state = row.text("state");
    if let (None, Some(last)) = (row.get("pid"), &last) {
        let _ = write!(state, " ({last})"); // a String takes it
    }
    let netns = row.number("netns");
    [
        row.text("pod"),
        row.text("container"),
        state,
        row.text("pid"),
        row.text("restarts"),
        known(container && row.get("age_ms").is_some(), age(row.number("age_ms"))),
        known(netns != 0, format!("net:[{netns}]")),
        row.text("started"),
        last.unwrap_or_else(|| "-".to_owned()),
        known(container, row.number("oom_kills").to_string()),
    ]
}

impl Listing {
    /// The pods that are not run.
    fn wrong(&self) -> impl Iterator<Item = &Packet> {
        self.pods.iter().filter(|pod| pod.is("state", "failed"))
    }

    fn table(&self, coloured: bool, wide: bool) -> String {
        let heading = HEADING.get(..if wide { HEADING.len() } else { NARROW }).unwrap_or_default();
        let mut table = Table::new(heading);
        for row in self.containers.iter().chain(self.wrong()) {
            table.row(cells(row).into_iter().take(heading.len()));
        }
        table.text(coloured, &|column, cell| match column {
            2 => table::of_state(cell),
            9 if cell != "0" && cell != "-" => Some(Colour::Bad),
            _ => None,
        })
    }

    /// The rows lined up, then the reasons, then PID 1.
    pub fn text(&self, coloured: bool, wide: bool) -> String {
        let mut out = self.table(coloured, wide);
        let mut say = |line: String| {
            out += &visible(&line);
            out.push('\n');
        };
        for row in self.containers.iter().chain(&self.pods) {
            let who = if row.get("container").is_some() { name(row) } else { row.text("pod") };
            if let kills @ 1.. = row.number("oom_kills") {
                say(format!("{who}: out of memory: {kills} of its processes killed"));
            }
            if let Some(reason) = row.get("reason") {
                let runs = row.get("state").is_none(); // a pod whose manifest has become wrong
                say(format!("{who}: {}{reason}", if runs { "runs on as it was; " } else { "" }));
            }
        }
        let about = &self.supervisor;
        say(format!(
            "{}: {} KB resident, {} KB anonymous, {} allocations since the boot, up {}",
            if about.is("device", "false") { "supervisor" } else { "PID 1" },
            about.number("rss_kb"),
            about.number("anonymous_kb"),
            about.number("allocations"),
            age(about.number("uptime_ms"))
        ));
        out
    }

    /// Everything as one JSON document.
    fn json(&self) -> String {
        let (supervisor, containers, pods) =
            (self.supervisor.json(), list(&self.containers), list(&self.pods));
        format!("{{\"supervisor\":{supervisor},\"containers\":{containers},\"pods\":{pods}}}\n")
    }
}

/// Packets as a JSON list.
pub fn list<'p>(packets: impl IntoIterator<Item = &'p Packet>) -> String {
    let all: Vec<_> = packets.into_iter().map(Packet::json).collect();
    format!("[{}]", all.join(","))
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
            let Ok(packet) = Packet::new(text.as_bytes().to_vec()) else { unreachable!() };
            match (packet.get("pod"), packet.get("container")) {
                (None, _) => listing.supervisor = packet,
                (_, Some(_)) => listing.containers.push(packet),
                _ => listing.pods.push(packet),
            }
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
