//! Terminals of containers: `tty: true`, what is logged of them, and `mote attach` to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::{read_until, spec};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A supervisor with one container, `web/a`, that runs a script, with more fields of the container.
fn running(script: &str, policy: &str, more: &Value) -> Supervisor {
    let pods = Supervisor::new();
    let mut config = spec(&["sh", "-c", script]);
    config["process"]["env"] = json!(["PATH=/bin:/usr/bin"]);
    pods.bundle("shell", &config);
    let mut container = json!({"name": "a", "image": "shell", "tty": true});
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    let spec =
        json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]});
    pods.pod("web", spec);
    pods.start();
    pods
}

/// A `mote attach` on a terminal of its own.
struct Attached {
    child: Child,
    master: File,
    slave: OwnedFd,
}

impl Attached {
    fn new(pods: &Supervisor, options: &str, rows: u16, columns: u16) -> Attached {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(common::binary())
            .args(["attach", options, "--run"])
            .arg(&pods.run)
            .arg("web/a")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let attached = Attached { child, master: File::from(pty.master), slave: pty.slave };
        let end = Instant::now() + Duration::from_secs(30);
        while attached.echoes() {
            assert!(Instant::now() < end, "the terminal is not passed through");
            std::thread::sleep(Duration::from_millis(5));
        }
        attached
    }

    /// Whether the terminal still works as for a shell.
    fn echoes(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        read_until(&mut self.master, text)
    }

    /// The other size, and the signal that a terminal's owner gets for it, who this client is not.
    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        mote::sys::terminal::set_window_size(self.master.as_fd(), &size).unwrap();
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGWINCH).unwrap();
    }

    #[track_caller]
    fn ends(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "attach does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(self.echoes(), "the terminal is left as it was used");
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended where all is well
        let _ = self.child.wait();
    }
}

/// What the log has, without the times.
fn log(pods: &Supervisor) -> Vec<String> {
    let log = pods.log("web/a");
    log.split('\n').filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

#[test]
fn a_container_with_a_terminal_has_it_in_all_places_and_in_its_log() {
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo to-stderr >&2; echo $TERM; \
                  ls -l /dev/console | cut -c1; echo x >/dev/tty; printf 'no end'; sleep 1000";
    let pods = running(script, "Never", &json!({}));
    pods.wait_log("web/a", " stdout F x\r\n");
    let want = ["/dev/pts/0", "all", "to-stderr", "xterm", "c", "x"];
    assert_eq!(log(&pods), want.map(|line| format!("stdout F {line}\r")));
    assert_eq!(pods.container("web/a")["tty"], true);
    let pid = pods.container("web/a")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    pods.wait_log("web/a", " stdout F no end\n");
    // What the bundle or the manifest calls it is kept.
    let env = json!([{"name": "TERM", "value": "vt100"}]);
    pods.bundle("term", &spec(&["sh", "-c", "echo $TERM; sleep 1000"]));
    pods.pod(
        "other",
        json!({"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "a", "image": "term", "tty": true, "env": env}]}),
    );
    pods.mote(["reload"]).run().ok();
    pods.wait_log("other/a", " stdout F vt100\r\n");
    pods.stop();
}

#[test]
fn without_tty_there_is_no_terminal_whatever_the_bundle_says() {
    let pods = Supervisor::new();
    let mut config = spec(&["sh", "-c", "tty; sleep 1000"]);
    config["process"]["terminal"] = json!(true);
    pods.bundle("shell", &config);
    let container = json!({"name": "a", "image": "shell"});
    pods.pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [container]}));
    pods.start();
    pods.wait_log("web/a", " stdout F not a tty\n");
    assert_eq!(pods.container("web/a")["tty"], Value::Null);
    pods.mote(["attach", "-t", "web/a"])
        .run()
        .fails_saying(&["web/a: has no terminal: its manifest lacks tty: true"]);
    pods.stop();
}

