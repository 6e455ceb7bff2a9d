//! The harness of the black-box tests: it runs the binary under test on bundles of its own and checks that nothing stays.
//!
//! The binary is `$MOTE_BIN`, by default `target/dist/mote`. Any runtime with runc's command line will do: what only mote
//! promises begins with `mote_only!`, which prints why the rest was not run. Everything needs root and busybox-static.
//!
//! Each [`Test`] has a directory of its own below `/tmp` with the bundles, the state root and the output of commands in it;
//! every path and container id is unique, so tests run in parallel. Dropping a `Test` deletes its containers and then
//! fails the test if a process, a mount, a cgroup or a file of the state root is left.
//!
//! The test process makes itself a child subreaper, as containerd's shim and conmon do: the init of a detached container
//! becomes its child and stays a zombie until the test reaps it.

// Each test file compiles its own copy and uses a part of it; a test may panic, that is how it fails.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod pods;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long one command may take. Two busy cores are slow; a hang is for ever.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the kernel may take to tear down what a dead container held.
const SETTLE: Duration = Duration::from_secs(5);
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "echo", "env", "false",
    "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nproc",
    "od", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq", "sh", "sleep", "sort", "stat", "stty",
    "sync", "tail", "test", "touch", "tr", "true", "tty", "umount", "uname", "wc", "xargs", "yes",
];

/// The binary under test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = std::env::var_os("MOTE_BIN")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist/mote"), PathBuf::from);
        assert!(path.is_file(), "{} is missing: run `make`, or set MOTE_BIN", path.display());
        assert!(nix::unistd::geteuid().is_root(), "the black-box tests must run as root");
        nix::sys::prctl::set_child_subreaper(true).expect("set_child_subreaper");
        path.canonicalize().expect("canonicalize MOTE_BIN")
    })
}

/// The program that hides system calls from another one.
fn without() -> &'static Path {
    static WITHOUT: OnceLock<PathBuf> = OnceLock::new();
    WITHOUT.get_or_init(|| {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("without.{}", env!("CARGO_CRATE_NAME")));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fallbacks/without.c");
        let made = Command::new("cc").args(["-O1", "-o"]).arg(&path).arg(source).status();
        assert!(made.expect("cc").success(), "without.c");
        path
    })
}

/// Runs all tests of this file once more, each command of the binary under test without these system calls.
#[track_caller]
pub fn again_without(calls: &str) {
    let name = thread::current().name().expect("the name of the test").to_owned();
    let own = std::env::current_exe().expect("current_exe");
    let again = Command::new(own).args(["--skip", &name]).env(WITHOUT, calls).output().expect("again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(again.status.success(), "without {calls}: {}{}", text(&again.stdout), text(&again.stderr));
}

/// The calls that all commands of a test process have to do without, if any.
const WITHOUT: &str = "MOTE_WITHOUT";

/// Whether the binary under test says it is mote.
pub fn is_mote() -> bool {
    static IS_MOTE: OnceLock<bool> = OnceLock::new();
    *IS_MOTE.get_or_init(|| {
        let out = Command::new(binary()).arg("--version").output().expect("--version");
        out.stdout.starts_with(b"mote ")
    })
}

/// Ends the test here, saying why, unless the binary under test is mote: the rest asserts more than runc promises.
#[macro_export]
macro_rules! mote_only {
    ($why:literal) => {
        if !$crate::common::is_mote() {
            $crate::common::skipped(concat!("only mote promises this: ", $why));
            return;
        }
    };
}

/// Prints a reason past the capture of the test harness, so that a skipped test is always seen.
pub fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped {name}: {why}");
}

/// A count for a soak test: `$name`, or `default`.
pub fn count_from_env(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}

/// A config that differs from what `runc spec` writes in two points only: no terminal, and `args`.
pub fn spec(args: &[&str]) -> Value {
    let mut config: Value = serde_json::from_str(include_str!("spec.json")).expect("spec.json");
    config["process"]["args"] = json!(args);
    config
}

