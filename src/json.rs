//! JSON as mote reads it: checked as text first, then borrowed from in place through serde-json-core.
//!
//! serde-json-core leaves escapes in strings, gives no position with an error, and recurses on values that nobody
//! asked for. So [`parse`] walks the text once without recursion (UTF-8, grammar, depth), every string is a [`Str`]
//! that is decoded where it is used, and the fields on the way out of a failure are noted, which gives the path.
//!
//! What a type reads from is a [`Shape`], so the code that reads exists once and not for each of a hundred types: serde's
//! way, a `Deserialize` for each, takes more than a kilobyte of every object.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::mem::ManuallyDrop;
use std::ops::Deref;

mod scan;
mod text;
mod write;

pub use text::Str;
pub use write::{Writer, escape};

pub use scan::{Member, member, members, scan};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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
pub fn parse<'a, T: Value<'a> + Default>(text: &'a [u8]) -> Result<T, Flaw> {
    let mut value = T::default();
    read(text, value.shape())?;
    Ok(value)
}

/// The part of [`parse`] that is the same for all types.
fn read<'de>(text: &'de [u8], into: Shape<'_, 'de>) -> Result<(), Flaw> {
    if let Err((offset, why)) = scan(text) {
        let before = text.get(..offset).unwrap_or(text);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&b| b != b'\n').count();
        return Err(Flaw { field: format!("line {line} column {column}"), why: why.to_owned() });
    }
    TRAIL.with(|trail| trail.borrow_mut().clear());
    let want = into.want();
    let mut json = serde_json_core::de::Deserializer::new(text, None);
    into.deserialize(&mut json).map_err(|_| TRAIL.with(|trail| trail.borrow().flaw(want)))
}

/// A type that can stand in a document.
pub trait Value<'de> {
    /// What it is read from, and where to.
    fn shape(&mut self) -> Shape<'_, 'de>;
}

/// An object whose fields are known by name.
pub trait Object<'de> {
    /// The names of the fields, each with a NUL behind it: a byte instead of a pointer and a length for each.
    fn names(&self) -> &'static str;
    /// The field of the name at `index`.
    fn field(&mut self, index: usize) -> Option<&mut dyn Value<'de>>;
}

/// A list, or the values of an object with free keys.
pub trait Grow<'de> {
    /// Takes everything out again.
    fn clear(&mut self);
    /// How many there are.
    fn count(&self) -> usize;
    /// Adds one; `key` is empty in a list.
    fn grow(&mut self, key: Str<'de>) -> Shape<'_, 'de>;
}

macro_rules! shapes {
    ($($name:ident($ty:ty) => $want:literal),* $(,)?) => {
        /// What stands in a document, and where it is to go.
        #[allow(missing_docs, reason = "each is named after what it holds")]
        pub enum Shape<'t, 'de> {
            $($name(&'t mut $ty),)*
            Str(&'t mut Str<'de>),
            Object(&'t mut dyn Object<'de>),
            List(&'t mut dyn Grow<'de>),
            Pairs(&'t mut dyn Grow<'de>),
        }

        impl Shape<'_, '_> {
            /// What is allowed there, in words.
            fn want(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $want,)*
                    Self::Str(_) => "expected a string",
                    Self::Object(_) | Self::Pairs(_) => "expected an object",
                    Self::List(_) => "expected an array",
                }
            }
        }

        impl<'de> DeserializeSeed<'de> for Shape<'_, 'de> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                match self {
                    $(Self::$name(value) => *value = Deserialize::deserialize(deserializer)?,)*
                    Self::Str(value) => *value = Str::deserialize(deserializer)?,
                    Self::Object(object) => deserializer.deserialize_map(Fields(object))?,
                    Self::List(list) => deserializer.deserialize_seq(Elements(list))?,
                    Self::Pairs(pairs) => deserializer.deserialize_map(Entries(pairs))?,
                }
                Ok(())
            }
        }

        $(impl<'de> Value<'de> for $ty {
            fn shape(&mut self) -> Shape<'_, 'de> {
                Shape::$name(self)
            }
        })*
    };
}
shapes! {
    Bool(bool) => "expected true or false",
    U8(u8) => "expected a whole number from 0 to 255",
    U16(u16) => "expected a whole number from 0 to 65535",
    U32(u32) => "expected a whole number from 0 to 4294967295",
    U64(u64) => "expected a whole number from 0 to 18446744073709551615",
    I32(i32) => "expected a whole number from -2147483648 to 2147483647",
    I64(i64) => "expected a whole number from -9223372036854775808 to 9223372036854775807",
}

