//! `mote.demo=<seconds>` on the kernel command line: when all containers are up, and then the seconds have passed, the device shows
//! itself on at most one screen and goes off. Runs in a child of PID 1, as a client like any other.

use std::fmt::Write as _;
use std::time::Duration;

use mote::error::Result;
use mote::output;

use super::packet::Packet;
use super::{Host, logs, power, ps};
use crate::steps::Steps;

/// How long the containers may take to come up.
const UP: Duration = Duration::from_secs(120);

/// A screen.
const LINES: usize = 24;
const COLUMNS: usize = 80;

/// Shows the device.
pub fn run(steps: &Steps, seconds: u32) -> i32 {
    let up = wait();
    std::thread::sleep(Duration::from_secs(seconds.into()));
    let shown = show(steps);
    if let Err(error) = shown.and_then(|()| power::ask(&Host::device(), "poweroff")) {
        output::complain(&format!("demo: {error}"));
        return 1;
    }
    i32::from(!up)
}

/// Waits until every container is up.
fn wait() -> bool {
    const LOOK: Duration = Duration::from_millis(200);
    (0..UP.as_millis() / LOOK.as_millis()).any(|_| {
        std::thread::sleep(LOOK);
        // A pod that is not run at all has no container, and no reason to wait for it.
        let up = |row: &Packet| row.is("state", "running");
        ps::ask(&Host::device())
            .is_ok_and(|listing| !listing.pods.is_empty() && listing.containers.iter().all(up))
    })
}

fn show(steps: &Steps) -> Result<()> {
    let listing = ps::ask(&Host::device())?;
    let mut screen = String::new();
    let _ = writeln!(screen, "\nboot: {}\n", steps.line()); // as below: a String takes it
    let _ = writeln!(screen, "$ mote ps\n{}", listing.text(false, false));
    // The container that has most to tell is the one that the others serve: the last of the pod.
    if let Some(row) = listing.containers.last() {
        let (pod, container) = (row.text("pod"), row.text("container"));
        let _ = writeln!(screen, "$ mote logs --tail 5 {pod}/{container}");
        for line in logs::last(&Host::device(), &pod, &container, 5)? {
            let _ = writeln!(screen, "{line}");
        }
    }
    let lines = screen.lines().flat_map(wrap).take(LINES);
    output::print(&lines.fold(String::new(), |all, line| all + &line + "\n"))
}

/// A line in pieces that fit the screen, broken at blanks where there are some.
fn wrap(line: &str) -> Vec<String> {
    let mut rest: Vec<char> = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let mut pieces = Vec::new();
    while rest.len() > COLUMNS {
        let blank = rest.iter().take(COLUMNS).rposition(|&c| c == ' ').filter(|&at| at > 0);
        let after = rest.split_off(blank.unwrap_or(COLUMNS));
        pieces.push(rest.iter().collect());
        rest = after.into_iter().skip_while(|&c| c == ' ').collect();
    }
    pieces.push(rest.iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_to_fit() {
        assert_eq!(wrap(""), [""]);
        assert_eq!(wrap(&"x".repeat(81)), ["x".repeat(80), "x".to_owned()]);
        let words = format!("{} {}", "x".repeat(70), "y".repeat(20));
        assert_eq!(wrap(&words), ["x".repeat(70), "y".repeat(20)]);
    }
}
