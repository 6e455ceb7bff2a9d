//! One config.json with every field at once: the container runs, and each value is found where the kernel shows it.
//!
//! Left out is what this machine's kernel does not have: labels where no security module is on, `linux.intelRdt` without
//! resctrl, and limits of controllers that are not there. tests/labels.rs, bad_input.rs and cgroup.rs have those.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, add_mount, spec};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The first host id of the container's own.
const OUTSIDE: u32 = 100_000;
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Prints what is to be seen from inside, one `name=value` a line.
const LOOK: &str = r#"
say() { printf '%s=' "$1"; shift; "$@" 2>&1 | tr '\n' '|' | tr -s ' \t' ' '; echo; }
field() { sed -n "s/^$1:[ \t]*//p" /proc/self/status; }
say cwd pwd
cd /proc
say args echo "$0 $1"
say terminal tty
say size stty size
for f in Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp; do say $f field $f; done
say umask umask
say env sh -c 'echo $ONE'
say hostname hostname
say domainname cat sys/kernel/domainname
say oom cat 1/oom_score_adj
say limits grep -E 'open files|core file' 1/limits
say stat cat 1/stat
say io ionice -p 1
say personality cat 1/personality
say machine uname -m
say memory sed -n 2p 1/numa_maps
say time cat self/timens_offsets
say uid_map cat self/uid_map
say gid_map cat self/gid_map
say ttl cat sys/net/ipv4/ip_default_ttl
say msgmax cat sys/kernel/msgmax
say mounts cat self/mountinfo
say cgroup cat self/cgroup
say link ip -o addr show dev eth7
say devices stat -c '%n %F %t %T' /dev/kmsg /run/pipe /dev/null
say pipe stat -c '%a %u %g' /run/pipe
say masked wc -c /etc/secret
say masked_directory ls /etc/hidden
say readonly sh -c 'echo x >/etc/kept/file'
say root sh -c 'echo x >/file'
say hidden_call mkdir /scratch/new
say bound cat /bound/file
say mapped stat -c '%u %g' /bound/file /mapped/file
say copied cat /etc/copied/file
say start_container cat /scratch/startContainer
"#;

/// The config, as far as it is the same everywhere.
fn full(t: &Test, bundle: &Path) -> Value {
    let mut config = spec(&["/bin/sh", "-c", LOOK, "sh-with-a-name", "two words"]);
    config["ociVersion"] = json!("1.3.0-rc.1+dev");
    config["hostname"] = json!("everything");
    config["domainname"] = json!("example.org");
    config["annotations"] = json!({"org.example.a": "1", "org.example.b": ""});
    config["root"] = json!({"path": bundle.join("rootfs"), "readonly": true});
    let kill = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let process = json!({
        "terminal": true,
        "consoleSize": {"height": 33, "width": 77},
        "user": {"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [1002, 1003]},
        "env": ["PATH=/bin", "ONE=a=b", "TERM=xterm"],
        "cwd": "/scratch",
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "permitted": kill, "effective": ["CAP_KILL"], "inheritable": kill, "ambient": ["CAP_KILL"],
        },
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
        ],
        "noNewPrivileges": true,
        "oomScoreAdj": 321,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 3, "priority": 0, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        "execCPUAffinity": {"initial": "0", "final": "0"},
        "apparmorProfile": "unconfined",
        "selinuxLabel": "",
    });
    for (key, value) in process.as_object().unwrap() {
        config["process"][key] = value.clone();
    }
    add_mount(&mut config, "/scratch", "tmpfs", "tmpfs", &["nosuid", "size=1m", "mode=1777"]);
    add_mount(&mut config, "/run", "tmpfs", "tmpfs", &["nodev", "mode=755"]);
    let bound = t.dir.join("bound").display().to_string();
    add_mount(&mut config, "/bound", "bind", &bound, &["rbind", "rro", "rnosuid", "rslave"]);
    // Seen through a mapping of its own, root's files are the container's root's.
    let mapping = json!([{"containerID": 0, "hostID": OUTSIDE, "size": 65536}]);
    config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/mapped", "type": "bind", "source": bound, "options": ["rbind", "idmap"],
        "uidMappings": mapping, "gidMappings": mapping,
    }));
    add_mount(&mut config, "/etc/copied", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    let log = t.dir.join("hooks").display().to_string();
    for kind in KINDS {
        let script = match kind {
            // This one runs in the container.
            "startContainer" => {
                format!("cat >/scratch/startContainer; echo {kind} $HOOK >>/scratch/startContainer")
            }
            _ => format!("cat >>{log}; echo \" {kind} $HOOK $0\" >>{log}"),
        };
        config["hooks"][kind] = json!([{
            "path": "/bin/sh", "args": ["sh", "-c", script, "argument"], "env": ["HOOK=yes", "PATH=/bin:/usr/bin"],
            "timeout": 20,
        }]);
    }
    config
}

