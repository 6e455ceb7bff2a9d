//! JSON as mote reads it: checked as text first, then borrowed from in place through serde-json-core.
//!
//! serde-json-core leaves escapes in strings, gives no position with an error, and recurses on values that nobody
//! asked for. So [`parse`] walks the text once without recursion (UTF-8, grammar, depth), every string is a [`Str`]
//! that is decoded where it is used, and each [`object!`](crate::object) notes the fields on the way out of a
//! failure, which gives the path.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;

mod scan;
mod write;

pub use write::{Writer, escape};

use scan::scan;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may nest. runtime-spec needs 8, a Kubernetes Pod 12.
pub const MAX_DEPTH: usize = 32;

/// How many elements one array or map may have; more would let a small file ask for a lot of memory.
pub const MAX_ELEMENTS: usize = 16_384;

/// What is wrong with a document, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    /// A dotted path such as `mounts[2].options[1]`, or `line 3 column 7` when the text is not JSON at all.
    pub field: String,
    /// What was found and what is allowed.
    pub why: String,
}

/// Parses one document, borrowing from `text`.
pub fn parse<'a, T: Value<'a>>(text: &'a [u8]) -> Result<T, Flaw> {
    if let Err((offset, why)) = scan(text) {
        let before = text.get(..offset).unwrap_or(text);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&b| b != b'\n').count();
        return Err(Flaw { field: format!("line {line} column {column}"), why: why.to_owned() });
    }
    TRAIL.with(|trail| trail.borrow_mut().clear());
    let mut json = serde_json_core::de::Deserializer::new(text, None);
    T::deserialize(&mut json).map_err(|_| TRAIL.with(|trail| trail.borrow().flaw(T::WANT)))
}

/// A type that can stand in a document, with the words that tell a person what is allowed there.
pub trait Value<'de>: Deserialize<'de> {
    /// What is allowed, such as `true or false`.
    const WANT: &'static str;
}

macro_rules! value {
    ($($ty:ty => $want:literal),* $(,)?) => { $(impl<'de> Value<'de> for $ty { const WANT: &'static str = $want; })* };
}
value! {
    bool => "expected true or false",
    u8 => "expected a whole number from 0 to 255",
    u16 => "expected a whole number from 0 to 65535",
    u32 => "expected a whole number from 0 to 4294967295",
    u64 => "expected a whole number from 0 to 18446744073709551615",
    i32 => "expected a whole number from -2147483648 to 2147483647",
    i64 => "expected a whole number from -9223372036854775808 to 9223372036854775807",
}
impl<'de, T: Value<'de>> Value<'de> for Option<T> {
    const WANT: &'static str = T::WANT;
}

/// A string of the document, still escaped.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Str<'a>(&'a str);

impl<'a> Str<'a> {
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

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
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
impl<'de: 'a, 'a> Value<'de> for Str<'a> {
    const WANT: &'static str = "expected a string";
}

/// Four hex digits that the scan has checked.
fn hex4(chars: &mut std::str::Chars<'_>) -> u32 {
    chars.take(4).fold(0, |n, c| n << 4 | c.to_digit(16).unwrap_or(0))
}

/// An array.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Value<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Value<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                loop {
                    BEGUN.set(false);
                    // A number such as 1.5 fails only at the separator, which is before the next element begins.
                    let next = seq.next_element::<Element<T>>().inspect_err(|_| {
                        let before = usize::from(!BEGUN.get() && !list.is_empty());
                        note(Step::Index(list.len() - before), T::WANT);
                    });
                    let Some(Element(element)) = next? else { break };
                    if list.len() == MAX_ELEMENTS {
                        note(Step::Index(list.len()), "more than 16384 elements");
                        return Err(serde::de::Error::custom(""));
                    }
                    list.push(element);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
impl<'de, T: Value<'de>> Value<'de> for List<T> {
    const WANT: &'static str = "expected an array";
}

/// An element of an array; notes that it was begun.
struct Element<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BEGUN.set(true);
        T::deserialize(deserializer).inspect_err(|_| BEGUN.set(true)).map(Self)
    }
}

/// An object with free keys, in the document's order.
#[derive(Debug)]
pub struct Pairs<'a, T>(pub Vec<(Str<'a>, T)>);

impl<T> Default for Pairs<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> Deref for Pairs<'a, T> {
    type Target = [(Str<'a>, T)];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de: 'a, 'a, T: Value<'de>> Deserialize<'de> for Pairs<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Value<'de>> Visitor<'de> for Entries<T> {
            type Value = Vec<(Str<'de>, T)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    if pairs.len() == MAX_ELEMENTS {
                        note(Step::Key(key.to_string()), "more than 16384 entries");
                        return Err(serde::de::Error::custom(""));
                    }
                    let value =
                        map.next_value().inspect_err(|_| note(Step::Key(key.to_string()), T::WANT))?;
                    pairs.push((key, value));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Pairs)
    }
}
impl<'de: 'a, 'a, T: Value<'de>> Value<'de> for Pairs<'a, T> {
    const WANT: &'static str = "expected an object";
}

