//! The hardware watchdog: it restarts the device when PID 1 has not come round its loop for so long, be it stuck in the kernel or
//! not scheduled any more. Started before the first container; fed by the loop itself, in every phase of the way down as well.
//!
//! A device that halts or goes off stops it, as far as the driver lets it be stopped; one that restarts leaves it running, so that a
//! restart which hangs in the kernel ends, too.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use mote::error::{During as _, Result, words};
use mote::sys::{file, watchdog};
use mote::{error, info, warn};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::write;

use crate::supervise::NEVER;

/// The first one of the kernel's; what it is called since Linux 2.
const PATH: &str = "/dev/watchdog";

/// It is fed so many times before it would restart the device.
const TIMES: u64 = 4;

/// PID 1's end of it.
#[derive(Debug)]
pub struct Watchdog {
    device: Option<OwnedFd>,
    every_ms: u64,
    next_ms: u64,
}

impl Watchdog {
    /// None.
    pub const fn none() -> Self {
        Self { device: None, every_ms: NEVER, next_ms: NEVER }
    }

    /// Starts it. Without one the device runs on unwatched, which is logged.
    pub fn start(&mut self, seconds: i32, now_ms: u64) {
        match Self::open(Path::new(PATH), seconds, now_ms) {
            Ok(watchdog) => *self = watchdog,
            Err(e) => error!("watchdog: {e}; nothing restarts the device when it hangs"),
        }
    }

    fn open(path: &Path, seconds: i32, now_ms: u64) -> Result<Self> {
        let device = file::open(path, OFlag::O_WRONLY).during("open", path)?;
        let set = watchdog::set_timeout(device.as_fd(), seconds);
        if let Err(errno @ (Errno::EINVAL | Errno::EOPNOTSUPP)) = set {
            warn!("watchdog: {seconds} s: {}; it keeps its own timeout", words(errno));
        }
        // It has been started by open(2), and what it does is up to its driver: better with a timeout of its own than not at all.
        let seconds = set.or_else(|_| watchdog::timeout(device.as_fd()));
        if seconds.is_err() {
            let _ = write(&device, b"V"); // nobody would feed it
        }
        let seconds = seconds.during("ioctl", path)?;
        info!("watchdog: restarts the device after {seconds} s");
        let every_ms = u64::from(seconds.unsigned_abs().max(1)) * 1000 / TIMES;
        Ok(Self { device: Some(device), every_ms, next_ms: now_ms.saturating_add(every_ms) })
    }

    /// When it has to be fed again.
    pub const fn deadline_ms(&self) -> u64 {
        self.next_ms
    }

    /// Feeds it when it is time.
    pub fn tick(&mut self, now_ms: u64) {
        if self.next_ms > now_ms {
            return;
        }
        if let Some(device) = &self.device {
            // Any byte but V. What a driver refuses now it may take the next time; if not, the device restarts.
            let _ = write(device, b"\0");
        }
        self.next_ms = now_ms.saturating_add(self.every_ms);
    }

    /// Stops it: V as the last byte, then close(2). With `nowayout` it goes on.
    pub fn stop(&mut self) {
        if let Some(device) = self.device.take()
            && let Err(errno) = write(&device, b"V")
        {
            warn!("watchdog: {}; it may restart the device", words(errno));
        }
        *self = Self::none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that writes to a file, with a timeout of 8 s.
    fn watchdog(path: &Path) -> Watchdog {
        let file = std::fs::File::create(path).map(OwnedFd::from);
        Watchdog { device: file.ok(), every_ms: 2000, next_ms: 3000 }
    }

    #[test]
    fn it_is_fed_when_it_is_time_and_stopped_by_its_last_byte() {
        let path = std::env::temp_dir().join(format!("mote-watchdog-{}", std::process::id()));
        let mut watchdog = watchdog(&path);
        let written = || std::fs::read(&path).unwrap_or_default();
        watchdog.tick(2999);
        assert_eq!((written(), watchdog.deadline_ms()), (vec![], 3000));
        watchdog.tick(3100);
        watchdog.tick(3100);
        assert_eq!((written(), watchdog.deadline_ms()), (vec![0], 5100));
        watchdog.stop();
        assert_eq!((written(), watchdog.deadline_ms()), (vec![0, b'V'], NEVER));
        watchdog.tick(NEVER - 1);
        assert_eq!(written().len(), 2);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn what_is_no_watchdog_is_refused() {
        let said = Watchdog::open(Path::new("/dev/null"), 30, 0).map_err(|e| e.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains("/dev/null")), "{said:?}");
        assert!(Watchdog::open(Path::new("/dev/mote-has-none"), 30, 0).is_err());
        // What was started is stopped.
        let path = std::env::temp_dir().join(format!("mote-no-watchdog-{}", std::process::id()));
        assert!(std::fs::write(&path, "").is_ok() && Watchdog::open(&path, 30, 0).is_err());
        assert_eq!(std::fs::read(&path).unwrap_or_default(), b"V");
        let _ = std::fs::remove_file(path);
    }
}
