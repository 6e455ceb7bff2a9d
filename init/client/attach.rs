//! `mote attach`: what a container prints from now on, and with `-i` what is typed here as its standard input. The end of a container
//! is the end of this; ^C ends this alone. With a terminal (`terminal.rs`) ^C is the container's, and ^P ^Q ends this.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::{During as _, Error, Result};
use mote::sys::file::write_all;
use mote::sys::process::{pidfd_open, pidfd_send_signal};
use mote::sys::terminal::STDIN;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2, read, write};

use super::{Host, logs, ps, terminal};
use crate::child;

/// `attach`
pub const COMMAND: Command = Command {
    name: "attach",
    arguments: "<pod>/<container>",
    about: "print what a container prints from now on, and type to it",
    options: &[
        super::RUN,
        Opt {
            name: "interactive",
            short: Some('i'),
            kind: Kind::Flag,
            about: "pass standard input on; its manifest must have stdin: true",
        },
        Opt {
            name: "tty",
            short: Some('t'),
            kind: Kind::Flag,
            about: "only as a terminal to a terminal; its manifest must have tty: true",
        },
    ],
    count: (1, 1),
    run,
};

/// How long the log may take to have the last lines: milliseconds.
const LAST: u16 = 2_000;

fn run(context: &Context<'_>) -> Result<i32> {
    let (pod, container) = super::target(context)?;
    let host = Host::of(context);
    let listing = ps::ask(&host)?;
    let name = format!("{pod}/{container}");
    let refuse = |why: &str| Err(Error::usage(format_args!("attach: {name}: {why}")));
    let row = listing.containers.iter().find(|row| ps::name(row) == name);
    let Some(row) = row else { return refuse("there is no such container") };
    let pid = row.get("pid").and_then(|pid| pid.parse().ok());
    let Some(pid) = pid else { return refuse("it does not run") };
    let ended = pidfd_open(Pid::from_raw(pid)).during("pidfd_open", pod.as_str())?;
    let names = format!(r#","pod":"{pod}","container":"{container}""#);
    let interactive = context.options.has("interactive");
    let strict = context.options.has("tty");
    if row.is("tty", "true") {
        let what = terminal::What { names: &names, typing: interactive, strict, ended: ended.as_fd() };
        return terminal::attach(&host, &what).map(|()| 0);
    }
    if strict {
        return refuse("has no terminal: its manifest lacks tty: true");
    }
    let typed = interactive.then(|| host.order_fd("attach", &names)).transpose()?;
    let dir = host.logs.join(pod.as_str()).join(container.as_str());
    let (wait, ready) = pipe2(OFlag::O_CLOEXEC).during("pipe2", "")?;
    let held = typed.as_ref().map(|typed| typed.as_raw_fd());
    let (_, printer) = child::fork(c"mote-attach", || {
        // Or the container would not see the end when this process lets go of it.
        let _ = held.map(nix::unistd::close);
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM); // then it prints on
        let ready = || {
            let _ = write(&ready, b"!"); // should nobody wait any more, nobody needs it
        };
        i32::from(logs::follow(&dir, &ready).is_err())
    })
    .during("fork", "")?;
    drop(ready);
    // What is answered to the first line is not to be missed. Without a printer there is an end to wait for.
    let _ = read(&wait, &mut [0]);
    let result = forward(ended.as_fd(), typed);
    // It ends with the run's last line, unless nobody writes the log any more.
    let _ = poll(&mut [PollFd::new(printer.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LAST));
    let _ = pidfd_send_signal(printer.as_fd(), libc::SIGTERM); // it may have ended
    result.map(|()| 0)
}

/// Passes standard input on until the container ends.
fn forward(ended: BorrowedFd<'_>, mut typed: Option<std::os::fd::OwnedFd>) -> Result<()> {
    loop {
        let mut fds: heapless::Vec<PollFd<'_>, 2> = heapless::Vec::new();
        let _ = fds.push(PollFd::new(ended, PollFlags::POLLIN)); // two at most, for which there is room
        if typed.is_some() {
            let _ = fds.push(PollFd::new(STDIN, PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result.during("poll", "")?,
        };
        let mut ready = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        let (over, input) = (ready.next().unwrap_or(false), ready.next().unwrap_or(false));
        if over {
            return Ok(());
        }
        if let Some(to) = typed.as_ref().filter(|_| input) {
            let mut buffer = [0; 4096];
            match read(STDIN, &mut buffer) {
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // Of a container that has closed its input as well.
                Ok(length @ 1..)
                    if write_all(to.as_fd(), buffer.get(..length).unwrap_or_default()).is_ok() => {}
                _ => typed = None, // with stdinOnce the container sees the end
            }
        }
    }
}
