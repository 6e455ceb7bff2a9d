//! `linux.resources.memory`

use super::{Build, MEMORY};
use crate::cgroup::{Or, Where};
use crate::plan::Checked;
use crate::spec;

impl Build<'_> {
    pub(super) fn memory(&mut self, memory: &spec::Memory) -> Checked<()> {
        let bytes = [
            (memory.limit, "memory.limit"),
            (memory.swap, "memory.swap"),
            (memory.reservation, "memory.reservation"),
            (memory.kernel, "memory.kernel"),
            (memory.kernel_tcp, "memory.kernelTCP"),
        ];
        for (bytes, field) in bytes {
            if bytes < -1 {
                return self.wrong(field, "expected a number of bytes, or -1 for no limit");
            }
        }
        // Minus one, as an unsigned number, is how some engines write "leave it".
        let swappiness = memory.swappiness.filter(|percent| *percent != u64::MAX);
        if swappiness.is_some_and(|percent| percent > 200) {
            return self.wrong("memory.swappiness", "expected a number from 0 to 200");
        }
        let switches = memory.disable_oom_killer || swappiness.is_some();
        if bytes.iter().all(|(bytes, _)| *bytes == 0) && !switches {
            return Ok(());
        }
        if memory.swap > 0 && memory.limit > 0 && memory.swap < memory.limit {
            return self.wrong("memory.swap", "includes memory.limit, so it cannot be less");
        }
        let at = self.find("memory", MEMORY)?;
        if memory.check_before_update {
            self.check_usage(at, memory)?;
        }
        self.limits(at, memory)?;
        let text =
            |bytes: i64| if at == Where::V2 && bytes == -1 { "max".to_owned() } else { bytes.to_string() };
        if memory.reservation != 0 {
            let files = ("memory.soft_limit_in_bytes", "memory.low");
            self.put("memory.reservation", at, files, text(memory.reservation), Or::Fail)?;
        }
        if memory.kernel != 0 {
            self.put("memory.kernel", at, ("memory.kmem.limit_in_bytes", ""), memory.kernel, Or::Fail)?;
        }
        if memory.kernel_tcp != 0 {
            let files = ("memory.kmem.tcp.limit_in_bytes", "");
            self.put("memory.kernelTCP", at, files, memory.kernel_tcp, Or::Fail)?;
        }
        if let Some(percent) = swappiness {
            self.put("memory.swappiness", at, ("memory.swappiness", ""), percent, Or::Fail)?;
        }
        if memory.disable_oom_killer {
            self.put("memory.disableOOMKiller", at, ("memory.oom_control", ""), 1, Or::Fail)?;
        }
        Ok(())
    }

    /// The limit, and that of memory and swap together. cgroup v2 has one for swap alone instead.
    fn limits(&mut self, at: Where, memory: &spec::Memory) -> Checked<()> {
        // No limit on memory means none on both, unless swap is named.
        let swap = if memory.limit == -1 && memory.swap == 0 { -1 } else { memory.swap };
        let swap_or = if swap == -1 { Or::Nothing } else { Or::Fail };
        if at != Where::V2 {
            if memory.limit != 0 {
                // Above the old limit on both together it has to wait for the new one.
                let or = if swap == 0 { Or::Fail } else { Or::AfterNext };
                self.put("memory.limit", at, ("memory.limit_in_bytes", ""), memory.limit, or)?;
            }
            if swap != 0 {
                self.put("memory.swap", at, ("memory.memsw.limit_in_bytes", ""), swap, swap_or)?;
            }
            return Ok(());
        }
        if swap != 0 {
            let limit = match memory.limit {
                0 => (self.now)(at, "memory.max").and_then(|max| max.trim().parse().ok()).unwrap_or(-1),
                limit => limit,
            };
            let value = match swap {
                -1 => "max".to_owned(),
                // Of no limit there is nothing that it could include; as runc since 1.2.1.
                _ if memory.limit == -1 => swap.to_string(),
                _ if limit == -1 => {
                    return self.wrong("memory.swap", "needs memory.limit, which it includes");
                }
                _ if swap < limit => {
                    return self.wrong("memory.swap", "includes memory.limit, so it cannot be less");
                }
                _ => (swap - limit).to_string(),
            };
            // A kernel without swap has no file, and neither has it what would be limited to nothing.
            let or = if value == "0" { Or::Nothing } else { swap_or };
            self.put("memory.swap", at, ("", "memory.swap.max"), value, or)?;
        }
        match memory.limit {
            0 => Ok(()),
            -1 => self.put("memory.limit", at, ("", "memory.max"), "max", Or::Fail),
            limit => self.put("memory.limit", at, ("", "memory.max"), limit, Or::Fail),
        }
    }

    /// `checkBeforeUpdate`: a limit below what is used now would end in the OOM killer.
    fn check_usage(&self, at: Where, memory: &spec::Memory) -> Checked<()> {
        let read = |file| (self.now)(at, file).and_then(|text| text.trim().parse::<i64>().ok());
        let used = match at {
            Where::V2 => [read("memory.current"), read("memory.swap.current")],
            Where::V1(_) => [read("memory.usage_in_bytes"), None],
        };
        let [in_memory, swapped] = used.map(|used| used.unwrap_or(0));
        let both = match at {
            Where::V2 => in_memory + swapped,
            Where::V1(_) => read("memory.memsw.usage_in_bytes").unwrap_or(in_memory),
        };
        let checks = [("memory.limit", memory.limit, in_memory), ("memory.swap", memory.swap, both)];
        match checks.into_iter().find(|(_, limit, used)| *limit > 0 && used > limit) {
            Some((field, limit, used)) => {
                Err((self.path(field), format!("{limit} is less than the {used} bytes that are used now"))
                    .into())
            }
            None => Ok(()),
        }
    }
}
