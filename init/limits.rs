//! Limits of pods and containers: Kubernetes' quantities as files of cgroup v2, and what no pod can take from the device.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;

use mote::board::{POD_PIDS_MAX, PODS_RESERVE_KIB};
use mote::cgroup::{Cgroup, Cgroups, Or, Place, Resources, Setting, Where, stats};
use mote::error::{Error, Result};
use mote::sys::file;
use nix::fcntl::OFlag;

use crate::fields;
use crate::line::Line;
use crate::manifest::quantity;
use crate::paths::Paths;

/// `resources`
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor that it asks for: its weight against others when there are too few. What is asked of memory
    /// changes nothing, as with kubelet: there is no other node that it could be placed on.
    pub request_milli: Option<u64>,
}

impl Limits {
    /// These, and what they leave open from `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.or(other.cpu_milli),
            memory: self.memory.or(other.memory),
            request_milli: self.request_milli.or(other.request_milli),
        }
    }

    /// As files and values.
    pub fn settings(&self, cgroups: &Cgroups, field: &str) -> Vec<Setting> {
        let mut settings = Vec::new();
        if let Some(milli) = self.cpu_milli {
            // Of a tenth of a second, at least the millisecond that the kernel takes, as kubelet does it.
            let quota_us = milli.saturating_mul(100).max(1000);
            let field = format!("{field}.cpu");
            settings.push(match find(cgroups, "cpu") {
                Where::V2 => setting("cpu.max", format!("{quota_us} 100000"), field, Or::Fail),
                // Of the same tenth of a second, unless somebody has changed it.
                at => Setting { at, ..setting("cpu.cfs_quota_us", quota_us.to_string(), field, Or::Fail) },
            });
        }
        if let Some(bytes) = self.memory {
            let (at, file) = memory_max(cgroups);
            settings.push(Setting {
                at,
                ..setting(file, bytes.to_string(), format!("{field}.memory"), Or::Fail)
            });
        }
        if let Some(milli) = self.request_milli {
            let field = format!("{field}.cpu");
            settings.push(match find(cgroups, "cpu") {
                Where::V2 => setting("cpu.weight", weight(milli).to_string(), field, Or::Nothing),
                at => Setting { at, ..setting("cpu.shares", shares(milli).to_string(), field, Or::Nothing) },
            });
        }
        settings
    }
}

/// The shares of cgroup v1 for so many thousandths of a processor, as kubelet has it.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// The same in the terms of cgroup v2.
fn weight(milli: u64) -> u64 {
    1 + (shares(milli) - 2) * 9999 / 262_142
}

fn setting(file: &'static str, value: String, field: String, or: Or) -> Setting {
    Setting { at: Where::V2, file: file.into(), value, field, or }
}

/// Where a controller is: on a device always on cgroup v2, so that nobody has to ask.
fn find(cgroups: &Cgroups, name: &str) -> Where {
    if cgroups.unified { Where::V2 } else { cgroups.find(name, name).unwrap_or(Where::V2) }
}

/// The file for the most memory.
fn memory_max(cgroups: &Cgroups) -> (Where, &'static str) {
    match find(cgroups, "memory") {
        Where::V2 => (Where::V2, "memory.max"),
        at => (at, "memory.limit_in_bytes"),
    }
}

/// Checks `resources`, whose text is given; `flaw` makes an error from the rest of a field's path and the reason. What else
/// than processors and memory stands there is up to the list of known fields.
pub fn read(text: &str, flaw: &dyn Fn(&str, &str) -> Error) -> Result<Limits> {
    let number = |kind: &str, name: &str, read: fn(&str) -> Option<u64>, want: &str| {
        let Some(text) = fields::member(text, kind).and_then(|text| fields::member(text, name)) else {
            return Ok(None);
        };
        // Zero asks for nothing.
        let value = if text == "null" { Some(0) } else { read(text) };
        value.map(|value| (value > 0).then_some(value)).ok_or_else(|| flaw(&format!(".{kind}.{name}"), want))
    };
    let pair =
        |name, read, want| Ok((number("limits", name, read, want)?, number("requests", name, read, want)?));
    let (cpu_milli, request_milli) = pair("cpu", quantity::milli, "expected a quantity such as 250m or 1.5")?;
    let (memory, request) = pair("memory", quantity::bytes, quantity::WANT_BYTES)?;
    let above = |request: Option<u64>, limit: Option<u64>| {
        request.zip(limit).is_some_and(|(request, limit)| request > limit)
    };
    for (name, above) in [("cpu", above(request_milli, cpu_milli)), ("memory", above(request, memory))] {
        if above {
            return Err(flaw(&format!(".requests.{name}"), "more than the limit"));
        }
    }
    // Who has a limit and asks for nothing asks for as much.
    Ok(Limits { cpu_milli, memory, request_milli: request_milli.or(cpu_milli) })
}