impl<'de, T: Value<'de> + Default> Value<'de> for Option<T> {
    fn shape(&mut self) -> Shape<'_, 'de> {
        self.get_or_insert_default().shape()
    }
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

impl<'de, T: Value<'de> + Default> Grow<'de> for List<T> {
    fn clear(&mut self) {
        self.0.clear();
    }
    fn count(&self) -> usize {
        self.0.len()
    }
    fn grow(&mut self, _: Str<'de>) -> Shape<'_, 'de> {
        self.0.push(T::default());
        let end = self.0.len() - 1;
        self.0[end].shape()
    }
}
impl<'de, T: Value<'de> + Default> Value<'de> for List<T> {
    fn shape(&mut self) -> Shape<'_, 'de> {
        Shape::List(self)
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

impl<'de, T: Value<'de> + Default> Grow<'de> for Pairs<'de, T> {
    fn clear(&mut self) {
        self.0.clear();
    }
    fn count(&self) -> usize {
        self.0.len()
    }
    fn grow(&mut self, key: Str<'de>) -> Shape<'_, 'de> {
        self.0.push((key, T::default()));
        let end = self.0.len() - 1;
        self.0[end].1.shape()
    }
}
impl<'de, T: Value<'de> + Default> Value<'de> for Pairs<'de, T> {
    fn shape(&mut self) -> Shape<'_, 'de> {
        Shape::Pairs(self)
    }
}

/// Declares a struct that is read from a JSON object: `field: Type = "key"`, every field optional.
///
/// A missing key and `null` leave the field's default, unknown keys are passed over, as runtime-spec asks; of a key
/// that stands twice the last one counts, and objects are merged, as in the Go programs that write these files.
#[macro_export]
macro_rules! object {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$lt:lifetime>)? { $($(#[$field_meta:meta])* $field:ident: $ty:ty = $key:literal),* $(,)? }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name $(<$lt>)? { $($(#[$field_meta])* $vis $field: $ty,)* }

        $crate::object!(@impl $name [$($lt)?] $($field = $key,)*);
    )* };
    (@impl $name:ident [] $($fields:tt)*) => { $crate::object!(@fields ['de] $name, $($fields)*); };
    (@impl $name:ident [$lt:lifetime] $($fields:tt)*) => { $crate::object!(@fields [$lt] $name<$lt>, $($fields)*); };
    (@fields [$de:lifetime] $ty:ty, $($field:ident = $key:literal,)*) => {
        impl<$de> $crate::json::Object<$de> for $ty {
            fn names(&self) -> &'static str {
                concat!($($key, "\0",)*)
            }
            fn field(&mut self, index: usize) -> Option<&mut dyn $crate::json::Value<$de>> {
                #[allow(non_camel_case_types, reason = "named after the fields, to count them")]
                enum Index { $($field,)* }
                $(if index == Index::$field as usize {
                    return Some(&mut self.$field);
                })*
                None
            }
        }
        impl<$de> $crate::json::Value<$de> for $ty {
            fn shape(&mut self) -> $crate::json::Shape<'_, $de> {
                $crate::json::Shape::Object(self)
            }
        }
    };
}

/// Reads the fields of an object.
struct Fields<'t, 'de>(&'t mut dyn Object<'de>);

impl<'de> Visitor<'de> for Fields<'_, 'de> {
    type Value = ();
    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(()) // said by the shape
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut last = None;
        // A number such as 1.5 fails only at the key that follows, so the field before is named then.
        let unfinished = |last: &Option<(_, _)>| {
            if let Some((name, want)) = *last {
                note(Step::Field(name), want);
            }
        };
        while let Some(key) = map.next_key::<Str<'de>>().inspect_err(|_| unfinished(&last))? {
            let Some((name, value)) = find(self.0, key) else {
                map.next_value::<IgnoredAny>()?;
                last = None;
                continue;
            };
            let mut want = "";
            map.next_value_seed(Nullable(value, &mut want)).inspect_err(|_| note(Step::Field(name), want))?;
            last = Some((name, want));
        }
        Ok(())
    }
}

/// The field that `key` names, with its name; `None` for a key that nobody asked for.
fn find<'t, 'de>(
    object: &'t mut dyn Object<'de>,
    key: Str<'_>,
) -> Option<(&'static str, &'t mut dyn Value<'de>)> {
    let (index, name) = object.names().split('\0').enumerate().find(|(_, name)| key == *name)?;
    Some((name, object.field(index)?))
}

/// A field's value, with what was wanted; `null` leaves the field as it is.
struct Nullable<'t, 'de>(&'t mut dyn Value<'de>, &'t mut &'static str);

