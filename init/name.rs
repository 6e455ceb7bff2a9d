//! Names from manifests and clients: once made, a name is safe as one component of a path and on a terminal.

use std::fmt;

/// The longest pod or container name; RFC 1123 labels, as Kubernetes has them.
pub const NAME_BYTES: usize = 63;

/// The longest name of a bundle directory.
pub const BUNDLE_BYTES: usize = 128;

/// A DNS label: 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(heapless::String<NAME_BYTES>);

impl Name {
    /// What is allowed, in words.
    pub const WANT: &'static str = "expected 1 to 63 of a-z, 0-9 and -, with no - at the ends";

    /// Checks `text`.
    pub fn new(text: &str) -> Option<Self> {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inside = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let good = inside && ends(text.bytes().next()) && ends(text.bytes().last());
        heapless::String::try_from(text).ok().filter(|_| good).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a bundle directory: one path component that cannot climb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle(String);

impl Bundle {
    /// What is allowed, in words.
    pub const WANT: &'static str = "expected the name of a bundle directory: 1 to 128 of A-Z, a-z, 0-9, dot, _, + and -, no two dots together";

    /// Checks `text`.
    pub fn new(text: String) -> Option<Self> {
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let inside = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        (starts && inside && text.len() <= BUNDLE_BYTES && !text.contains("..")).then_some(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["a", "0", "a-b", "gateway", &"x".repeat(63)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in
            ["", "-a", "a-", "A", "a.b", "a/b", "..", "a\n", "ä", "a b", "a_b", &long, &"x".repeat(5000)]
        {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_bundle_is_one_component_that_cannot_climb() {
        for good in ["broker", "broker-2.0.11", "A_b+c", &"x".repeat(128)] {
            assert!(Bundle::new(good.to_owned()).is_some(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "..", ".hidden", "a/b", "a..b", "docker.io/x:1", "a:b", "a\0", "é", "-x", &long]
        {
            assert!(Bundle::new(bad.to_owned()).is_none(), "{bad}");
        }
    }
}
