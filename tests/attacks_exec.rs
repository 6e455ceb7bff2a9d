//! What a hostile container may try while the runtime enters it: CVE-2019-5736 and its neighbours.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Cmd, Test, spec};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A copy of the binary under test, in a place that can be written to.
struct Victim<'t> {
    t: &'t Test,
    path: PathBuf,
    content: Vec<u8>,
}

impl<'t> Victim<'t> {
    fn new(t: &'t Test) -> Self {
        let path = t.dir.join("victim");
        fs::copy(common::binary(), &path).unwrap();
        let content = fs::read(&path).unwrap();
        Self { t, path, content }
    }

    fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Cmd<'t> {
        self.t.command(&self.path).arg("--root").arg(&self.t.root).args(args)
    }

    /// Lets a script go about in a container whose bundle is `bundle`, while nothing else runs the victim's file, which
    /// cannot be written to as long as anything does. Gives what the script said.
    fn attack(&self, id: &str, bundle: &str, script: &str, meanwhile: impl FnOnce()) -> String {
        let (out, pid) = (self.t.dir.join(bundle).join("rootfs/out"), self.t.dir.join("attack.pid"));
        let script = format!("exec >/out 2>&1; {script}; echo end");
        self.run(["exec", "-d", "--pid-file"]).arg(&pid).args([id, "sh", "-c", &script]).run().ok();
        meanwhile();
        let end = Instant::now() + Duration::from_secs(30);
        let said = loop {
            let said = fs::read_to_string(&out).unwrap_or_default();
            if said.ends_with("end\n") {
                break said;
            }
            assert!(Instant::now() < end, "the attack does not end: {said}");
            std::thread::sleep(Duration::from_millis(10));
        };
        common::reap(Pid::from_raw(fs::read_to_string(&pid).unwrap().parse().unwrap()));
        said
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert!(fs::read(&self.path).unwrap() == self.content, "the runtime's file was written to");
    }

    /// A container that runs these args in the background.
    fn detached(&self, name: &str, config: &Value) -> String {
        let (bundle, id) = (self.t.bundle(name, config), self.t.id());
        self.run(["run", "-d", "-b"]).arg(bundle).arg(&id).run().ok();
        id
    }
}

const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_SYS_RESOURCE",
];