/// Takes a namespace out of a config.
pub fn without_namespace(config: &mut Value, kind: &str) {
    let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    all.retain(|n| n["type"] != kind);
}

/// Adds a mount after the ones of the config.
pub fn add_mount(config: &mut Value, destination: &str, kind: &str, source: &str, options: &[&str]) {
    let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
    config["mounts"].as_array_mut().expect("mounts").push(mount);
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

impl Output {
    /// The exit code; the test fails when a signal ended the command.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed by signal {:?}: {self}", self.status.signal()))
    }

    /// Asserts exit code 0 and gives stdout.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code(), 0, "{self}");
        &self.stdout
    }

    /// Asserts exit code 1, exactly one line on stderr (mote) or at least something (others), and gives stderr.
    #[track_caller]
    pub fn fails(&self) -> &str {
        assert_eq!(self.code(), 1, "{self}");
        assert!(!self.stderr.trim().is_empty(), "fails without a word: {self}");
        if is_mote() {
            assert_eq!(self.stderr.matches('\n').count(), 1, "not exactly one line on stderr: {self}");
            assert!(self.stderr.ends_with('\n'), "the line has no end: {self}");
            let hostile = self.stderr.trim_end_matches('\n').chars().find(|c| c.is_control());
            assert_eq!(hostile, None, "a control character reaches the terminal: {self}");
        }
        &self.stderr
    }

    /// As [`Output::fails`], and stderr has all of `words`.
    #[track_caller]
    pub fn fails_saying(&self, words: &[&str]) -> &str {
        let line = self.fails();
        for word in words {
            assert!(line.contains(word), "stderr does not say {word:?}: {self}");
        }
        line
    }

    /// Asserts this exit code, and that stderr has all of `words`.
    #[track_caller]
    pub fn fails_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code(), code, "{self}");
        for word in words {
            assert!(self.stderr.contains(word), "stderr does not say {word:?}: {self}");
        }
    }

    /// As [`Output::fails`], and stderr has one of `words`.
    #[track_caller]
    pub fn fails_with_any(&self, words: &[&str]) -> &str {
        let line = self.fails();
        assert!(words.iter().any(|w| line.contains(w)), "stderr says none of {words:?}: {self}");
        line
    }

    /// As [`Output::fails`]; stderr has all of `words` if this is mote, which promises more than the others.
    #[track_caller]
    pub fn fails_and_mote_says(&self, words: &[&str]) -> &str {
        self.fails_saying(if is_mote() { words } else { &[] })
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { status, stdout, stderr, command } = self;
        write!(f, "{command}\n  {status}\n  stdout: {}\n  stderr: {}", clip(stdout), clip(stderr))
    }
}

fn clip(text: &str) -> String {
    let cut: String = text.chars().take(2000).collect();
    format!("{cut:?}")
}

/// A command line to be run with a deadline. Output goes to files, so that a container which lives on does not hold the
/// test up.
pub struct Cmd<'t> {
    test: &'t Test,
    argv: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    cwd: Option<PathBuf>,
    deadline: Duration,
}

/// A command that was started and has not ended yet.
pub struct Running {
    child: Child,
    pub out: PathBuf,
    pub err: PathBuf,
    command: String,
    deadline: Duration,
}

