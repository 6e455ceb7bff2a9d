//! `mote pod`: pods as a whole.

use std::fmt::Write as _;

use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::Result;
use mote::output;

use super::table::{self, Colour, Table, age, visible};
use super::watch::Watch;
use super::{Host, events, ps};
use crate::name::Name;
use crate::{files, history};

/// `pod`
pub const COMMAND: Command = Command {
    name: "pod",
    arguments: "<ls|describe|start|stop|restart> [pod...]",
    about: "list, describe, start, stop or restart pods",
    options: &[
        super::RUN,
        Opt { name: "output", short: Some('o'), kind: Kind::Value("OUTPUT"), about: "ls, describe: json" },
        Opt {
            name: "grace",
            short: None,
            kind: Kind::Value("SECONDS"),
            about: "stop, restart: from SIGTERM to SIGKILL (terminationGracePeriodSeconds)",
        },
        Opt { name: "no-wait", short: None, kind: Kind::Flag, about: "stop: return before it has stopped" },
    ],
    count: (1, 64),
    run,
};

fn run(context: &Context<'_>) -> Result<i32> {
    let words: Vec<_> = context.options.arguments().iter().map(|word| word.to_string_lossy()).collect();
    let Some((verb, pods)) = words.split_first() else { return Ok(1) };
    let host = Host::of(context);
    match (&**verb, pods.is_empty()) {
        ("ls", true) => list(context, &host)?,
        ("describe", false) => describe(context, &host, pods)?,
        ("start" | "stop" | "restart", false) => order(context, &host, verb, pods)?,
        ("ls", false) => return Err(context.usage("ls: expected no pod")),
        ("describe" | "start" | "stop" | "restart", true) => {
            return Err(context.usage(&format!("{verb}: expected the name of a pod")));
        }
        _ => return Err(context.usage("expected ls, describe, start, stop or restart")),
    }
    Ok(0)
}

