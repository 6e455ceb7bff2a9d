//! What commands print for people: columns that line up, colours on a terminal alone, nothing that moves the cursor.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// A table; the first row is the heading.
#[derive(Debug, Default)]
pub struct Table(Vec<Vec<String>>);

/// How a cell may be set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// As it should be.
    Good,
    /// On its way.
    Under,
    /// Not as it should be.
    Bad,
}

impl Table {
    /// An empty one.
    pub fn new(heading: &[&str]) -> Self {
        Self(vec![heading.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().map(|cell| visible(&cell)).collect());
    }

    /// All of it, lined up. What `colour` says about a cell below the heading is shown if `coloured`.
    pub fn text(&self, coloured: bool, colour: &dyn Fn(usize, &str) -> Option<Colour>) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for (i, row) in self.0.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let last = column + 1 == columns;
                let gap = if last { 0 } else { width + 2 - cell.chars().count() };
                let colour = if coloured && i > 0 { colour(column, cell) } else { None };
                let _ = match colour {
                    _ if coloured && i == 0 => write!(out, "\u{1b}[1m{cell}\u{1b}[0m"), // a String takes it
                    Some(Colour::Good) => write!(out, "\u{1b}[32m{cell}\u{1b}[0m"),
                    Some(Colour::Under) => write!(out, "\u{1b}[33m{cell}\u{1b}[0m"),
                    Some(Colour::Bad) => write!(out, "\u{1b}[31m{cell}\u{1b}[0m"),
                    None => write!(out, "{cell}"),
                };
                out.extend(std::iter::repeat_n(' ', gap));
            }
            out.push('\n');
        }
        out
    }
}

/// The colour of a container's state.
pub fn of_state(state: &str) -> Option<Colour> {
    Some(match state.split(' ').next()? {
        "running" | "ready" => Colour::Good,
        "done" if state.ends_with("(code 0)") => Colour::Good,
        "waiting" | "starting" | "stopping" => Colour::Under,
        "backoff" | "failed" | "done" => Colour::Bad,
        _ => return None,
    })
}

/// Whether to colour: on a terminal, unless `NO_COLOR` is set to something (no-color.org).
pub fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text in which nothing moves the cursor.
pub fn visible(text: &str) -> String {
    let mut out = String::new();
    let _ = text.chars().try_for_each(|c| mote::error::put_visible(&mut out, c)); // a String takes it
    out
}

/// Milliseconds in at most two units.
pub fn age(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..120 => format!("{s}s"),
        120..7200 => format!("{}m{}s", s / 60, s % 60),
        7200..172_800 => format!("{}h{}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86_400, s / 3600 % 24),
    }
}

/// Bytes in the largest unit of which there is a whole one, with one decimal below ten.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit > 0 && tenths < 100 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_shown() {
        let mut table = Table::new(&["A", "STATE", "B"]);
        table.row(["x\u{1b}[2J", "running", "1"].map(str::to_owned));
        table.row(["é", "failed", "22"].map(str::to_owned));
        let plain = table.text(false, &|_, _| Some(Colour::Bad));
        assert_eq!(plain, "A           STATE    B\nx\\u{1b}[2J  running  1\né           failed   22\n");
        let coloured = table.text(true, &|column, cell| if column == 1 { of_state(cell) } else { None });
        assert!(coloured.contains("\u{1b}[32mrunning\u{1b}[0m  1\n"), "{coloured:?}");
        assert!(coloured.contains("\u{1b}[31mfailed\u{1b}[0m   22\n"), "{coloured:?}");
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(age);
        assert_eq!(ages, ["0s", "119s", "2m0s", "119m59s", "2h0m", "2d0h"]);
    }

    #[test]
    fn bytes_are_short() {
        let all = [0, 1023, 1024, 1536, 10_240, 1_048_575, 1 << 20, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(all, ["0B", "1023B", "1.0K", "1.5K", "10K", "1023K", "1.0M", "5.0G", "16383P"]);
    }
}
