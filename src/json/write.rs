//! JSON as mote writes it.

use std::fmt::{self, Write as _};

/// Writes `text` as the inside of a JSON string: quotes, backslashes and control characters escaped.
pub fn escape(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '"' | '\\' => write!(out, "\\{c}"),
        '\n' => out.write_str("\\n"),
        c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)),
        c => out.write_char(c),
    })
}

/// Writes one JSON object, field by field, in the layout of Go's encoding/json.
#[derive(Debug)]
pub struct Writer {
    out: String,
    indent: String,
}

impl Writer {
    /// Starts an object; with an empty `indent` it is one line without spaces.
    pub fn new(indent: &str) -> Self {
        Self { out: String::from("{"), indent: indent.to_owned() }
    }

    /// `"name": "value"`
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name, 1);
        self.quoted(value);
    }

    /// `"name": 1`
    pub fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name, 1);
        let _ = write!(self.out, "{value}"); // writing to a String cannot fail, here and below
    }

    /// `"name": {"key": "value", ...}`
    pub fn strings(&mut self, name: &str, pairs: &[(String, String)]) {
        self.name(name, 1);
        self.out.push('{');
        for (key, value) in pairs {
            self.name(key, 2);
            self.quoted(value);
        }
        self.close(1);
    }

    /// `"name": ["value", ...]`, unless there are none.
    pub fn list(&mut self, name: &str, values: &[String]) {
        for (i, value) in values.iter().enumerate() {
            if i == 0 {
                self.name(name, 1);
            }
            self.out.push(if i == 0 { '[' } else { ',' });
            self.quoted(value);
        }
        self.out.push_str(if values.is_empty() { "" } else { "]" });
    }

    /// `"name": value`, which is JSON already.
    pub fn raw(&mut self, name: &str, value: &str) {
        self.name(name, 1);
        self.out.push_str(value);
    }

    /// The whole object.
    pub fn end(mut self) -> String {
        self.close(0);
        self.out
    }

    /// The object so far, without its end.
    pub fn unfinished(self) -> String {
        self.out
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        let _ = escape(&mut self.out, text);
        self.out.push('"');
    }

    fn name(&mut self, name: &str, depth: usize) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.line(depth);
        self.quoted(name);
        self.out.push_str(if self.indent.is_empty() { ":" } else { ": " });
    }

    fn close(&mut self, depth: usize) {
        self.line(depth);
        self.out.push('}');
    }

    fn line(&mut self, depth: usize) {
        if !self.indent.is_empty() {
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(&self.indent));
        }
    }
}