/// What the containers of a pod may use together, of what each of them has a limit for: in the order of the manifest, each with
/// whether it stays. An init container is over before the next one begins, so it counts beside those that stay only.
pub fn together<'l>(all: impl Iterator<Item = (bool, &'l Limits)>) -> Limits {
    type Join = fn(u64, u64) -> u64;
    let both = |a: Option<u64>, b: Option<u64>, how: Join| a.zip(b).map(|(a, b)| how(a, b));
    let join = |a: Limits, b: Limits, how: Join| Limits {
        cpu_milli: both(a.cpu_milli, b.cpu_milli, how),
        memory: both(a.memory, b.memory, how),
        // Who asks for nothing asks for 0.
        request_milli: both(a.request_milli.or(Some(0)), b.request_milli.or(Some(0)), how),
    };
    let mut staying = Limits { cpu_milli: Some(0), memory: Some(0), request_milli: Some(0) };
    let mut most = None;
    for (stays, limits) in all {
        let now = join(staying, *limits, u64::saturating_add);
        most = Some(most.map_or(now, |most| join(most, now, u64::max)));
        if stays {
            staying = now;
        }
    }
    let most = most.unwrap_or_default();
    Limits { request_milli: most.request_milli.filter(|sum| *sum > 0), ..most }
}

/// The bytes that there are for all pods and the reserve together: what the kernel could still give away, and what the pods have
/// that it could not. Less than the device's memory, of which the kernel and a root in memory have taken their parts; what cannot be
/// read leaves no bound. proc_meminfo(5).
fn memory_for_pods(at: Where, pods: &Cgroup) -> u64 {
    let number = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
        value.parse::<u64>().ok()
    };
    let all = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name| number(&all, name).map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    let (current, cached) = match at {
        Where::V2 => ("memory.current", ["active_file ", "inactive_file "]),
        Where::V1(_) => ("memory.usage_in_bytes", ["total_active_file ", "total_inactive_file "]),
    };
    let read = |file| pods.read(at, file).unwrap_or_default();
    let stat = read("memory.stat");
    let cached: u64 = cached.iter().filter_map(|name| number(&stat, name)).sum();
    let theirs = number(&read(current), "").unwrap_or(0).saturating_sub(cached);
    bytes("MemAvailable:").saturating_add(theirs).min(bytes("MemTotal:"))
}

/// The cgroup of pod `name`, or without one that of all pods.
fn path(paths: &Paths, name: Option<&str>) -> CString {
    let text = name.map_or_else(|| paths.pods.to_owned(), |name| format!("{}/{name}", paths.pods));
    CString::new(text).unwrap_or_default() // checked names
}

/// Whether there is a cgroup of pod `name`, in every hierarchy.
pub fn is_prepared(paths: &Paths, cgroups: &Cgroups, name: &str) -> Result<bool> {
    let place = Place { path: &path(paths, Some(name)), every: true };
    cgroups.open(&place).map(|cgroup| cgroups.is_whole(&cgroup, &place))
}

