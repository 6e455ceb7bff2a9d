//! `linux.resources` as files and values. Every number is checked here, every file chosen for where this host has its
//! controller; what cannot be done on this host is refused by name.

use std::borrow::Cow;

use super::{Checked, wrong};
use crate::cgroup::devices::Rule;
use crate::cgroup::{Cgroups, Or, Resources, Setting, Where};
use crate::json::Str;
use crate::spec;

mod block;
mod memory;
mod weight;

/// How a file of a container that is there reads now, for what depends on it.
pub type Now<'n> = &'n dyn Fn(Where, &str) -> Option<String>;

/// Checks `resources`. `at` is what their JSON paths begin with; `now` reads a container that is there.
pub fn plan(
    resources: &spec::Resources<'_>,
    at: &str,
    cgroups: &Cgroups,
    now: Now<'_>,
) -> Checked<Vec<Setting>> {
    let mut build = Build { at, cgroups, now, settings: Vec::new() };
    build.memory(&resources.memory)?;
    build.cpu(&resources.cpu)?;
    build.cpuset(&resources.cpu)?;
    build.pids(&resources.pids)?;
    build.block_io(&resources.block_io)?;
    build.hugepages(&resources.hugepage_limits)?;
    build.network(&resources.network)?;
    build.rdma(&resources.rdma)?;
    build.unified(&resources.unified)?;
    Ok(build.settings)
}

/// `devices`
pub fn devices(rules: &[spec::DeviceRule<'_>], at: &str) -> Checked<Vec<Rule>> {
    let one = |(i, rule)| {
        Rule::new(rule).map_err(|(field, why)| (format!("{at}devices[{i}].{field}"), why.to_owned()).into())
    };
    rules.iter().enumerate().map(one).collect()
}

/// Both parts together, with rules for devices only where there are some.
pub fn update(
    resources: &spec::Resources<'_>,
    at: &str,
    cgroups: &Cgroups,
    now: Now<'_>,
) -> Checked<Resources> {
    let devices = if resources.devices.is_empty() { None } else { Some(devices(&resources.devices, at)?) };
    Ok(Resources { settings: plan(resources, at, cgroups, now)?, devices })
}

/// A controller by its names on cgroup v1 and v2; empty where it is not there.
type Controller = (&'static str, &'static str);

/// The same file by its names on cgroup v1 and v2; empty where there is none.
type Files = (&'static str, &'static str);

const CPU: Controller = ("cpu", "cpu");
const CPUSET: Controller = ("cpuset", "cpuset");
const MEMORY: Controller = ("memory", "memory");
const PIDS: Controller = ("pids", "pids");
const IO: Controller = ("blkio", "io");
const HUGETLB: Controller = ("hugetlb", "hugetlb");
const RDMA: Controller = ("rdma", "rdma");

/// Settings as they are put together.
struct Build<'b> {
    at: &'b str,
    cgroups: &'b Cgroups,
    now: Now<'b>,
    settings: Vec<Setting>,
}

