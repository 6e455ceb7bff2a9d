//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy`, `linux.personality`.

use super::{Checked, Str, flags, missing, one_of, wrong};
use crate::spec;
use crate::sys::scheduling::SchedAttr;
use crate::tables;

/// A bit for each processor or NUMA node; as many as distributions build their kernels for.
pub type NumberSet = [u64; 16];

/// When a process gets the processor and the disk, and where its memory comes from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scheduling {
    /// For `sched_setattr(2)`.
    pub processor: Option<SchedAttr>,
    /// For `ioprio_set(2)`.
    pub io: Option<u32>,
    /// For `set_mempolicy(2)`: the mode with its flags, the nodes.
    pub memory: Option<(u32, NumberSet)>,
    /// For `personality(2)`.
    pub personality: Option<u32>,
    /// The processors of an `exec` before it enters the container's cgroup. Not for a container's first process.
    pub exec_before: Option<NumberSet>,
    /// The processors of an `exec` once it is there.
    pub exec_after: Option<NumberSet>,
}

/// Checks and resolves all of it.
pub fn plan(process: &spec::Process<'_>, linux: &spec::Linux<'_>) -> Checked<Scheduling> {
    let mut plan = of_process(process)?;
    if let Some(policy) = &linux.memory_policy {
        plan.memory = Some(memory(policy)?);
    }
    if let Some(personality) = &linux.personality {
        if !personality.flags.is_empty() {
            return wrong("linux.personality.flags[0]", "runtime-spec defines no flags");
        }
        plan.personality =
            Some(required(tables::PERSONALITIES, personality.domain, "linux.personality.domain")?);
    }
    Ok(plan)
}

/// What stands in a `process`, also that of an `exec`.
pub fn of_process(process: &spec::Process<'_>) -> Checked<Scheduling> {
    let mut plan = Scheduling::default();
    if let Some(scheduler) = &process.scheduler {
        plan.processor = Some(processor(scheduler)?);
    }
    if let Some(io) = &process.io_priority {
        let class = required(tables::IO_CLASSES, io.class, "process.ioPriority.class")?;
        let level = u32::try_from(io.priority).ok().filter(|level| *level <= 7);
        let Some(level) = level else {
            return wrong("process.ioPriority.priority", "expected a number from 0 to 7");
        };
        plan.io = Some(class << 13 | level);
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        let list = |list: Str<'_>, field: &str| -> Checked<Option<NumberSet>> {
            if list.is_empty() { Ok(None) } else { numbers(list, field).map(Some) }
        };
        plan.exec_before = list(affinity.before, "process.execCPUAffinity.initial")?;
        plan.exec_after = list(affinity.after, "process.execCPUAffinity.final")?;
    }
    Ok(plan)
}

