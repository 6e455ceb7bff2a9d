//! When the steps of the boot were done.

use std::fmt::Write as _;

use mote::info;

use crate::clock;
use crate::line::Line;

/// The steps so far, each with the milliseconds since the kernel started.
#[derive(Debug)]
pub struct Steps(heapless::Vec<(&'static str, u64), 12>);

impl Steps {
    /// PID 1 has begun.
    pub fn new() -> Self {
        let mut steps = Self(heapless::Vec::new());
        steps.done("kernel");
        steps
    }

    /// The step called `name` is done.
    pub fn done(&mut self, name: &'static str) {
        let _ = self.0.push((name, clock::now_ms())); // there are fewer than twelve
    }

    /// All of them on one line.
    pub fn line(&self) -> Line<240> {
        let mut line = Line::<240>::new();
        for (name, at_ms) in &self.0 {
            let _ = write!(line, "{name} {at_ms} ms, "); // cut is fine
        }
        Line::of(format_args!("{}", line.as_str().trim_end_matches(", ")))
    }

    /// Logs them, at the end: a line on a serial console takes longer than most steps.
    pub fn tell(&self) {
        info!("boot: {}", self.line());
    }
}
