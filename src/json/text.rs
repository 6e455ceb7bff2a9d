//! The strings of a document.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

use super::{Shape, Value};

/// A string of the document, still escaped.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Str<'a>(pub(super) &'a str);

impl<'a> Str<'a> {
    /// The string that stands, with its quotes, as a value in a text that was checked; `None` of another kind of value.
    pub fn quoted(value: &'a str) -> Option<Self> {
        value.strip_prefix('"')?.strip_suffix('"').map(Self)
    }

    /// The text when it holds no escape, so that it needs no decoding.
    pub fn plain(self) -> Option<&'a str> {
        (!self.0.contains('\\')).then_some(self.0)
    }

    /// The decoded characters. [`parse`] has checked every escape, so nothing is lost here.
    pub fn chars(self) -> impl Iterator<Item = char> + 'a {
        let mut rest = self.0.chars();
        std::iter::from_fn(move || {
            let c = rest.next()?;
            if c != '\\' {
                return Some(c);
            }
            Some(match rest.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let high = hex4(&mut rest);
                    if (0xd800..0xdc00).contains(&high) {
                        rest.nth(1); // the `\u` of the low half, which the scan has seen
                        let low = hex4(&mut rest);
                        char::from_u32(0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00) % 0x400)
                    } else {
                        char::from_u32(high)
                    }
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                other => other,
            })
        })
    }

    /// Whether the decoded text is empty.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The decoded text as an owned string, for messages and rare uses.
    pub fn decode(self) -> String {
        self.plain().map_or_else(|| self.chars().collect(), str::to_owned)
    }
}

impl PartialEq<&str> for Str<'_> {
    #[inline(never)]
    fn eq(&self, other: &&str) -> bool {
        self.plain().map_or_else(|| self.chars().eq(other.chars()), |text| text == *other)
    }
}

impl fmt::Debug for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.decode())
    }
}

/// The decoded text with control characters escaped: names in messages come from strangers.
impl fmt::Display for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|c| crate::error::put_visible(f, c))
    }
}

impl<'de> Deserialize<'de> for Str<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Value<'de> for Str<'de> {
    fn shape(&mut self) -> Shape<'_, 'de> {
        Shape::Str(self)
    }
}

/// Four hex digits that the scan has checked.
fn hex4(chars: &mut std::str::Chars<'_>) -> u32 {
    chars.take(4).fold(0, |n, c| n << 4 | c.to_digit(16).unwrap_or(0))
}
