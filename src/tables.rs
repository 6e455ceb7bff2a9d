//! Names to numbers: mount options, capabilities, limits, signals, namespaces, sysctls. Rows carry their key.

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use crate::sys::clone::CLONE_NEWTIME;
use crate::sys::mount::attr;

/// What one mount option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Sets and clears flags of this mount.
    Flags {
        /// Bits to set.
        set: MsFlags,
        /// Bits to clear.
        clear: MsFlags,
    },
    /// Sets and clears `MOUNT_ATTR_*` of this mount and all below it. Linux 5.12.
    Recursive {
        /// Bits to set.
        set: u64,
        /// Bits to clear.
        clear: u64,
    },
    /// Changes the propagation type after everything else.
    Propagation(MsFlags),
    /// Makes it a bind mount, with `MS_REC` a recursive one.
    Bind(MsFlags),
    /// Something that is no flag of the kernel's.
    Special(Special),
    /// Changes nothing: the default.
    Nothing,
}

/// Options that mote itself acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A tmpfs begins with a copy of what it covers.
    CopyUp,
    /// The ids of a bind mount, with `true` of all mounts below it too, are mapped.
    Idmap(bool),
    /// A source that is a symlink is made anew instead of being bound.
    CopySymlink,
    /// A source that is a symlink is bound itself.
    SourceNofollow,
    /// A target that is a symlink is mounted on itself.
    TargetNofollow,
}

/// One row of [`MOUNT_OPTIONS`].
#[derive(Debug)]
pub struct MountOption {
    /// The word.
    pub name: &'static str,
    /// What it does.
    pub effect: Effect,
}

const NONE: MsFlags = MsFlags::empty();
const fn set(name: &'static str, set: MsFlags) -> MountOption {
    MountOption { name, effect: Effect::Flags { set, clear: NONE } }
}
const fn clear(name: &'static str, clear: MsFlags) -> MountOption {
    MountOption { name, effect: Effect::Flags { set: NONE, clear } }
}
const fn below(name: &'static str, set: u64, clear: u64) -> MountOption {
    MountOption { name, effect: Effect::Recursive { set, clear } }
}
const fn propagation(name: &'static str, kind: MsFlags) -> MountOption {
    MountOption { name, effect: Effect::Propagation(kind) }
}
const fn special(name: &'static str, what: Special) -> MountOption {
    MountOption { name, effect: Effect::Special(what) }
}
const fn bind(name: &'static str, kind: MsFlags) -> MountOption {
    MountOption { name, effect: Effect::Bind(kind) }
}

