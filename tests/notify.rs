//! sd_notify(3): a program says that it is ready, and the service manager of the command that started it is told.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Cmd, Running, Test, spec};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program in the container that sends messages; see send.c.
fn sender() -> &'static Path {
    static SENDER: OnceLock<PathBuf> = OnceLock::new();
    SENDER.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notify-send");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notify/send.c");
        let made = Command::new("cc").args(["-O1", "-static", "-o"]).arg(&path).arg(source).status();
        assert!(made.expect("cc").success(), "send.c");
        path
    })
}

/// A service manager that reads when it is asked.
struct Manager {
    socket: UnixDatagram,
    variable: String,
}

impl Manager {
    fn new(t: &Test) -> Self {
        let path = t.dir.join("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, variable: format!("NOTIFY_SOCKET={}", path.display()) }
    }

    fn tells<'t>(&self, command: Cmd<'t>) -> Cmd<'t> {
        command.under(["env", &self.variable])
    }

    /// The next message, if one comes in that time. Its descriptors are closed with it.
    fn read(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 8192];
        match self.socket.recv(&mut bytes) {
            Ok(len) => Some(String::from_utf8_lossy(&bytes[..len]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads until nothing more comes or a message was `last`: all lines.
    fn lines(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(message) = self.read(Duration::from_secs(10)) {
            lines.extend(message.lines().map(str::to_owned));
            if message.contains(last) {
                break;
            }
        }
        lines
    }

    /// Reads all that a manager is told of a program that is ready: which main process is it?
    #[track_caller]
    fn hears_of(&self) -> i32 {
        let lines = self.lines("MAINPID");
        // Where the command asks for that (runc since 1.2) the last word is a barrier.
        let last = if common::is_mote() { self.lines("BARRIER") } else { vec!["BARRIER=1".to_owned()] };
        match (&lines[..], &last[..]) {
            ([ready, main], [barrier]) if ready == "READY=1" && barrier == "BARRIER=1" => {
                main.strip_prefix("MAINPID=").unwrap().parse().unwrap()
            }
            _ => panic!("{lines:?} {last:?}"),
        }
    }

    #[track_caller]
    fn hears_nothing(&self) {
        assert_eq!(self.read(Duration::from_millis(100)), None);
    }
}

/// A config that runs a script, which waits for the file `/mnt/go` with the function `go` and speaks with `/bin/send`.
fn script(text: &str) -> Value {
    let mut config =
        spec(&["sh", "-c", &format!("go() {{ until [ -e /mnt/go ]; do sleep 0.01; done; }}; {text}")]);
    common::add_mount(&mut config, "/bin/send", "bind", sender().to_str().unwrap(), &["bind", "ro"]);
    config
}

fn go(bundle: &Path) {
    std::fs::write(bundle.join("rootfs/mnt/go"), "").unwrap();
}

#[track_caller]
fn waits(command: &Running) {
    std::thread::sleep(Duration::from_millis(150));
    let status = std::fs::read_to_string(format!("/proc/{}/stat", command.pid())).unwrap_or_default();
    assert!(!status.is_empty() && !status.contains(") Z "), "does not wait: {status}");
}

/// A container that was created for the manager, and `start` of it.
fn started<'t>(t: &'t Test, manager: &Manager, config: &Value) -> (String, PathBuf, Cmd<'t>) {
    let bundle = t.bundle("bundle", config);
    let id = t.id();
    manager.tells(t.mote(["create", "--bundle"]).arg(&bundle).arg(&id)).run().ok();
    let start = manager.tells(t.mote(["start", &id]));
    (id, bundle, start)
}

#[test]
fn start_waits_until_the_program_is_ready_and_tells_the_manager() {
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, bundle, start) = started(&t, &manager, &script("go; send READY=1; exec sleep 100"));
    let start = start.spawn();
    waits(&start);
    manager.hears_nothing();
    assert_eq!(t.status(&id), "running");
    go(&bundle);
    let pid = t.pid(&id);
    assert_eq!(manager.lines("MAINPID"), ["READY=1".to_owned(), format!("MAINPID={pid}")]);
    // Where it asks for that (runc since 1.2) it is not over before the manager has read all: who has sent it, it finds out
    // from the process.
    if common::is_mote() {
        waits(&start);
        assert_eq!(manager.lines("BARRIER"), ["BARRIER=1"]);
    }
    start.wait().ok();
    manager.hears_nothing();
}

#[test]
fn run_in_the_background_waits_too() {
    let t = Test::new();
    let manager = Manager::new(&t);
    let bundle = t.bundle("bundle", &script("go; send READY=1; exec sleep 100"));
    let id = t.id();
    let run = manager.tells(t.mote(["run", "--detach", "--bundle"]).arg(&bundle).arg(&id)).spawn();
    waits(&run);
    manager.hears_nothing();
    go(&bundle);
    assert_eq!(manager.hears_of(), t.pid(&id).as_raw());
    run.wait().ok();
}

