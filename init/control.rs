//! The control socket, `/run/mote/control.sock` on the device: one packet of JSON asks, packets of JSON answer.
//!
//! Asked: `{"version":1,"request":"ps"}`, or `poweroff`, `reboot`, `halt`. Answered: to `ps` one packet about PID 1, one for each
//! container, one for each pod that is not run, and `{"end":true}`; to the others `{"end":true}`; to anything else
//! `{"error":"..."}`. Whoever is not root of the device's own pid namespace gets no answer at all.
//!
//! Nothing here waits or allocates: a client has a place in a table and a few seconds; what it does not take in time is
//! its own loss.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use log::warn;
use mote::json;
use mote::sys::alloc;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockFlag, sockopt};
use nix::sys::stat::stat;

use crate::fields;
use crate::memory;
use crate::poll::Token;
use crate::power::{self, Kind};
use crate::supervise::pod;
use crate::supervise::{NEVER, State, Status};
use crate::world::World;
use mote::board::CONTROL_CLIENTS;

/// The version of the messages.
pub const VERSION: &str = "1";

/// The longest packet, either way.
pub const PACKET_BYTES: usize = 1024;

/// How long a client may take over everything.
const CLIENT_MS: u64 = 5_000;

/// The socket and its clients.
#[derive(Debug)]
pub struct Control {
    /// std's listener for streams; `accept(2)` is the same for packets.
    listener: Option<UnixListener>,
    clients: [Option<Client>; CONTROL_CLIENTS],
}

/// One connection.
#[derive(Debug)]
struct Client {
    fd: OwnedFd,
    until_ms: u64,
    /// How many packets of an answer to `ps` have been sent, while one is.
    sent: Option<usize>,
}

type Packet = heapless::String<PACKET_BYTES>;

impl Control {
    /// Not open.
    pub const fn new() -> Self {
        Self { listener: None, clients: [const { None }; CONTROL_CLIENTS] }
    }

    /// When the next client has used up its time.
    pub fn deadline_ms(&self) -> u64 {
        self.clients.iter().flatten().map(|client| client.until_ms).min().unwrap_or(NEVER)
    }
}

/// Makes the socket. Its directory is root's alone, and so is the socket.
pub fn open(world: &mut World) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(socket::AddressFamily::Unix, socket::SockType::SeqPacket, flags, None)?;
    let path = world.paths.socket;
    let _ = nix::unistd::unlink(path); // of an init before this one
    socket::bind(fd.as_raw_fd(), &socket::UnixAddr::new(path)?)?;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::sys::stat::fchmodat(nix::fcntl::AT_FDCWD, path, mode, nix::sys::stat::FchmodatFlags::FollowSymlink)?;
    socket::listen(&fd, socket::Backlog::new(16)?)?;
    world.poll.add(fd.as_fd(), Token::Listener)?;
    world.control.listener = Some(UnixListener::from(fd));
    Ok(())
}