/// `MS_NOSYMFOLLOW`, Linux 5.10, which libc does not name for musl.
pub const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// Mount options that are flags; any other word is handed to the filesystem. runtime-spec config.md "Mounts",
/// mount(8), mount_setattr(2).
pub const MOUNT_OPTIONS: &[MountOption] = &[
    MountOption { name: "defaults", effect: Effect::Nothing },
    bind("bind", MsFlags::MS_BIND),
    bind("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    set("ro", MsFlags::MS_RDONLY),
    clear("rw", MsFlags::MS_RDONLY),
    set("nosuid", MsFlags::MS_NOSUID),
    clear("suid", MsFlags::MS_NOSUID),
    set("nodev", MsFlags::MS_NODEV),
    clear("dev", MsFlags::MS_NODEV),
    set("noexec", MsFlags::MS_NOEXEC),
    clear("exec", MsFlags::MS_NOEXEC),
    set("nosymfollow", MS_NOSYMFOLLOW),
    clear("symfollow", MS_NOSYMFOLLOW),
    set("noatime", MsFlags::MS_NOATIME),
    clear("atime", MsFlags::MS_NOATIME),
    set("nodiratime", MsFlags::MS_NODIRATIME),
    clear("diratime", MsFlags::MS_NODIRATIME),
    set("relatime", MsFlags::MS_RELATIME),
    clear("norelatime", MsFlags::MS_RELATIME),
    set("strictatime", MsFlags::MS_STRICTATIME),
    clear("nostrictatime", MsFlags::MS_STRICTATIME),
    set("sync", MsFlags::MS_SYNCHRONOUS),
    clear("async", MsFlags::MS_SYNCHRONOUS),
    set("dirsync", MsFlags::MS_DIRSYNC),
    set("mand", MsFlags::MS_MANDLOCK),
    clear("nomand", MsFlags::MS_MANDLOCK),
    set("silent", MsFlags::MS_SILENT),
    clear("loud", MsFlags::MS_SILENT),
    set("iversion", MsFlags::MS_I_VERSION),
    clear("noiversion", MsFlags::MS_I_VERSION),
    set("lazytime", MsFlags::MS_LAZYTIME),
    clear("nolazytime", MsFlags::MS_LAZYTIME),
    set("remount", MsFlags::MS_REMOUNT),
    propagation("private", MsFlags::MS_PRIVATE),
    propagation("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    propagation("shared", MsFlags::MS_SHARED),
    propagation("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    propagation("slave", MsFlags::MS_SLAVE),
    propagation("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    propagation("unbindable", MsFlags::MS_UNBINDABLE),
    propagation("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
    below("rro", attr::RDONLY, 0),
    below("rrw", 0, attr::RDONLY),
    below("rnosuid", attr::NOSUID, 0),
    below("rsuid", 0, attr::NOSUID),
    below("rnodev", attr::NODEV, 0),
    below("rdev", 0, attr::NODEV),
    below("rnoexec", attr::NOEXEC, 0),
    below("rexec", 0, attr::NOEXEC),
    below("rnosymfollow", attr::NOSYMFOLLOW, 0),
    below("rsymfollow", 0, attr::NOSYMFOLLOW),
    below("rnodiratime", attr::NODIRATIME, 0),
    below("rdiratime", 0, attr::NODIRATIME),
    below("rrelatime", attr::RELATIME, attr::ATIME),
    below("rnorelatime", 0, attr::ATIME),
    below("rnoatime", attr::NOATIME, attr::ATIME),
    below("ratime", 0, attr::ATIME),
    below("rstrictatime", attr::STRICTATIME, attr::ATIME),
    below("rnostrictatime", 0, attr::ATIME),
    special("tmpcopyup", Special::CopyUp),
    special("idmap", Special::Idmap(false)),
    special("ridmap", Special::Idmap(true)),
    special("copy-symlink", Special::CopySymlink),
    special("src-nofollow", Special::SourceNofollow),
    special("dest-nofollow", Special::TargetNofollow),
];

/// The `MOUNT_ATTR_*` that a mount's own `MS_*` flags stand for: what a bind mount can change.
pub const MOUNT_ATTRIBUTES: &[(MsFlags, u64)] = &[
    (MsFlags::MS_RDONLY, attr::RDONLY),
    (MsFlags::MS_NOSUID, attr::NOSUID),
    (MsFlags::MS_NODEV, attr::NODEV),
    (MsFlags::MS_NOEXEC, attr::NOEXEC),
    (MS_NOSYMFOLLOW, attr::NOSYMFOLLOW),
    (MsFlags::MS_NODIRATIME, attr::NODIRATIME),
    (MsFlags::MS_NOATIME, attr::NOATIME),
    (MsFlags::MS_STRICTATIME, attr::STRICTATIME),
];

/// Values of `linux.rootfsPropagation`. Those with an r are no words of the specification: Podman and Docker write them,
/// for a volume that has the option, and mean the same.
pub const ROOTFS_PROPAGATION: &[(&str, MsFlags)] = &[
    ("shared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("private", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

/// Capabilities by number; `include/uapi/linux/capability.h`.
pub const CAPABILITIES: &[(&str, u8)] = &[
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_LINUX_IMMUTABLE", 9),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_NET_BROADCAST", 11),
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_IPC_LOCK", 14),
    ("CAP_IPC_OWNER", 15),
    ("CAP_SYS_MODULE", 16),
    ("CAP_SYS_RAWIO", 17),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_PACCT", 20),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_BOOT", 22),
    ("CAP_SYS_NICE", 23),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_SYS_TIME", 25),
    ("CAP_SYS_TTY_CONFIG", 26),
    ("CAP_MKNOD", 27),
    ("CAP_LEASE", 28),
    ("CAP_AUDIT_WRITE", 29),
    ("CAP_AUDIT_CONTROL", 30),
    ("CAP_SETFCAP", 31),
    ("CAP_MAC_OVERRIDE", 32),
    ("CAP_MAC_ADMIN", 33),
    ("CAP_SYSLOG", 34),
    ("CAP_WAKE_ALARM", 35),
    ("CAP_BLOCK_SUSPEND", 36),
    ("CAP_AUDIT_READ", 37),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
    ("CAP_CHECKPOINT_RESTORE", 40),
];

/// One past the highest capability that any kernel to come could know: the sets are 64 bits wide.
pub const CAPABILITY_LIMIT: u8 = 64;

/// Resource limits; getrlimit(2).
pub const RLIMITS: &[(&str, nix::sys::resource::Resource)] = {
    use nix::sys::resource::Resource::*;
    &[
        ("RLIMIT_AS", RLIMIT_AS),
        ("RLIMIT_CORE", RLIMIT_CORE),
        ("RLIMIT_CPU", RLIMIT_CPU),
        ("RLIMIT_DATA", RLIMIT_DATA),
        ("RLIMIT_FSIZE", RLIMIT_FSIZE),
        ("RLIMIT_LOCKS", RLIMIT_LOCKS),
        ("RLIMIT_MEMLOCK", RLIMIT_MEMLOCK),
        ("RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE),
        ("RLIMIT_NICE", RLIMIT_NICE),
        ("RLIMIT_NOFILE", RLIMIT_NOFILE),
        ("RLIMIT_NPROC", RLIMIT_NPROC),
        ("RLIMIT_RSS", RLIMIT_RSS),
        ("RLIMIT_RTPRIO", RLIMIT_RTPRIO),
        ("RLIMIT_RTTIME", RLIMIT_RTTIME),
        ("RLIMIT_SIGPENDING", RLIMIT_SIGPENDING),
        ("RLIMIT_STACK", RLIMIT_STACK),
    ]
};

/// Namespaces by runtime-spec's word; namespaces(7).
pub const NAMESPACES: &[(&str, CloneFlags)] = &[
    ("pid", CloneFlags::CLONE_NEWPID),
    ("network", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("mount", CloneFlags::CLONE_NEWNS),
    ("user", CloneFlags::CLONE_NEWUSER),
    ("time", CLONE_NEWTIME),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// Sysctls that belong to a namespace, by the first words of their name, and the namespace that must be the
/// container's own. A name ending in `.` stands for all below it. Anything else would change the host.
pub const SYSCTLS: &[(&str, CloneFlags)] = &[
    ("net.", CloneFlags::CLONE_NEWNET),
    ("fs.mqueue.", CloneFlags::CLONE_NEWIPC),
    ("kernel.msgmax", CloneFlags::CLONE_NEWIPC),
    ("kernel.msgmnb", CloneFlags::CLONE_NEWIPC),
    ("kernel.msgmni", CloneFlags::CLONE_NEWIPC),
    ("kernel.sem", CloneFlags::CLONE_NEWIPC),
    ("kernel.shmall", CloneFlags::CLONE_NEWIPC),
    ("kernel.shmmax", CloneFlags::CLONE_NEWIPC),
    ("kernel.shmmni", CloneFlags::CLONE_NEWIPC),
    ("kernel.shm_rmid_forced", CloneFlags::CLONE_NEWIPC),
    ("kernel.hostname", CloneFlags::CLONE_NEWUTS),
    ("kernel.domainname", CloneFlags::CLONE_NEWUTS),
    ("user.", CloneFlags::CLONE_NEWUSER),
];

/// Scheduling policies; sched(7). `SCHED_ISO` has a number and no implementation in Linux.
pub const SCHEDULER_POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// Flags of `sched_setattr(2)`.
pub const SCHEDULER_FLAGS: &[(&str, u32)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// Classes of `ioprio_set(2)`.
pub const IO_CLASSES: &[(&str, u32)] =
    &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// Domains of `personality(2)`.
pub const PERSONALITIES: &[(&str, u32)] = &[("LINUX", 0), ("LINUX32", 8)];

/// Modes of `set_mempolicy(2)`.
pub const MEMORY_MODES: &[(&str, u32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags of `set_mempolicy(2)`, to be added to the mode.
pub const MEMORY_FLAGS: &[(&str, u32)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// The first number of the real-time signals as a program sees them: the C library keeps 32 and 33.
const SIGRTMIN: i32 = 34;
/// The last signal there is.
const SIGRTMAX: i32 = 64;

/// The names of the signals from 1 on; signal(7), for the architectures that mote is built for.
const SIGNALS: &str = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN \
    TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";

/// A signal by number (`9`), name (`KILL`, `SIGKILL`) or real-time name (`RTMIN+3`, `SIGRTMAX-1`); signal(7).
pub fn signal(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse::<i32>() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => SIGRTMIN,
        (_, Some("")) => SIGRTMAX,
        (Some(more), _) => SIGRTMIN + more.strip_prefix('+')?.parse::<u8>().map(i32::from).ok()?,
        (_, Some(less)) => SIGRTMAX - less.strip_prefix('-')?.parse::<u8>().map(i32::from).ok()?,
        _ => (1..).zip(SIGNALS.split(' ')).find(|(_, signal)| *signal == name)?.0,
    };
    (1..=SIGRTMAX).contains(&number).then_some(number)
}

/// The value beside `name` in a table of pairs.
pub fn lookup<T: Copy>(table: &[(&'static str, T)], name: crate::json::Str<'_>) -> Option<T> {
    table.iter().find(|(key, _)| name == *key).map(|(_, value)| *value)
}

/// The keys of a table, for saying what is allowed.
pub fn names<T>(table: &[(&'static str, T)]) -> String {
    table.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_differ(names: impl Iterator<Item = &'static str>) {
        let mut seen = std::collections::HashSet::new();
        names.for_each(|name| assert!(seen.insert(name), "{name} stands twice"));
    }

    #[test]
    fn no_name_stands_twice() {
        all_differ(MOUNT_OPTIONS.iter().map(|row| row.name));
        all_differ(CAPABILITIES.iter().map(|row| row.0));
        all_differ(RLIMITS.iter().map(|row| row.0));
        all_differ(NAMESPACES.iter().map(|row| row.0));
        all_differ(SYSCTLS.iter().map(|row| row.0));
        for table in
            [SCHEDULER_POLICIES, SCHEDULER_FLAGS, IO_CLASSES, PERSONALITIES, MEMORY_MODES, MEMORY_FLAGS]
        {
            all_differ(table.iter().map(|row| row.0));
        }
    }

    #[test]
    fn signals_have_numbers_names_and_real_time_names() {
        for (word, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("64", 64),
        ] {
            assert_eq!(signal(word), Some(number), "{word}");
        }
        for known in nix::sys::signal::Signal::iterator() {
            assert_eq!(signal(known.as_str()), Some(known as i32));
        }
        for word in ["", "0", "65", "-1", "SIG", "SIGFOO", "RTMIN+31", "RTMAX-64", "RTMIN-1", "KILL "] {
            assert_eq!(signal(word), None, "{word}");
        }
    }
}