#[test]
fn in_the_foreground_the_main_process_is_the_command() {
    mote_only!("runc passes no signal on and no output before the program is ready, and hangs when it ends");
    let t = Test::new();
    let manager = Manager::new(&t);
    let bundle = t.bundle(
        "bundle",
        &script(
            "trap 'exit 7' USR1; send READY=1; echo said; go; while send X=1; do sleep 0.1; done; exit 6",
        ),
    );
    let id = t.id();
    let run = manager.tells(t.mote(["run", "--bundle"]).arg(&bundle).arg(&id)).spawn();
    let pid = run.pid();
    assert_eq!(manager.lines("MAINPID"), ["READY=1".to_owned(), format!("MAINPID={pid}")]);
    go(&bundle);
    // Soon nobody listens any more, so it is refused where it would otherwise wait for ever.
    assert_eq!(run.wait().code(), 6);
    manager.hears_nothing();
}

#[test]
fn a_program_that_ends_without_a_word_ends_the_wait() {
    mote_only!("runc waits until the program was reaped, by its caller");
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, bundle, start) = started(&t, &manager, &script("go; exit 3"));
    let pid = t.pid(&id);
    let start = start.spawn();
    waits(&start);
    go(&bundle);
    start.wait().ok();
    manager.hears_nothing();
    common::reap(pid);
}

#[test]
fn a_program_that_ends_at_once_after_its_word_was_ready() {
    mote_only!("runc looks for the program before it looks for its word");
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, _, start) = started(&t, &manager, &script("send STATUS=a STATUS=b READY=1"));
    let pid = t.pid(&id);
    let start = start.spawn();
    assert_eq!(manager.lines("BARRIER")[0], "READY=1");
    start.wait().ok();
    t.wait_status(&id, "stopped");
    common::reap(pid);
}

#[test]
fn delete_ends_the_wait() {
    mote_only!("as above");
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, _, start) = started(&t, &manager, &script("exec sleep 100"));
    let start = start.spawn();
    t.wait_status(&id, "running");
    waits(&start);
    let pid = t.pid(&id);
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    common::reap(pid);
    t.verb("delete", &id).ok();
    start.wait().ok();
    manager.hears_nothing();
    t.assert_gone(&id);
}

#[test]
fn the_manager_hears_what_mote_says_and_not_what_the_program_says() {
    mote_only!("runc passes the line on as it is");
    let t = Test::new();
    let manager = Manager::new(&t);
    let text = r#"send XREADY=1 READY=10 READY= 'READY=1 ' STATUS=x fds '' @5000 @65000; send fds; go
        send "$(printf 'STATUS=evil\nREADY=1\nMAINPID=1\nFDSTORE=1')"; exec sleep 100"#;
    let (id, bundle, start) = started(&t, &manager, &script(text));
    let start = start.spawn();
    waits(&start);
    manager.hears_nothing();
    let fds = std::fs::read_dir(format!("/proc/{}/fd", start.pid())).unwrap().count();
    assert!(fds < 12, "{fds} descriptors, so those of the messages were taken");
    go(&bundle);
    let pid = t.pid(&id);
    assert_eq!(
        manager.lines("BARRIER"),
        ["READY=1".to_owned(), format!("MAINPID={pid}"), "BARRIER=1".to_owned()]
    );
    start.wait().ok();
}

#[test]
fn a_flood_of_messages_holds_up_itself() {
    mote_only!("runc reads as fast as it can");
    let t = Test::new();
    let manager = Manager::new(&t);
    let text = "go; i=0; while [ $i -lt 40 ]; do send 1 2 3 4 5 6 7 8 9 10; i=$((i + 1)); done; send READY=1; exec sleep 100";
    let (_, bundle, start) = started(&t, &manager, &script(text));
    let start = start.spawn();
    let began = Instant::now();
    go(&bundle);
    assert_eq!(manager.lines("BARRIER").len(), 3);
    start.wait().ok();
    assert!(began.elapsed() > Duration::from_millis(390), "{:?}", began.elapsed());
}

#[test]
fn a_process_of_another_pid_namespace_cannot_speak_for_the_container() {
    mote_only!("runc asks nobody who it is");
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, bundle, start) = started(&t, &manager, &script("go; send READY=1; exec sleep 100"));
    let start = start.spawn();
    t.wait_status(&id, "running");
    waits(&start);
    let socket = format!("/proc/{}/root/run/notify/notify.sock", t.pid(&id));
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", socket).unwrap();
    waits(&start);
    manager.hears_nothing();
    go(&bundle);
    assert_eq!(manager.lines("BARRIER")[0], "READY=1");
    start.wait().ok();
}