#[test]
fn attach_types_to_a_terminal_and_sees_what_it_shows() {
    let script = "trap 'stty size' WINCH; printf 'name? '; until read name; do :; done; echo hello $name; \
                  trap 'echo interrupted' INT; while :; do sleep 0.05; done";
    let pods = running(script, "Never", &json!({"stdin": true}));
    pods.wait("web/a", "running");
    let allocations = || pods.ps()["supervisor"]["allocations"].clone();
    let before = allocations();
    let mut first = Attached::new(&pods, "-it", 33, 77);
    first.sees("33 77\r\n");
    first.types(b"wor");
    first.sees("wor"); // the container's own echo, before there is a line
    let mut second = Attached::new(&pods, "-i", 40, 100);
    first.sees("40 100\r\n");
    second.sees("40 100\r\n");
    second.types(b"ld\r");
    first.sees("hello world\r\n");
    second.sees("hello world\r\n");
    first.resize(12, 34);
    second.sees("12 34\r\n");
    // ^C is the container's, ^P ^Q the client's.
    first.types(b"\x03");
    second.sees("interrupted\r\n");
    second.types(b"\x10\x11");
    second.ends();
    assert_eq!(allocations(), before);
    first.types(b"\x03");
    first.sees("interrupted\r\n");
    let pid = pods.container("web/a")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    first.ends();
    pods.wait("web/a", "done");
    pods.mote(["attach", "web/a"]).run().fails_saying(&["web/a: it does not run"]);
    let log = log(&pods).join("\n");
    assert!(log.contains("stdout F hello world\r\n"), "{log}");
    pods.stop();
}

#[test]
fn a_terminal_may_be_watched_alone_and_typed_to_once() {
    let script = "read line; echo got $line; read line; echo got $line; exit 4";
    let once = running(script, "Never", &json!({"stdin": true, "stdinOnce": true}));
    let watch = once.mote(["attach", "web/a"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    once.mote(["attach", "-it", "web/a"]).run().fails_saying(&["--tty: standard input is no terminal"]);
    let first = once.mote(["attach", "-i", "web/a"]).stdin("one\n").spawn();
    once.wait_log("web/a", " got one\r\n");
    once.mote(["attach", "-i", "web/a"]).run().fails_saying(&["web/a: somebody has used its standard input"]);
    kill(first.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(first.wait().ok(), "one\r\ngot one\r\n");
    // A terminal has no end of its input: who types has gone, and the container waits.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(once.container("web/a")["state"], "running");
    once.stop();
    assert_eq!(watch.wait().ok(), "one\r\ngot one\r\n");

    let none = running("sleep 1000", "Never", &json!({}));
    none.wait("web/a", "running");
    none.mote(["attach", "-i", "web/a"]).run().fails_saying(&["web/a: has no standard input"]);
    none.stop();
}

#[test]
fn each_run_has_a_terminal_of_its_own() {
    let script = "echo begin; read line; echo got $line; exit 3";
    let pods = running(script, "OnFailure", &json!({"stdin": true}));
    for run in 1..=3_usize {
        let end = Instant::now() + Duration::from_secs(30);
        while log(&pods).iter().filter(|line| *line == "stdout F begin\r").count() < run {
            assert!(Instant::now() < end, "{:?}", log(&pods));
            std::thread::sleep(Duration::from_millis(10));
        }
        let out = pods.mote(["attach", "-i", "web/a"]).stdin(format!("{run}\n")).run();
        assert_eq!(out.ok(), format!("{run}\r\ngot {run}\r\n"));
    }
    let lines = (1..=3).flat_map(|run| [format!("{run}"), format!("got {run}")]);
    let want: Vec<_> = lines.map(|line| format!("stdout F {line}\r")).collect();
    let got: Vec<_> = log(&pods).into_iter().filter(|line| !line.contains("begin")).collect();
    assert_eq!(got, want);
    pods.stop();
}

#[test]
fn a_terminal_that_is_closed_and_opened_again_is_read_on() {
    let script = "exec >/dev/null 2>&1 </dev/null; sleep 0.5; echo again >/dev/console; sleep 1000";
    let pods = running(script, "Never", &json!({}));
    pods.wait_log("web/a", " stdout F again\r\n");
    // Nobody has it open, and nobody waits in circles for that.
    let writer = writer(&pods).unwrap();
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{writer}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks() - before < 10, "the log writer is busy");
    pods.stop();
}

fn writer(pods: &Supervisor) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).ok()?;
    let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    children
        .find(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|n| n == "mote-logs\n"))
}

