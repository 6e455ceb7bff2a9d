//! `board.conf`: a right file becomes constants, a wrong one an error that names line, key and what is allowed.

#[path = "../board/parse.rs"]
mod parse;

use parse::{Error, KEYS, constants};

const GENERIC: &str = include_str!("../board/generic/generic/board.conf");

/// The error that `constants` has for the generic file with `line` after it.
fn error_for_generic_and(line: &str) -> Error {
    let text = format!("{GENERIC}{line}\n");
    let error = constants(&text).err();
    error.unwrap_or_else(|| Error { line: 0, why: format!("`{line}` was accepted") })
}

fn last_line() -> usize {
    GENERIC.lines().count() + 1
}

#[test]
fn the_generic_file_becomes_one_documented_constant_per_key() {
    let out = constants(GENERIC).unwrap_or_default();
    assert_eq!(out.matches("pub const ").count(), KEYS.len());
    assert_eq!(out.matches("/// ").count(), KEYS.len());
    assert!(out.contains("pub const MAX_PODS: usize = 64;\n"), "{out}");
    assert!(out.contains("pub const HOSTNAME: &str = \"mote\";\n"), "{out}");
}

#[test]
fn an_unknown_key_is_named_with_the_known_ones() {
    let error = error_for_generic_and("max_pod = 3");
    assert_eq!(error.line, last_line());
    assert!(error.why.starts_with("unknown key `max_pod`; allowed: hostname, max_pods, "), "{error:?}");
}

#[test]
fn a_key_set_twice_is_refused() {
    assert_eq!(
        error_for_generic_and("max_pods = 64"),
        Error { line: last_line(), why: "key `max_pods` is set twice".into() }
    );
}

#[test]
fn a_missing_key_is_named() {
    let text = GENERIC.replace("log_files = 2\n", "");
    let why = constants(&text).err().map(|e| e.why).unwrap_or_default();
    assert!(why.starts_with("key `log_files` is missing"), "{why}");
}

#[test]
fn a_line_without_an_equals_sign_is_refused() {
    assert_eq!(
        error_for_generic_and("max_pods"),
        Error { line: last_line(), why: "`max_pods` is not of the form `key = value`".into() }
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for value in ["0", "257", "-1", "many", "", "18446744073709551616"] {
        let text = GENERIC.replace("max_pods = 64", &format!("max_pods = {value}"));
        let why = constants(&text).err().map(|e| e.why).unwrap_or_default();
        assert_eq!(why, format!("`max_pods = {value}`; allowed: a whole number from 1 to 256"));
    }
}

#[test]
fn the_ends_of_a_range_are_allowed() {
    for value in ["1", "256"] {
        assert!(constants(&GENERIC.replace("max_pods = 64", &format!("max_pods = {value}"))).is_ok());
    }
}

#[test]
fn a_host_name_has_only_lower_case_letters_digits_and_dashes() {
    for (name, valid) in [("a", true), ("gate-7", true), ("", false), ("Gate", false), ("a\"b", false)] {
        let text = GENERIC.replace("hostname = mote", &format!("hostname = {name}"));
        assert_eq!(constants(&text).is_ok(), valid, "{name:?}");
    }
    let long = "x".repeat(64);
    assert!(constants(&GENERIC.replace("hostname = mote", &format!("hostname = {long}"))).is_err());
}

#[test]
fn no_key_is_listed_twice() {
    let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}
