//! `RuntimeDefault`: the profile for a container whose author asks for "the runtime's own".
//!
//! It allows every call that this version of mote knows by name but for those of [`DENIED`], which fail with EPERM. A call
//! that came later is not there (ENOSYS): a kernel newer than mote opens nothing.

use super::names::{ARCHES, NATIVE, Name};
use super::profile::{ALLOW, Condition, ERRNO, Operator, Profile, Rule};

/// Calls that a container does not get, unless it has a capability.
#[derive(Debug)]
pub struct Group {
    /// Why not.
    pub reason: &'static str,
    /// The number of the capability with which it gets them.
    pub unless: Option<u8>,
    /// The names, with spaces in between.
    pub calls: &'static str,
}

const fn group(reason: &'static str, unless: Option<u8>, calls: &'static str) -> Group {
    Group { reason, unless, calls }
}

// CAP_* of linux/capability.h
const DAC_READ_SEARCH: Option<u8> = Some(2);
const SYS_MODULE: Option<u8> = Some(16);
const SYS_RAWIO: Option<u8> = Some(17);
const SYS_PTRACE: Option<u8> = Some(19);
const SYS_PACCT: Option<u8> = Some(20);
const SYS_ADMIN: Option<u8> = Some(21);
const SYS_BOOT: Option<u8> = Some(22);
const SYS_NICE: Option<u8> = Some(23);
const SYS_TIME: Option<u8> = Some(25);
const SYS_TTY_CONFIG: Option<u8> = Some(26);
const SYSLOG: Option<u8> = Some(34);
const PERFMON: Option<u8> = Some(38);
const BPF: Option<u8> = Some(39);

/// What is denied, and why. Docker, containerd and Podman deny much the same.
pub const DENIED: &[Group] = &[
    group(
        "run code in the kernel",
        SYS_MODULE,
        "create_module delete_module finit_module get_kernel_syms init_module query_module",
    ),
    group("end or replace the kernel that all share", SYS_BOOT, "kexec_file_load kexec_load reboot"),
    group(
        "change what is mounted: the way out of masked and read-only paths",
        SYS_ADMIN,
        "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root umount umount2",
    ),
    // clone is allowed without the flags for them, and clone3, whose flags are behind a pointer, is not there.
    group(
        "new namespaces give access to kernel code meant for root",
        SYS_ADMIN,
        "clone clone3 setns unshare",
    ),
    group(
        "belongs to the device, not to a container",
        SYS_ADMIN,
        "quotactl quotactl_fd setdomainname sethostname swapoff swapon",
    ),
    group("the clock is everybody's", SYS_TIME, "clock_settime clock_settime64 settimeofday stime"),
    group("process accounting is the device's", SYS_PACCT, "acct"),
    group("programs in the kernel; a wide surface with a history of holes", BPF, "bpf"),
    group("sees all processes, and has a history of holes", PERFMON, "perf_event_open"),
    group("sees all accesses to a file system", SYS_ADMIN, "fanotify_init lookup_dcookie"),
    group("key rings know no namespaces", None, "add_key keyctl request_key"),
    group("its operations pass by this filter", None, "io_uring_enter io_uring_register io_uring_setup"),
    group(
        "holds the kernel in the middle of a page fault, which exploits of races need",
        SYS_PTRACE,
        "userfaultfd",
    ),
    group(
        "reach into other processes",
        SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev",
    ),
    group("opens files by number, past the root of the container", DAC_READ_SEARCH, "open_by_handle_at"),
    group(
        "access to hardware",
        SYS_RAWIO,
        "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write vm86 vm86old",
    ),
    group(
        "placement of memory is the device's",
        SYS_NICE,
        "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node",
    ),
    group("the kernel's log shows addresses and other containers", SYSLOG, "syslog"),
    group("ends the sessions of terminals", SYS_TTY_CONFIG, "vhangup"),
    group(
        "old, and used by nobody",
        None,
        "_sysctl afs_syscall bdflush getpmsg nfsservctl putpmsg security sysfs tuxcall uselib ustat vserver",
    ),
    // Allowed below for the families and the values that are not the reason.
    group(
        "families of the kernel's crypto and of the hypervisor, which no namespace holds back",
        None,
        "socket",
    ),
    group("the rarer ones weaken the kernel's protection of memory", None, "personality"),
];

