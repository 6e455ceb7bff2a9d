//! What this version does not do yet. Each is refused by name: a limit or a filter that is silently left out would
//! leave a container with more than its author meant.

use super::{Checked, Spec};

/// The same for all of them.
pub const WHY: &str = "this version of mote cannot do it yet, and does not run without it";

/// Refuses the first field that asks for something mote does not do.
pub fn refuse(spec: &Spec<'_>) -> Checked<()> {
    let (linux, resources) = (&spec.linux, &spec.linux.resources);
    let (memory, cpu, block) = (&resources.memory, &resources.cpu, &resources.block_io);
    let asked = [
        (linux.intel_rdt.0, "linux.intelRdt"),
        (!linux.net_devices.is_empty(), "linux.netDevices"),
        // Zero, and minus one, are how engines write "no limit".
        (memory.limit > 0, "linux.resources.memory.limit"),
        (memory.reservation > 0, "linux.resources.memory.reservation"),
        (memory.swap > 0, "linux.resources.memory.swap"),
        (memory.swappiness.is_some(), "linux.resources.memory.swappiness"),
        (memory.disable_oom_killer, "linux.resources.memory.disableOOMKiller"),
        (cpu.shares != 0, "linux.resources.cpu.shares"),
        (cpu.quota > 0, "linux.resources.cpu.quota"),
        (cpu.burst != 0, "linux.resources.cpu.burst"),
        (cpu.period != 0, "linux.resources.cpu.period"),
        (cpu.realtime_runtime != 0, "linux.resources.cpu.realtimeRuntime"),
        (cpu.realtime_period != 0, "linux.resources.cpu.realtimePeriod"),
        (cpu.idle != 0, "linux.resources.cpu.idle"),
        (!cpu.cpus.is_empty(), "linux.resources.cpu.cpus"),
        (!cpu.mems.is_empty(), "linux.resources.cpu.mems"),
        (resources.pids.limit > 0, "linux.resources.pids.limit"),
        (block.weight != 0, "linux.resources.blockIO.weight"),
        (block.leaf_weight != 0, "linux.resources.blockIO.leafWeight"),
        (!block.weight_device.is_empty(), "linux.resources.blockIO.weightDevice"),
        (!block.throttle_read_bps_device.is_empty(), "linux.resources.blockIO.throttleReadBpsDevice"),
        (!block.throttle_write_bps_device.is_empty(), "linux.resources.blockIO.throttleWriteBpsDevice"),
        (!block.throttle_read_iops_device.is_empty(), "linux.resources.blockIO.throttleReadIOPSDevice"),
        (!block.throttle_write_iops_device.is_empty(), "linux.resources.blockIO.throttleWriteIOPSDevice"),
        (!resources.hugepage_limits.is_empty(), "linux.resources.hugepageLimits"),
        (resources.network.0, "linux.resources.network"),
        (!resources.rdma.is_empty(), "linux.resources.rdma"),
        (!resources.unified.is_empty(), "linux.resources.unified"),
    ];
    let mapped = spec.mounts.iter().position(|m| !m.uid_mappings.is_empty() || !m.gid_mappings.is_empty());
    let mapped = mapped.map(|i| format!("mounts[{i}].uidMappings"));
    let first = asked.into_iter().find(|(asked, _)| *asked).map(|(_, field)| field.to_owned());
    match first.or(mapped) {
        Some(field) => Err((field, WHY.to_owned())),
        None => Ok(()),
    }
}
