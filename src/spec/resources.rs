//! `linux.resources`, which `update` reads as a document of its own as well. Zero is what engines write for "leave it".

use crate::json::{List, Pairs, Str};
use crate::object;

object! {
    /// `linux.resources`
    pub struct Resources<'a> {
        /// Which devices may be used; the last rule that fits counts.
        devices: List<DeviceRule<'a>> = "devices",
        /// Memory and swap.
        memory: Memory = "memory",
        /// Processor time, and which processors.
        cpu: Cpu<'a> = "cpu",
        /// Number of processes.
        pids: Pids = "pids",
        /// Block devices.
        block_io: BlockIo = "blockIO",
        /// Huge pages, by size.
        hugepage_limits: List<HugepageLimit<'a>> = "hugepageLimits",
        /// Marks on packets; cgroup v1 alone.
        network: Network<'a> = "network",
        /// RDMA devices, by name.
        rdma: Pairs<'a, Rdma> = "rdma",
        /// Files of cgroup v2 and what is written to them.
        unified: Pairs<'a, Str<'a>> = "unified",
    }

    /// `linux.resources.devices[]`
    pub struct DeviceRule<'a> {
        /// Allow, or deny.
        allow: bool = "allow",
        /// `a`, `b` or `c`; all when missing.
        kind: Option<Str<'a>> = "type",
        /// Major number; any when missing or -1.
        major: Option<i64> = "major",
        /// Minor number; any when missing or -1.
        minor: Option<i64> = "minor",
        /// Some of `r`, `w`, `m`; all when missing.
        access: Option<Str<'a>> = "access",
    }

    /// `linux.resources.memory`: bytes, -1 for no limit.
    pub struct Memory {
        /// The most that may be used.
        limit: i64 = "limit",
        /// What is not taken away while others have some to spare.
        reservation: i64 = "reservation",
        /// Memory and swap together.
        swap: i64 = "swap",
        /// Deprecated; cgroup v1 alone.
        kernel: i64 = "kernel",
        /// Deprecated; cgroup v1 alone.
        kernel_tcp: i64 = "kernelTCP",
        /// Percent, -1 as well for "leave it"; cgroup v1 alone.
        swappiness: Option<u64> = "swappiness",
        /// Whether the OOM killer is off; cgroup v1 alone.
        disable_oom_killer: bool = "disableOOMKiller",
        /// Whether limits hold for cgroups below; always so since Linux 5.11.
        use_hierarchy: bool = "useHierarchy",
        /// Whether a limit below what is used now is refused.
        check_before_update: bool = "checkBeforeUpdate",
    }

    /// `linux.resources.cpu`
    pub struct Cpu<'a> {
        /// Relative weight in the terms of cgroup v1, from 2 to 262144.
        shares: u64 = "shares",
        /// Microseconds a period, -1 for no limit.
        quota: i64 = "quota",
        /// Microseconds that may be saved up.
        burst: Option<u64> = "burst",
        /// Microseconds.
        period: u64 = "period",
        /// Microseconds; cgroup v1 alone.
        realtime_runtime: i64 = "realtimeRuntime",
        /// Microseconds; cgroup v1 alone.
        realtime_period: u64 = "realtimePeriod",
        /// 1 for SCHED_IDLE.
        idle: Option<i64> = "idle",
        /// CPU list.
        cpus: Str<'a> = "cpus",
        /// Memory node list.
        mems: Str<'a> = "mems",
    }

    /// `linux.resources.pids`
    pub struct Pids {
        /// Processes, -1 for any number.
        limit: Option<i64> = "limit",
    }

    /// `linux.resources.blockIO`
    pub struct BlockIo {
        /// Relative weight, from 10 to 1000.
        weight: u16 = "weight",
        /// Relative weight of the container's own tasks; cgroup v1 alone.
        leaf_weight: u16 = "leafWeight",
        /// Weights of single devices.
        weight_device: List<WeightDevice> = "weightDevice",
        /// Bytes read a second.
        throttle_read_bps_device: List<ThrottleDevice> = "throttleReadBpsDevice",
        /// Bytes written a second.
        throttle_write_bps_device: List<ThrottleDevice> = "throttleWriteBpsDevice",
        /// Reads a second.
        throttle_read_iops_device: List<ThrottleDevice> = "throttleReadIOPSDevice",
        /// Writes a second.
        throttle_write_iops_device: List<ThrottleDevice> = "throttleWriteIOPSDevice",
    }

    /// `linux.resources.blockIO.weightDevice[]`
    pub struct WeightDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// As for the cgroup.
        weight: u16 = "weight",
        /// As for the cgroup.
        leaf_weight: u16 = "leafWeight",
    }

    /// `linux.resources.blockIO.throttle*Device[]`
    pub struct ThrottleDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// A second; 0 for no limit.
        rate: u64 = "rate",
    }

    /// `linux.resources.hugepageLimits[]`
    pub struct HugepageLimit<'a> {
        /// Such as `2MB`.
        page_size: Str<'a> = "pageSize",
        /// Bytes.
        limit: u64 = "limit",
    }

    /// `linux.resources.network`
    pub struct Network<'a> {
        /// Class of net_cls.
        class_id: u32 = "classID",
        /// Priorities of net_prio, by interface.
        priorities: List<Priority<'a>> = "priorities",
    }

    /// `linux.resources.network.priorities[]`
    pub struct Priority<'a> {
        /// Name of an interface.
        name: Str<'a> = "name",
        /// Its priority.
        priority: u32 = "priority",
    }

    /// `linux.resources.rdma["device"]`
    pub struct Rdma {
        /// Handles.
        hca_handles: Option<u32> = "hcaHandles",
        /// Objects.
        hca_objects: Option<u32> = "hcaObjects",
    }
}
