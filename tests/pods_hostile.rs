//! Hostile clients of the control socket, and names and output that would play with a terminal. The supervisor has to go on
//! answering, in the same memory and with the same descriptors; shared/attacks.md, the rows of the socket and of injection.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::{Output, spec};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, sendmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::json;
use std::fs;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const PS: &[u8] = br#"{"version":1,"request":"ps"}"#;

/// A supervisor with one container that runs.
fn supervisor() -> Supervisor {
    let pods = Supervisor::new();
    pods.sleeper();
    pods.start();
    pods.wait("web/a", "running");
    pods
}

/// A connection; sending and receiving give up after some seconds.
fn client(pods: &Supervisor) -> nix::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(10)).unwrap();
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(10)).unwrap();
    let address = UnixAddr::new(&pods.run.join("control.sock")).unwrap();
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Err(Errno::EINTR) => {} // signal(7): not restarted on a socket that has a timeout
            result => return result.map(|()| fd),
        }
    }
}

/// Everything that comes until the supervisor hangs up.
fn answer(fd: &OwnedFd) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while let Ok(length @ 1..) = recv(fd.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
        text += std::str::from_utf8(&bytes[..length]).unwrap();
        text.push('\n');
    }
    text
}

fn ask(pods: &Supervisor, packet: &[u8]) -> String {
    let fd = client(pods).unwrap();
    // It may have been turned away already.
    let _ = send(fd.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL);
    answer(&fd)
}

/// Open descriptors and resident memory of the supervisor.
fn size(pods: &Supervisor) -> (usize, u64) {
    let proc = format!("/proc/{}", pods.pid());
    let rollup = fs::read_to_string(format!("{proc}/smaps_rollup")).unwrap();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    let kib = kib.trim().trim_end_matches(" kB").parse().unwrap();
    (fs::read_dir(format!("{proc}/fd")).unwrap().count(), kib)
}

