//! A supervisor of pods for tests: `mote supervise` on manifests, bundles, logs and a run directory of its own, all below the
//! directory of a [`Test`], so that what it leaves fails the test.
//!
//! ```
//! let pods = Supervisor::new();
//! pods.bundle("shell", &spec(&["sh", "-c", "sleep 1000"]));
//! pods.pod("web", json!({"containers": [{"name": "a", "image": "shell"}]}));
//! pods.start();
//! pods.wait("web/a", "running");
//! pods.stop();
//! ```
//!
//! Dropping it ends the supervisor by SIGTERM, and what that does not end by force.

use super::{Cmd, Output, Running, Test, reap};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a state may take to come. Two busy cores are slow.
const DEADLINE: Duration = Duration::from_secs(30);

/// See the top of this file.
pub struct Supervisor {
    pub manifests: PathBuf,
    pub bundles: PathBuf,
    pub run: PathBuf,
    pub logs: PathBuf,
    pub volumes: PathBuf,
    /// More options of the supervisor.
    options: Vec<std::ffi::OsString>,
    running: RefCell<Option<Running>>,
    /// The supervisor's process, while there is one.
    pid: Cell<Option<Pid>>,
    // Last: its drop looks for what is left of all of the above.
    pub test: Test,
}

/// Adds the members of an object to another, in place of those with the same names.
#[track_caller]
pub fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { panic!("{from}") };
    into.as_object_mut().unwrap().extend(from);
}

