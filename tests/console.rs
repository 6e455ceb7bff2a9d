//! `process.terminal`: the pty goes over --console-socket, or is relayed in the foreground.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, read_until, spec};
use nix::cmsg_space;
use nix::pty::{Winsize, openpty};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn terminal(script: &str) -> Value {
    let mut config = spec(&["sh", "-c", script]);
    config["process"]["terminal"] = json!(true);
    config
}

/// Accepts one connection and takes the one descriptor that comes over it.
fn receive(listener: &UnixListener) -> (OwnedFd, Vec<u8>) {
    receive_within(listener, Duration::from_secs(30))
}

fn receive_within(listener: &UnixListener, time: Duration) -> (OwnedFd, Vec<u8>) {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + time;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < end, "nobody connects"),
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut data = [0; 4096];
    let mut space = cmsg_space!([i32; 8]);
    let mut buffers = [IoSliceMut::new(&mut data)];
    let message =
        recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
            .unwrap();
    let mut fds = Vec::new();
    for part in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    let length = message.bytes;
    assert_eq!(fds.len(), 1, "exactly one descriptor");
    // The kernel has just installed it and nobody else knows its number.
    #[allow(unsafe_code)]
    // SAFETY: recvmsg gave us this descriptor; nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    (fd, data[..length].to_vec())
}

#[test]
fn a_created_container_sends_its_pty_over_the_console_socket() {
    let t = Test::new();
    let bundle = t.bundle(
        "b",
        &terminal("tty; readlink /proc/self/fd/0; test -t 1 && echo terminal; read x; echo got-$x; cat"),
    );
    let path = t.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let id = t.id();
    let create = t.mote(["create", "--console-socket"]).arg(&path).arg("-b").arg(&bundle).arg(&id).spawn();
    let (pty, name) = receive(&listener);
    create.wait().ok();
    assert!(!name.is_empty() && name.len() < 4096, "the name of the pty: {name:?}");

    let mut pty = File::from(pty);
    t.verb("start", &id).ok();
    let said = read_until(&mut pty, "terminal\r\n");
    assert_eq!(said, "/dev/pts/0\r\n/dev/pts/0\r\nterminal\r\n");
    pty.write_all(b"hello\n").unwrap();
    read_until(&mut pty, "got-hello\r\n");
    assert_eq!(t.status(&id), "running");
    pty.write_all(&[4]).unwrap();
    t.wait_status(&id, "stopped");
}

#[test]
fn run_detached_sends_its_pty_over_the_console_socket() {
    let t = Test::new();
    let bundle = t.bundle("b", &terminal("echo up; sleep 100"));
    let path = t.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let id = t.id();
    let run = t.mote(["run", "-d", "--console-socket"]).arg(&path).arg("-b").arg(&bundle).arg(&id).spawn();
    let (pty, _) = receive(&listener);
    run.wait().ok();
    read_until(&mut File::from(pty), "up\r\n");
    assert_eq!(t.status(&id), "running");
}

#[test]
fn the_console_is_a_device_in_the_container_and_belongs_to_its_user() {
    let t = Test::new();
    let mut config = terminal(
        "stat -c '%u %F' /dev/console; stat -c %u /dev/pts/0; grep -c ' /dev/console ' /proc/self/mountinfo; echo end; sleep 100",
    );
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle("b", &config);
    let path = t.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let run = t.mote(["run", "-d", "--console-socket"]).arg(&path).arg("-b").arg(&bundle).arg(t.id()).spawn();
    let (pty, _) = receive(&listener);
    run.wait().ok();
    let said = read_until(&mut File::from(pty), "end\r\n");
    assert_eq!(said, "1000 character special file\r\n1000\r\n1\r\nend\r\n");
}

#[test]
fn the_console_s_target_stays_inside_the_rootfs() {
    let t = Test::new();
    let outside = t.dir.join("outside");
    fs::write(&outside, "outside\n").unwrap();
    let mut config = terminal("echo inside >/dev/console; echo end; sleep 100");
    config["root"]["readonly"] = json!(false);
    config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    let bundle = t.bundle("b", &config);
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir(bundle.join("rootfs/dev").join(dir)).unwrap();
    }
    std::os::unix::fs::symlink(&outside, bundle.join("rootfs/dev/console")).unwrap();
    let path = t.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let run = t.mote(["run", "-d", "--console-socket"]).arg(&path).arg("-b").arg(&bundle).arg(t.id()).spawn();
    // To refuse is fine too.
    let _received = std::panic::catch_unwind(|| receive_within(&listener, Duration::from_secs(3)));
    let _ = run.wait();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "outside\n");
}

