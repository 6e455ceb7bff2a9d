//! The way down: containers first, then whatever else runs, then file systems, then the machine.
//!
//! | phase | what happens | ends when, at the latest |
//! | --- | --- | --- |
//! | stopping | SIGTERM to every container, SIGKILL after its pod's grace | all have ended; the longest grace and 10 s |
//! | draining | the log writer writes out what is in the pipes and ends | it has ended; 3 s |
//! | killing | SIGKILL to every process | PID 1 has no child left; 3 s |
//! | last | a child unmounts, syncs and calls `reboot(2)` | the machine is off; 30 s, then PID 1 calls it itself |
//!
//! Under `mote supervise` only the supervisor ends, by SIGTERM or SIGINT: it kills nobody in the third phase but waits for its
//! children as long, and instead of the fourth takes back what was made (`hosted.rs`).
//!
//! Signals as busybox and sysvinit have them: SIGTERM and SIGINT (ctrl-alt-del) reboot, SIGUSR1 halts, SIGUSR2 powers off. A
//! second request changes nothing on a device, where who asks is rarely a person; the second signal to `mote supervise`, as that of
//! somebody who types ctrl-c again, ends the grace.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mote::error::words;
use mote::sys::mount::mount;
use mote::sys::wait::Ended;
use mote::{error, info, warn};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};

use crate::logs;
use crate::supervise::{NEVER, State};
use crate::world::World;
use crate::{child, hosted};

/// What becomes of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It starts again.
    Reboot,
    /// It stops and stays on.
    Halt,
    /// It goes off.
    PowerOff,
    /// Nothing: the supervisor alone ends.
    Leave,
}

impl Kind {
    /// What `signal` asks for, on a device or elsewhere.
    pub fn of(signal: i32, device: bool) -> Option<Self> {
        match signal {
            libc::SIGTERM | libc::SIGINT if !device => Some(Self::Leave),
            _ if !device => None,
            libc::SIGTERM | libc::SIGINT => Some(Self::Reboot),
            libc::SIGUSR1 => Some(Self::Halt),
            libc::SIGUSR2 => Some(Self::PowerOff),
            _ => None,
        }
    }

    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::PowerOff => "poweroff",
            Self::Leave => "end",
        }
    }

    const fn mode(self) -> RebootMode {
        match self {
            Self::Reboot => RebootMode::RB_AUTOBOOT,
            Self::Halt => RebootMode::RB_HALT_SYSTEM,
            Self::PowerOff | Self::Leave => RebootMode::RB_POWER_OFF,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Up,
    Stopping,
    Draining,
    Killing,
    Last { pid: i32 },
}

/// How far down the device is.
#[derive(Debug)]
pub struct Power {
    phase: Phase,
    kind: Kind,
    until_ms: u64,
    /// Whether the last look found no child at all.
    pub childless: bool,
}

/// Beyond the longest grace: a process that SIGKILL does not end is stuck in the kernel.
const STUCK_MS: u64 = 10_000;
const DRAIN_MS: u64 = 3_000;
const KILL_MS: u64 = 3_000;
const LAST_MS: u64 = 30_000;

impl Power {
    /// Up.
    pub const fn new() -> Self {
        Self { phase: Phase::Up, kind: Kind::PowerOff, until_ms: NEVER, childless: false }
    }

    /// Whether nothing has been asked for yet.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// When the present phase is over at the latest.
    pub fn deadline_ms(&self) -> u64 {
        self.until_ms
    }

    /// Whether `ended` was the child that should have ended the machine.
    pub fn ended(&mut self, ended: Ended, now_ms: u64) -> bool {
        let last = self.phase == Phase::Last { pid: ended.pid };
        if last {
            self.until_ms = now_ms; // step() does it itself
        }
        last
    }
}

/// Begins the way down.
pub fn request(world: &mut World, kind: Kind, now_ms: u64) {
    if world.power.phase != Phase::Up {
        return;
    }
    info!(
        "{}: stopping {} containers",
        kind.word(),
        world.units.iter().filter(|row| row.unit.pid().is_some()).count()
    );
    let longest_ms = world.pods.iter().map(|pod| pod.grace_ms).max().unwrap_or(0);
    let until_ms = now_ms.saturating_add(longest_ms).saturating_add(STUCK_MS);
    world.power = Power { phase: Phase::Stopping, kind, until_ms, childless: false };
    for p in 0..world.pods.len() {
        let grace_ms = world.pods.get(p).map_or(0, |pod| pod.grace_ms);
        world.stop_pod(p, grace_ms, now_ms);
    }
}

/// Ends the grace that containers have.
pub fn hasten(world: &mut World, now_ms: u64) {
    if world.power.phase != Phase::Stopping {
        return;
    }
    info!("killing what has not ended");
    for p in 0..world.pods.len() {
        world.stop_pod(p, 0, now_ms);
    }
}

/// Goes on when the present phase is over.
pub fn step(world: &mut World, now_ms: u64) {
    let late = world.power.until_ms <= now_ms;
    let kind = world.power.kind;
    let enter = |world: &mut World, phase, limit_ms| {
        world.power.phase = phase;
        world.power.until_ms = now_ms.saturating_add(limit_ms);
    };
    if world.power.phase == Phase::Stopping {
        let stopped = world.units.iter().all(|row| row.unit.state == State::Done);
        if !stopped && !late {
            return;
        }
        if !stopped {
            error!("some containers do not end; going on without them");
        }
        logs::finish(world);
        enter(world, Phase::Draining, DRAIN_MS);
    }
    if world.power.phase == Phase::Draining && (world.logs.finished() || world.power.until_ms <= now_ms) {
        if world.paths.device {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL); // ESRCH: nobody is left
        }
        enter(world, Phase::Killing, KILL_MS);
        world.power.childless = false; // only the next look knows
        crate::reap::all(world, now_ms); // without a child left nothing would wake PID 1 for the next step
    }
    if world.power.phase == Phase::Killing && (world.power.childless || world.power.until_ms <= now_ms) {
        if !world.paths.device {
            hosted::leave(world);
        }
        if matches!(kind, Kind::Halt | Kind::PowerOff) {
            world.watchdog.stop(); // the child must not have it open any more
        }
        match child::fork(c"mote-last", || last(kind)) {
            Ok((pid, _)) => enter(world, Phase::Last { pid: pid.as_raw() }, LAST_MS),
            Err(errno) => {
                warn!("fork: {}; PID 1 ends the machine itself", words(errno));
                enter(world, Phase::Last { pid: 0 }, 0);
            }
        }
    }
    if matches!(world.power.phase, Phase::Last { .. }) && world.power.until_ms <= now_ms {
        sync();
        let Err(errno) = reboot(kind.mode());
        error!("{}: {}; trying again", kind.word(), words(errno));
        enter(world, Phase::Last { pid: 0 }, LAST_MS);
    }
}