impl Supervisor {
    /// The directories; nothing runs yet.
    #[track_caller]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Supervisor {
        let test = Test::new();
        let place = |name: &str| {
            let path = test.dir.join(name);
            fs::create_dir(&path).expect(name);
            path
        };
        let [manifests, bundles, logs, volumes] = ["manifests", "bundles", "log", "volumes"].map(place);
        let run = test.dir.join("run");
        let (running, pid) = (RefCell::new(None), Cell::new(None));
        Supervisor { manifests, bundles, run, logs, volumes, options: Vec::new(), running, pid, test }
    }

    /// With one more option of the supervisor.
    pub fn with(mut self, option: &str, value: impl AsRef<OsStr>) -> Supervisor {
        self.options.extend([option.into(), value.as_ref().into()]);
        self
    }

    /// A bundle of that name with a busybox rootfs.
    #[track_caller]
    pub fn bundle(&self, name: &str, config: &Value) -> PathBuf {
        let bundle = self.bundles.join(name);
        super::make_rootfs(&bundle.join("rootfs"));
        super::write_config(&bundle, config);
        bundle
    }

    /// Writes the pod `web` of one container `a`, which sleeps and can be killed at once.
    #[track_caller]
    pub fn sleeper(&self) {
        self.bundle("shell", &super::spec(&["sleep", "1000"]));
        let a = json!({"name": "a", "image": "shell"});
        self.pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [a]}));
    }

    /// Writes `<name>.json`: a pod of that name with this `spec`. A file that is there is replaced at once.
    #[track_caller]
    pub fn pod(&self, name: &str, spec: Value) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        self.manifest(name, &pod);
    }

    /// Writes the pod `p` of one container `c`, which runs `script` once, with what `pod` adds to the spec and `container` to the
    /// container.
    #[track_caller]
    pub fn script(&self, script: &str, pod: Value, container: Value) {
        let mut all = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0});
        let mut one = json!({"name": "c", "image": "shell", "command": ["sh", "-c", script]});
        merge(&mut one, container);
        all["containers"] = json!([one]);
        merge(&mut all, pod);
        self.pod("p", all);
    }

    /// Writes `<name>.json` as it is.
    #[track_caller]
    pub fn manifest(&self, name: &str, document: &Value) {
        let (hidden, path) =
            (self.manifests.join(format!(".{name}.new")), self.manifests.join(format!("{name}.json")));
        fs::write(&hidden, serde_json::to_vec_pretty(document).expect("manifest")).expect("manifest");
        fs::rename(hidden, path).expect("manifest");
    }

    /// Starts the supervisor and waits until it answers.
    #[track_caller]
    pub fn start(&self) {
        self.spawn();
        let end = Instant::now() + DEADLINE;
        while self.mote(["ps"]).run().status.code() != Some(0) {
            let said = || fs::read_to_string(self.test.dir.join("err.0")).unwrap_or_default();
            assert!(self.is_alive(), "the supervisor has ended: {}", said());
            assert!(Instant::now() < end, "no control socket: {}", said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the supervisor and does not wait.
    #[track_caller]
    pub fn spawn(&self) {
        let running = self.command().deadline(Duration::from_secs(600)).spawn();
        self.pid.set(Some(running.pid()));
        *self.running.borrow_mut() = Some(running);
    }

    /// The command line of the supervisor.
    pub fn command(&self) -> Cmd<'_> {
        let mut cmd = self.test.bare().arg("supervise");
        for (name, path) in [
            ("--manifests", &self.manifests),
            ("--bundles", &self.bundles),
            ("--run", &self.run),
            ("--logs", &self.logs),
            ("--volumes", &self.volumes),
        ] {
            cmd = cmd.arg(name).arg(path);
        }
        self.options.iter().fold(cmd, |cmd, option| cmd.arg(option))
    }

    /// The supervisor's process.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        self.pid.get().expect("the supervisor runs")
    }

    /// Whether the supervisor has not ended.
    pub fn is_alive(&self) -> bool {
        let stat = self.pid.get().map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
        let stat = stat.and_then(Result::ok).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    /// A command to this supervisor: the first of `args` is its name.
    pub fn mote<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd<'_> {
        let mut args = args.into_iter();
        let name = args.next().expect("a command");
        self.test.bare().arg(name).arg("--run").arg(&self.run).args(args)
    }

    /// An OCI command in the supervisor's root directory.
    pub fn oci<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd<'_> {
        self.test.bare().arg("--root").arg(&self.run).args(args)
    }

    /// What `mote ps -o json` says.
    #[track_caller]
    pub fn ps(&self) -> Value {
        let out = self.mote(["ps", "-o", "json"]).run();
        serde_json::from_str(out.ok()).unwrap_or_else(|e| panic!("ps is no JSON, {e}: {out}"))
    }

    /// What `ps` says about container `name`, which is `pod/container`.
    #[track_caller]
    pub fn container(&self, name: &str) -> Value {
        let all = self.ps();
        find(&all, name).unwrap_or_else(|| panic!("no container {name}: {all}"))
    }

    /// What `ps` says about the pod `name` itself.
    #[track_caller]
    pub fn pod_row(&self, name: &str) -> Value {
        let all = self.ps();
        let row = all["pods"].as_array().into_iter().flatten().find(|row| row["pod"] == name);
        row.unwrap_or_else(|| panic!("no pod {name}: {all}")).clone()
    }

    /// Waits until container `name` is in `state`; gives its row.
    #[track_caller]
    pub fn wait(&self, name: &str, state: &str) -> Value {
        self.wait_for(name, &|row| row["state"] == state)
    }

    /// Waits until the row of container `name` is as wished; gives the row. The test fails with what it was last.
    #[track_caller]
    pub fn wait_for(&self, name: &str, wish: &dyn Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let all = self.ps();
            match find(&all, name) {
                Some(row) if wish(&row) => return row,
                _ => {}
            }
            assert!(Instant::now() < end, "{name} is not as expected: {all}\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the log of container `name` has `text` in it; gives all of the current file.
    #[track_caller]
    pub fn wait_log(&self, name: &str, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log(name);
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < end, "the log of {name} has no {text:?}: {log}\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The log file of container `name`, without the lines that mark the end of a run.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.logs.join(name).join("0.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.split_inclusive('\n').filter(|line| !line.ends_with(" stdout F:end \n")).collect()
    }

    /// What the supervisor has logged.
    pub fn said(&self) -> String {
        let running = self.running.borrow();
        running
            .as_ref()
            .map(|running| fs::read_to_string(&running.err).unwrap_or_default())
            .unwrap_or_default()
    }

    /// Ends the supervisor with SIGTERM; asserts that it exits with 0 and leaves nothing. Gives what it did.
    #[track_caller]
    pub fn stop(&self) -> Output {
        kill(self.pid(), Signal::SIGTERM).expect("SIGTERM");
        let out = self.running.take().expect("the supervisor runs").wait();
        self.pid.set(None);
        assert_eq!(out.code(), 0, "{out}");
        let mut left: Vec<_> =
            fs::read_dir(&self.run).expect("run").flatten().map(|e| e.file_name()).collect();
        left.retain(|name| name != "supervisor.lock" && name != "logs" && name != "events");
        assert!(left.is_empty(), "left in the run directory: {left:?}\n{out}");
        out
    }

    /// Kills the supervisor, and nothing else.
    #[track_caller]
    pub fn crash(&self) {
        kill(self.pid(), Signal::SIGKILL).expect("SIGKILL");
        let _ = self.running.take().expect("the supervisor runs").wait();
        self.pid.set(None);
    }

    /// Best effort: what runs is ended, one way or the other.
    fn end(&self) {
        if let Some(running) = self.running.take() {
            let _ = kill(running.pid(), Signal::SIGTERM);
            let end = Instant::now() + DEADLINE;
            while self.is_alive() && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = kill(running.pid(), Signal::SIGKILL);
            let said = fs::read_to_string(&running.err).unwrap_or_default();
            reap(running.pid());
            if thread::panicking() {
                let _ = writeln!(std::io::stderr(), "the supervisor said:\n{said}");
            }
        }
        // Of a supervisor that was killed.
        for entry in fs::read_dir(&self.run).into_iter().flatten().flatten() {
            if entry.path().join("state.json").exists() {
                let id = entry.file_name();
                let pid = fs::read_to_string(entry.path().join("state.json")).unwrap_or_default();
                let pid = serde_json::from_str::<Value>(&pid).ok().and_then(|state| state["pid"].as_i64());
                let _ = self.oci([OsStr::new("delete"), OsStr::new("--force"), &id]).run();
                if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
                    reap(Pid::from_raw(pid));
                }
            }
        }
        for kind in ["netns", "ipcns", "utsns"] {
            let dir = self.run.join(kind);
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                unmount(&entry.path());
            }
            unmount(&dir);
        }
        let name = self.run.to_string_lossy().trim_matches('/').replace('/', "=");
        remove_groups(Path::new("/sys/fs/cgroup"), &format!("mote={name}"));
    }
}