/// The flags of clone(2) that make namespaces.
const CLONE_NEW: u64 = 0x7e02_0000;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// Linux, 32 bits of it, Linux 2.6 in `uname`, both, and the question which it is; personality(2).
const PERSONALITIES: [u64; 5] = [0, 8, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// The profile for a container with these capabilities, a bit each.
pub fn profile(capabilities: u64) -> Profile {
    let mut profile = Profile::new(ERRNO | libc::EPERM.unsigned_abs());
    // 32-bit programs of the same machine, but not x32, which nobody ships. What goes through x86's socketcall cannot be
    // told by its family.
    let others = ARCHES.iter().filter(|arch| arch.runs_on(NATIVE) && arch.bit == 0);
    profile.arches.extend(others.filter(|arch| arch.audit != NATIVE.audit));
    let denied = |name: &str| {
        DENIED.iter().any(|group| {
            let has = group.unless.is_some_and(|number| capabilities >> number & 1 == 1);
            !has && group.calls.split(' ').any(|call| call == name)
        })
    };
    allow(&mut profile, Vec::new(), Name::all().filter(|name| !denied(name.text())));
    profile.named = Name::all().collect();

    let comparison = |operator, value, mask| vec![Condition { argument: 0, operator, value, mask }];
    let one = |name| Name::of(name).filter(|_| denied(name));
    allow(&mut profile, comparison(Operator::MaskedEq, 0, CLONE_NEW), one("clone").into_iter());
    if let Some(clone3) = one("clone3") {
        // As if the kernel had none: C libraries go on with clone.
        profile.rules.push(Rule { verdict: ERRNO | libc::ENOSYS.unsigned_abs(), conditions: Vec::new() });
        profile.entries.push((clone3, profile.rules.len() - 1));
    }
    for (operator, family) in [(Operator::Lt, AF_ALG), (Operator::Eq, AF_ALG + 1), (Operator::Gt, AF_VSOCK)] {
        allow(&mut profile, comparison(operator, family, u64::MAX), one("socket").into_iter());
    }
    for value in PERSONALITIES {
        allow(&mut profile, comparison(Operator::Eq, value, u64::MAX), one("personality").into_iter());
    }
    profile
}

fn allow(profile: &mut Profile, conditions: Vec<Condition>, names: impl Iterator<Item = Name>) {
    let rule = profile.rules.len();
    profile.rules.push(Rule { verdict: ALLOW, conditions });
    profile.entries.extend(names.map(|name| (name, rule)));
}

#[cfg(test)]
mod tests {
    use super::super::assembler::{Call, run};
    use super::super::compile::compile;
    use super::*;

    fn says(capabilities: u64, name: &str, first: u64) -> u32 {
        let program = compile(&profile(capabilities)).unwrap_or_default();
        let number = Name::of(name).and_then(|name| NATIVE.number(name)).unwrap_or(u32::MAX);
        let call = Call { number, arch: NATIVE.audit, arguments: [first, 0, 0, 0, 0, 0] };
        run(&program, &call).map_or(u32::MAX, |run| run.verdict)
    }

    #[test]
    fn every_denied_call_exists_and_stands_once() {
        let mut seen = std::collections::HashSet::new();
        for call in DENIED.iter().flat_map(|group| group.calls.split(' ')) {
            assert!(Name::of(call).is_some(), "{call} is no call");
            assert!(seen.insert(call), "{call} stands twice");
        }
    }

    #[test]
    fn no_group_can_be_left_out() {
        // With all capabilities only the groups without one are left.
        let (eperm, enosys) = (ERRNO | 1, ERRNO | 38);
        for group in DENIED {
            let native = group
                .calls
                .split(' ')
                .filter(|call| Name::of(call).is_some_and(|n| NATIVE.number(n).is_some()));
            for call in native.filter(|call| !matches!(*call, "clone" | "clone3" | "socket" | "personality"))
            {
                assert_eq!(says(0, call, 0), eperm, "{call}");
                let all = says(u64::MAX, call, 0);
                assert_eq!(all == ALLOW, group.unless.is_some(), "{call}");
            }
        }
        assert_eq!(says(0, "clone3", 0), enosys);
        assert_eq!(says(1 << 21, "clone3", 0), ALLOW);
    }

    #[test]
    fn arguments_tell_what_is_harmless() {
        let eperm = ERRNO | 1;
        for (name, first, verdict) in [
            ("clone", 0x11, ALLOW),
            ("clone", 0x1000_0000, eperm),
            ("socket", 2, ALLOW),
            ("socket", 38, eperm),
            ("socket", 39, ALLOW),
            ("socket", 40, eperm),
            ("socket", 41, ALLOW),
            ("personality", 0, ALLOW),
            ("personality", 0x0040_0000, eperm),
            ("read", 0, ALLOW),
            ("execve", 0, ALLOW),
        ] {
            assert_eq!(says(0, name, first), verdict, "{name}({first:#x})");
        }
        assert_eq!(says(1 << 21, "clone", 0x1000_0000), ALLOW);
        let later = Call { number: 9999, arch: NATIVE.audit, arguments: [0; 6] };
        let program = compile(&profile(u64::MAX)).unwrap_or_default();
        assert_eq!(run(&program, &later).map(|run| run.verdict), Some(ERRNO | 38));
    }
}
