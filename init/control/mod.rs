//! The control socket, `/run/mote/control.sock` on the device: one packet of JSON asks, packets of JSON answer.
//!
//! Asked: what `request.rs` lists, such as `{"version":1,"request":"ps"}`. Answered: to `ps` one packet about PID 1, one for each
//! container, one for each pod, and `{"end":true}`; to the others `{"end":true}`; to anything else, and to what cannot be
//! done, `{"error":"..."}`. A stranger, see `peer.rs`, gets no answer at all.
//!
//! Nothing here waits or allocates: a client has a place in a table and a few seconds; what it does not take in time is
//! its own loss.

mod answer;
mod peer;
mod request;

use std::fs::Permissions;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use mote::error::errno_of;
use mote::sys::socket::send_fd;
use mote::warn;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockFlag};

use crate::live;
use crate::logs;
use crate::poll::Token;
use crate::supervise::NEVER;
use crate::world::World;
use crate::{pods, power};
use mote::board::CONTROL_CLIENTS;
use request::Request;

/// The longest packet, either way.
pub const PACKET_BYTES: usize = 1024;

/// How long nothing more is said once somebody was turned away.
const QUIET_MS: u64 = 10_000;

/// How long a client may take over everything.
const CLIENT_MS: u64 = 5_000;

/// The socket and its clients.
#[derive(Debug)]
pub struct Control {
    /// std's listener for streams; `accept(2)` is the same for packets.
    listener: Option<UnixListener>,
    clients: [Option<Client>; CONTROL_CLIENTS],
    /// Until when nothing is said about those who are turned away.
    quiet_until_ms: u64,
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
        Self { listener: None, clients: [const { None }; CONTROL_CLIENTS], quiet_until_ms: 0 }
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
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| errno_of(&e))?;
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
    if let Err(peer::Stranger { peer, pod }) = peer::admit(world, fd.as_fd()) {
        // One that comes again and again gets a line now and then, not one each time.
        if now_ms >= world.control.quiet_until_ms {
            world.control.quiet_until_ms = now_ms.saturating_add(QUIET_MS);
            let (of, pod) = pod.map_or(("", ""), |p| (" of pod ", world.pod_name(p)));
            warn!("control: uid {} pid {}{of}{pod} turned away", peer.uid(), peer.pid());
        }
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
        // A longer packet has its own length, and then is none at all. Descriptors that come along are closed by the
        // kernel, as there is no room for them.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        match socket::recv(client.fd.as_raw_fd(), &mut bytes, flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) | Ok(0) => return drop_client(world, i),
            Ok(length) => match Request::read(bytes.get(..length).unwrap_or(b"")) {
                Ok(Request::Ps) => client.sent = Some(0),
                Ok(request) => return once(world, i, &request, now_ms),
                Err(why) => return last(world, i, &answer::error(format_args!("{why}"))),
            },
        }
    }
    answer(world, i, now_ms);
}

/// Does what is asked, and says so or why not.
fn once(world: &mut World, i: usize, request: &Request, now_ms: u64) {
    let done = Packet::try_from(answer::END).unwrap_or_default(); // it is short
    if let Request::Power(kind) = request {
        if !world.paths.device {
            let why = format_args!("the supervisor is not the device's PID 1: end it by SIGTERM");
            return last(world, i, &answer::error(why));
        }
        last(world, i, &done); // before the way down, on which the client may end soon
        return power::request(world, *kind, now_ms);
    }
    let answer = match request {
        Request::Pod(order, name) => match pods::obey(world, *order, name, now_ms) {
            Ok(()) => done,
            Err(why) => answer::error(format_args!("pod {name}: {why}")),
        },
        Request::Attach(pod, container) | Request::View(pod, container) => {
            let of_pod = |p: usize| world.pods.get(p).is_some_and(|row| row.name.as_str() == pod.as_str());
            let u = world.units.iter().position(|row| row.name == *container && of_pod(row.pod));
            let give = if matches!(request, Request::View(..)) { view } else { attach };
            match u.ok_or("there is none").and_then(|u| give(world, i, u)) {
                Ok(()) => return drop_client(world, i),
                Err(why) => answer::error(format_args!("{pod}/{container}: {why}")),
            }
        }
        Request::Reload => {
            live::reload(world, now_ms);
            done
        }
        Request::Ps | Request::Power(_) => done,
    };
    last(world, i, &answer);
}

/// Sends client `i` the end of a container's standard input that is written to.
fn attach(world: &mut World, i: usize, u: usize) -> Result<(), &'static str> {
    let World { units, control, .. } = world;
    let (Some(Some(client)), Some(row)) = (control.clients.get(i), units.get_mut(u)) else { return Ok(()) };
    let terminal = row.tty.master().filter(|_| row.unit.pid().is_some());
    row.stdin.attach(terminal, |end| give(client, end))
}

/// Sends client `i` a socket on which comes what a container prints to its terminal.
fn view(world: &mut World, i: usize, u: usize) -> Result<(), &'static str> {
    let end = logs::view(world, u)?;
    if let Some(Some(client)) = world.control.clients.get(i) {
        give(client, end.as_fd());
    }
    Ok(())
}

/// The last packet, with a descriptor.
fn give(client: &Client, end: BorrowedFd<'_>) {
    // One that cannot take it has not been listening.
    let _ = send_fd(client.fd.as_fd(), answer::END.as_bytes(), end);
}

/// Sends the last packet to client `i`.
fn last(world: &mut World, i: usize, packet: &Packet) {
    if let Some(Some(client)) = world.control.clients.get(i) {
        send(client.fd.as_fd(), packet);
    }
    drop_client(world, i);
}

/// Sends client `i` as much of the answer to `ps` as it takes.
fn answer(world: &mut World, i: usize, now_ms: u64) {
    loop {
        let Some(Some(client)) = world.control.clients.get(i) else { return };
        let Some(sent) = client.sent else { return };
        let Some(packet) = answer::packet(world, sent, now_ms) else { return drop_client(world, i) };
        if packet.is_empty() {
            if let Some(Some(client)) = world.control.clients.get_mut(i) {
                client.sent = Some(sent + 1);
            }
            continue;
        }
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