fn find(all: &Value, name: &str) -> Option<Value> {
    let is = |row: &&Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        format!("{}/{}", text("pod"), text("container")) == name
    };
    all["containers"].as_array()?.iter().find(is).cloned()
}

fn unmount(path: &Path) {
    use nix::mount::{MntFlags, umount2};
    while umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
}

/// Removes the empty cgroups called `name`, wherever they are, and what is in them.
fn remove_groups(dir: &Path, name: &str) {
    fn remove(dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(dir);
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if entry.file_name() == name {
                remove(&entry.path());
            } else {
                remove_groups(&entry.path(), name);
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks over the socket, without a process of its own; the packets, and how long it took.
pub fn ask(pods: &Supervisor) -> (Vec<Value>, Duration) {
    let begin = Instant::now();
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(fd.as_raw_fd(), &UnixAddr::new(&pods.run.join("control.sock")).unwrap()).unwrap();
    send(fd.as_raw_fd(), br#"{"version":1,"request":"ps"}"#, MsgFlags::empty()).unwrap();
    let mut packets = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let length = recv(fd.as_raw_fd(), &mut bytes, MsgFlags::empty()).unwrap();
        let packet: Value = serde_json::from_slice(&bytes[..length]).expect("a packet is JSON");
        if packet["end"] == true {
            return (packets, begin.elapsed());
        }
        packets.push(packet);
    }
}
