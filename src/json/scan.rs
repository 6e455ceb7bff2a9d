//! The text of a document, checked before anything of it is used: UTF-8, grammar, depth. No recursion.

use super::{MAX_DEPTH, Str};

/// Checks that `text` is one JSON value (RFC 8259) in UTF-8 no deeper than [`MAX_DEPTH`], without recursion.
/// Returns the offset of the flaw and what is wrong there.
pub fn scan(text: &[u8]) -> Result<(), (usize, &'static str)> {
    if let Err(e) = std::str::from_utf8(text) {
        return Err((e.valid_up_to(), "not UTF-8"));
    }
    let mut scan = Scan { text, at: 0 };
    // One entry for each open array (false) or object (true).
    let mut open = heapless::Vec::<bool, MAX_DEPTH>::new();
    loop {
        // A value, or the end of an empty container.
        scan.blank();
        match scan.next() {
            Some(b'{') => {
                open.push(true).map_err(|_| (scan.at - 1, "nested more than 32 deep"))?;
                scan.blank();
                if scan.peek() != Some(b'}') {
                    scan.key()?;
                    continue;
                }
            }
            Some(b'[') => {
                open.push(false).map_err(|_| (scan.at - 1, "nested more than 32 deep"))?;
                scan.blank();
                if scan.peek() != Some(b']') {
                    continue;
                }
            }
            Some(b'"') => scan.string()?,
            Some(b't') => scan.word(b"rue")?,
            Some(b'f') => scan.word(b"alse")?,
            Some(b'n') => scan.word(b"ull")?,
            Some(b'-' | b'0'..=b'9') => scan.number()?,
            Some(_) => return Err((scan.at - 1, "expected a value")),
            None => return Err((scan.at, "ends in the middle")),
        }
        // What may follow a value: ends of containers, then a comma or the end of the text.
        loop {
            scan.blank();
            let Some(&object) = open.last() else {
                return if scan.at == text.len() {
                    Ok(())
                } else {
                    Err((scan.at, "more text after the end"))
                };
            };
            match (scan.next(), object) {
                (Some(b','), true) => {
                    scan.blank();
                    scan.key()?;
                    break;
                }
                (Some(b','), false) => break,
                (Some(b'}'), true) | (Some(b']'), false) => drop(open.pop()),
                (None, _) => return Err((scan.at, "ends in the middle")),
                (Some(_), true) => return Err((scan.at - 1, "expected , or }")),
                (Some(_), false) => return Err((scan.at - 1, "expected , or ]")),
            }
        }
    }
}

/// One member of an object, as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its key.
    pub key: Str<'a>,
    /// The text of its value.
    pub value: &'a str,
    /// The text of all of it.
    pub whole: &'a str,
}

/// The members of the object in `text`, which [`scan`] has found to be well; without those that are `null`.
pub fn members(text: &str) -> impl Iterator<Item = Member<'_>> {
    let mut scan = Scan { text: text.as_bytes(), at: 0 };
    scan.blank();
    scan.next(); // the brace
    let next = move || loop {
        scan.blank();
        match scan.next()? {
            b',' => continue,
            b'"' => {}
            _ => return None,
        }
        let begin = scan.at;
        scan.string().ok()?;
        let key = Str(text.get(begin..scan.at - 1)?);
        scan.blank();
        scan.next(); // the colon
        scan.blank();
        let from = scan.at;
        scan.skip()?;
        let (value, whole) = (text.get(from..scan.at)?, text.get(begin - 1..scan.at)?);
        if value != "null" {
            return Some(Member { key, value, whole });
        }
    };
    std::iter::from_fn(next)
}

/// The text of the value that the object in `text` has for `key`; of a key that stands twice the last one.
pub fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    members(text).filter(|member| member.key == key).last().map(|member| member.value)
}

/// A place in a text.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over one value.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.next()? {
                b'"' => self.string().ok()?,
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.checked_sub(1)?,
                _ => {}
            }
            if open == 0
                && matches!(self.peek(), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            {
                return Some(());
            }
        }
    }

    fn word(&mut self, rest: &[u8]) -> Result<(), (usize, &'static str)> {
        rest.iter().try_for_each(|&b| {
            if self.next() == Some(b) { Ok(()) } else { Err((self.at, "expected true, false or null")) }
        })
    }

    fn key(&mut self) -> Result<(), (usize, &'static str)> {
        match self.next() {
            Some(b'"') => self.string()?,
            Some(_) => return Err((self.at - 1, "expected a key in double quotes")),
            None => return Err((self.at, "ends in the middle")),
        }
        self.blank();
        match self.next() {
            Some(b':') => Ok(()),
            Some(_) => Err((self.at - 1, "expected :")),
            None => Err((self.at, "ends in the middle")),
        }
    }

    /// The rest of a string, after its first quote.
    fn string(&mut self) -> Result<(), (usize, &'static str)> {
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => match self.hex4()? {
                        0xd800..0xdc00 => {
                            let paired = self.next() == Some(b'\\') && self.next() == Some(b'u');
                            if !paired || !(0xdc00..0xe000).contains(&self.hex4()?) {
                                return Err((self.at, "half of a surrogate pair"));
                            }
                        }
                        0xdc00..0xe000 => return Err((self.at, "half of a surrogate pair")),
                        _ => {}
                    },
                    _ => return Err((self.at, "no such escape in a string")),
                },
                Some(0..0x20) => return Err((self.at - 1, "a control character in a string")),
                Some(_) => {}
                None => return Err((self.at, "ends in the middle")),
            }
        }
    }

    fn hex4(&mut self) -> Result<u32, (usize, &'static str)> {
        (0..4).try_fold(0, |n, _| {
            let digit = self.next().and_then(|b| char::from(b).to_digit(16));
            digit.map(|d| n << 4 | d).ok_or((self.at, "expected four hex digits"))
        })
    }

    /// The rest of a number, after its first character.
    fn number(&mut self) -> Result<(), (usize, &'static str)> {
        let bad = |at| Err((at, "not a number"));
        let first = match self.text.get(self.at - 1) {
            Some(b'-') => self.next(),
            other => other.copied(),
        };
        match first {
            Some(b'0') => {}
            Some(b'1'..=b'9') => while self.digit() {},
            _ => return bad(self.at),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digit() {
                return bad(self.at);
            }
            while self.digit() {}
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digit() {
                return bad(self.at);
            }
            while self.digit() {}
        }
        Ok(())
    }

    fn digit(&mut self) -> bool {
        let is = matches!(self.peek(), Some(b'0'..=b'9'));
        self.at += usize::from(is);
        is
    }
}