impl<'t> Cmd<'t> {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().into());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|a| a.as_ref().into()));
        self
    }

    /// Feeds these bytes; otherwise stdin is /dev/null.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Puts a program and its arguments in front: `unshare -m`, `setpriv`, a shell that leaks descriptors.
    pub fn under<S: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.argv.splice(0..0, wrapper.into_iter().map(|a| a.as_ref().into()));
        self
    }

    /// Runs the command where these system calls are not there, separated by commas; see fallbacks/without.c.
    pub fn without(self, calls: &str) -> Self {
        self.under([without().as_os_str(), OsStr::new(calls)])
    }

    /// Runs bash code, then becomes the command.
    pub fn after_bash(self, code: &str) -> Self {
        let script = format!("{code}\nexec \"$@\"");
        self.under(["bash", "-c", &script, "bash"])
    }

    /// Starts the command and does not wait.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let n = self.test.outputs.replace(self.test.outputs.get() + 1);
        let (out, err) = (self.test.dir.join(format!("out.{n}")), self.test.dir.join(format!("err.{n}")));
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        command.stdout(fs::File::create(&out).expect("stdout file"));
        command.stderr(fs::File::create(&err).expect("stderr file"));
        command.stdin(match &self.stdin {
            None => Stdio::null(),
            Some(_) => Stdio::piped(),
        });
        command.current_dir(self.cwd.as_deref().unwrap_or(&self.test.dir));
        let text = self.argv.iter().map(|a| clip(&a.to_string_lossy())).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{text}: {e}"));
        if let Some(bytes) = self.stdin {
            let mut pipe = child.stdin.take().expect("stdin");
            thread::spawn(move || pipe.write_all(&bytes));
        }
        Running { child, out, err, command: text, deadline: self.deadline }
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits for the end; past the deadline the command is killed and the test fails.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let pid = self.pid();
        let (done, end) = mpsc::channel();
        thread::spawn(move || done.send(self.child.wait()));
        let Ok(status) = end.recv_timeout(self.deadline) else {
            let _ = kill(pid, Signal::SIGKILL);
            let said = fs::read_to_string(&self.err).unwrap_or_default();
            panic!("no end after {:?}, killed: {}\n  stderr: {}", self.deadline, self.command, clip(&said));
        };
        let read = |p: &Path| match fs::read(p) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) => panic!("{}: {e}", p.display()),
        };
        Output {
            status: status.expect("wait"),
            stdout: read(&self.out),
            stderr: read(&self.err),
            command: self.command,
        }
    }
}

/// The directory, the state root and the containers of one test.
pub struct Test {
    pub dir: PathBuf,
    pub root: PathBuf,
    ids: RefCell<Vec<String>>,
    outputs: Cell<u32>,
    prefix: String,
}

impl Test {
    #[track_caller]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Test {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        binary();
        let prefix = format!("mt{}x{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(format!("/tmp/{prefix}"));
        fs::create_dir(&dir).expect("the directory of the test");
        let root = dir.join("root");
        fs::create_dir(&root).expect("the state root");
        Test { dir, root, ids: RefCell::default(), outputs: Cell::new(0), prefix }
    }

    /// An id that nobody else has. The end of the test deletes its container.
    pub fn id(&self) -> String {
        let mut ids = self.ids.borrow_mut();
        let id = format!("{}.{}", self.prefix, ids.len());
        ids.push(id.clone());
        id
    }

    /// A bundle of that name with a busybox rootfs.
    #[track_caller]
    pub fn bundle(&self, name: &str, config: &Value) -> PathBuf {
        let bundle = self.dir.join(name);
        make_rootfs(&bundle.join("rootfs"));
        write_config(&bundle, config);
        bundle
    }

