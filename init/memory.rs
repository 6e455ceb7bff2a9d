//! How much memory PID 1 takes, read without allocating.

use std::fs::File;
use std::io::Read as _;

/// From `/proc/self/smaps_rollup`: exact, unlike `VmRSS`, which lags by up to 64 pages a CPU.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Memory {
    /// All pages that are mapped and present, shared ones too.
    pub rss_kb: u64,
    /// Those that are this process's own.
    pub anonymous_kb: u64,
}

/// The caller's memory; `None` where the kernel does not tell (CONFIG_PROC_PAGE_MONITOR).
pub fn own() -> Option<Memory> {
    let mut text = [0; 1500]; // it takes about 800
    let length = File::open("/proc/self/smaps_rollup").and_then(|mut file| file.read(&mut text)).ok()?;
    parse(text.get(..length)?)
}

fn parse(text: &[u8]) -> Option<Memory> {
    let text = std::str::from_utf8(text).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse().ok()
    };
    Some(Memory { rss_kb: field("Rss:")?, anonymous_kb: field("Anonymous:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_text_is_read() {
        let text = b"55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:         472 kB\nPss:   17 kB\nAnonymous:     96 kB\n";
        assert_eq!(parse(text), Some(Memory { rss_kb: 472, anonymous_kb: 96 }));
        assert_eq!(parse(b"Rss: 4 kB\n"), None);
        assert!(own().is_none_or(|memory| memory.rss_kb > memory.anonymous_kb));
    }
}