#[test]
fn the_size_of_the_console_is_that_of_the_config() {
    let t = Test::new();
    let mut config = terminal("stty size; sleep 100");
    config["process"]["consoleSize"] = json!({"height": 33, "width": 111});
    let bundle = t.bundle("b", &config);
    let path = t.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let run = t.mote(["run", "-d", "--console-socket"]).arg(&path).arg("-b").arg(&bundle).arg(t.id()).spawn();
    let (pty, _) = receive(&listener);
    run.wait().ok();
    read_until(&mut File::from(pty), "33 111\r\n");
}

#[test]
fn a_terminal_and_a_console_socket_come_together_or_not_at_all() {
    let t = Test::new();
    let with = t.bundle("with", &terminal("true"));
    let without = t.bundle("without", &spec(&["true"]));
    let path = t.dir.join("console");
    let _listener = UnixListener::bind(&path).unwrap();
    t.mote(["create", "-b"]).arg(&with).arg(t.id()).run().fails_saying(&["console"]);
    t.mote(["run", "--detach", "-b"]).arg(&with).arg(t.id()).run().fails_saying(&["console"]);
    t.mote(["create", "--console-socket"])
        .arg(&path)
        .arg("-b")
        .arg(&without)
        .arg(t.id())
        .run()
        .fails_saying(&["console"]);
    t.assert_nothing_left();
}

#[test]
fn a_console_socket_that_nobody_listens_on_is_refused() {
    let t = Test::new();
    let bundle = t.bundle("b", &terminal("true"));
    drop(UnixListener::bind(t.dir.join("dead")).unwrap());
    for socket in [
        "/nonexistent/socket",
        t.dir.join("dead").to_str().unwrap(),
        "/etc/passwd",
        &format!("/{}", "x".repeat(200)),
        "/tmp",
    ] {
        t.mote(["create", "--console-socket", socket, "-b"]).arg(&bundle).arg(t.id()).run().fails();
    }
    t.assert_nothing_left();
}

#[test]
fn in_the_foreground_the_terminal_is_relayed() {
    let t = Test::new();
    let bundle = t.bundle(
        "b",
        &terminal("tty; until stty size 2>/dev/null; do sleep 0.02; done; read x; echo got-$x; exit 3"),
    );
    let size = Winsize { ws_row: 25, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
    let outer = openpty(Some(&size), None).unwrap();
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(common::binary())
        .arg("--root")
        .arg(&t.root)
        .args(["run", "-b"])
        .arg(&bundle)
        .arg(t.id());
    let end = || Stdio::from(outer.slave.try_clone().unwrap());
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop(command);
    let mut pty = File::from(outer.master);
    let said = read_until(&mut pty, "25 90\r\n");
    assert!(said.contains("/dev/pts/0\r\n"), "{said:?}");
    pty.write_all(b"hello\r").unwrap();
    read_until(&mut pty, "got-hello\r\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("run does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(code, Some(3));
    let mode = nix::sys::termios::tcgetattr(&outer.slave).unwrap();
    assert!(
        mode.local_flags.contains(nix::sys::termios::LocalFlags::ICANON),
        "the caller's terminal stays raw"
    );
    t.assert_nothing_left();
}

#[test]
fn in_the_foreground_the_interrupt_key_reaches_the_program() {
    let t = Test::new();
    let bundle = t.bundle(
        "b",
        &terminal("trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done"),
    );
    let outer = openpty(None, None).unwrap();
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(common::binary())
        .arg("--root")
        .arg(&t.root)
        .args(["run", "-b"])
        .arg(&bundle)
        .arg(t.id());
    let end = || Stdio::from(outer.slave.try_clone().unwrap());
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop(command);
    let mut pty = File::from(outer.master);
    read_until(&mut pty, "ready\r\n");
    pty.write_all(&[3]).unwrap();
    read_until(&mut pty, "interrupted\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn exec_gives_a_process_a_terminal_of_the_container_s() {
    let t = Test::new();
    let id = t.create(&t.bundle("b", &spec(&["sleep", "100"])));
    t.verb("start", &id).ok();
    let socket = t.dir.join("exec.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let exec = t
        .mote(["exec", "--tty", "--detach", "--console-socket"])
        .arg(&socket)
        .arg("--pid-file")
        .arg(t.dir.join("pid"))
        .args([&id, "sh", "-c", "tty; test -t 0 && test -t 2 && echo all; read x; echo got-$x"])
        .spawn();
    let (pty, _) = receive(&listener);
    let mut pty = File::from(pty);
    exec.wait().ok();
    let said = read_until(&mut pty, "all\r\n");
    assert!(said.starts_with("/dev/pts/"), "{said:?}");
    pty.write_all(b"hello\r").unwrap();
    read_until(&mut pty, "got-hello\r\n");
    // It is the caller's child, and its pid namespace does not end before it is reaped.
    let pid = fs::read_to_string(t.dir.join("pid")).unwrap().parse().unwrap();
    common::reap(nix::unistd::Pid::from_raw(pid));
}