/// Does something to a supervisor; then it must answer, and have what it had before, by and by.
#[track_caller]
fn survives(pods: &Supervisor, what: &str, act: impl FnOnce()) {
    // What it has after it has been asked once.
    ask(pods, PS);
    let before = size(pods);
    act();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let out = pods.mote(["ps"]).run();
        let after = size(pods);
        if out.status.success() && after.0 <= before.0 && after.1 <= before.1 {
            assert!(out.stdout.contains("running"), "{what}: {out}");
            break;
        }
        assert!(Instant::now() < end, "{what}: {before:?} has become {after:?}: {out}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // A line of its log is one that a supervisor which is not PID 1 allocates.
    let all = pods.ps();
    assert!(all["supervisor"]["allocations"] == 0 || pods.said().contains("turned away"), "{what}: {all}");
}

#[test]
fn packets_that_are_no_questions_get_an_error_and_nothing_else() {
    let pods = supervisor();
    survives(&pods, "packets", || {
        let long = [PS, " ".repeat(2000).as_bytes()].concat();
        let deep = [b"{\"version\":1,\"request\":".as_slice(), "[".repeat(900).as_bytes()].concat();
        for packet in [
            b"{".as_slice(),
            br#"{"version":1,"requ"#,
            br#"{"version":2,"request":"ps"}"#,
            br#"{"version":1,"request":"\u0070s"}"#,
            br#"{"version":1,"request":"ps\x1b"}"#,
            b"\xff\xfe",
            b"\0\0\0\0",
            &long,
            &deep,
        ] {
            let said = ask(&pods, packet);
            assert!(said.starts_with("{\"error\":\"") && said.lines().count() == 1, "{packet:?}: {said}");
        }
        // Nothing at all, and the half of it.
        drop(client(&pods).unwrap());
        assert_eq!(ask(&pods, b""), "");
        // More than the socket's buffers take, which the kernel refuses to send.
        let fd = client(&pods).unwrap();
        let huge = vec![b'x'; 8 << 20];
        assert_eq!(send(fd.as_raw_fd(), &huge, MsgFlags::MSG_NOSIGNAL), Err(Errno::EMSGSIZE));
        let large = vec![b' '; 100 << 10];
        assert!(ask(&pods, &large).contains("error"));
    });
    pods.stop();
}

#[test]
fn clients_that_do_not_read_or_do_not_ask_lose_their_place() {
    let pods = supervisor();
    survives(&pods, "idle", || {
        for _ in 0..4 {
            // Question after question, and nobody waits for an answer to any of them.
            let fd = client(&pods).unwrap();
            while send(fd.as_raw_fd(), PS, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok() {}
        }
        let idle: Vec<_> = (0..12).map(|_| client(&pods).unwrap()).collect();
        let begin = Instant::now();
        let mut refused = 0;
        loop {
            let out = pods.mote(["ps"]).run();
            if out.status.success() {
                break;
            }
            out.fails_saying(&["too many clients"]);
            refused += 1;

            assert!(begin.elapsed() < Duration::from_secs(15), "no place becomes free");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(refused > 0, "there was a place left: this shows nothing");
        drop(idle);
    });
    pods.stop();
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let pods = supervisor();
    survives(&pods, "a thousand", || {
        let mut kept = Vec::new();
        for n in 0..1000 {
            let fd = client(&pods).unwrap();
            match n % 4 {
                0 => drop(fd),
                1 => drop(send(fd.as_raw_fd(), PS, MsgFlags::MSG_NOSIGNAL)),
                2 => drop(send(fd.as_raw_fd(), b"{", MsgFlags::MSG_NOSIGNAL)),
                _ => kept.push(fd),
            }
            if kept.len() > 100 {
                kept.clear();
            }
        }
    });
    pods.stop();
}

#[test]
fn descriptors_that_are_sent_along_are_not_kept() {
    let pods = supervisor();
    let (theirs, _ours) = nix::unistd::pipe().unwrap();
    let many = [theirs.as_raw_fd(); 100];
    survives(&pods, "descriptors", || {
        for packet in [PS, b"{".as_slice()] {
            for _ in 0..50 {
                let fd = client(&pods).unwrap();
                let (part, rights) = ([IoSlice::new(packet)], [ControlMessage::ScmRights(&many)]);
                let sent = sendmsg::<()>(fd.as_raw_fd(), &part, &rights, MsgFlags::MSG_NOSIGNAL, None);
                assert!(matches!(sent, Ok(_) | Err(Errno::EPIPE)), "{sent:?}");
                answer(&fd);
            }
        }
    });
    pods.stop();
}

#[test]
fn only_root_of_the_same_pid_namespace_is_answered() {
    let pods = supervisor();
    // As if the way there were open to all.
    for (path, mode) in [(&pods.test.dir, 0o755), (&pods.run, 0o755), (&pods.run.join("control.sock"), 0o666)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let before = pods.said().matches("turned away").count();
    survives(&pods, "others", || {
        let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"].as_slice();
        let inside = ["unshare", "--pid", "--fork", "--mount-proc"].as_slice();
        for wrapper in [user, inside] {
            for _ in 0..20 {
                let out = pods.mote(["ps"]).under(wrapper).run();
                assert!(out.code() != 0 && out.stdout.is_empty(), "{out}");
                let out = pods.mote(["pod", "stop", "web"]).under(wrapper).run();
                assert!(out.code() != 0 && out.stdout.is_empty(), "{out}");
            }
        }
    });
    assert_eq!(pods.container("web/a")["state"], "running");
    let said = pods.said().matches("turned away").count() - before;
    assert!((1..=4).contains(&said), "{said} lines about 80 of them");
    pods.stop();
}

/// A pod that asks the supervisor again and again, as root, from where it can see all of the host: `said` is what came of it.
fn asking(pods: &Supervisor, name: &str, control: &str, host_pid: bool) {
    let ask = format!(
        "while :; do chroot /host {} ps --run {} 2>&1 | grep -q ^supervisor: && echo answered || echo refused; sleep 0.1; done",
        common::binary().display(),
        pods.run.display()
    );
    let a = json!({"name": "a", "image": "shell", "command": ["sh", "-c", ask],
        "securityContext": {"capabilities": {"add": ["SYS_CHROOT"]}},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}]});
    pods.manifest(
        name,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {"mote/control": control}},
        "spec": {"terminationGracePeriodSeconds": 0, "hostPID": host_pid, "containers": [a],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}),
    );
}