impl Build<'_> {
    fn path(&self, field: &str) -> String {
        format!("{}{field}", self.at)
    }

    fn wrong<T>(&self, field: &str, why: &str) -> Checked<T> {
        wrong(self.path(field), why)
    }

    fn find(&self, field: &str, (v1, v2): Controller) -> Checked<Where> {
        let name = if v2.is_empty() { v1 } else { v2 };
        let why =
            || format!("this host has no cgroup controller {name} that a container could be limited by");
        self.cgroups.find(v1, v2).ok_or_else(|| (self.path(field), why()).into())
    }

    /// Adds `value` for one of `files`, or refuses it where the host's cgroups have no such file.
    fn put(&mut self, field: &str, at: Where, files: Files, value: impl ToString, or: Or) -> Checked<()> {
        let (file, version) = match at {
            Where::V1(_) => (files.0, "v1"),
            Where::V2 => (files.1, "v2"),
        };
        if file.is_empty() {
            let why = format!("cgroup {version}, which this host has, knows no such limit");
            return Err((self.path(field), why).into());
        }
        self.put_file(field, at, Cow::Borrowed(file), value.to_string(), or);
        Ok(())
    }

    fn put_file(&mut self, field: &str, at: Where, file: Cow<'static, str>, value: String, or: Or) {
        let field = self.path(field);
        self.settings.push(Setting { at, file, value, field, or });
    }

    fn cpu(&mut self, cpu: &spec::Cpu<'_>) -> Checked<()> {
        let rt = cpu.realtime_runtime != 0 || cpu.realtime_period != 0;
        let asked = cpu.shares != 0 || cpu.quota != 0 || cpu.period != 0 || rt;
        if !asked && cpu.burst.is_none() && cpu.idle.is_none() {
            return Ok(());
        }
        let at = self.find("cpu", CPU)?;
        if cpu.quota < -1 {
            return self.wrong("cpu.quota", "expected microseconds, or -1 for no limit");
        }
        let idle = |build: &mut Self| match cpu.idle {
            Some(idle @ 0..=1) => build.put("cpu.idle", at, ("cpu.idle", "cpu.idle"), idle, Or::Fail),
            Some(_) => build.wrong("cpu.idle", "expected 0 or 1"),
            None => Ok(()),
        };
        // What is idle has no weight: it stops being so before it gets one, and has one before it becomes so.
        if cpu.idle == Some(0) {
            idle(self)?;
        }
        if cpu.shares != 0 {
            let value = if at == Where::V2 { weight::of_shares(cpu.shares) } else { cpu.shares };
            self.put("cpu.shares", at, ("cpu.shares", "cpu.weight"), value, Or::Fail)?;
        }
        if cpu.idle != Some(0) {
            idle(self)?;
        }
        if cpu.realtime_period != 0 {
            let files = ("cpu.rt_period_us", "");
            self.put("cpu.realtimePeriod", at, files, cpu.realtime_period, Or::Fail)?;
        }
        if cpu.realtime_runtime != 0 {
            let files = ("cpu.rt_runtime_us", "");
            self.put("cpu.realtimeRuntime", at, files, cpu.realtime_runtime, Or::Fail)?;
        }
        // Which of them has to go first depends on what was there before.
        let burst_follows = cpu.burst.is_some();
        match at {
            Where::V1(_) => {
                let (period, quota) = (cpu.period != 0, cpu.quota != 0);
                if period {
                    let or = if quota { Or::AfterNext } else { Or::Fail };
                    self.put("cpu.period", at, ("cpu.cfs_period_us", ""), cpu.period, or)?;
                }
                if quota {
                    let or = if burst_follows && !period { Or::AfterNext } else { Or::Fail };
                    self.put("cpu.quota", at, ("cpu.cfs_quota_us", ""), cpu.quota, or)?;
                }
            }
            Where::V2 if cpu.quota != 0 || cpu.period != 0 => {
                let now = (self.now)(at, "cpu.max").unwrap_or_default();
                let quota = match cpu.quota {
                    0 => now.split_whitespace().next().unwrap_or("max").to_owned(),
                    -1 => "max".to_owned(),
                    quota => quota.to_string(),
                };
                let (field, value) = match cpu.period {
                    0 => ("cpu.quota", quota),
                    period => {
                        (if cpu.quota == 0 { "cpu.period" } else { "cpu.quota" }, format!("{quota} {period}"))
                    }
                };
                let or = if burst_follows { Or::AfterNext } else { Or::Fail };
                self.put(field, at, ("", "cpu.max"), value, or)?;
            }
            Where::V2 => {}
        }
        match cpu.burst {
            Some(burst) => self.put("cpu.burst", at, ("cpu.cfs_burst_us", "cpu.max.burst"), burst, Or::Fail),
            None => Ok(()),
        }
    }

    fn cpuset(&mut self, cpu: &spec::Cpu<'_>) -> Checked<()> {
        for (list, field, file) in
            [(cpu.cpus, "cpu.cpus", "cpuset.cpus"), (cpu.mems, "cpu.mems", "cpuset.mems")]
        {
            if list.is_empty() {
                continue;
            }
            let list = list.decode();
            if !list.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-' | b':' | b'/' | b' ')) {
                return self.wrong(field, "expected a list such as 0-3,5");
            }
            let at = self.find(field, CPUSET)?;
            self.put(field, at, (file, file), list, Or::Fail)?;
        }
        Ok(())
    }

    fn pids(&mut self, pids: &spec::Pids) -> Checked<()> {
        let Some(limit) = pids.limit else { return Ok(()) };
        let value = match limit {
            -1 => "max".to_owned(),
            // A cgroup for no process at all could not take the container's first.
            0.. => limit.max(1).to_string(),
            _ => return self.wrong("pids.limit", "expected a number of processes, or -1 for no limit"),
        };
        let at = self.find("pids.limit", PIDS)?;
        self.put("pids.limit", at, ("pids.max", "pids.max"), value, Or::Fail)
    }

    fn hugepages(&mut self, limits: &[spec::HugepageLimit<'_>]) -> Checked<()> {
        for (i, entry) in limits.iter().enumerate() {
            let (field, size) = (format!("hugepageLimits[{i}]"), entry.page_size.decode());
            let number = size.strip_suffix("KB").or(size.strip_suffix("MB")).or(size.strip_suffix("GB"));
            if !number.and_then(|n| n.parse::<u32>().ok()).is_some_and(u32::is_power_of_two) {
                return self.wrong(&format!("{field}.pageSize"), "expected a size such as 64KB, 2MB or 1GB");
            }
            let at = self.find(&field, HUGETLB)?;
            let file = match at {
                Where::V1(_) => "limit_in_bytes",
                Where::V2 => "max",
            };
            let limit = entry.limit.to_string();
            // What a mapping reserves counts before the first page is touched, so that it fails where it is made and not
            // later with SIGBUS. Linux 5.7.
            let reserved = format!("hugetlb.{size}.rsvd.{file}");
            self.put_file(&field, at, reserved.into(), limit.clone(), Or::Nothing);
            self.put_file(&field, at, format!("hugetlb.{size}.{file}").into(), limit, Or::Fail);
        }
        Ok(())
    }

    fn network(&mut self, network: &spec::Network<'_>) -> Checked<()> {
        if network.class_id != 0 {
            let at = self.find("network.classID", ("net_cls", ""))?;
            self.put("network.classID", at, ("net_cls.classid", ""), network.class_id, Or::Fail)?;
        }
        for (i, entry) in network.priorities.iter().enumerate() {
            let field = format!("network.priorities[{i}]");
            let name = self.word(&format!("{field}.name"), entry.name)?;
            let at = self.find(&field, ("net_prio", ""))?;
            let value = format!("{name} {}", entry.priority);
            self.put(&field, at, ("net_prio.ifpriomap", ""), value, Or::Fail)?;
        }
        Ok(())
    }

    fn rdma(&mut self, devices: &[(Str<'_>, spec::Rdma)]) -> Checked<()> {
        for (name, limits) in devices {
            let field = format!("rdma[\"{name}\"]");
            let name = self.word(&field, *name)?;
            let mut value = name;
            for (key, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
                if let Some(limit) = limit {
                    value += &format!(" {key}={limit}");
                }
            }
            let at = self.find(&field, RDMA)?;
            self.put(&field, at, ("rdma.max", "rdma.max"), value, Or::Fail)?;
        }
        Ok(())
    }

    /// A name that becomes one word of what is written.
    fn word(&self, field: &str, name: Str<'_>) -> Checked<String> {
        match name.decode() {
            name if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                self.wrong(field, "expected the name of a device, without spaces")
            }
            name => Ok(name),
        }
    }

    fn unified(&mut self, files: &[(Str<'_>, Str<'_>)]) -> Checked<()> {
        for (name, value) in files {
            let (field, file) = (format!("unified[\"{name}\"]"), name.decode());
            // Names of files have a dot behind the controller; a directory could be climbed through.
            if file.contains('/') || !file.contains('.') || file.starts_with('.') || file.contains('\0') {
                return self.wrong(&field, "expected the name of a file of cgroup v2, such as memory.high");
            }
            if OWN.contains(&file.as_str()) {
                return self
                    .wrong(&field, "this file is the runtime's own: it moves, kills or stops processes");
            }
            if !self.cgroups.has_v2() {
                return self.wrong(&field, "this host has no cgroup v2");
            }
            // The kernel takes one line at a time.
            for line in value.decode().lines().filter(|line| !line.is_empty()) {
                self.put_file(&field, Where::V2, file.clone().into(), line.to_owned(), Or::Fail);
            }
        }
        Ok(())
    }
}

/// Files that `unified` must not name.
const OWN: &[&str] = &[
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];