#[test]
fn other_users_and_those_of_a_user_namespace_can_speak() {
    let t = Test::new();
    let manager = Manager::new(&t);
    for n in 0..2 {
        let mut config = script("send READY=1; exec sleep 100");
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        if n == 1 {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            for kind in ["uidMappings", "gidMappings"] {
                config["linux"][kind] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            }
        }
        let bundle = t.bundle(&format!("bundle.{n}"), &config);
        let owner = format!("{}", n * 100_000);
        assert!(Command::new("chown").args(["-R", &owner]).arg(&bundle).status().unwrap().success());
        let id = t.id();
        let run = manager.tells(t.mote(["run", "--detach", "--bundle"]).arg(&bundle).arg(&id)).spawn();
        assert_eq!(manager.hears_of(), t.pid(&id).as_raw());
        run.wait().ok();
    }
}

#[test]
fn the_program_gets_one_socket_that_it_cannot_replace() {
    mote_only!("runc binds a directory");
    let t = Test::new();
    let manager = Manager::new(&t);
    let text = "stat -c %F:%a $NOTIFY_SOCKET; rm /run/notify/notify.sock 2>&1 | grep -c busy; ls /run/notify
        grep notify.sock /proc/self/mountinfo | cut -d' ' -f6; env | grep -c NOTIFY; echo $NOTIFY_SOCKET";
    let mut config = script(text);
    config["process"]["env"].as_array_mut().unwrap().push(json!("NOTIFY_SOCKET=/nowhere"));
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("bundle", &config);
    let id = t.id();
    let out = manager.tells(t.mote(["run", "--bundle"]).arg(&bundle).arg(&id)).run();
    let said = "socket:777\n1\nnotify.sock\nro,nosuid,nodev,noexec,relatime\n1\n/run/notify/notify.sock\n";
    assert_eq!(out.ok(), said);
}

#[test]
fn without_the_variable_there_is_no_socket() {
    let t = Test::new();
    assert_eq!(
        t.sh("ls /run/notify 2>&1 | wc -l; env | grep -c NOTIFY; ls -d /run/notify 2>&1; true", |_| ())
            .lines()
            .nth(1),
        Some("0")
    );
    let t = Test::new();
    let manager = Manager::new(&t);
    // Of `create` alone: nobody waits.
    let bundle = t.bundle("bundle", &script("send READY=1; exec sleep 100"));
    let id = t.id();
    manager.tells(t.mote(["create", "--bundle"]).arg(&bundle).arg(&id)).run().ok();
    t.verb("start", &id).ok();
    manager.hears_nothing();
    // An empty one counts as none.
    let id = t.id();
    t.mote(["run", "--detach", "--bundle"]).arg(&bundle).arg(&id).under(["env", "NOTIFY_SOCKET="]).run().ok();
}

#[test]
fn of_start_alone_it_changes_nothing() {
    mote_only!("runc fails, as it finds no directory for the socket");
    let t = Test::new();
    let manager = Manager::new(&t);
    let id = t.create(&t.bundle("bundle", &script("exec sleep 100")));
    manager.tells(t.mote(["start", &id])).run().ok();
    manager.hears_nothing();
}

#[test]
fn a_manager_with_an_abstract_name_is_told() {
    let t = Test::new();
    let name = format!("mote-test-{}", t.dir.file_name().unwrap().to_str().unwrap());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager {
        socket: UnixDatagram::bind_addr(&address).unwrap(),
        variable: format!("NOTIFY_SOCKET=@{name}"),
    };
    let (id, _, start) = started(&t, &manager, &script("send READY=1; exec sleep 100"));
    let start = start.spawn();
    assert_eq!(manager.hears_of(), t.pid(&id).as_raw());
    start.wait().ok();
}

#[test]
fn a_manager_that_is_not_there_is_an_error_before_anything_starts() {
    mote_only!("runc starts the program first");
    let t = Test::new();
    let manager = Manager::new(&t);
    let (id, _, start) = started(&t, &manager, &script("exec sleep 100"));
    drop(manager);
    start.run().fails_saying(&["NOTIFY_SOCKET", "manager.sock", "onnection refused"]);
    assert_eq!(t.status(&id), "created");
    let bundle = t.dir.join("bundle");
    for wrong in ["relative/path", "vsock:2:1234", "/nowhere/at/all"] {
        let run = t.mote(["run", "--detach", "--bundle"]).arg(&bundle).arg("none");
        run.under(["env", &format!("NOTIFY_SOCKET={wrong}")]).run().fails_saying(&["NOTIFY_SOCKET"]);
    }
}