#[test]
fn a_container_is_answered_where_its_manifest_says_so_and_nowhere_else() {
    let pods = supervisor();
    asking(&pods, "evil", "false", true);
    asking(&pods, "apart", "false", false);
    asking(&pods, "admin", "true", false);
    asking(&pods, "all", "true", true);
    for (name, expected) in
        [("evil", "refused"), ("apart", "refused"), ("admin", "answered"), ("all", "answered")]
    {
        let container = format!("{name}/a");
        pods.wait(&container, "running");
        pods.wait_log(&container, expected);
    }
    // By `mote exec` it is in the container just the same, and mounts of one's own alone do not matter.
    let ps = [common::binary().to_str().unwrap(), "ps", "--run", pods.run.to_str().unwrap()];
    let inside = ["exec", "evil/a", "--", "chroot", "/host"].into_iter().chain(ps);
    let out = pods.mote(inside).run();
    assert!(out.code() != 0 && !out.stdout.contains("supervisor:"), "{out}");
    pods.mote(["ps"]).under(["unshare", "--mount"]).run().ok();
    // What its manifest says holds from its next life on.
    asking(&pods, "evil", "true", true);
    pods.wait_log("evil/a", "answered");
    asking(&pods, "all", "false", true);
    let end = Instant::now() + Duration::from_secs(30);
    while !pods.log("all/a").ends_with(" refused\n") {
        assert!(Instant::now() < end, "{}", pods.log("all/a"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let of = |name: &str| (pods.log(&format!("{name}/a")), format!(" of pod {name} turned away"));
    for (name, never) in [("apart", " answered"), ("admin", " refused")] {
        assert!(!of(name).0.contains(never), "{name}: {}", of(name).0);
    }
    assert!(pods.said().contains(&of("evil").1) || pods.said().contains(&of("apart").1), "{}", pods.said());
    pods.stop();
}

/// Nothing in it moves a cursor or changes a colour.
#[track_caller]
fn is_plain(out: &Output) {
    for text in [&out.stdout, &out.stderr] {
        let hostile = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(hostile, None, "{out}");
    }
}

const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}31m\u{8}";

#[test]
fn names_and_reasons_do_not_reach_a_terminal_as_they_are() {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sleep", "1000"]));
    let mut config = spec(&[ESCAPES]);
    config["process"]["cwd"] = json!(format!("/{ESCAPES}"));
    pods.bundle("bad", &config);
    pods.pod(
        "web",
        json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "image": "shell"}]}),
    );
    pods.pod("missing", json!({"containers": [{"name": "b", "image": "bad"}], "restartPolicy": "Never"}));
    pods.pod("wrong", json!({"containers": [{"name": "c", "image": format!("shell{ESCAPES}")}]}));
    pods.pod("names", json!({"containers": [{"name": format!("d{ESCAPES}"), "image": "shell"}]}));
    pods.pod(
        "field",
        json!({(format!("x{ESCAPES}")): {"a": 1}, "containers": [{"name": "e", "image": "shell"}]}),
    );
    pods.manifest(&format!("file{ESCAPES}"), &json!({"kind": ESCAPES}));
    pods.bundle(
        "word",
        &spec(&["sh", "-c", &format!("printf '{ESCAPES}the last word' >/dev/termination-log; exit 1")]),
    );
    pods.pod(
        "word",
        json!({"restartPolicy": "Never", "containers":
            [{"name": "w", "image": "word", "terminationMessagePath": "/dev/termination-log"}]}),
    );
    pods.start();
    pods.wait("web/a", "running");
    pods.wait_for("missing/b", &|row| row["reason"].is_string());
    pods.wait("word/w", "done");
    let out = pods.mote(["pod", "describe", "word"]).run();
    assert!(out.ok().contains("the last word"), "{out}");
    let out = pods.mote(["ps"]).run();
    out.ok();
    is_plain(&out);
    for told in ["missing", "wrong", "names", "field", "file"] {
        assert!(out.stdout.contains(told), "{told}: {out}");
    }
    for args in [
        vec!["pod", "ls"],
        vec!["pod", "describe", "missing"],
        vec!["pod", "describe", ESCAPES],
        vec!["ps", ESCAPES],
        vec!["pod", "describe", "word", "missing"],
        vec!["pod", "describe", "-o", "json", "word", "missing"],
        vec!["pod", "ls", "-o", "json"],
        vec!["ps", "-q"],
        vec!["ps", "-o", "wide"],
        vec!["ps", "-o", "json"],
        vec!["events"],
        vec!["events", "-o", "json"],
        vec!["stats"],
        vec!["stats", "-o", "json"],
        vec!["top", "-n", "1", "--interval", "10ms"],
        vec!["stats", ESCAPES],
        vec!["logs", ESCAPES],
        vec!["pod", "stop", ESCAPES],
        vec![ESCAPES],
    ] {
        is_plain(&pods.mote(&args).run());
    }
    // What the supervisor says itself goes to a terminal as well.
    let said = pods.said();
    assert_eq!(said.chars().find(|c| c.is_control() && *c != '\n'), None, "{said:?}");
    pods.stop();
}

#[test]
fn what_a_container_calls_itself_does_not_reach_a_terminal_as_it_is() {
    let t = common::Test::new();
    // A process with such arguments and such a name; a bundle whose path is one.
    let script = format!("printf '{ESCAPES}' >/proc/self/comm; sleep 1000 & wait");
    let mut config = spec(&["sh", "-c", &script, ESCAPES]);
    config["root"]["readonly"] = json!(false);
    config["annotations"] = json!({"a": ESCAPES});
    let bundle = t.bundle(&format!("b{ESCAPES}"), &config);
    let id = t.id();
    t.mote(["run", "--detach", "--bundle"]).arg(&bundle).arg(&id).run().ok();
    for args in [
        vec!["list"],
        vec!["ps", &id],
        vec!["state", &id],
        vec!["list", "-f", "json"],
        vec!["state", ESCAPES],
    ] {
        let out = t.mote(&args).run();
        assert!(
            args[0] == "state" || out.stdout.contains(if args[0] == "ps" { "sleep" } else { &id }),
            "{out}"
        );
        is_plain(&out);
    }
    is_plain(&t.mote(["create", "--bundle"]).arg(t.dir.join(ESCAPES)).arg(t.id()).run());
    is_plain(&t.mote([format!("--{ESCAPES}")]).run());
    // A foreign directory in the root of all states.
    fs::create_dir(t.root.join(ESCAPES)).unwrap();
    is_plain(&t.mote(["list"]).run());
    fs::remove_dir(t.root.join(ESCAPES)).unwrap();
}
