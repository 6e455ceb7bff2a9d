//! Probes and hooks: each run is a short-lived child of PID 1, which forks it, times it, ends it by SIGTERM and takes its exit
//! code for the result. What may block, allocate or be hostile is in the child: the manifest is read again, the container's
//! network namespace is joined, `exec` goes through the library as `mote exec` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mote::container::{Preserved, Terminal};
use mote::error::{During as _, Error, Result};
use mote::exec::{self, Changes, Request};
use mote::sys::clone::setns;
use mote::sys::file::write_all;
use mote::sys::wait::How;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, read};

use crate::manifest::{Address, Handler};
use crate::supervise::check::Check;
use crate::supervise::{Outcome, Task};
use crate::world::World;
use crate::{child, nofile, start};

/// A task at work.
#[derive(Debug)]
pub struct Running {
    /// Its number, to know it again when it is reaped.
    pub pid: i32,
    /// To end it.
    pub pidfd: OwnedFd,
}

/// The child's exit codes. Whatever else it ends with says nothing about the container.
const GOOD: i32 = 0;
const BAD: i32 = 1;
const UNKNOWN: i32 = 2;

/// As much of an answer as is looked at.
const ANSWER_BYTES: usize = 4096;

/// What the end of a task's child says.
pub fn outcome(how: How) -> Outcome {
    match how {
        How::Code(GOOD) => Outcome::Good,
        How::Code(BAD) => Outcome::Bad,
        How::Code(_) | How::Signal(_) => Outcome::Unknown,
    }
}

/// Forks the child that does `task` for container `i`.
pub fn fork(world: &World<'_>, i: usize, task: Task) -> std::result::Result<Running, Errno> {
    let name = if (task as usize) < Task::PROBES.len() { c"mote-probe" } else { c"mote-hook" };
    let (pid, pidfd) = child::fork(name, || {
        nofile::restore();
        run(world, i, task)
    })?;
    Ok(Running { pid: pid.as_raw(), pidfd })
}

/// What the child does.
fn run(world: &World<'_>, i: usize, task: Task) -> i32 {
    let Some(row) = world.units.get(i) else { return UNKNOWN };
    // Of those that fail in a row the first is told of, and the one that counts.
    let place = task as usize;
    let again = match (row.unit.checks.get(place), row.conf.probes.get(place)) {
        (Some(Check::Running { row: bad @ ..0, .. }), Some(Some(probe))) => {
            bad.unsigned_abs().saturating_add(1) != probe.failure
        }
        _ => false,
    };
    let (level, pod) = (if again { log::Level::Debug } else { log::Level::Info }, world.pod_name(row.pod));
    let (code, why) = match attempt(world, i, task) {
        Ok(None) => return GOOD,
        Ok(Some(why)) => (BAD, why),
        Err(e) => (UNKNOWN, e.to_string()),
    };
    mote::say::say(level, format_args!("{pod}/{}: {}: {why}", row.name, task.word()));
    code
}

/// Does the task; `Some` says why it has failed. An error is one of doing it.
fn attempt(world: &World<'_>, i: usize, task: Task) -> Result<Option<String>> {
    let (manifest, k) = start::manifest(world, i)?;
    let handler = manifest.containers.get(k).and_then(|container| container.life.handler(task));
    let gone = || Error::config(manifest.name.as_str(), task.word(), "not in the manifest any more");
    match handler.ok_or_else(gone)? {
        Handler::Exec(command) => in_container(world, i, command),
        Handler::Tcp(address) => {
            enter(world, i)?;
            Ok(connect(*address).err())
        }
        Handler::Http { address, request } => {
            enter(world, i)?;
            Ok(get(*address, request).err())
        }
        Handler::Sleep { seconds } => {
            std::thread::sleep(Duration::from_secs(u64::from(*seconds)));
            Ok(None)
        }
    }
}

/// Joins the network namespace of the container's process.
fn enter(world: &World<'_>, i: usize) -> Result<()> {
    let pidfd = world.units.get(i).and_then(|row| row.pidfd.as_ref());
    let joined = pidfd.map_or(Err(Errno::ESRCH), |fd| setns(fd.as_fd(), CloneFlags::CLONE_NEWNET));
    joined.during("setns", "network namespace")
}

