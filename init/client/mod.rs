//! The commands for people: they ask PID 1 over its socket, or read what it has written.

pub mod demo;
pub mod logs;
pub mod power;
pub mod ps;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};

use mote::error::{During as _, Error, Result};
use mote::output;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::control::{PACKET_BYTES, SOCKET};

/// How long PID 1 may take to answer.
const ANSWER_S: i64 = 10;

/// Whether `word` is a client command.
pub fn is_command(word: &OsStr) -> bool {
    ["ps", "logs", "poweroff", "reboot", "halt"].iter().any(|name| word == *name)
}

/// Runs the client command `args[1]`, if it is one.
pub fn main(args: &[OsString]) -> Option<i32> {
    let words: Vec<&str> = args.iter().skip(1).map(|arg| arg.to_str().unwrap_or("\u{fffd}")).collect();
    let result = match words.split_first()? {
        // With a container's id it is the OCI command of the same name.
        (&"ps", []) => ps::run(),
        (&"logs", rest) => logs::run(rest),
        (word @ &("poweroff" | "reboot" | "halt"), []) => power::run(word),
        (word @ &("poweroff" | "reboot" | "halt"), _) => {
            Err(Error::Usage(format!("{word}: expected no argument").into()))
        }
        _ => return None,
    };
    Some(result.map_or_else(
        |error| {
            output::complain(&format!("mote: {error}"));
            1
        },
        |()| 0,
    ))
}

/// A question that PID 1 is answering.
#[derive(Debug)]
pub struct Answer(OwnedFd);

/// Asks PID 1.
pub fn ask(request: &str) -> Result<Answer> {
    let fd = socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let fd = fd.during("socket", SOCKET)?;
    let address = UnixAddr::new(SOCKET).during("connect", SOCKET)?;
    socket::connect(fd.as_raw_fd(), &address).during("connect", SOCKET)?;
    let limit = TimeVal::seconds(ANSWER_S);
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &limit).during("setsockopt", SOCKET)?;
    let question = format!(r#"{{"version":1,"request":"{request}"}}"#);
    socket::send(fd.as_raw_fd(), question.as_bytes(), MsgFlags::MSG_NOSIGNAL).during("send", SOCKET)?;
    Ok(Answer(fd))
}

impl Answer {
    /// The next packet; `None` when PID 1 has closed the connection, which it does after the last one.
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        let mut packet = vec![0; PACKET_BYTES];
        let length = loop {
            match socket::recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT).during("recv", SOCKET),
                Err(Errno::ECONNRESET) => return Ok(None),
                other => break other.during("recv", SOCKET)?,
            }
        };
        packet.truncate(length);
        Ok((length > 0).then_some(packet))
    }
}
