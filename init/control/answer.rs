//! What PID 1 answers: packets of JSON, each of at most [`PACKET_BYTES`](super::PACKET_BYTES), written without allocating.

use std::fmt::Write as _;

use mote::json;
use mote::sys::alloc;

use super::Packet;
use crate::memory;
use crate::supervise::{Role, State, Status};
use crate::table::NOBODY;
use crate::world::World;

/// The last packet of every answer that is no failure.
pub const END: &str = r#"{"end":true}"#;

/// Why not.
pub fn error(why: std::fmt::Arguments<'_>) -> Packet {
    let mut packet = Packet::new();
    let text = crate::line::Line::<400>::of(why); // escaped it still fits
    let _ = packet.write_str(r#"{"error":""#).and_then(|()| json::escape(&mut packet, text.as_str()));
    let _ = packet.write_str("\"}");
    packet
}

/// Packet `n` of the answer to `ps`; `None` after the last one. Empty for a place of the tables that nobody has.
pub fn packet(world: &World, n: usize, now_ms: u64) -> Option<Packet> {
    let mut packet = Packet::new();
    let (units, pods) = (world.units.len(), world.pods.len());
    // What does not fit is cut and will not parse; the sizes of names and reasons see to it that all fits.
    let _ = match n {
        0 => about_pid_1(&mut packet, world, now_ms),
        n if n <= units => about_unit(&mut packet, world, n - 1, now_ms),
        n if n <= units + pods => about_pod(&mut packet, world, n - 1 - units),
        n if n == units + pods + 1 => packet.write_str(END),
        _ => return None,
    };
    Some(packet)
}

fn about_pid_1(packet: &mut Packet, world: &World, now_ms: u64) -> std::fmt::Result {
    let memory = memory::own().unwrap_or_default();
    write!(
        packet,
        r#"{{"version":1,"device":{},"uptime_ms":{now_ms},"rss_kb":{},"anonymous_kb":{},"allocations":{},"manifests":""#,
        world.paths.device,
        memory.rss_kb,
        memory.anonymous_kb,
        alloc::since_mark()
    )?;
    json::escape(packet, world.paths.manifests)?;
    packet.write_str("\"}")
}

fn about_unit(packet: &mut Packet, world: &World, i: usize, now_ms: u64) -> std::fmt::Result {
    let Some(row) = world.units.get(i).filter(|row| row.pod != NOBODY) else { return Ok(()) };
    let state = match row.unit.state {
        State::Waiting => "waiting",
        State::Starting { .. } => "starting",
        State::Up { .. } => "running",
        State::Backoff { .. } => "backoff",
        State::Stopping { .. } => "stopping",
        State::Done => "done",
    };
    write!(packet, r#"{{"pod":"{}","container":"{}","state":"{state}""#, world.pod_name(row.pod), row.name)?;
    if let Some(pid) = row.unit.pid() {
        write!(packet, r#","pid":{pid}"#)?;
    }
    let role = match row.conf.role {
        Role::Main => "main",
        Role::Init => "init",
        Role::Sidecar => "sidecar",
    };
    write!(packet, r#","role":"{role}","ready":{}"#, row.unit.ready)?;
    let restarts = row.unit.runs.saturating_sub(1);
    let age_ms = now_ms.saturating_sub(row.changed_ms);
    let netns = world.pods.get(row.pod).map_or(0, |pod| pod.netns);
    write!(packet, r#","restarts":{restarts},"age_ms":{age_ms},"netns":{netns}"#)?;
    if row.tty.is_wanted() {
        packet.write_str(r#","tty":true"#)?;
    }
    let oom_kills = row.oom_kills + world.oom_kills_now(i);
    if oom_kills > 0 {
        write!(packet, r#","oom_kills":{oom_kills}"#)?;
    }
    if let State::Backoff { until_ms } = row.unit.state {
        write!(packet, r#","retry_ms":{}"#, until_ms.saturating_sub(now_ms))?;
    }
    match row.unit.last {
        Some(Status::Code(code)) => write!(packet, r#","code":{code}"#)?,
        Some(Status::Signal(signal)) => write!(packet, r#","signal":{signal}"#)?,
        Some(Status::Unknown) | None => {}
    }
    if row.started_ns > 0 {
        let started = mote::time::rfc3339(std::time::Duration::from_nanos(row.started_ns));
        write!(packet, r#","started":"{started}""#)?;
    }
    if let Some(reason) = &row.reason {
        packet.write_str(r#","reason":""#)?;
        json::escape(packet, reason.as_str())?;
        packet.write_str("\"")?;
    }
    packet.write_str("}")
}

/// A pod that runs has been told of by its containers; one that failed has none.
fn about_pod(packet: &mut Packet, world: &World, i: usize) -> std::fmt::Result {
    let Some(pod) = world.pods.get(i).filter(|pod| !pod.is_vacant()) else { return Ok(()) };
    packet.write_str(r#"{"pod":""#)?;
    json::escape(packet, pod.name.as_str())?;
    packet.write_str(r#"","file":""#)?;
    json::escape(packet, pod.file.as_str())?;
    match &pod.failed {
        Some(reason) => {
            packet.write_str(r#"","state":"failed","reason":""#)?;
            json::escape(packet, reason.as_str())?;
            packet.write_str("\"}")
        }
        None => {
            let (phase, ready) = (world.phase(i).word(), world.is_ready(i));
            let (stop, netns) = (pod.stop.is_some(), pod.netns);
            write!(packet, r#"","phase":"{phase}","ready":{ready},"stopped":{stop},"netns":{netns}"#)?;
            if let Some(wrong) = &pod.wrong {
                packet.write_str(r#","reason":""#)?;
                json::escape(packet, wrong.as_str())?;
                packet.write_str("\"")?;
            }
            packet.write_str("}")
        }
    }
}