/// `linux`, as far as it is the same everywhere.
fn full_linux(t: &Test) -> Value {
    let namespaces = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
    json!({
        "namespaces": namespaces.map(|kind| json!({"type": kind})),
        "uidMappings": [{"containerID": 0, "hostID": OUTSIDE, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": OUTSIDE, "size": 65536}],
        "timeOffsets": {"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 2000}},
        "cgroupsPath": format!("/{}", t.id()),
        "rootfsPropagation": "private",
        "mountLabel": "",
        "maskedPaths": ["/etc/secret", "/etc/hidden", "/nosuch"],
        "readonlyPaths": ["/etc/kept", "/nosuch"],
        "sysctl": {"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "7777"},
        "devices": [
            {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600, "uid": 0, "gid": 0},
            {"path": "/run/pipe", "type": "p", "fileMode": 0o640, "uid": 7, "gid": 8},
        ],
        "netDevices": {"one": {"name": "eth7"}},
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "resources": {
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
            ],
            "memory": {"limit": 64 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 55},
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
        },
    })
}

#[test]
fn every_field_at_once() {
    mote_only!("runc 1.1 and crun 1.8 know fewer fields");
    let t = Test::new();
    let bundle = t.dir.join("b");
    common::make_rootfs(&bundle.join("rootfs"));
    let rootfs = bundle.join("rootfs");
    for directory in ["scratch", "run", "bound", "mapped", "etc/hidden", "etc/kept", "etc/copied"] {
        fs::create_dir(rootfs.join(directory)).unwrap();
    }
    for applet in ["ionice", "tty"] {
        let _ = std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet));
    }
    fs::write(rootfs.join("etc/secret"), "seen").unwrap();
    fs::write(rootfs.join("etc/hidden/file"), "seen").unwrap();
    fs::write(rootfs.join("etc/kept/file"), "kept").unwrap();
    fs::write(rootfs.join("etc/copied/file"), "from the image").unwrap();
    fs::create_dir(t.dir.join("bound")).unwrap();
    fs::write(t.dir.join("bound/file"), "from the host").unwrap();
    let mut config = full(&t, &bundle);
    config["linux"] = full_linux(&t);
    common::write_config(&bundle, &config);
    t.command("chown").args(["-R", &format!("{OUTSIDE}:{OUTSIDE}")]).arg(&rootfs).run().ok();
    t.command("chmod").arg("755").arg(&t.dir).run().ok();
    // The hook of the container's namespaces has its ids.
    fs::write(t.dir.join("hooks"), "").unwrap();
    t.command("chmod").arg("666").arg(t.dir.join("hooks")).run().ok();

    let network = "ip link add one type veth peer name peer && ip addr add 192.0.2.1/24 dev one";
    let id = t.id();
    let run = t.mote(["run", "--bundle"]).arg(&bundle).arg(&id);
    let out = run.after_bash(network).under(["unshare", "-n"]).run();
    let text = out.ok().replace('\r', "");
    let seen: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let seen = |name: &str| {
        seen.get(name).unwrap_or_else(|| panic!("nothing of {name}: {out}")).trim_end_matches('|').trim()
    };
    let is = |name: &str, value: &str| assert_eq!(seen(name), value, "{name}");
    let has = |name: &str, value: &str| {
        assert!(seen(name).contains(value), "{name}: no {value:?} in {:?}", seen(name))
    };
    let number = |name: &str| u64::from_str_radix(seen(name), 16).unwrap();

    // process
    is("args", "sh-with-a-name two words");
    is("terminal", "/dev/pts/0");
    is("size", "33 77");
    is("Uid", "1000 1000 1000 1000");
    is("Gid", "1001 1001 1001 1001");
    is("Groups", "1002 1003");
    is("umask", "0027");
    is("cwd", "/scratch");
    is("env", "a=b");
    let (chown, kill, bind) = (1, 1 << 5, 1 << 10);
    assert_eq!(
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(number),
        [kill | bind, kill, kill, chown | kill | bind, kill],
        "after execve a user has the ambient set",
    );
    is("NoNewPrivs", "1");
    is("oom", "321");
    has("limits", "Max core file size 0 4096");
    has("limits", "Max open files 77 99");
    let stat: Vec<&str> = seen("stat").rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((stat[19 - 3], stat[41 - 3]), ("3", "3"), "nice and SCHED_BATCH: {stat:?}");
    is("io", "best-effort: prio 6");

    // root, mounts, host names
    is("hostname", "everything");
    is("domainname", "example.org");
    has("root", "Read-only file system");
    has("bound", "from the host");
    is("mapped", "65534 65534|0 0");
    is("copied", "from the image");
    let mounts: Vec<Vec<&str>> = seen("mounts").split('|').map(|line| line.split(' ').collect()).collect();
    let mount = |target: &str| {
        let found = mounts.iter().rfind(|m| m[4] == target).unwrap_or_else(|| panic!("{target}: {mounts:?}"));
        (found[5].to_owned(), found.join(" "))
    };
    assert!(mount("/bound").0.starts_with("ro,nosuid"), "{:?}", mount("/bound"));
    assert!(
        mount("/scratch").0.contains("nosuid") && mount("/scratch").1.contains("size=1024k"),
        "{:?}",
        mount("/scratch")
    );
    assert!(!mount("/").1.contains("shared:") && !mount("/").1.contains("master:"), "{:?}", mount("/"));

    // linux
    is("time", "monotonic 1000 5|boottime 2000 0");
    is("uid_map", "0 100000 65536");
    is("gid_map", "0 100000 65536");
    is("personality", "00000008");
    assert_ne!(seen("machine"), std::env::consts::ARCH);
    has("memory", "bind=static:0");
    is("ttl", "77");
    is("msgmax", "7777");
    has("link", "inet 192.0.2.1/24");
    has(
        "devices",
        "/dev/kmsg character special file 1 b|/run/pipe fifo 0 0|/dev/null character special file 1 3",
    );
    is("pipe", "640 7 8");
    has("masked", "0 /etc/secret");
    is("masked_directory", "");
    has("readonly", "Read-only file system");
    is("Seccomp", "2");
    has("hidden_call", "Operation not supported");
    assert!(seen("cgroup").split('|').all(|line| line.ends_with(":/")), "{:?}", seen("cgroup"));

    // hooks: each with the state on its standard input, in order
    let log = fs::read_to_string(t.dir.join("hooks")).unwrap();
    let outside: Vec<&str> = KINDS.into_iter().filter(|kind| *kind != "startContainer").collect();
    assert_eq!(log.lines().count(), outside.len(), "{log}");
    for (line, kind) in log.lines().zip(outside) {
        let (state, words) = line.rsplit_once("} ").unwrap();
        assert_eq!(words, format!("{kind} yes argument"), "{log}");
        let state: Value = serde_json::from_str(&format!("{state}}}")).unwrap();
        assert_eq!(state["id"], json!(id), "{log}");
        assert_eq!(state["annotations"], config["annotations"], "{log}");
    }
    has("start_container", "startContainer yes");
    assert!(fs::read_to_string(bundle.join("rootfs/etc/kept/file")).unwrap() == "kept");
    t.assert_nothing_left();
}

#[test]
fn every_limit_at_once_is_in_the_kernel() {
    mote_only!("runc 1.1 and crun 1.8 know fewer fields");
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    let linux = full_linux(&t);
    config["linux"]["resources"] = linux["resources"].clone();
    config["linux"]["cgroupsPath"] = linux["cgroupsPath"].clone();
    let id = t.detached(&config);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", t.pid(&id))).unwrap();
    let read = |controller: &str, v1: &str, v2: &str| -> String {
        let of_v1 =
            own.lines().find(|line| line.split(':').nth(1).unwrap().split(',').any(|c| c == controller));
        let (directory, file) = match of_v1 {
            Some(line) => (format!("/sys/fs/cgroup/{controller}{}", line.splitn(3, ':').nth(2).unwrap()), v1),
            None => {
                let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
                (format!("/sys/fs/cgroup{path}"), v2)
            }
        };
        fs::read_to_string(format!("{directory}/{file}"))
            .unwrap_or_else(|e| panic!("{directory}/{file}: {e}"))
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(read("memory", "memory.soft_limit_in_bytes", "memory.low"), (32 << 20).to_string());
    assert_eq!(read("pids", "pids.max", "pids.max"), "55");
    assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(read("cpuset", "cpuset.mems", "cpuset.mems"), "0");
    assert!(["50000", "50000 100000"].contains(&&*read("cpu", "cpu.cfs_quota_us", "cpu.max")));
}