/// A word that has to be there.
fn required(table: &[(&'static str, u32)], word: Str<'_>, field: &str) -> Checked<u32> {
    if word.is_empty() { Err(missing(field)) } else { one_of(table, word, field) }
}

/// `process.scheduler`; the ranges are those of sched(7) and, for deadlines, of the kernel's `__checkparam_dl`.
fn processor(scheduler: &spec::Scheduler<'_>) -> Checked<SchedAttr> {
    const FIFO: u32 = 1;
    const ROUND_ROBIN: u32 = 2;
    const DEADLINE: u32 = 6;
    let policy = required(tables::SCHEDULER_POLICIES, scheduler.policy, "process.scheduler.policy")?;
    if !(-20..=19).contains(&scheduler.nice) {
        return wrong("process.scheduler.nice", "expected a number from -20 to 19");
    }
    let priority = u32::try_from(scheduler.priority).unwrap_or(u32::MAX);
    match policy {
        FIFO | ROUND_ROBIN if !(1..=99).contains(&priority) => {
            return wrong("process.scheduler.priority", "expected a number from 1 to 99 with this policy");
        }
        FIFO | ROUND_ROBIN => {}
        _ if priority != 0 => {
            return wrong("process.scheduler.priority", "needs the policy SCHED_FIFO or SCHED_RR");
        }
        _ => {}
    }
    let (runtime, deadline, period) = (scheduler.runtime, scheduler.deadline, scheduler.period);
    let times = [
        ("process.scheduler.runtime", runtime),
        ("process.scheduler.deadline", deadline),
        ("process.scheduler.period", period),
    ];
    for (field, time) in times {
        if policy != DEADLINE && time != 0 {
            return wrong(field, "needs the policy SCHED_DEADLINE");
        }
        if time >= 1 << 63 {
            return wrong(field, "expected a number of nanoseconds below 2^63");
        }
    }
    if policy == DEADLINE {
        if runtime < 1024 {
            return wrong("process.scheduler.runtime", "expected at least 1024 nanoseconds");
        }
        if deadline < runtime {
            return wrong("process.scheduler.deadline", "expected no less than the runtime");
        }
        // Zero is the deadline.
        if period != 0 && period < deadline {
            return wrong("process.scheduler.period", "expected no less than the deadline");
        }
    }
    let flags = flags(tables::SCHEDULER_FLAGS, &scheduler.flags, "process.scheduler.flags")?;
    Ok(SchedAttr {
        policy,
        flags: flags.into(),
        nice: scheduler.nice,
        priority,
        runtime,
        deadline,
        period,
        ..SchedAttr::default()
    })
}

/// `linux.memoryPolicy`; what goes with what is in set_mempolicy(2).
fn memory(policy: &spec::MemoryPolicy<'_>) -> Checked<(u32, NumberSet)> {
    const DEFAULT: u32 = 0;
    const PREFERRED: u32 = 1;
    const LOCAL: u32 = 4;
    const STATIC_AND_RELATIVE: u32 = 0b11 << 14;
    let mode = required(tables::MEMORY_MODES, policy.mode, "linux.memoryPolicy.mode")?;
    let flags = flags(tables::MEMORY_FLAGS, &policy.flags, "linux.memoryPolicy.flags")?;
    let field = "linux.memoryPolicy.nodes";
    let nodes = match (policy.nodes.is_empty(), mode) {
        (true, DEFAULT | PREFERRED | LOCAL) => NumberSet::default(),
        (true, _) => return Err(missing(field)),
        (false, DEFAULT | LOCAL) => return wrong(field, "this mode takes no nodes"),
        (false, _) => numbers(policy.nodes, field)?,
    };
    if flags != 0 && policy.nodes.is_empty() {
        return wrong("linux.memoryPolicy.flags", "flags are about nodes, and there are none");
    }
    if flags & STATIC_AND_RELATIVE == STATIC_AND_RELATIVE {
        let why = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return wrong("linux.memoryPolicy.flags", why);
    }
    Ok((mode | flags, nodes))
}

/// A list of numbers such as `0-3,7`; cpuset(7) "List format", without blanks.
fn numbers(list: Str<'_>, field: &str) -> Checked<NumberSet> {
    parse(&list.decode()).ok_or_else(|| {
        (field.to_owned(), format!("\"{list}\": expected a list such as 0-3,7 of numbers up to 1023")).into()
    })
}

fn parse(list: &str) -> Option<NumberSet> {
    let mut set = NumberSet::default();
    let number = |text: &str| -> Option<usize> {
        // Digits alone: str::parse would take a plus sign.
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        for n in first..=last {
            *set.get_mut(n / 64)? |= 1 << (n % 64);
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_numbers_is_parsed_strictly() {
        let set = |words: &[(usize, u64)]| {
            let mut set = NumberSet::default();
            words.iter().for_each(|(i, bits)| set[*i] = *bits);
            Some(set)
        };
        for (list, expected) in [
            ("0", set(&[(0, 1)])),
            ("0-3,7", set(&[(0, 0b1000_1111)])),
            ("63-64", set(&[(0, 1 << 63), (1, 1)])),
            ("1023", set(&[(15, 1 << 63)])),
            ("2,2,1-2", set(&[(0, 0b110)])),
            ("00", set(&[(0, 1)])),
        ] {
            assert_eq!(parse(list), expected, "{list}");
        }
        for list in [
            "",
            ",",
            "0,",
            ",0",
            "0,,1",
            "a",
            "-1",
            "1-",
            "-",
            "3-1",
            "1024",
            "0-1024",
            "0 ",
            " 0",
            "0-1-2",
            "+1",
            "0x1",
            "1.5",
            "18446744073709551616",
            "0\n",
            "all",
        ] {
            assert_eq!(parse(list), None, "{list}");
        }
    }
}