/// Something of any shape that is only asked for being there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Present(pub bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}
impl<'de> Value<'de> for Present {
    const WANT: &'static str = "expected a value";
}

/// Declares a struct that is read from a JSON object: `field: Type = "key"`, every field optional.
///
/// A missing key and `null` leave the field's default, unknown keys are passed over, as runtime-spec asks; of a key
/// that stands twice the last one counts, as it does for the Go programs that write these files.
#[macro_export]
macro_rules! object {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$lt:lifetime>)? { $($(#[$field_meta:meta])* $field:ident: $ty:ty = $key:literal),* $(,)? }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name $(<$lt>)? { $($(#[$field_meta])* $vis $field: $ty,)* }

        impl<'de $(: $lt, $lt)?> serde::de::Deserialize<'de> for $name $(<$lt>)? {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Fields $(<$lt>)? (std::marker::PhantomData<$(&$lt)? ()>);
                impl<'de $(: $lt, $lt)?> serde::de::Visitor<'de> for Fields $(<$lt>)? {
                    type Value = $name $(<$lt>)?;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                        let mut this = Self::Value::default();
                        let mut last = None;
                        while let Some(key) = $crate::json::next_key(&mut map, last)? {
                            $(if key == $key {
                                last = Some($crate::json::field(&mut map, $key, &mut this.$field)?);
                                continue;
                            })*
                            $crate::json::skip(&mut map)?;
                            last = None;
                        }
                        Ok(this)
                    }
                }
                deserializer.deserialize_map(Fields(std::marker::PhantomData))
            }
        }
        impl<'de $(: $lt, $lt)?> $crate::json::Value<'de> for $name $(<$lt>)? {
            const WANT: &'static str = "expected an object";
        }
    )* };
}

/// A field that was read: its key and what is allowed there.
type Read = (&'static str, &'static str);

/// The next key of an object. A number such as 1.5 fails only here, so the `last` field is named then.
#[doc(hidden)]
#[inline(never)]
pub fn next_key<'de, A: MapAccess<'de>>(
    map: &mut A,
    last: Option<Read>,
) -> Result<Option<Str<'de>>, A::Error> {
    map.next_key().inspect_err(|_| {
        if let Some((key, want)) = last {
            note(Step::Field(key), want);
        }
    })
}

/// Reads one field; `null` leaves it as it is. Kept out of line: every object has many.
#[doc(hidden)]
#[inline(never)]
pub fn field<'de, T: Value<'de>, A: MapAccess<'de>>(
    map: &mut A,
    key: &'static str,
    field: &mut T,
) -> Result<Read, A::Error> {
    if let Some(value) = map.next_value::<Option<T>>().inspect_err(|_| note(Step::Field(key), T::WANT))? {
        *field = value;
    }
    Ok((key, T::WANT))
}

/// Passes over a value that nobody asked for.
#[doc(hidden)]
#[inline(never)]
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<serde::de::IgnoredAny>().map(drop)
}

thread_local! {
    /// Whether the failure that is unwinding came out of an element, and not out of what separates two.
    static BEGUN: Cell<bool> = const { Cell::new(false) };

    /// Where the failure that is unwinding came from, innermost step first.
    /// Never dropped: to be told of a thread's end takes system calls, and the threads here end with the process.
    static TRAIL: ManuallyDrop<RefCell<Trail>> =
        const { ManuallyDrop::new(RefCell::new(Trail { steps: Vec::new(), want: "" })) };
}

enum Step {
    Field(&'static str),
    Key(String),
    Index(usize),
}

struct Trail {
    steps: Vec<Step>,
    want: &'static str,
}

impl Trail {
    fn clear(&mut self) {
        self.steps.clear();
        self.want = "";
    }

