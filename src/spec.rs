//! `config.json` as it stands: runtime-spec's names and shape, every field optional, nothing checked but types: the rest is
//! up to [`plan`](crate::plan).

use crate::json::{List, Pairs, Str};
use crate::object;

mod resources;

pub use resources::*;

object! {
    /// The whole file; runtime-spec config.md.
    pub struct Spec<'a> {
        /// The version of runtime-spec that the file follows.
        oci_version: Str<'a> = "ociVersion",
        /// The container's program.
        process: Option<Process<'a>> = "process",
        /// The container's root filesystem.
        root: Option<Root<'a>> = "root",
        /// Name of the host as the container sees it.
        hostname: Option<Str<'a>> = "hostname",
        /// NIS domain name as the container sees it.
        domainname: Option<Str<'a>> = "domainname",
        /// Mounts, in order.
        mounts: List<Mount<'a>> = "mounts",
        /// Programs to run at points of the life cycle.
        hooks: Hooks<'a> = "hooks",
        /// Free text, shown by `state`.
        annotations: Pairs<'a, Str<'a>> = "annotations",
        /// What only Linux has.
        linux: Linux<'a> = "linux",
    }

    /// `process`
    pub struct Process<'a> {
        /// Whether it has a terminal.
        terminal: bool = "terminal",
        /// The terminal's first size.
        console_size: Option<ConsoleSize> = "consoleSize",
        /// Who it runs as.
        user: User<'a> = "user",
        /// Program and arguments.
        args: List<Str<'a>> = "args",
        /// `NAME=VALUE` each.
        env: List<Str<'a>> = "env",
        /// Working directory, absolute.
        cwd: Str<'a> = "cwd",
        /// Capability sets.
        capabilities: Option<Capabilities<'a>> = "capabilities",
        /// Resource limits.
        rlimits: List<Rlimit<'a>> = "rlimits",
        /// No privileges gained by execve.
        no_new_privileges: bool = "noNewPrivileges",
        /// `/proc/self/oom_score_adj`
        oom_score_adj: Option<i32> = "oomScoreAdj",
        /// AppArmor's profile.
        apparmor_profile: Option<Str<'a>> = "apparmorProfile",
        /// SELinux's label.
        selinux_label: Option<Str<'a>> = "selinuxLabel",
        /// When it gets the processor.
        scheduler: Option<Scheduler<'a>> = "scheduler",
        /// When it gets the disk.
        io_priority: Option<IoPriority<'a>> = "ioPriority",
        /// Which processors `exec` runs on.
        exec_cpu_affinity: Option<CpuAffinity<'a>> = "execCPUAffinity",
    }

    /// `process.scheduler`
    pub struct Scheduler<'a> {
        /// Such as `SCHED_BATCH`.
        policy: Str<'a> = "policy",
        /// For the policies that are not real-time ones.
        nice: i32 = "nice",
        /// For the real-time policies.
        priority: i32 = "priority",
        /// Such as `SCHED_FLAG_RESET_ON_FORK`.
        flags: List<Str<'a>> = "flags",
        /// For `SCHED_DEADLINE`, in nanoseconds.
        runtime: u64 = "runtime",
        /// For `SCHED_DEADLINE`, in nanoseconds.
        deadline: u64 = "deadline",
        /// For `SCHED_DEADLINE`, in nanoseconds.
        period: u64 = "period",
    }

    /// `process.ioPriority`
    pub struct IoPriority<'a> {
        /// Such as `IOPRIO_CLASS_BE`.
        class: Str<'a> = "class",
        /// From 0, the highest, to 7.
        priority: i32 = "priority",
    }

    /// `process.execCPUAffinity`: lists such as `0-3,7`.
    pub struct CpuAffinity<'a> {
        /// Before it enters the container's cgroup.
        before: Str<'a> = "initial",
        /// Once it is there.
        after: Str<'a> = "final",
    }

    /// `process.consoleSize`
    pub struct ConsoleSize {
        /// Rows.
        height: u16 = "height",
        /// Columns.
        width: u16 = "width",
    }

    /// `process.user`
    pub struct User<'a> {
        /// User id in the container.
        uid: u32 = "uid",
        /// Group id in the container.
        gid: u32 = "gid",
        /// File mode creation mask.
        umask: Option<u32> = "umask",
        /// Supplementary groups.
        additional_gids: List<u32> = "additionalGids",
        /// A name, for other platforms.
        username: Option<Str<'a>> = "username",
    }

    /// `process.capabilities`
    pub struct Capabilities<'a> {
        /// What it may ever have.
        bounding: List<Str<'a>> = "bounding",
        /// What it has.
        effective: List<Str<'a>> = "effective",
        /// What files may pass on.
        inheritable: List<Str<'a>> = "inheritable",
        /// What it may take.
        permitted: List<Str<'a>> = "permitted",
        /// What it keeps over execve.
        ambient: List<Str<'a>> = "ambient",
    }

    /// `process.rlimits[]`
    pub struct Rlimit<'a> {
        /// Such as `RLIMIT_NOFILE`.
        kind: Str<'a> = "type",
        /// The limit that counts.
        soft: u64 = "soft",
        /// How far the soft one may be raised.
        hard: u64 = "hard",
    }

    /// `root`
    pub struct Root<'a> {
        /// Absolute, or relative to the bundle.
        path: Str<'a> = "path",
        /// Whether it is mounted read-only.
        readonly: bool = "readonly",
    }

    /// `mounts[]`
    pub struct Mount<'a> {
        /// Where, in the container.
        destination: Str<'a> = "destination",
        /// A filesystem type, or `bind`.
        kind: Str<'a> = "type",
        /// A device, a path for bind mounts, or a name.
        source: Str<'a> = "source",
        /// Words as `mount -o` takes them.
        options: List<Str<'a>> = "options",
        /// Users as they show in a bind mount.
        uid_mappings: List<IdMapping> = "uidMappings",
        /// Groups as they show in a bind mount.
        gid_mappings: List<IdMapping> = "gidMappings",
    }

    /// `hooks`
    pub struct Hooks<'a> {
        /// Deprecated in runtime-spec, used by Docker.
        prestart: List<Hook<'a>> = "prestart",
        /// In the runtime's namespaces, before pivot_root.
        create_runtime: List<Hook<'a>> = "createRuntime",
        /// In the container's namespaces, before pivot_root.
        create_container: List<Hook<'a>> = "createContainer",
        /// In the container, before the program.
        start_container: List<Hook<'a>> = "startContainer",
        /// After the program was started.
        poststart: List<Hook<'a>> = "poststart",
        /// After the container was deleted.
        poststop: List<Hook<'a>> = "poststop",
    }

    /// `hooks.*[]`
    pub struct Hook<'a> {
        /// The program, absolute.
        path: Str<'a> = "path",
        /// Its arguments, its own name first.
        args: List<Str<'a>> = "args",
        /// All of its environment.
        env: List<Str<'a>> = "env",
        /// Seconds after which it is killed.
        timeout: Option<i64> = "timeout",
    }

    /// `linux`
    pub struct Linux<'a> {
        /// Namespaces made or joined.
        namespaces: List<Namespace<'a>> = "namespaces",
        /// The container's cgroup.
        cgroups_path: Option<Str<'a>> = "cgroupsPath",
        /// Limits.
        resources: Resources<'a> = "resources",
        /// Kernel parameters.
        sysctl: Pairs<'a, Str<'a>> = "sysctl",
        /// How mounts travel between the container and the host.
        rootfs_propagation: Option<Str<'a>> = "rootfsPropagation",
        /// Paths that read as empty.
        masked_paths: List<Str<'a>> = "maskedPaths",
        /// Paths that cannot be written.
        readonly_paths: List<Str<'a>> = "readonlyPaths",
        /// Device nodes besides the default ones.
        devices: List<Device<'a>> = "devices",
        /// Which system calls may be made.
        seccomp: Option<Seccomp<'a>> = "seccomp",
        /// Users of a new user namespace.
        uid_mappings: List<IdMapping> = "uidMappings",
        /// Groups of a new user namespace.
        gid_mappings: List<IdMapping> = "gidMappings",
        /// What the clocks of a new time namespace are ahead.
        time_offsets: Pairs<'a, TimeOffset> = "timeOffsets",
        /// SELinux's label of the container's mounts.
        mount_label: Option<Str<'a>> = "mountLabel",
        /// What system the kernel says it is.
        personality: Option<Personality<'a>> = "personality",
        /// A share of caches and memory bandwidth.
        intel_rdt: Option<IntelRdt<'a>> = "intelRdt",
        /// Which NUMA nodes memory comes from.
        memory_policy: Option<MemoryPolicy<'a>> = "memoryPolicy",
        /// Network devices of the host to move into the container, by their names.
        net_devices: Pairs<'a, NetDevice<'a>> = "netDevices",
    }

    /// `linux.intelRdt`
    pub struct IntelRdt<'a> {
        /// The group; the container's id when missing.
        clos_id: Str<'a> = "closID",
        /// Lines for the group's `schemata`.
        schemata: List<Str<'a>> = "schemata",
        /// One about level 3 caches.
        l3_cache_schema: Str<'a> = "l3CacheSchema",
        /// One about memory bandwidth.
        mem_bw_schema: Str<'a> = "memBwSchema",
        /// Whether the container gets a monitoring group.
        enable_monitoring: bool = "enableMonitoring",
        /// The same in older versions, for caches.
        enable_cmt: bool = "enableCMT",
        /// The same in older versions, for bandwidth.
        enable_mbm: bool = "enableMBM",
    }

    /// `linux.netDevices[]`
    pub struct NetDevice<'a> {
        /// Its name in the container; the same when missing.
        name: Str<'a> = "name",
    }

    /// `linux.devices[]`
    pub struct Device<'a> {
        /// `c`, `u`, `b` or `p`.
        kind: Str<'a> = "type",
        /// Where, in the container.
        path: Str<'a> = "path",
        /// Major number.
        major: Option<i64> = "major",
        /// Minor number.
        minor: Option<i64> = "minor",
        /// Permissions.
        file_mode: Option<u32> = "fileMode",
        /// Owner, in the container.
        uid: u32 = "uid",
        /// Group, in the container.
        gid: u32 = "gid",
    }

    /// `linux.personality`
    pub struct Personality<'a> {
        /// `LINUX` or `LINUX32`.
        domain: Str<'a> = "domain",
        /// runtime-spec defines none.
        flags: List<Str<'a>> = "flags",
    }

    /// `linux.memoryPolicy`
    pub struct MemoryPolicy<'a> {
        /// Such as `MPOL_BIND`.
        mode: Str<'a> = "mode",
        /// A list such as `0-3,7`.
        nodes: Str<'a> = "nodes",
        /// Such as `MPOL_F_STATIC_NODES`.
        flags: List<Str<'a>> = "flags",
    }

    /// `linux.timeOffsets.*`
    pub struct TimeOffset {
        /// Seconds, which may be below zero.
        secs: i64 = "secs",
        /// Nanoseconds on top.
        nanosecs: u32 = "nanosecs",
    }

    /// `linux.uidMappings[]` and the like
    pub struct IdMapping {
        /// The first id in the container.
        container_id: u32 = "containerID",
        /// The first id outside.
        host_id: u32 = "hostID",
        /// How many.
        size: u32 = "size",
    }

    /// `linux.seccomp`
    pub struct Seccomp<'a> {
        /// What becomes of a call that no rule names, such as `SCMP_ACT_ERRNO`.
        default_action: Str<'a> = "defaultAction",
        /// The error of a default action that gives one.
        default_errno_ret: Option<u32> = "defaultErrnoRet",
        /// Architectures beside the machine's own, such as `SCMP_ARCH_X86`.
        architectures: List<Str<'a>> = "architectures",
        /// Such as `SECCOMP_FILTER_FLAG_LOG`.
        flags: Option<List<Str<'a>>> = "flags",
        /// The socket of who answers for `SCMP_ACT_NOTIFY`.
        listener_path: Str<'a> = "listenerPath",
        /// Free text for them.
        listener_metadata: Str<'a> = "listenerMetadata",
        /// Rules.
        syscalls: List<SeccompRule<'a>> = "syscalls",
    }

    /// `linux.seccomp.syscalls[]`
    pub struct SeccompRule<'a> {
        /// The calls that it is about.
        names: List<Str<'a>> = "names",
        /// What becomes of them.
        action: Str<'a> = "action",
        /// The error of an action that gives one.
        errno_ret: Option<u32> = "errnoRet",
        /// Comparisons, all of which must hold.
        args: List<SeccompArg<'a>> = "args",
    }

    /// `linux.seccomp.syscalls[].args[]`
    pub struct SeccompArg<'a> {
        /// Which argument, from 0.
        index: u32 = "index",
        /// What it is compared with; the mask of a masked comparison.
        value: u64 = "value",
        /// What a masked comparison compares with.
        value_two: u64 = "valueTwo",
        /// Such as `SCMP_CMP_EQ`.
        op: Str<'a> = "op",
    }

    /// `linux.namespaces[]`
    pub struct Namespace<'a> {
        /// Such as `pid`.
        kind: Str<'a> = "type",
        /// Of one to join; a new one is made without it.
        path: Option<Str<'a>> = "path",
    }
}
