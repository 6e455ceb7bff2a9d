//! Text of a fixed size on one line: what is too long is cut, control characters are escaped, nothing is allocated.

use std::fmt::{self, Write as _};

/// At most `N` bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line<const N: usize>(heapless::String<N>);

impl<const N: usize> Line<N> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(heapless::String::new())
    }

    /// What `args` say.
    pub fn of(args: fmt::Arguments<'_>) -> Self {
        let mut line = Self::new();
        let _ = line.write_fmt(args); // cut is fine
        line
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| mote::error::put_visible(&mut self.0, c))
    }
}

impl<const N: usize> fmt::Display for Line<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_is_cut_between_characters() {
        assert_eq!(Line::<12>::of(format_args!("a\n{}\u{1b}[m", 7)).as_str(), "a\\n7\\u{1b}[m");
        assert_eq!(Line::<5>::of(format_args!("abcdé")).as_str(), "abcd");
        assert_eq!(Line::<6>::of(format_args!("abcdé")).as_str(), "abcdé");
    }
}