/// Makes the cgroup of pod `name` with its limits, in that of all pods with theirs.
pub fn prepare_pod(paths: &Paths, cgroups: &Cgroups, name: &str, limits: &Limits) -> Result<()> {
    let (at, memory_max) = memory_max(cgroups);
    let pods = path(paths, None);
    let total = memory_for_pods(at, &cgroups.open(&Place { path: &pods, every: true })?);
    let less = |kib: u64| total.saturating_sub(kib.saturating_mul(1024)).max(total / 2);
    // What is not there in this kernel cannot protect anybody, and keeps no pod from running.
    let default =
        |file, value: u64| setting(file, value.to_string(), "the board's limits".to_owned(), Or::Nothing);
    let all = [Setting { at, ..default(memory_max, less(PODS_RESERVE_KIB / 2)) }];
    let mut own = vec![
        Setting { at: find(cgroups, "pids"), ..default("pids.max", POD_PIDS_MAX.into()) },
        // From here on it is slowed down, and soon after ended: before it can take from others.
        default("memory.high", less(PODS_RESERVE_KIB)),
        Setting { at, ..default(memory_max, less(PODS_RESERVE_KIB - PODS_RESERVE_KIB / 16)) },
    ];
    // Who asks for no processor has what others leave: a fork bomb takes nothing from a pod that said what it needs.
    let named = Limits { request_milli: limits.request_milli.or(Some(0)), ..*limits };
    let named = named.settings(cgroups, "spec.resources.limits");
    own.retain(|default| named.iter().all(|setting| setting.file != default.file));
    own.extend(named);
    let apply = |path: &CStr, settings: Vec<Setting>| {
        let place = Place { path, every: true };
        let cgroup = cgroups.group(&place)?;
        cgroups.apply(&Resources { settings, devices: None }, &place, &cgroup, false)
    };
    apply(&pods, all.into())?;
    apply(&path(paths, Some(name)), own)
}

/// What a container of a pod is limited to. Beside others that ask for a processor, one that does not has what they leave.
pub fn of_container(limits: &Limits, pod: &Limits, cgroups: &Cgroups) -> Vec<Setting> {
    let request_milli = limits.request_milli.or(pod.request_milli.map(|_| 0));
    let own = Limits { request_milli, ..*limits };
    let mut settings = own.settings(cgroups, "spec.containers[].resources.limits");
    // A program that lost one of its processes is seldom well: all of it is ended, and restarted.
    settings.push(setting("memory.oom.group", "1".to_owned(), "memory.oom.group".to_owned(), Or::Nothing));
    settings
}

/// How many processes of a container the OOM killer has ended since it was started. Allocates nothing.
pub fn oom_kills(paths: &Paths, pod: &str, container: &str) -> u64 {
    let (directory, file) = paths.oom;
    let path = Line::<400>::of(format_args!("{directory}/{pod}/{container}/{file}"));
    let file = file::open(path.as_str(), OFlag::O_RDONLY);
    file.and_then(|file| stats::oom_kills(file.as_fd())).unwrap_or(0) // not there without the controller
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_limited_to_the_sum_when_each_container_is() {
        let limits = |cpu_milli, memory| Limits { cpu_milli, memory, request_milli: None };
        let all = [limits(Some(250), Some(10)), limits(Some(500), None)];
        let all = |stay: [bool; 2]| together(stay.into_iter().zip(&all));
        assert_eq!(all([true, true]), limits(Some(750), None));
        assert_eq!(all([false, true]), limits(Some(500), None));
        assert_eq!(all([true, false]), limits(Some(750), None));
        assert_eq!(together([].into_iter()), Limits::default());
    }

    #[test]
    fn what_is_asked_for_is_a_weight_as_kubelet_has_it() {
        assert_eq!([0, 1, 2, 100, 1000, 4000, 1_000_000].map(weight), [1, 1, 1, 4, 39, 157, 10_000]);
    }

    #[test]
    fn a_small_share_of_a_processor_is_what_the_kernel_takes() {
        let mut cgroups = Cgroups::detect();
        cgroups.unified = true;
        let settings =
            Limits { cpu_milli: Some(5), memory: Some(4096), request_milli: None }.settings(&cgroups, "x");
        let values: Vec<_> = settings.iter().map(|s| (s.file.as_ref(), s.value.as_str())).collect();
        assert_eq!(values, [("cpu.max", "1000 100000"), ("memory.max", "4096")]);
    }
}