impl<'de> DeserializeSeed<'de> for Nullable<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Nullable<'_, 'de> {
    type Value = ();
    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(()) // as above
    }
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let shape = self.0.shape();
        *self.1 = shape.want();
        shape.deserialize(deserializer)
    }
}

/// One more element of a list or of an object with free keys; notes what was wanted.
struct More<'t, 'de>(&'t mut dyn Grow<'de>, Str<'de>, &'t mut &'static str);

impl<'de> DeserializeSeed<'de> for More<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self(all, key, want) = self;
        let full = all.count() == MAX_ELEMENTS;
        let shape = all.grow(key);
        if full {
            *want = "more than 16384 elements";
            return Err(serde::de::Error::custom(""));
        }
        *want = shape.want();
        shape.deserialize(deserializer)
    }
}

/// Reads the elements of a list.
struct Elements<'t, 'de>(&'t mut dyn Grow<'de>);

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();
    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(()) // as above
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut want = "";
        self.0.clear();
        loop {
            // A number such as 1.5 fails only at the separator: then too the last one is meant.
            let more = seq.next_element_seed(More(self.0, Str::default(), &mut want));
            if more.is_err() {
                note(Step::Index(self.0.count().saturating_sub(1)), want);
            }
            if more?.is_none() {
                return Ok(());
            }
        }
    }
}

/// Reads the entries of an object with free keys.
struct Entries<'t, 'de>(&'t mut dyn Grow<'de>);

impl<'de> Visitor<'de> for Entries<'_, 'de> {
    type Value = ();
    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(()) // as above
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut want, mut last) = ("", Str::default());
        self.0.clear();
        loop {
            let entry = match map.next_key() {
                Ok(None) => return Ok(()),
                Ok(Some(key)) => {
                    last = key;
                    map.next_value_seed(More(self.0, key, &mut want))
                }
                Err(error) => Err(error),
            };
            if entry.is_err() {
                note(Step::Key(last.to_string()), want);
                return entry;
            }
        }
    }
}

thread_local! {
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
    fn a_member_is_the_text_that_counts() {
        let text = r#" {"a" : {"b":[1,{"c":"}\""}]} ,"\u0061":[ 2 ], "d":-1.5e3,"a":null}"#;
        assert!(parse::<Outer<'_>>(text.as_bytes()).is_ok());
        assert_eq!(member(text, "a"), Some("[ 2 ]"), "the last one, whatever its spelling");
        assert_eq!(member(text, "d"), Some("-1.5e3"));
        assert_eq!(member(text, "b"), None);
        let whole: Vec<_> = members(text).map(|member| member.whole).collect();
        assert_eq!(whole, [r#""a" : {"b":[1,{"c":"}\""}]}"#, r#""\u0061":[ 2 ]"#, r#""d":-1.5e3"#]);
        assert_eq!(member(r#"{"a":"x]}","b":{"a":1}}"#, "b"), Some(r#"{"a":1}"#));
        for text in ["", "{}", "{", "[1]", r#"{"a"#, r#"{"a":"#, r#"{"a":1"#, "{\"a\":\"x", r#"{"a":}]"#] {
            assert_eq!(member(text, "b"), None, "{text}");
        }
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
        assert_eq!(flaw(r#"{"map":{"k":1.5,"v":2}}"#).0, r#"map["k"]"#);
        assert_eq!(flaw(r#"{"gids":[1,null]}"#).0, "gids[1]");
        assert_eq!(flaw(r#"{"list":{}}"#), ("list".to_owned(), "expected an array".to_owned()));
        assert_eq!(flaw("[]"), ("the document".to_owned(), "expected an object".to_owned()));
    }

    object! {
        /// Fields that may be missing.
        pub struct Optional { inner: Option<Inner> = "inner", n: Option<u8> = "n" }
    }

    #[test]
    fn null_is_not_there_and_an_empty_object_is() {
        let Ok(Optional { inner: None, n: None }) = parse(br#"{"inner":null,"n":null}"#) else {
            unreachable!()
        };
        let Ok(Optional { inner: Some(_), n: Some(0) }) = parse(br#"{"inner":{},"n":0}"#) else {
            unreachable!()
        };
    }

    #[test]
    fn the_last_of_two_counts_and_objects_are_merged() {
        let text = br#"{"gids":[1,2],"gids":[3],"inner":{"n":1,"b":true},"inner":{"n":2}}"#;
        let Ok(outer) = parse::<Outer<'_>>(text) else { unreachable!() };
        assert_eq!((outer.gids.0, outer.inner.n, outer.inner.b), (vec![3], 2, true));
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
