//! The commands for people: they ask PID 1, or the supervisor, over its socket, or read what it has written.

pub mod attach;
pub mod demo;
pub mod events;
pub mod exec;
pub mod follow;
pub mod logs;
pub mod packet;
pub mod pod;
pub mod power;
pub mod ps;
pub mod stats;
pub mod supervise;
pub mod table;
pub mod terminal;
pub mod watch;

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use mote::cli::options::{Kind, Opt};
use mote::cli::{Commands, Context};
use mote::error::{During as _, Error, Result};
use mote::sys::socket::receive_fd;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::control::PACKET_BYTES;
use crate::name::Name;
use crate::paths::{DEVICE, LOGS, SOCKET};
use packet::Packet;

/// How long PID 1 may take to answer.
const ANSWER_S: i64 = 10;

/// All of them.
pub const COMMANDS: Commands = &[
    &ps::COMMAND,
    &pod::COMMAND,
    &exec::COMMAND,
    &attach::COMMAND,
    &logs::COMMAND,
    &events::COMMAND,
    &stats::STATS,
    &stats::TOP,
    &power::RELOAD,
    &power::POWEROFF,
    &power::REBOOT,
    &power::HALT,
    &supervise::COMMAND,
];

/// Which supervisor is meant.
pub const RUN: Opt = Opt {
    name: "run",
    short: None,
    kind: Kind::Value("DIR"),
    about: "of the supervisor whose run directory is DIR ($MOTE_RUN, or /run/mote: the device)",
};

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its run directory.
    pub run: PathBuf,
    /// Where its logs are.
    pub logs: PathBuf,
}

impl Host {
    /// The device.
    pub fn device() -> Self {
        Self { run: DEVICE.run.into(), logs: DEVICE.logs.into() }
    }

    /// Whom the options name, or the environment.
    pub fn of(context: &Context<'_>) -> Self {
        let given = context.options.path("run").map(PathBuf::from);
        let root = || context.root_given.then(|| context.root.clone());
        let environment = || std::env::var_os("MOTE_RUN").filter(|run| !run.is_empty()).map(PathBuf::from);
        match given.or_else(root).or_else(environment).filter(|run| *run != *DEVICE.run) {
            None => Self::device(),
            Some(run) => Self { logs: run.join(LOGS), run },
        }
    }

    /// Has PID 1 do something. `more` are members of the request besides its name, each with a comma before it.
    pub fn order(&self, request: &str, more: &str) -> Result<()> {
        Packet::new(self.send(request, more)?.next()?.ok_or_else(hung_up)?).map(drop)
    }

    /// Has PID 1 send a descriptor.
    pub fn order_fd(&self, request: &str, more: &str) -> Result<OwnedFd> {
        let answer = self.send(request, more)?;
        Packet::new(answer.peek()?.ok_or_else(hung_up)?)?;
        receive_fd(answer.0.as_fd()).during("recvmsg", SOCKET)
    }

    /// Asks PID 1.
    pub fn ask(&self, request: &str) -> Result<Answer> {
        self.send(request, "")
    }

    fn send(&self, request: &str, more: &str) -> Result<Answer> {
        let path = self.run.join(SOCKET);
        let fd = socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
        let fd = fd.during("socket", &*path)?;
        let address = UnixAddr::new(&path).during("connect", &*path)?;
        socket::connect(fd.as_raw_fd(), &address).during("connect", &*path)?;
        let limit = TimeVal::seconds(ANSWER_S);
        socket::setsockopt(&fd, sockopt::ReceiveTimeout, &limit).during("setsockopt", &*path)?;
        let question = format!(r#"{{"version":1,"request":"{request}"{more}}}"#);
        match socket::send(fd.as_raw_fd(), question.as_bytes(), MsgFlags::MSG_NOSIGNAL) {
            // It may have hung up before the question; why, is there to be read.
            Err(Errno::EPIPE) => {}
            sent => drop(sent.during("send", &*path)?),
        }
        Ok(Answer(fd))
    }
}

/// A question that PID 1 is answering.
#[derive(Debug)]
pub struct Answer(OwnedFd);

impl Answer {
    /// The next packet; `None` when PID 1 has closed the connection, which it does after the last one.
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        self.receive(MsgFlags::empty())
    }

    /// The next packet, which stays to be received.
    fn peek(&self) -> Result<Option<Vec<u8>>> {
        self.receive(MsgFlags::MSG_PEEK)
    }

    fn receive(&self, flags: MsgFlags) -> Result<Option<Vec<u8>>> {
        let mut packet = vec![0; PACKET_BYTES];
        let mut reset = false;
        let length = loop {
            match socket::recv(self.0.as_raw_fd(), &mut packet, flags) {
                Err(Errno::EINTR) => {}
                // It hung up before it had read the question. The kernel says so once, before what it said itself.
                Err(Errno::ECONNRESET) if !reset => reset = true,
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT).during("recv", SOCKET),
                Err(Errno::ECONNRESET) => return Ok(None),
                other => break other.during("recv", SOCKET)?,
            }
        };
        packet.truncate(length);
        Ok((length > 0).then_some(packet))
    }
}

/// Whether `--output` asks for JSON.
pub fn is_json(context: &Context<'_>) -> Result<bool> {
    match context.options.text("output").as_deref() {
        None => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err(context.wrong("output", "expected json")),
    }
}

/// An option that is a number.
pub fn number(context: &Context<'_>, name: &str) -> Result<Option<usize>> {
    let text = context.options.text(name);
    text.map(|text| text.parse().map_err(|_| context.wrong(name, "expected a number"))).transpose()
}

/// The container that the first argument names.
pub fn target(context: &Context<'_>) -> Result<(Name, Name)> {
    let argument = context.options.arguments().first().and_then(|argument| argument.to_str());
    // Names checked by their types: nothing in them can climb out of a directory.
    let names = argument.and_then(|argument| argument.split_once('/'));
    let names = names.and_then(|(pod, container)| Name::new(pod).zip(Name::new(container)));
    names.ok_or_else(|| context.usage("expected <pod>/<container>, both names of 1 to 63 of a-z, 0-9 and -"))
}

/// What is wrong when the connection ends too early.
pub fn hung_up() -> Error {
    Error::usage(format_args!(
        "the supervisor has hung up before the end; only root of its own device may ask"
    ))
}
