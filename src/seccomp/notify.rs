//! `SCMP_ACT_NOTIFY`: the descriptor through which somebody outside answers calls goes to them with the container's state;
//! runtime-spec config-linux.md "The Container Process State".

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::error::{During, Result};
use crate::json;
use crate::sys::socket;

/// Who answers.
#[derive(Debug)]
pub struct Listener {
    /// Where they listen: `listenerPath`.
    pub path: String,
    /// Text for them: `listenerMetadata`.
    pub metadata: String,
}

/// Connects to who answers.
pub fn connect(to: &Listener) -> Result<UnixStream> {
    let path = Path::new(&to.path);
    UnixStream::connect(path).during("linux.seccomp.listenerPath: connect", path)
}

/// Sends the descriptor and the state over a connection. `pid` is the process that the filter judges, `state` the container's as JSON.
pub fn send(
    mut stream: &UnixStream,
    to: &Listener,
    fd: BorrowedFd<'_>,
    pid: i32,
    version: &str,
    state: &str,
) -> Result<()> {
    let mut json = json::Writer::new("");
    json.string("ociVersion", version);
    json.number("fds", r#"["seccompFd"]"#);
    json.number("pid", pid);
    if !to.metadata.is_empty() {
        json.string("metadata", &to.metadata);
    }
    json.number("state", state);
    let text = json.end();
    let path = Path::new(&to.path);
    // The descriptor goes with the first bytes. Only a state with many annotations has more than that.
    let (first, rest) = text.as_bytes().split_at(text.len().min(32 * 1024));
    socket::send_fd(stream.as_fd(), first, fd).during("linux.seccomp.listenerPath: sendmsg", path)?;
    stream.write_all(rest).during("linux.seccomp.listenerPath: write", path)
}