/// The worst container there is that has namespaces: all capabilities but what this machine has not got, a writable root.
fn hostile(args: &[&str]) -> Value {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap();
    let own = u64::from_str_radix(own, 16).unwrap();
    // The table above but for its last entry is in the kernel's order up to 23; what is not there is left out by name.
    let missing = if own & 1 << 24 == 0 { "CAP_SYS_RESOURCE" } else { "" };
    let all: Vec<_> = ALL.iter().filter(|name| **name != missing).collect();
    let mut config = spec(args);
    config["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all, "inheritable": [], "ambient": []});
    config["process"]["noNewPrivileges"] = json!(false);
    config["root"]["readonly"] = json!(false);
    config
}

/// Writes to what is open as descriptor 9, once nothing runs it any more.
const WRITE: &str =
    "for i in 1 2 3 4 5 6; do sleep 0.1; (echo pwned >>/proc/self/fd/9) && echo written; done; true";

/// Takes hold of the file of the process `$p`, ends it, and writes.
const ATTACK: &str = "exec 9</proc/$p/exe && echo open; kill -9 $p; \
    for i in 1 2 3 4 5 6; do sleep 0.1; (echo pwned >>/proc/self/fd/9) && echo written; done; true";

fn fifo(at: &Path) {
    nix::unistd::mkfifo(at, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
}

#[test]
fn a_program_that_is_the_runtime_itself_cannot_be_written_to() {
    mote_only!("what a program of the runtime does that waits in a container is mote's");
    if is_dynamic() {
        return common::skipped("the binary under test is not static");
    }
    let t = Test::new();
    let victim = Victim::new(&t);
    let id = victim.detached("b", &hostile(&["sleep", "1000"]));
    let rootfs = t.dir.join("b/rootfs");
    fifo(&rootfs.join("fifo"));
    let script = rootfs.join("bin/script");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    // The runtime's own code, as a program of the container: it waits for somebody who reads the log.
    let pid_file = t.dir.join("pid");
    let waits = ["/proc/self/exe", "--log", "/fifo", "list"];
    victim.run(["exec", "-d", "--pid-file"]).arg(&pid_file).arg(&id).args(waits).run().ok();
    let find =
        "p=$(grep -l fifo /proc/[0-9]*/cmdline | grep -v self | head -n 1); p=${p#/proc/}; p=${p%/cmdline}";
    let said = victim.attack(&id, "b", &format!("{find}; readlink /proc/$p/exe; {ATTACK}"), || ());
    assert!(said.contains("open\n"), "the attack is none: {said}");
    assert!(!said.contains("written"), "{said}");
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    common::reap(Pid::from_raw(pid));
    let out = victim.run(["exec", &id, "/bin/script"]).run();
    assert_ne!(out.code(), 0, "{out}");
    victim.is_untouched();
}

#[test]
fn the_first_process_that_waits_for_start_cannot_be_written_to() {
    let t = Test::new();
    let victim = Victim::new(&t);
    let (bundle, id) = (t.bundle("b", &hostile(&["sleep", "1000"])), t.id());
    victim.run(["create", "-b"]).arg(&bundle).arg(&id).run().ok();
    let release = t.dir.join("b/rootfs/release");
    // Held before start, written to after it.
    let hold = "exec 9</proc/1/exe && echo held; while [ ! -e /release ]; do sleep 0.05; done";
    let said = victim.attack(&id, "b", &format!("{hold}; {WRITE}"), || {
        std::thread::sleep(Duration::from_millis(300));
        victim.run(["start", &id]).run().ok();
        fs::write(release, "").unwrap();
    });
    assert!(!said.contains("written"), "{said}");
    if common::is_mote() {
        assert!(said.contains("held\n"), "the attack is none: {said}");
    }
    victim.is_untouched();
}

#[test]
fn a_process_in_a_shared_pid_namespace_cannot_be_written_to() {
    let t = Test::new();
    let victim = Victim::new(&t);
    let first = victim.detached("first", &hostile(&["sleep", "1000"]));
    let mut config = spec(&["sleep", "1000"]);
    let path = format!("/proc/{}/ns/pid", t.pid(&first));
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(path);
        }
    }
    let (bundle, second) = (t.bundle("second", &config), t.id());
    victim.run(["create", "-b"]).arg(&bundle).arg(&second).run().ok();
    let init = t.pid(&second).as_raw();
    let find = "p=$(for d in /proc/[0-9]*; do case $(readlink $d/exe) in *busybox|'') ;; *) echo ${d#/proc/};; esac; done | head -n 1)";
    let said = victim.attack(&first, "first", &format!("{find}; {ATTACK}"), || ());
    assert!(!said.contains("written"), "{said}");
    if common::is_mote() {
        assert!(said.contains("open\n"), "the attack is none: {said}");
    }
    victim.is_untouched();
    // Before the first one, which ends only once everybody in its namespace has been reaped.
    victim.run(["delete", "-f", &second]).run().ok();
    common::reap(Pid::from_raw(init));
}

