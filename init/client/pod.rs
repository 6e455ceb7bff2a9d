//! `mote pod`: pods as a whole.

use std::fmt::Write as _;
use std::path::PathBuf;

use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::{During as _, Result};
use mote::output;

use super::packet::{self, Packet};
use super::table::{self, Colour, Table, age, visible};
use super::watch::Watch;
use super::{Host, events, ps};
use crate::name::Name;
use crate::{files, history};

/// `pod`
pub const COMMAND: Command = Command {
    name: "pod",
    arguments: "<ls|describe|start|stop|restart|rm> [pod...]",
    about: "list, describe, start, stop, restart or remove pods",
    options: &[
        super::RUN,
        Opt { name: "output", short: Some('o'), kind: Kind::Value("OUTPUT"), about: "ls, describe: json" },
        Opt {
            name: "grace",
            short: None,
            kind: Kind::Value("SECONDS"),
            about: "stop, restart: from SIGTERM to SIGKILL (terminationGracePeriodSeconds)",
        },
        Opt {
            name: "no-wait",
            short: None,
            kind: Kind::Flag,
            about: "stop, rm: return before it has stopped",
        },
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
        ("rm", false) => remove(context, &host, pods)?,
        ("ls", false) => return Err(context.usage("ls: expected no pod")),
        ("describe" | "start" | "stop" | "restart" | "rm", true) => {
            return Err(context.usage(&format!("{verb}: expected the name of a pod")));
        }
        _ => return Err(context.usage("expected ls, describe, start, stop, restart or rm")),
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
        let meant = |row: &&Packet| pods.iter().any(|pod| row.is("pod", pod.as_ref()));
        if listing.containers.iter().filter(meant).all(|row| row.is("state", "done")) {
            break;
        }
        watch.wait()?;
    }
    Ok(())
}

/// Removes the manifest of each pod, and so the pod; waits until it is gone.
fn remove<S: AsRef<str>>(context: &Context<'_>, host: &Host, pods: &[S]) -> Result<()> {
    let mut watch = Watch::new(host)?;
    let listing = ps::ask(host)?;
    let directory = PathBuf::from(listing.supervisor.text("manifests"));
    let mut files = Vec::new();
    for pod in pods.iter().map(AsRef::as_ref) {
        let row = listing.pods.iter().find(|row| row.is("pod", pod));
        let file = row.and_then(|row| row.get("file")).filter(|file| !file.is_empty() && !file.contains('/'));
        let Some(file) = file else {
            return Err(context.usage(&format!("rm: there is no pod {} with a manifest", visible(pod))));
        };
        files.push(directory.join(file));
    }
    for file in &files {
        std::fs::remove_file(file).during("unlink", &**file)?;
    }
    host.order("reload", "")?;
    let left = |row: &Packet| pods.iter().any(|pod| row.is("pod", pod.as_ref()));
    while !context.options.has("no-wait") && ps::ask(host)?.pods.iter().any(left) {
        watch.wait()?;
    }
    Ok(())
}

/// Of a pod: how many containers are ready, how many it has, its restarts, the age of its oldest state.
fn counts(listing: &ps::Listing, pod: &str) -> (usize, usize, u64, u64) {
    let (mut ready, mut all, mut restarts, mut age_ms) = (0, 0, 0, 0);
    for row in listing.containers.iter().filter(|row| row.is("pod", pod)) {
        if !row.is("role", "init") {
            all += 1;
            ready += usize::from(row.is("ready", "true"));
        }
        restarts += row.number("restarts");
        age_ms = row.number("age_ms").max(age_ms);
    }
    (ready, all, restarts, age_ms)
}

/// Kubernetes' phase, and what it has no word for.
fn status(pod: &Packet) -> String {
    let phase = pod.get("phase").unwrap_or_else(|| "Invalid".to_owned());
    match (pod.is("stopped", "true"), phase.as_str()) {
        (true, "Running") => "Stopping".to_owned(),
        (true, _) => "Stopped".to_owned(),
        (false, _) => phase,
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
        return output::print(&(ps::list(&listing.pods) + "\n"));
    }
    let mut table = Table::new(&["POD", "STATUS", "READY", "RESTARTS", "AGE", "MANIFEST"]);
    for pod in &listing.pods {
        let (ready, all, restarts, age_ms) = counts(&listing, &pod.text("pod"));
        let known = |text: String| if all > 0 { text } else { "-".to_owned() };
        table.row([
            pod.text("pod"),
            status(pod),
            known(format!("{ready}/{all}")),
            known(restarts.to_string()),
            known(age(age_ms)),
            pod.text("file"),
        ]);
    }
    output::print(
        &table.text(table::coloured(), &|column, cell| if column == 1 { colour(cell) } else { None }),
    )
}

fn describe<S: AsRef<str>>(context: &Context<'_>, host: &Host, pods: &[S]) -> Result<()> {
    const EVENTS: usize = 20;
    let listing = ps::ask(host)?;
    let json = super::is_json(context)?;
    let records = events::read(&host.run.join(history::FILE))?;
    for name in pods.iter().map(AsRef::as_ref) {
        let Some(pod) = listing.pods.iter().find(|pod| pod.is("pod", name)) else {
            return Err(context.usage(&format!("describe: there is no pod {}", visible(name))));
        };
        let rows = || listing.containers.iter().filter(|row| row.is("pod", name));
        let mut records: Vec<_> = records.iter().filter(|record| record.pod == name).collect();
        records.drain(..records.len().saturating_sub(EVENTS));
        let show = if json { events::to_json } else { events::line };
        let records: Vec<_> = records.iter().map(|record| show(record)).collect();
        let text = if json {
            let events = records.join(",").replace('\n', "");
            format!("{{\"pod\":{},\"containers\":{},\"events\":[{events}]}}\n", pod.json(), ps::list(rows()))
        } else {
            let mut out = format!("Pod {}:\n", visible(name));
            field(&mut out, "status", &status(pod));
            field(&mut out, "directory", &listing.supervisor.text("manifests"));
            fields(&mut out, pod);
            for row in rows() {
                out += &format!("Container {}:\n", visible(&row.text("container")));
                fields(&mut out, row);
                if let Some(last) = ps::last(row) {
                    let (container, failed) = (row.text("container"), last != "code 0");
                    let names = [name, &*container];
                    let word = files::last_word(&host.run, &host.logs, names, &row.text("state"), failed);
                    word.lines().for_each(|line| field(&mut out, "message", line));
                }
            }
            out += "Events:\n";
            records.iter().for_each(|line| out += &format!("  {line}"));
            out
        };
        output::print(&text)?;
    }
    Ok(())
}

/// Everything that a packet says: what is new in it needs no code here.
fn fields(out: &mut String, packet: &Packet) {
    for member in packet.members() {
        let (key, value) = (member.key.decode(), packet::decoded(member.value));
        match (key.as_str(), key.strip_suffix("_ms"), value.parse()) {
            ("pod" | "container", ..) => {}
            (_, Some(key), Ok(ms)) => field(out, key, &age(ms)),
            _ => field(out, &key.replace('_', " "), &value),
        }
    }
}

/// A line of a description.
fn field(out: &mut String, name: &str, value: &str) {
    let mut name = format!("{name}:");
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let _ = writeln!(out, "  {name:<10} {}", visible(value)); // a String takes it
}