/// Takes a new client, if one is waiting. One at a time: the socket stays ready while there are more.
pub fn accept(world: &mut World, now_ms: u64) {
    let Some(listener) = &world.control.listener else { return };
    let Ok((stream, _)) = listener.accept() else { return };
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    let fd = OwnedFd::from(stream);
    if !is_allowed(fd.as_fd()) {
        return;
    }
    let free = world.control.clients.iter_mut().enumerate().find(|(_, place)| place.is_none());
    let Some((i, place)) = free else {
        send(fd.as_fd(), r#"{"error":"too many clients; try again"}"#);
        return;
    };
    if world.poll.add(fd.as_fd(), Token::Client(i)).is_ok() {
        *place = Some(Client { fd, until_ms: now_ms.saturating_add(CLIENT_MS), sent: None });
    }
}

/// Whether the peer is root, and not in a container: root of a container that was given this directory is no root here.
fn is_allowed(fd: BorrowedFd<'_>) -> bool {
    let Ok(peer) = socket::getsockopt(&fd, sockopt::PeerCredentials) else { return false };
    let mut path = heapless::String::<32>::new();
    let here = stat(c"/proc/self/ns/pid").map(|stat| stat.st_ino);
    let there = match write!(path, "/proc/{}/ns/pid", peer.pid()) {
        Ok(()) => stat(path.as_str()).map(|stat| stat.st_ino),
        Err(_) => Err(Errno::ENAMETOOLONG),
    };
    let allowed = peer.uid() == 0 && here.is_ok() && here == there;
    if !allowed {
        warn!("control: uid {} pid {} turned away", peer.uid(), peer.pid());
    }
    allowed
}

/// Drops the clients that have used up their time.
pub fn tick(world: &mut World, now_ms: u64) {
    for i in 0..CONTROL_CLIENTS {
        if world.control.clients.get(i).is_some_and(|c| c.as_ref().is_some_and(|c| c.until_ms <= now_ms)) {
            drop_client(world, i);
        }
    }
}

fn drop_client(world: &mut World, i: usize) {
    if let Some(client) = world.control.clients.get_mut(i).and_then(Option::take) {
        world.poll.remove(client.fd.as_fd());
    }
}

/// Client `i` has sent something, can take more, or is gone.
pub fn serve(world: &mut World, i: usize, now_ms: u64) {
    let Some(Some(client)) = world.control.clients.get_mut(i) else { return };
    if client.sent.is_none() {
        let mut bytes = [0; PACKET_BYTES];
        match socket::recv(client.fd.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) | Ok(0) => return drop_client(world, i),
            Ok(length) => match request(bytes.get(..length).unwrap_or(b"")) {
                Ok(Request::Ps) => client.sent = Some(0),
                Ok(Request::Power(_)) if !world.paths.device => {
                    send(
                        client.fd.as_fd(),
                        r#"{"error":"the supervisor is not the device's PID 1: end it by SIGTERM"}"#,
                    );
                    return drop_client(world, i);
                }
                Ok(Request::Power(kind)) => {
                    send(client.fd.as_fd(), r#"{"end":true}"#);
                    drop_client(world, i);
                    return power::request(world, kind, now_ms);
                }
                Err(why) => {
                    let mut packet = Packet::new();
                    let _ = write!(packet, r#"{{"error":"{why}"}}"#); // it is short
                    send(client.fd.as_fd(), &packet);
                    return drop_client(world, i);
                }
            },
        }
    }
    answer(world, i, now_ms);
}

/// Sends client `i` as much of the answer to `ps` as it takes.
fn answer(world: &mut World, i: usize, now_ms: u64) {
    loop {
        let Some(Some(client)) = world.control.clients.get(i) else { return };
        let Some(sent) = client.sent else { return };
        let Some(packet) = packet(world, sent, now_ms) else { return drop_client(world, i) };
        match socket::send(
            client.fd.as_raw_fd(),
            packet.as_bytes(),
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(_) => {
                if let Some(Some(client)) = world.control.clients.get_mut(i) {
                    client.sent = Some(sent + 1);
                }
            }
            Err(Errno::EAGAIN) => {
                if world.poll.want_write(client.fd.as_fd(), Token::Client(i), true).is_err() {
                    drop_client(world, i);
                }
                return;
            }
            Err(_) => return drop_client(world, i),
        }
    }
}

/// A short answer; a client that cannot take it has not been listening.
fn send(fd: BorrowedFd<'_>, text: &str) {
    let _ = socket::send(fd.as_raw_fd(), text.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Ps,
    Power(Kind),
}

/// What is asked, or what is wrong with the question.
fn request(bytes: &[u8]) -> Result<Request, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    if fields::member(text, "version") != Some(VERSION) {
        return Err("expected version 1");
    }
    match fields::member(text, "request") {
        Some("\"ps\"") => Ok(Request::Ps),
        Some("\"poweroff\"") => Ok(Request::Power(Kind::PowerOff)),
        Some("\"reboot\"") => Ok(Request::Power(Kind::Reboot)),
        Some("\"halt\"") => Ok(Request::Power(Kind::Halt)),
        _ => Err("expected request ps, poweroff, reboot or halt"),
    }
}

/// Packet `n` of the answer to `ps`; `None` after the last one.
fn packet(world: &World, n: usize, now_ms: u64) -> Option<Packet> {
    let mut packet = Packet::new();
    let (units, pods) = (world.units.len(), world.pods.len());
    // What does not fit is cut and will not parse; the sizes of names and reasons see to it that all fits.
    let _ = match n {
        0 => about_pid_1(&mut packet, now_ms),
        n if n <= units => about_unit(&mut packet, world, n - 1, now_ms),
        n if n <= units + pods => about_pod(&mut packet, world, n - 1 - units),
        n if n == units + pods + 1 => packet.write_str(r#"{"end":true}"#),
        _ => return None,
    };
    Some(packet)
}

fn about_pid_1(packet: &mut Packet, now_ms: u64) -> std::fmt::Result {
    let memory = memory::own().unwrap_or_default();
    write!(
        packet,
        r#"{{"version":1,"uptime_ms":{now_ms},"rss_kb":{},"anonymous_kb":{},"allocations":{}}}"#,
        memory.rss_kb,
        memory.anonymous_kb,
        alloc::since_mark()
    )
}

fn about_unit(packet: &mut Packet, world: &World, i: usize, now_ms: u64) -> std::fmt::Result {
    let Some(row) = world.units.get(i) else { return Ok(()) };
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
    let restarts = row.unit.runs.saturating_sub(1);
    let age_ms = now_ms.saturating_sub(row.changed_ms);
    let netns = world.pods.get(row.pod).map_or(0, |pod| pod.netns);
    write!(packet, r#","restarts":{restarts},"age_ms":{age_ms},"netns":{netns}"#)?;
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
    let Some(pod) = world.pods.get(i) else { return Ok(()) };
    packet.write_str(r#"{"pod":""#)?;
    json::escape(packet, pod.name.as_str())?;
    match &pod.failed {
        Some(reason) => {
            packet.write_str(r#"","state":"failed","reason":""#)?;
            json::escape(packet, reason.as_str())?;
            packet.write_str("\"}")
        }
        None => {
            let (phase, ready) = (world.phase(i).word(), pod::is_ready(world.views(i)));
            write!(packet, r#"","phase":"{phase}","ready":{ready},"netns":{}}}"#, pod.netns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_questions_of_this_version_are_answered() {
        assert_eq!(request(br#"{"version":1,"request":"ps"}"#), Ok(Request::Ps));
        assert_eq!(request(br#" { "request" : "halt" , "version" : 1 } "#), Ok(Request::Power(Kind::Halt)));
        for bad in [
            &b""[..],
            b"{}",
            b"\xff",
            b"[1]",
            br#"{"version":2,"request":"ps"}"#,
            br#"{"version":1,"request":"p"#,
            br#"{"version":1,"request":"format"}"#,
            br#"{"version":1}"#,
        ] {
            assert!(request(bad).is_err(), "{bad:?}");
        }
    }
}
