//! How much may be logged: by one container in a second, and by all of them together.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use mote::board::{LOG_RATE_BYTES, LOG_TOTAL_BYTES};
use mote::sys::file;

/// What may come at once, in seconds of the rate.
const BURST_S: u64 = 4;

/// What one container may still print: a bucket that fills with time.
#[derive(Debug)]
pub struct Rate {
    /// How much is in it.
    pub left: u64,
    since: Instant,
    /// It was empty, and is to be half full before anything is taken again: one marker for many lines.
    pub closed: bool,
}

impl Rate {
    /// A full one.
    pub fn new() -> Self {
        Self::of(LOG_RATE_BYTES * BURST_S, false)
    }

    /// One that fills from now on.
    pub fn of(left: u64, closed: bool) -> Self {
        Self { left, since: Instant::now(), closed }
    }

    /// Adds what has come in since.
    pub fn refill(&mut self) {
        self.refill_to(Instant::now());
    }

    fn refill_to(&mut self, now: Instant) {
        let ms = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let more = LOG_RATE_BYTES.saturating_mul(ms) / 1000;
        if more > 0 {
            (self.left, self.since) = (self.left.saturating_add(more).min(LOG_RATE_BYTES * BURST_S), now);
        }
        self.closed &= self.left < LOG_RATE_BYTES * BURST_S / 2;
    }

    /// Whether a line of this length may be logged; takes it out then.
    pub fn take(&mut self, length: usize) -> bool {
        let rest = u64::try_from(length).ok().and_then(|length| self.left.checked_sub(length));
        match rest {
            Some(rest) if !self.closed => self.left = rest,
            _ => self.closed = true,
        }
        !self.closed
    }
}

/// The size of all logs.
#[derive(Debug)]
pub struct Bound {
    root: PathBuf,
    /// Not less than there is.
    total: u64,
}

/// A log file: when it was last written, how long it is, where.
type Found = (SystemTime, u64, PathBuf);

impl Bound {
    /// That of the logs below `root`. What is there already counts.
    pub fn new(root: &Path) -> Self {
        let mut bound = Self { root: root.to_owned(), total: u64::MAX };
        bound.count(0);
        bound
    }

    /// Adds what was written. Beyond the bound it removes the oldest files, until a sixteenth is free.
    pub fn count(&mut self, written: u64) {
        self.total = self.total.saturating_add(written);
        if self.total <= LOG_TOTAL_BYTES {
            return;
        }
        let mut files = Vec::new();
        find(&self.root, 3, &mut files);
        files.sort_unstable();
        self.total = files.iter().map(|(_, size, _)| size).sum();
        if self.total <= LOG_TOTAL_BYTES {
            return; // rotation had removed some
        }
        for (_, size, path) in files {
            if self.total <= LOG_TOTAL_BYTES - LOG_TOTAL_BYTES / 16 {
                return;
            }
            if std::fs::remove_file(&path).is_ok() {
                self.total -= size;
            }
        }
    }
}

/// The files of all containers: `root/<pod>/<container>/0.log` and the older ones.
fn find(directory: &Path, depth: u32, files: &mut Vec<Found>) {
    for name in file::names(directory).unwrap_or_default() {
        let path = directory.join(&name);
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() && depth > 1 {
            find(&path, depth - 1, files);
        } else if meta.is_file() && depth == 1 && name.as_encoded_bytes().starts_with(b"0.log") {
            files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let mut rate = Rate::new();
        let start = rate.since;
        let kib = |rate: &mut Rate| (0..).take_while(|_| rate.take(1024)).count() as u64;
        let all = LOG_RATE_BYTES * BURST_S / 1024;
        assert_eq!((kib(&mut rate), kib(&mut rate)), (all, 0));
        // Nothing until it is half full again, and then that.
        rate.refill_to(start + Duration::from_millis(1900));
        assert_eq!(kib(&mut rate), 0);
        rate.refill_to(start + Duration::from_millis(2010));
        assert!((all / 2..all / 2 + LOG_RATE_BYTES / 50 / 1024).contains(&kib(&mut rate)));
        rate.refill_to(start + Duration::from_secs(1 << 40));
        assert_eq!(kib(&mut rate), all);
    }

    #[test]
    fn all_logs_together_stay_below_the_bound_and_the_oldest_go_first() {
        let root = std::env::temp_dir().join(format!("mote-bound-{}", std::process::id()));
        let size = LOG_TOTAL_BYTES / 8;
        let mut bound = Bound::new(&root);
        let mut last = 0;
        for n in 0..20_u64 {
            let directory = root.join(format!("pod{}", n % 3)).join("main");
            let path = directory.join(format!("0.log.{n}"));
            let made = std::fs::create_dir_all(&directory).and_then(|()| std::fs::File::create(&path));
            let long = made.and_then(|file| {
                file.set_len(size)?;
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n))
            });
            assert!(long.is_ok());
            bound.count(size);
            let mut files = Vec::new();
            find(&root, 3, &mut files);
            let total: u64 = files.iter().map(|(_, size, _)| size).sum();
            assert!(total <= LOG_TOTAL_BYTES && path.exists(), "{n}: {total}");
            last = files.len();
        }
        assert!(last >= 6, "{last}");
        let _ = std::fs::remove_dir_all(&root);
    }
}