#[test]
fn a_writer_that_is_killed_loses_nothing_of_a_terminal() {
    let script = "n=0; while [ $n -lt 4000 ]; do echo line $n; n=$((n+1)); [ $((n % 500)) = 0 ] && sleep 0.4; done; \
                  echo end; sleep 1000";
    let pods = running(script, "Never", &json!({"stdin": true}));
    let mut attached = Attached::new(&pods, "-it", 24, 80);
    // Somebody who looks all the time: who does not may miss the end.
    let mut screen = attached.master.try_clone().unwrap();
    let seen = std::thread::spawn(move || read_until(&mut screen, "end\r\n"));
    let mut killed = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while !pods.log("web/a").contains(" stdout F end\r\n") {
        assert!(Instant::now() < end, "{}", pods.said());
        if let Some(pid) = writer(&pods).filter(|pid| !killed.contains(pid)) {
            std::thread::sleep(Duration::from_millis(150 + 70 * killed.len() as u64 % 300));
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            killed.push(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(killed.len() >= 3, "{killed:?}");
    let lines: Vec<u32> = log(&pods)
        .iter()
        .filter_map(|line| line.strip_prefix("stdout F line ")?.trim_end().parse().ok())
        .collect();
    let mut once = lines.clone();
    once.dedup();
    println!("{} writers killed, {} lines doubled", killed.len(), lines.len() - once.len());
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, (0..4000).collect::<Vec<_>>());
    // Who watches is the next writer's as well.
    let seen = seen.join().unwrap();
    assert!(seen.contains("line 3999\r\n"), "{seen}");
    attached.types(b"\x10\x11");
    attached.ends();
    pods.stop();
}

#[test]
fn who_does_not_look_holds_nobody_up() {
    let pods = running(
        "read go; yes 0123456789 | head -n 100000; echo end; sleep 1000",
        "Never",
        &json!({"stdin": true}),
    );
    let mut attached = Attached::new(&pods, "-it", 24, 80);
    let out = pods.mote(["attach", "-i", "web/a"]).stdin("go\n").spawn();
    pods.wait_log("web/a", " stdout F end\r\n");
    kill(out.pid(), Signal::SIGTERM).unwrap();
    let _ = out.wait();
    // Its window is full. Once it is looked at it says what is missing, though nothing more is printed.
    attached.sees(" bytes left out here]\r\n");
    attached.types(b"\x10\x11");
    attached.ends();
    pods.stop();
}

#[test]
fn what_a_terminal_holds_when_its_container_ends_is_logged() {
    let pods = running("read go; seq 100000 101000", "Never", &json!({"stdin": true}));
    let writer = Pid::from_raw(writer(&pods).unwrap());
    kill(writer, Signal::SIGSTOP).unwrap();
    let attach = pods.mote(["attach", "-i", "web/a"]).stdin("go\n").spawn();
    pods.wait("web/a", "done");
    kill(writer, Signal::SIGCONT).unwrap();
    pods.wait_log("web/a", " stdout F 101000\r\n");
    let want: Vec<_> = (100_000..=101_000).map(|n| format!("stdout F {n}\r")).collect();
    assert_eq!(log(&pods)[1..], want);
    let _ = attach.wait();
    pods.stop();
}