    /// Any command.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Cmd<'_> {
        Cmd { test: self, argv: vec![program.as_ref().into()], stdin: None, cwd: None, deadline: DEADLINE }
    }

    /// The binary under test, with no option.
    pub fn bare(&self) -> Cmd<'_> {
        let bare = self.command(binary());
        match std::env::var(WITHOUT) {
            Ok(calls) => bare.without(&calls),
            Err(_) => bare,
        }
    }

    /// The binary under test with the state root of this test.
    pub fn mote<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd<'_> {
        self.bare().arg("--root").arg(&self.root).args(args)
    }

    /// `verb ID`.
    #[track_caller]
    pub fn verb(&self, verb: &str, id: &str) -> Output {
        self.mote([verb, id]).run()
    }

    /// `run` of a bundle in the foreground, not started yet.
    pub fn run_bundle(&self, bundle: &Path) -> Cmd<'_> {
        let id = self.id();
        self.mote(["run", "--bundle"]).arg(bundle).arg(id)
    }

    /// Makes a bundle out of the config and runs it in the foreground.
    #[track_caller]
    pub fn run(&self, config: &Value) -> Output {
        let n = self.ids.borrow().len();
        let bundle = self.bundle(&format!("bundle.{n}"), config);
        self.run_bundle(&bundle).run()
    }

    /// Runs a shell script in a container; gives what it printed. The test fails when it does.
    #[track_caller]
    pub fn sh(&self, script: &str, edit: impl FnOnce(&mut Value)) -> String {
        let mut config = spec(&["sh", "-c", script]);
        edit(&mut config);
        self.run(&config).ok().to_owned()
    }

    /// `create` of a bundle; gives the id.
    #[track_caller]
    pub fn create(&self, bundle: &Path) -> String {
        let id = self.id();
        self.mote(["create", "--bundle"]).arg(bundle).arg(&id).run().ok();
        id
    }

    /// Makes a container that runs these args in the background; gives the id.
    #[track_caller]
    pub fn detached(&self, config: &Value) -> String {
        let n = self.ids.borrow().len();
        let bundle = self.bundle(&format!("bundle.{n}"), config);
        let id = self.id();
        self.mote(["run", "--detach", "--bundle"]).arg(bundle).arg(&id).run().ok();
        id
    }

    /// What `state` says, parsed.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        let out = self.verb("state", id);
        serde_json::from_str(out.ok()).unwrap_or_else(|e| panic!("state is no JSON, {e}: {out}"))
    }

    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().expect("status").to_owned()
    }

    /// The pid of a container that is not stopped.
    #[track_caller]
    pub fn pid(&self, id: &str) -> Pid {
        let pid = self.state(id)["pid"].as_i64().expect("pid");
        assert!(pid > 1, "{id} has no process");
        Pid::from_raw(pid.try_into().expect("pid"))
    }

    /// Waits until `state` says this; fails after a while.
    #[track_caller]
    pub fn wait_status(&self, id: &str, status: &str) {
        let end = Instant::now() + DEADLINE;
        while self.status(id) != status {
            assert!(Instant::now() < end, "{id} did not become {status}: {}", self.state(id));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asserts that neither container `id` nor anything of it exists.
    #[track_caller]
    pub fn assert_gone(&self, id: &str) {
        self.verb("state", id).fails_saying(&["does not exist"]);
        let left = self.settled(&|| self.leftovers_of(id));
        assert!(left.is_empty(), "left of {id}: {left:#?}");
    }

    /// Asserts that this test has left nothing anywhere.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = self.settled(&|| self.leftovers());
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// As [`Test::assert_nothing_left`], but for what has `part` in its line.
    #[track_caller]
    pub fn assert_nothing_left_but(&self, part: &str) {
        let left =
            self.settled(&|| self.leftovers().into_iter().filter(|line| !line.ends_with(part)).collect());
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    fn settled(&self, look: &dyn Fn() -> Vec<String>) -> Vec<String> {
        let end = Instant::now() + SETTLE;
        loop {
            let left = look();
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn leftovers_of(&self, id: &str) -> Vec<String> {
        let mut left = cgroups_named(id);
        left.extend(files_below(&self.root).into_iter().filter(|f| f.contains(id)));
        left
    }

    /// Processes, mounts, cgroups and files in the state root that belong to this test.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = cgroups_named(&self.prefix);
        left.extend(files_below(&self.root));
        let mine = format!("{}/", self.dir.display());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        left.extend(mounts.lines().filter(|l| l.contains(&mine)).map(|l| format!("mount {l}")));
        left.extend(processes_of(&mine, &self.prefix));
        left
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        for id in self.ids.borrow().iter() {
            self.remove(id);
        }
        let left = self.settled(&|| self.leftovers());
        if !left.is_empty() {
            force(&left);
        }
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "kept for a look: {}", self.dir.display());
            return;
        }
        assert!(left.is_empty(), "left behind by the test: {left:#?}");
        fs::remove_dir_all(&self.dir).expect("remove the directory of the test");
    }
}

impl Test {
    /// Best effort, for the end of a test: the container may be in any state or never have been there.
    fn remove(&self, id: &str) {
        let mote = |args: &[&str]| {
            let mut command = Command::new("timeout");
            command
                .args(["--kill-after=1", "20"])
                .arg(binary())
                .arg("--root")
                .arg(&self.root)
                .args(args)
                .output()
        };
        let Some(state) = mote(&["state", id]).ok().filter(|o| o.status.success()) else { return };
        let _ = mote(&["delete", "--force", id]);
        let pid = serde_json::from_slice::<Value>(&state.stdout).ok().and_then(|s| s["pid"].as_i64());
        if let Some(pid) = pid.and_then(|p| i32::try_from(p).ok()).filter(|p| *p > 1) {
            reap(Pid::from_raw(pid));
        }
    }
}

/// Takes away what a broken runtime left, so that the machine stays clean although the test fails.
fn force(left: &[String]) {
    for line in left {
        if let Some(dir) = line.strip_prefix("cgroup ") {
            let _ = fs::remove_dir(dir);
        } else if let Some(mount) = line.strip_prefix("mount ") {
            let _ = Command::new("umount").args(["-l", mount.split(' ').nth(4).unwrap_or("")]).output();
        } else if let Some(pid) =
            line.strip_prefix("process ").and_then(|l| l.split(' ').next()?.parse().ok())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Waits a moment for a child that is about to end, and reaps it. Not being its parent is fine.
pub fn reap(pid: Pid) {
    let end = Instant::now() + SETTLE;
    while let Ok(nix::sys::wait::WaitStatus::StillAlive) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        if Instant::now() > end {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a root file system out of busybox. The file is a copy: a hard link would let a container write to the host's.
#[track_caller]
pub fn make_rootfs(rootfs: &Path) {
    for dir in ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(dir)).expect("rootfs");
    }
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).expect("busybox-static must be installed");
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).expect("applet");
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n")
        .expect("passwd");
    fs::write(rootfs.join("etc/group"), "root:x:0:\ntty:x:5:\nuser:x:1000:\n").expect("group");
}

#[track_caller]
pub fn write_config(bundle: &Path, config: &Value) {
    let text = serde_json::to_vec_pretty(config).expect("config");
    fs::write(bundle.join("config.json"), text).expect("config.json");
}

fn cgroups_named(part: &str) -> Vec<String> {
    fn walk(dir: &Path, part: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(format!("cgroup {}", entry.path().display()));
                }
                walk(&entry.path(), part, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}

fn files_below(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| format!("file {}", e.path().display()))
        .collect()
}

/// Live processes that see the directory in their mounts or arguments, or whose cgroup has the name. Zombies do not count.
fn processes_of(dir: &str, name: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let own_namespace = fs::read_link("/proc/self/ns/mnt").ok();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let (pid, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if pid == own || pid.parse::<i32>().is_err() {
            continue;
        }
        let read =
            |file| String::from_utf8_lossy(&fs::read(path.join(file)).unwrap_or_default()).into_owned();
        let stat = read("stat");
        let state = stat.rsplit(") ").next().and_then(|s| s.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            continue;
        }
        let args = read("cmdline").replace('\0', " ");
        let elsewhere = fs::read_link(path.join("ns/mnt")).ok() != own_namespace;
        if args.contains(dir) || read("cgroup").contains(name) || elsewhere && read("mountinfo").contains(dir)
        {
            found.push(format!("process {pid} {args:?} {stat:?}"));
        }
    }
    found
}

/// Reads from a pty until the text is there; a pty says EIO once nobody holds its other end.
#[track_caller]
pub fn read_until(pty: &mut fs::File, text: &str) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    let mut got = String::new();
    while !got.contains(text) {
        assert!(Instant::now() < end, "no {text:?} in {got:?}");
        let mut fds = [PollFd::new(pty.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100u8)).unwrap();
        if fds[0].any() == Some(true) {
            let mut buffer = [0; 4096];
            match pty.read(&mut buffer) {
                Ok(0) | Err(_) => panic!("the end, and no {text:?} in {got:?}"),
                Ok(n) => got.push_str(&String::from_utf8_lossy(&buffer[..n])),
            }
        }
    }
    got
}
