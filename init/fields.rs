//! Walks the members of a JSON document without saying what they should be: who must refuse a field that it does not
//! know has to see every key.
//!
//! Only for text that [`mote::json::parse`] has accepted: the walk trusts the grammar and stops early otherwise.

/// The members of the object `text`: the key as written between its quotes, and the value's text.
pub fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = inside(text, '{');
    std::iter::from_fn(move || {
        let (key, after) = value(rest)?;
        let (member, after) = value(after.trim_start().strip_prefix(':')?)?;
        rest = after.trim_start().strip_prefix(',').unwrap_or("");
        Some((key.strip_prefix('"')?.strip_suffix('"')?, member))
    })
}

/// The elements of the array `text`.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = inside(text, '[');
    std::iter::from_fn(move || {
        let (element, after) = value(rest)?;
        rest = after.trim_start().strip_prefix(',').unwrap_or("");
        Some(element)
    })
}

/// The last member called `key`, which is the one that counts.
pub fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    members(text).filter(|(name, _)| *name == key).last().map(|(_, value)| value)
}

/// Whether a value says no more than a missing one would: `null`, `false`, `""`, `{}` or `[]`.
pub fn is_empty(value: &str) -> bool {
    let mut brackets = value.chars().filter(|c| !c.is_ascii_whitespace());
    matches!(value, "null" | "false" | "\"\"")
        || matches!((brackets.next(), brackets.next()), (Some('{'), Some('}')) | (Some('['), Some(']')))
}

/// What stands after the opening bracket; nothing when `text` is of another kind.
fn inside(text: &str, open: char) -> &str {
    text.trim_start().strip_prefix(open).unwrap_or("")
}

/// The first value of `text`, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.bytes().enumerate() {
        let whole = if quoted {
            (escaped, quoted) = (byte == b'\\' && !escaped, byte != b'"' || escaped);
            !quoted && depth == 0
        } else {
            match byte {
                b'"' => quoted = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => {
                    return (at > 0).then(|| text.split_at(at));
                }
                _ => {}
            }
            depth == 0 && matches!(byte, b'}' | b']')
        };
        if whole {
            return text.split_at_checked(at + 1);
        }
    }
    (!text.is_empty() && depth == 0 && !quoted).then_some((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_found_whatever_they_hold() {
        let text = r#" { "a" : {"x":[1,{"y":"}"}]} , "b\"c":"\\" ,"d":-1.5e3, "e":[ ] , "f":null } "#;
        let found: Vec<_> = members(text).collect();
        let want = [
            ("a", r#"{"x":[1,{"y":"}"}]}"#),
            (r#"b\"c"#, r#""\\""#),
            ("d", "-1.5e3"),
            ("e", "[ ]"),
            ("f", "null"),
        ];
        assert_eq!(found, want);
        assert_eq!(elements(" [1 ,\"a,]\", {\"b\":2}\n]").collect::<Vec<_>>(), ["1", "\"a,]\"", "{\"b\":2}"]);
        assert_eq!(members("{}").count() + elements("[ ]").count() + members("[1]").count(), 0);
        assert_eq!(member(r#"{"a":1,"a":2}"#, "a"), Some("2"));
    }

    #[test]
    fn empty_is_what_a_missing_field_would_say() {
        for empty in ["null", "false", "\"\"", "{}", "{ }", "[\n]"] {
            assert!(is_empty(empty), "{empty}");
        }
        for full in ["true", "0", "\"a\"", "{\"a\":1}", "[1]", "\"{}\""] {
            assert!(!is_empty(full), "{full}");
        }
    }

    #[test]
    fn text_cut_anywhere_ends_the_walk() {
        let text = r#"{"a":{"b":[1,"x\"y"]},"c":true}"#;
        for end in 0..text.len() {
            assert!(members(&text[..end]).count() <= 2);
        }
    }
}