/// What the last child does; it comes back only when it fails.
fn last(kind: Kind) -> i32 {
    sync(); // first what can be saved, should an unmount hang
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts(&table);
    for m in mounts.iter().rev().filter(|m| !m.stays) {
        let flags = MntFlags::UMOUNT_NOFOLLOW;
        match umount2(m.on.as_path(), flags) {
            Ok(()) => {}
            Err(_) if m.virtual_fs => {} // nothing on it outlives the machine
            Err(errno) => read_only(&m.on, errno),
        }
    }
    for m in mounts.iter().rev().filter(|m| m.stays && !m.virtual_fs) {
        read_only(&m.on, Errno::EBUSY);
    }
    sync();
    info!("{}", kind.word());
    let Err(errno) = reboot(kind.mode());
    error!("{}: {}; PID 1 tries itself", kind.word(), words(errno));
    1
}

fn read_only(on: &Path, why: Errno) {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    if let Err(errno) = mount(None, on, None, flags, None) {
        warn!("{} stays mounted ({}), and writable ({})", on.display(), words(why), words(errno));
    }
}

/// A line of mountinfo.
#[derive(PartialEq, Eq, Debug)]
struct Mounted {
    on: PathBuf,
    /// PID 1's own root, and what is needed up to the end.
    stays: bool,
    /// Without storage behind it.
    virtual_fs: bool,
}

/// Takes `/proc/self/mountinfo` apart, proc_pid_mountinfo(5).
fn mounts(table: &[u8]) -> Vec<Mounted> {
    const VIRTUAL: &[&[u8]] = &[
        b"proc",
        b"sysfs",
        b"tmpfs",
        b"ramfs",
        b"rootfs",
        b"devtmpfs",
        b"devpts",
        b"cgroup",
        b"cgroup2",
        b"nsfs",
        b"mqueue",
        b"bpf",
        b"debugfs",
        b"tracefs",
        b"securityfs",
        b"configfs",
        b"overlay",
        b"pstore",
    ];
    let one = |line: &[u8]| {
        let mut fields = line.split(|&b| b == b' ');
        let on = unescape(fields.nth(4)?);
        let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
        let stays = [&b"/"[..], b"/proc", b"/dev", b"/sys"].contains(&on.as_slice());
        let on = PathBuf::from(std::ffi::OsStr::from_bytes(&on));
        Some(Mounted { on, stays, virtual_fs: VIRTUAL.contains(&kind) })
    };
    table.split(|&b| b == b'\n').filter_map(one).collect()
}

/// Undoes the octal escapes of blanks, tabs, newlines and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|d| byte == b'\\' && d.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value =
            digits.and_then(|d| u8::try_from(d.iter().fold(0_u32, |n, d| n * 8 + u32::from(d - b'0'))).ok());
        out.push(value.unwrap_or(byte));
        rest = if value.is_some() { after.get(3..).unwrap_or(b"") } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_taken_apart() {
        let table = b"23 1 0:2 / / rw - rootfs rootfs rw\n24 23 0:22 / /proc rw,nosuid shared:3 master:1 - proc proc rw\n\
            30 23 8:1 / /mnt/a\\040b\\134c rw,relatime - ext4 /dev/sda1 rw\n\nnonsense\n";
        let mounted = |on: &str, stays, virtual_fs| Mounted { on: on.into(), stays, virtual_fs };
        let want =
            [mounted("/", true, true), mounted("/proc", true, true), mounted("/mnt/a b\\c", false, false)];
        assert_eq!(mounts(table), want);
    }

    #[test]
    fn signals_mean_what_busybox_says() {
        let kinds = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP]
            .map(|signal| Kind::of(signal, true));
        assert_eq!(
            kinds,
            [Some(Kind::Reboot), Some(Kind::Reboot), Some(Kind::Halt), Some(Kind::PowerOff), None]
        );
    }
}
