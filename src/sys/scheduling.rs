//! Who gets the processor, the disk and which memory: sched(7), ioprio_set(2), numa(7), personality(2). Each call is about
//! the calling thread or, where it takes a `pid`, about that process; 0 is the caller.

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::checked;

/// `struct sched_attr`, with the fields of Linux 5.3.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SchedAttr {
    /// Set by [`sched_setattr`].
    pub size: u32,
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub period: u64,
    /// For `SCHED_FLAG_UTIL_CLAMP_MIN`; runtime-spec has no value for it.
    pub util_min: u32,
    /// For `SCHED_FLAG_UTIL_CLAMP_MAX`; runtime-spec has no value for it.
    pub util_max: u32,
}
const _: () = assert!(size_of::<SchedAttr>() == 56);

/// `sched_setattr(2)`. Linux 3.14.
/// Errors: `EPERM`, also without real-time bandwidth in the cgroup (v1); `EBUSY` when deadlines cannot be met;
/// `EOPNOTSUPP` for utilisation clamps that the kernel was built without; `EINVAL`.
pub fn sched_setattr(pid: i32, attr: &SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: 56, ..*attr };
    // SAFETY: `attr` is a whole sched_attr of the size that it names, and outlives the call.
    checked(unsafe { syscall!(Sysno::sched_setattr, pid, &raw const attr, 0) }).map(drop)
}

/// `sched_setaffinity(2)`: the processors to run on, a bit for each.
/// Errors: `EINVAL` when none of them is there and allowed by the cgroup.
pub fn sched_setaffinity(pid: i32, processors: &[u64]) -> Result<(), Errno> {
    let (bits, len) = (processors.as_ptr(), size_of_val(processors));
    // SAFETY: the kernel reads `len` bytes of a live slice.
    checked(unsafe { syscall!(Sysno::sched_setaffinity, pid, len, bits) }).map(drop)
}

/// `ioprio_set(2)`: class in the upper three bits, level in the lower thirteen.
/// Errors: `EPERM` for the real-time class without CAP_SYS_NICE.
pub fn ioprio_set(pid: i32, priority: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) }).map(drop)
}

/// `set_mempolicy(2)`: mode and flags, and a bit for each node.
/// Errors: `EINVAL` for nodes that are not there or not allowed, and for what the kernel is too old for; `ENOSYS`
/// without NUMA.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel takes one off this number before it reads bits; set_mempolicy(2) "BUGS" of old.
    let bits = size_of_val(nodes) * 8 + 1;
    // SAFETY: the kernel reads `bits - 1` bits of a live slice.
    checked(unsafe { syscall!(Sysno::set_mempolicy, mode, nodes.as_ptr(), bits) }).map(drop)
}

/// `personality(2)`: what the calling thread's programs take the system for.
pub fn personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(unsafe { syscall!(Sysno::personality, persona) }).map(drop)
}