/// Has each pod do it; waits for the end of those that stop.
fn order<S: AsRef<str>>(context: &Context<'_>, host: &Host, verb: &str, pods: &[S]) -> Result<()> {
    let grace = super::number(context, "grace")?;
    let grace = grace.map(|grace| format!(r#","grace_s":{grace}"#)).unwrap_or_default();
    // Before the order: the end may come at once.
    let wait = verb == "stop" && !context.options.has("no-wait");
    let mut watch = wait.then(|| Watch::new(host)).transpose()?;
    for pod in pods {
        let name =
            Name::new(pod.as_ref()).ok_or_else(|| context.usage(&format!("{verb}: {}", Name::WANT)))?;
        host.order(verb, &format!(r#","pod":"{name}"{grace}"#))?;
    }
    while let Some(watch) = &mut watch {
        let listing = ps::ask(host)?;
        let runs = |row: &ps::Row| {
            pods.iter().any(|pod| pod.as_ref() == row.pod) && row.state.split(' ').next() != Some("done")
        };
        if !listing.rows.iter().any(runs) {
            break;
        }
        watch.wait()?;
    }
    Ok(())
}

/// Of a pod: its containers that are ready, all of those, its restarts, the age of its oldest state.
fn counts(listing: &ps::Listing, pod: &ps::Pod) -> (usize, usize, u32, u64) {
    let of_pod = || listing.rows.iter().filter(|row| row.pod == pod.name && row.container != "-");
    let serving = || of_pod().filter(|row| row.role != "init");
    (
        serving().filter(|row| row.ready).count(),
        serving().count(),
        of_pod().map(|row| row.restarts).sum(),
        of_pod().map(|row| row.age_ms).max().unwrap_or(0),
    )
}

/// As kubectl shows it.
fn status(pod: &ps::Pod) -> String {
    match (pod.stopped, pod.phase.as_str()) {
        (true, "Running") => "Stopping".to_owned(),
        (true, _) => "Stopped".to_owned(),
        (false, phase) => phase.to_owned(),
    }
}

fn colour(status: &str) -> Option<Colour> {
    match status {
        "Running" | "Succeeded" => Some(Colour::Good),
        "Pending" | "Stopping" => Some(Colour::Under),
        "Failed" | "Invalid" => Some(Colour::Bad),
        _ => None,
    }
}

fn list(context: &Context<'_>, host: &Host) -> Result<()> {
    let listing = ps::ask(host)?;
    if super::is_json(context)? {
        let pods: Vec<_> = listing.pods.iter().map(|pod| pod.json.as_str()).collect();
        return output::print(&format!("[{}]\n", pods.join(",")));
    }
    let mut table = Table::new(&["POD", "STATUS", "READY", "RESTARTS", "AGE", "MANIFEST"]);
    for pod in &listing.pods {
        let (ready, all, restarts, age_ms) = counts(&listing, pod);
        let known = |text: String| if all > 0 { text } else { "-".to_owned() };
        table.row([
            pod.name.clone(),
            status(pod),
            known(format!("{ready}/{all}")),
            known(restarts.to_string()),
            known(age(age_ms)),
            pod.file.clone(),
        ]);
    }
    output::print(
        &table.text(table::coloured(), |column, cell| if column == 1 { colour(cell) } else { None }),
    )
}

fn describe<S: AsRef<str>>(context: &Context<'_>, host: &Host, pods: &[S]) -> Result<()> {
    const EVENTS: usize = 20;
    let listing = ps::ask(host)?;
    let json = super::is_json(context)?;
    let records = events::read(&host.run.join(history::FILE))?;
    for name in pods.iter().map(AsRef::as_ref) {
        let Some(pod) = listing.pods.iter().find(|pod| pod.name == name) else {
            return Err(context.usage(&format!("describe: there is no pod {}", visible(name))));
        };
        let rows = || listing.rows.iter().filter(|row| row.pod == pod.name && row.container != "-");
        let mut records: Vec<_> = records.iter().filter(|record| record.pod == pod.name).collect();
        records.drain(..records.len().saturating_sub(EVENTS));
        let text = if json {
            let rows: Vec<_> = rows().map(|row| row.json.as_str()).collect();
            let records: Vec<_> = records.iter().map(|record| events::to_json(record)).collect();
            let (rows, records) = (rows.join(","), records.join(",").replace('\n', ""));
            format!("{{\"pod\":{},\"containers\":[{rows}],\"events\":[{records}]}}\n", pod.json)
        } else {
            let mut out = about_pod(&listing, pod);
            for row in rows() {
                about_container(&mut out, row);
                if !row.last.is_empty() {
                    let (names, failed) = ([&*row.pod, &*row.container], !row.last.ends_with("code 0"));
                    let word = files::last_word(&host.run, &host.logs, names, &row.state, failed);
                    word.lines().for_each(|line| field(&mut out, "  ", "Message", line));
                }
            }
            out += if records.is_empty() { "" } else { "Events:\n" };
            records.iter().for_each(|record| out += &format!("  {}", events::line(record)));
            out
        };
        output::print(&text)?;
    }
    Ok(())
}

/// A line of a description.
fn field(out: &mut String, indent: &str, name: &str, value: &str) {
    let _ = writeln!(out, "{indent}{:<10} {}", format!("{name}:"), visible(value)); // a String takes it
}

fn about_pod(listing: &ps::Listing, pod: &ps::Pod) -> String {
    let mut out = String::new();
    field(&mut out, "", "Pod", &pod.name);
    field(&mut out, "", "Manifest", &format!("{}/{}", listing.manifests, pod.file));
    field(&mut out, "", "Status", &status(pod));
    let (ready, all, restarts, _) = counts(listing, pod);
    if all > 0 {
        field(&mut out, "", "Ready", &format!("{ready}/{all}"));
        field(&mut out, "", "Restarts", &restarts.to_string());
    }
    if pod.netns > 0 {
        field(&mut out, "", "Network", &format!("net:[{}]", pod.netns));
    }
    if let Some(reason) = &pod.reason {
        field(&mut out, "", "Reason", reason);
    }
    out
}

fn about_container(out: &mut String, row: &ps::Row) {
    let kind = if row.role == "main" { String::new() } else { format!(" ({})", row.role) };
    let _ = writeln!(out, "Container {}{kind}:", visible(&row.container)); // a String takes it
    let since = format!("{}, for {}", row.state, age(row.age_ms));
    field(out, "  ", "State", &since);
    if let Some(retry_ms) = row.retry_ms {
        field(out, "  ", "Retry", &format!("in {}", age(retry_ms)));
    }
    field(out, "  ", "Ready", if row.ready { "yes" } else { "no" });
    if let Some(pid) = row.pid {
        field(out, "  ", "Pid", &pid.to_string());
    }
    field(out, "  ", "Restarts", &row.restarts.to_string());
    if let Some(started) = &row.started {
        field(out, "  ", "Started", started);
    }
    if !row.last.is_empty() {
        field(out, "  ", "Last end", &row.last);
    }
    if let Some(reason) = &row.reason {
        field(out, "  ", "Reason", reason);
    }
}