#[test]
fn a_new_container_whose_program_is_the_runtime_itself_ends_at_once() {
    mote_only!("runc runs a copy of itself there");
    if is_dynamic() {
        return common::skipped("the binary under test is not static");
    }
    let t = Test::new();
    let victim = Victim::new(&t);
    for (n, args) in [
        &["/proc/self/exe"] as &[&str],
        &["/proc/self/exe", "spec"],
        &["/proc/1/exe", "ps"],
        &["/bin/script"],
        &["/proc/thread-self/exe"],
    ]
    .into_iter()
    .enumerate()
    {
        let bundle = t.bundle(&format!("b{n}"), &spec(args));
        let script = bundle.join("rootfs/bin/script");
        fs::write(&script, "#!/proc/self/exe run\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let out = victim.run(["run", "-b"]).arg(&bundle).arg(t.id()).run();
        out.fails_saying(&["/proc/self/exe of the runtime cannot be a container's program"]);
    }
    victim.is_untouched();
    // One that the container brings along itself is a program like any other.
    let bundle = t.bundle("own", &spec(&["/bin/own", "state", "nosuch"]));
    fs::copy(common::binary(), bundle.join("rootfs/bin/own")).unwrap();
    victim.run(["run", "-b"]).arg(&bundle).arg(t.id()).run().fails_saying(&["container does not exist"]);
}

/// Whether the binary under test needs an interpreter.
fn is_dynamic() -> bool {
    fs::read(common::binary()).unwrap().windows(8).any(|w| w == b"ld-linux")
}

#[test]
fn who_polls_proc_during_many_execs_finds_nothing_of_the_runtime() {
    let t = Test::new();
    let victim = Victim::new(&t);
    // Root without CAP_SYS_PTRACE, as engines make it: what enters is not dumpable, so there is nothing to see.
    let mut config = spec(&[
        "sh",
        "-c",
        r#"
        while :; do for d in /proc/[0-9]*; do
            e=$(readlink $d/exe 2>/dev/null) || continue
            case $e in */busybox) ;; *) echo "exe $e" >>/tmp/found;; esac
            for f in $d/fd/*; do
                case $(readlink $f 2>/dev/null) in */root/*|*cgroup*|/) echo "fd $f" >>/tmp/found;; esac
            done
        done; done"#,
    ]);
    config["root"]["readonly"] = json!(false);
    let id = victim.detached("b", &config);
    for _ in 0..common::count_from_env("MOTE_EXECS", 200) {
        victim.run(["exec", &id, "/bin/true"]).run().ok();
    }
    let found = fs::read_to_string(t.dir.join("b/rootfs/tmp/found")).unwrap_or_default();
    let found: Vec<_> = found.lines().filter(|line| *line != "exe ").collect();
    assert_eq!(found, [] as [&str; 0]);
    victim.is_untouched();
}

#[test]
fn what_waits_for_start_is_not_dumpable() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "1000"]));
    let id = t.create(&bundle);
    let script = "for f in exe root cwd fd/0 environ mem; do cat /proc/1/$f >/dev/null 2>&1 && echo $f; done; readlink /proc/1/fd/* /proc/1/cwd; true";
    let out = t.mote(["exec", &id, "sh", "-c", script]).run();
    assert_eq!(out.ok(), "", "{out}");
}

#[test]
fn descriptors_for_the_program_survive_that_the_command_starts_over() {
    let t = Test::new();
    let victim = Victim::new(&t);
    let bundle = t.bundle("fds", &hostile(&["sh", "-c", "cat <&3; echo $LISTEN_FDS $LISTEN_PID"]));
    let command = victim.run(["run", "--preserve-fds", "1", "-b"]).arg(&bundle).arg(t.id());
    assert_eq!(command.after_bash("exec 3<<<kept 4</").run().ok(), "kept\n\n");
}

/// Opens the file of process 1, which mote's own is until `start`, and after that writes to it.
const OPEN_AND_WRITE: &str = "exec 9</proc/1/exe; touch /opened; until [ -e /go ]; do sleep 0.01; done
    for i in $(seq 200); do echo pwned >/proc/self/fd/9 && echo written; sleep 0.01; done 2>/dev/null";

#[test]
fn the_file_of_a_created_container_is_not_reached_with_more_capabilities_than_its_own() {
    let t = Test::new();
    let victim = Victim::new(&t);
    let mut config = spec(&["sleep", "1000"]);
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("b", &config);
    let id = t.id();
    victim.run(["create", "-b"]).arg(&bundle).arg(&id).run().ok();
    for cap in ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"] {
        let out = victim.run(["exec", "--cap", cap, &id, "true"]).run();
        if common::is_mote() {
            assert_eq!(out.code(), 255, "{out}");
            assert!(out.stderr.contains("before the program runs"), "{out}");
        }
    }
    let out = victim.run(["exec", &id, "sh", "-c", "readlink /proc/1/exe || exit 7"]).run();
    assert_eq!(out.code(), 7, "{out}");
    t.verb("start", &id).ok();
    victim.run(["exec", "--cap", "CAP_SYS_PTRACE", &id, "readlink", "/proc/1/exe"]).run().ok();
    // One that was created with them runs from a copy.
    let caps = &mut config["process"]["capabilities"];
    for set in ["bounding", "effective", "permitted"] {
        caps[set].as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
    }
    let bundle = t.bundle("b2", &config);
    let id = t.id();
    victim.run(["create", "-b"]).arg(&bundle).arg(&id).run().ok();
    let said = victim.attack(&id, "b2", OPEN_AND_WRITE, || {
        let end = Instant::now() + Duration::from_secs(10);
        while !bundle.join("rootfs/opened").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        victim.run(["start", &id]).run().ok();
        fs::write(bundle.join("rootfs/go"), "").unwrap();
    });
    assert!(bundle.join("rootfs/opened").exists(), "the attack did not get hold of the file: {said}");
    assert!(!said.contains("written"), "{said}");
    victim.is_untouched();
}