    /// The trail in words; `want` serves a failure that no field has noted.
    fn flaw(&self, want: &'static str) -> Flaw {
        let mut field = String::new();
        for step in self.steps.iter().rev() {
            let dot = if field.is_empty() { "" } else { "." };
            let _ = match step {
                Step::Field(name) => write!(field, "{dot}{name}"),
                Step::Key(name) => write!(field, "[\"{name}\"]"),
                Step::Index(index) => write!(field, "[{index}]"),
            }; // writing to a String cannot fail
        }
        if field.is_empty() {
            field.push_str("the document");
        }
        Flaw { field, why: if self.want.is_empty() { want } else { self.want }.to_owned() }
    }
}

/// Adds one step to the trail of a failure; the innermost says what was wanted.
fn note(step: Step, want: &'static str) {
    TRAIL.with(|trail| {
        let mut trail = trail.borrow_mut();
        if trail.steps.is_empty() {
            trail.want = want;
        }
        trail.steps.push(step);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        /// An inner object.
        pub struct Inner { n: u32 = "n", b: bool = "b" }
        /// An outer object.
        pub struct Outer<'a> {
            name: Str<'a> = "name", inner: Inner = "inner", list: List<Inner> = "list", map: Pairs<'a, u8> = "map", gids: List<u32> = "gids",
        }
    }

    fn flaw(text: &str) -> (String, String) {
        let Err(flaw) = parse::<Outer<'_>>(text.as_bytes()) else { unreachable!("{text} was accepted") };
        (flaw.field, flaw.why)
    }

    #[test]
    fn strings_are_decoded() {
        let text = br#"{"name":"a\u0026b \"\\\/\n\ud83d\ude00 \u00e9","\u0069nner":{"n":7}}"#;
        let Ok(outer) = parse::<Outer<'_>>(text) else { unreachable!() };
        assert_eq!(outer.name.decode(), "a&b \"\\/\n\u{1f600} \u{e9}");
        assert!(outer.name == "a&b \"\\/\n\u{1f600} \u{e9}");
        assert_eq!(outer.inner.n, 7, "keys are decoded too");
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let number = "expected a whole number from 0 to 4294967295".to_owned();
        for (text, path) in [
            (r#"{"inner":{"n":"x"}}"#, "inner.n"),
            (r#"{"inner":{"n":-1}}"#, "inner.n"),
            (r#"{"inner":{"n":1.5,"b":true}}"#, "inner.n"),
            (r#"{"inner":{"n":1e3}}"#, "inner.n"),
            (r#"{"inner":{"n":4294967296}}"#, "inner.n"),
            (r#"{"list":[{},{"n":[]}]}"#, "list[1].n"),
            (r#"{"gids":[1.5,2]}"#, "gids[0]"),
            (r#"{"gids":[1,"x"]}"#, "gids[1]"),
        ] {
            assert_eq!(flaw(text), (path.to_owned(), number.clone()), "{text}");
        }
        assert_eq!(flaw(r#"{"map":{"k":1,"v":256}}"#).0, r#"map["v"]"#);
        assert_eq!(flaw(r#"{"list":{}}"#), ("list".to_owned(), "expected an array".to_owned()));
        assert_eq!(flaw("[]"), ("the document".to_owned(), "expected an object".to_owned()));
    }

    #[test]
    fn null_and_missing_leave_the_default() {
        let Ok(outer) = parse::<Outer<'_>>(br#"{"inner":null,"list":null,"other":{"deep":[[1.5e3]]}}"#)
        else {
            unreachable!()
        };
        assert!(outer.list.is_empty() && !outer.inner.b);
    }

    #[test]
    fn depth_is_bounded_also_for_values_nobody_asked_for() {
        let nest = |n: usize| format!("{{\"x\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        assert!(parse::<Outer<'_>>(nest(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(flaw(&nest(MAX_DEPTH)).1, "nested more than 32 deep");
        assert_eq!(flaw(&"[".repeat(1_000_000)).1, "nested more than 32 deep");
    }

    #[test]
    fn text_that_is_not_json_is_named_by_line_and_column() {
        for (text, place) in [
            ("", "line 1 column 1"),
            ("{", "line 1 column 2"),
            ("{\n\"a\":1,}", "line 2 column 7"),
            ("{\"a\":01}", "line 1 column 7"),
            ("{\"a\":tru}", "line 1 column 10"),
            ("{\"a\":\"\\x\"}", "line 1 column 9"),
            ("{\"a\":\"\\ud800\"}", "line 1 column 14"),
            ("{\"a\":\"\t\"}", "line 1 column 7"),
            ("{} {}", "line 1 column 4"),
            ("{\"a\" 1}", "line 1 column 6"),
            ("[1,]", "line 1 column 4"),
            ("-", "line 1 column 2"),
        ] {
            assert_eq!(flaw(text).0, place, "{text}");
        }
        let Err(not_utf8) = parse::<Outer<'_>>(b"{\"\xff\":1}") else { unreachable!() };
        assert_eq!((not_utf8.field.as_str(), not_utf8.why.as_str()), ("line 1 column 3", "not UTF-8"));
    }

    #[test]
    fn what_is_escaped_reads_back() {
        let mut out = String::from("{\"name\":\"");
        let _ = escape(&mut out, "a\"\\\n\u{1b}\u{7f}é");
        out.push_str("\"}");
        let Ok(outer) = parse::<Outer<'_>>(out.as_bytes()) else { unreachable!() };
        assert_eq!(outer.name.decode(), "a\"\\\n\u{1b}\u{7f}é");
    }
}
