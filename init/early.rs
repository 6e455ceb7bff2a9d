//! The first steps of PID 1, which everything else stands on: mounts, console, log, cgroup, the way out of the initramfs.
//!
//! Each step copes with what is already there (an earlier init may have mounted it), and one that fails is logged with what
//! happens next; none ends the boot.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mote::error::words;
use mote::initramfs;
use mote::sys::entry;
use mote::{error, warn};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, stat};
use nix::unistd::mkdir;

/// One mount of the device.
struct Mount {
    kind: &'static CStr,
    on: &'static CStr,
    /// The directory whose device number differs once something is mounted.
    parent: &'static CStr,
    flags: MsFlags,
    data: Option<&'static CStr>,
}

const fn row(
    kind: &'static CStr,
    on: &'static CStr,
    parent: &'static CStr,
    flags: MsFlags,
    data: Option<&'static CStr>,
) -> Mount {
    Mount { kind, on, parent, flags, data }
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const SAFEST: MsFlags = SAFE.union(MsFlags::MS_NOEXEC);
const DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);

/// In this order: a later one may stand inside an earlier one. Flags and modes as systemd and runc have them.
const MOUNTS: &[Mount] = &[
    row(c"proc", c"/proc", c"/", SAFEST, None),
    row(c"sysfs", c"/sys", c"/", SAFEST, None),
    row(c"devtmpfs", c"/dev", c"/", DEVICES, Some(c"mode=0755")),
    row(c"devpts", c"/dev/pts", c"/dev", DEVICES, Some(c"mode=0620,gid=5,ptmxmode=0666")),
    row(c"tmpfs", c"/dev/shm", c"/dev", SAFE, Some(c"mode=1777")),
    row(c"tmpfs", c"/run", c"/", SAFE, Some(c"mode=0755")),
    row(c"tmpfs", c"/tmp", c"/", SAFE, Some(c"mode=1777")),
    row(c"tmpfs", c"/var/log", c"/var", SAFEST, Some(c"mode=0755")),
    row(c"cgroup2", c"/sys/fs/cgroup", c"/sys/fs", SAFEST, None),
];

/// Puts the initramfs below a bind mount of itself, so that containers can pivot; see [`mote::initramfs`]. Before any mount.
pub fn leave_initramfs() {
    // /proc serves as the directory that the bind starts on: it is covered by a mount right after.
    let left = initramfs::is_root().and_then(|yes| {
        if !yes {
            return Ok(());
        }
        let _ = mkdir(c"/proc", Mode::from_bits_truncate(0o555)); // the next call says if it is missing
        initramfs::leave(c"/proc", false)
    });
    if let Err(errno) = left {
        error!("leaving the initramfs: {}; containers will not start from it", words(errno));
    }
}

/// Mounts what is not mounted yet.
pub fn mounts() {
    // Without /proc nobody has mounted anything before, but the kernel its devtmpfs.
    let fresh = MOUNTS.first().is_some_and(|proc| !proc.is_mounted());
    for m in MOUNTS {
        if !fresh && m.is_mounted() {
            continue;
        }
        if let Err(errno) = m.apply() {
            error!(
                "mount {} on {}: {}; going on without it",
                m.kind.to_string_lossy(),
                m.on.to_string_lossy(),
                words(errno)
            );
        }
    }
}

impl Mount {
    fn is_mounted(&self) -> bool {
        let device = |path: &CStr| stat(path).map(|stat| stat.st_dev);
        matches!((device(self.on), device(self.parent)), (Ok(on), Ok(parent)) if on != parent)
    }

    fn apply(&self) -> Result<(), Errno> {
        let mount = || mount(Some(self.kind), self.on, Some(self.kind), self.flags, self.data);
        match mount() {
            Err(Errno::ENOENT) => {
                let mode = Mode::from_bits_truncate(0o755);
                let _ = mkdir(self.parent, mode); // /var; what is wrong with it the next one says
                mkdir(self.on, mode)?;
                mount()
            }
            Err(Errno::EBUSY) => Ok(()), // the kernel's own devtmpfs
            other => other,
        }
    }
}

/// Sees to it that descriptors 0 to 2 are open: a file opened as one of them would get what is written to the console. With
/// a `/dev/console` in the initramfs the kernel has opened them.
pub fn console() {
    let open = |path: &str| OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    for _ in 0..entry::closed_standard().unwrap_or(0) {
        match open("/dev/console").or_else(|_| open("/dev/null")) {
            Ok(file) => drop(file.into_raw_fd()), // the lowest number that is free, so one of the three: stays open
            Err(_) => return warn!("neither /dev/console nor /dev/null can be opened; nothing is printed"),
        }
    }
}

/// Whether children have to take off PID 1's protection. Those of the boot, where time counts, do not.
static PROTECTED: AtomicBool = AtomicBool::new(false);

/// Keeps the kernel from ending PID 1 for want of memory: without PID 1 there is no device.
pub fn protect() {
    PROTECTED.store(true, Relaxed);
    if let Err(e) = std::fs::write("/proc/self/oom_score_adj", "-1000") {
        warn!("oom_score_adj: {e}; PID 1 is not protected");
    }
}

/// Gives a child of PID 1 an ordinary chance with the out-of-memory killer.
pub fn unprotect() {
    if PROTECTED.load(Relaxed) {
        let _ = std::fs::write("/proc/self/oom_score_adj", "0"); // without /proc there is no protection either
    }
}

/// Enables every controller that there is for the cgroups below the root.
fn controllers() {
    let root = "/sys/fs/cgroup";
    let there = std::fs::read_to_string(format!("{root}/cgroup.controllers")).unwrap_or_default();
    for wanted in ["cpu", "io", "memory", "pids", "cpuset"] {
        if !there.split_whitespace().any(|name| name == wanted) {
            warn!("cgroup controller {wanted} is not in this kernel; limits of that kind are refused");
        }
    }
    // All at once, or one after the other when one of them is refused.
    let control = format!("{root}/cgroup.subtree_control");
    let all: String = there.split_whitespace().map(|name| format!("+{name} ")).collect();
    if std::fs::write(&control, all.trim_end()).is_err() {
        for name in there.split_whitespace() {
            if let Err(e) = std::fs::write(&control, format!("+{name}")) {
                warn!("cgroup controller {name}: {e}; limits of that kind are refused");
            }
        }
    }
}

/// Hands the controllers on to the containers' cgroups, and moves PID 1, its log writer and what else was started in the root cgroup
/// into one of their own: there each of them would have no more of the processor than all pods together.
///
/// The kernel lets the root cgroup have processes, so this can wait until the containers run: moving a process takes
/// up to 50 ms with the lock that a container's start needs too. For the same reason a child does it.
pub fn cgroups() {
    controllers();
    let root = "/sys/fs/cgroup";
    let own = format!("{root}/init");
    // Whatever the pods are at, PID 1 answers: a hundred times the weight of all of them together.
    let weight = || std::fs::write(format!("{own}/cpu.weight"), "10000").or(Ok::<(), std::io::Error>(()));
    let enter = |pid: &str| std::fs::write(format!("{own}/cgroup.procs"), pid);
    let moved = std::fs::create_dir_all(&own).and_then(|()| weight()).and_then(|()| {
        for pid in std::fs::read_to_string(format!("{root}/cgroup.procs"))?.lines() {
            match enter(pid) {
                Err(e) if pid == "1" => return Err(e),
                _ => {} // threads of the kernel stay where they are; others have ended meanwhile
            }
        }
        Ok(())
    });
    if let Err(e) = moved {
        warn!("cgroup {own}: {e}; PID 1 stays in the root cgroup");
    }
}