/// Runs a program in the container; what it prints goes nowhere, as kubelet has it.
fn in_container(world: &World<'_>, i: usize, command: &[String]) -> Result<Option<String>> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.during("open", "/dev/null")?;
    let said = nix::unistd::dup(std::io::stderr()).during("dup", "standard error")?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .during("dup2", "")?;
    let id = start::id(world, i)?;
    let code = exec::exec(&Request {
        root: Path::new(world.paths.run),
        id: &id,
        process: None,
        changes: Changes { args: command.iter().map(AsRef::as_ref).collect(), ..Changes::default() },
        terminal: Terminal::Refused,
        detach: false,
        pid_file: None,
        pidfd_to: None,
        preserved: Preserved::default(),
        cgroup: Vec::new(),
        ignore_paused: true,
        deadly: true,
    });
    let _ = dup2_stderr(&said); // for what is logged; /dev/kmsg does not need it
    match code {
        Ok(0) => Ok(None),
        Ok(code) => Ok(Some(format!("{} ended with {code}", command.first().map_or("", |c| c.as_str())))),
        Err(e) => Ok(Some(e.to_string())),
    }
}

/// Connects, or says why not.
fn connect(address: Address) -> std::result::Result<OwnedFd, String> {
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let given = address.host.map(|host| [host]);
    let hosts = given.as_ref().map_or(&own[..], |host| &host[..]);
    let mut refused = String::new();
    for host in hosts {
        let to = SocketAddr::new(*host, address.port);
        match connect_to(to) {
            Ok(socket) => return Ok(socket),
            // The first one says more: that there is no IPv6 is no news.
            Err(errno) if refused.is_empty() => {
                refused = format!("connect({to}): {}", mote::error::words(errno));
            }
            Err(_) => {}
        }
    }
    Err(refused)
}

fn connect_to(to: SocketAddr) -> std::result::Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    match to {
        SocketAddr::V4(to) => socket::connect(socket.as_raw_fd(), &SockaddrIn::from(to))?,
        SocketAddr::V6(to) => socket::connect(socket.as_raw_fd(), &SockaddrIn6::from(to))?,
    }
    Ok(socket)
}

/// Asks for a page, or says why there is none.
fn get(address: Address, request: &str) -> std::result::Result<(), String> {
    let socket = connect(address)?;
    let failed = |what: &str, errno| format!("{what}: {}", mote::error::words(errno));
    write_all(socket.as_fd(), request.as_bytes()).map_err(|errno| failed("write", errno))?;
    let (mut answer, mut length) = ([0; ANSWER_BYTES], 0);
    loop {
        let there = answer.get(..length).unwrap_or_default();
        if let Some(status) = status(there) {
            return match status {
                Some(200..400) => Ok(()),
                Some(status) => Err(format!("the answer is {status}")),
                None => Err("the answer is not HTTP".to_owned()),
            };
        }
        match read(&socket, answer.get_mut(length..).unwrap_or_default()) {
            Ok(0) => return Err("no answer".to_owned()),
            Ok(more) => length += more,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("read", errno)),
        }
    }
}

/// The status of an HTTP answer; `None` while its first line is not whole, `Some(None)` when it is none.
fn status(answer: &[u8]) -> Option<Option<u16>> {
    let line = match answer.iter().position(|&b| b == b'\n') {
        Some(end) => answer.get(..end)?,
        None if answer.len() < ANSWER_BYTES => return None,
        None => return Some(None),
    };
    let mut words = std::str::from_utf8(line).unwrap_or("").split_whitespace();
    let version = words.next().filter(|version| version.starts_with("HTTP/1."));
    Some(version.and(words.next()).filter(|code| code.len() == 3).and_then(|code| code.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_a_whole_line_alone() {
        for (answer, want) in [
            (&b"HTTP/1.1 200 OK\r\nA: b"[..], Some(Some(200))),
            (b"HTTP/1.0 404\n", Some(Some(404))),
            (b"HTTP/1.1 200 O", None),
            (b"", None),
            (b"HTTP/2 200\n", Some(None)),
            (b"220 mail.example ESMTP\r\n", Some(None)),
            (b"HTTP/1.1 20x OK\r\n", Some(None)),
            (b"\xff\n", Some(None)),
            (&[b'a'; ANSWER_BYTES], Some(None)),
        ] {
            assert_eq!(status(answer), want, "{answer:?}");
        }
    }
}
