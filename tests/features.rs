//! docs/features.md: every row says what mote does, and every Y names tests that there are; as do other pages.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/features.md");

/// The names of all tests below a directory.
fn tests(directory: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("#[test]\n").skip(1).filter_map(|rest| {
                let signature = rest.lines().map(str::trim).find(|line| line.starts_with("fn "))?;
                signature.strip_prefix("fn ")?.split('(').next().map(str::to_owned)
            });
            found.extend(names);
        }
    }
}

/// The cells of each row with six of them, which is every row but those of other tables.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows = rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| row[1] != "runc").collect()
}

#[test]
fn every_row_says_what_mote_does_and_no_field_is_ignored() {
    let rows = rows();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row.len(), 6, "feature, runc, crun, youki, mote, tests: {row:?}");
        for other in &row[1..4] {
            assert!(["Y", "P", "N", "I"].contains(other), "{row:?}");
        }
        let mote = row[4];
        let reason = mote.strip_prefix("N: ").or(mote.strip_prefix("P: "));
        assert!(mote == "Y" || reason.is_some_and(|reason| reason.len() > 3), "Y, or why not: {row:?}");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut there = HashSet::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["tests", "src", "init"] {
        tests(&top.join(directory), &mut there);
    }
    assert!(there.len() > 200 && there.contains("every_test_that_is_named_is_there"));
    for row in rows() {
        let named: Vec<&str> = row[5].split('`').skip(1).step_by(2).collect();
        assert!(row[4] != "Y" || !named.is_empty(), "a Y without a test: {row:?}");
        for name in named {
            assert!(there.contains(name), "there is no test {name}: {row:?}");
        }
    }
}

/// The tests that a page names, in any place; a check on a device by its words.
fn named(page: &'static str) -> Vec<&'static str> {
    // Options and files of the kernel have fewer words, or a dot or a slash.
    let is_test = |name: &&str| {
        name.matches([' ', '_']).count() >= 3 && (name.contains(' ') || !name.contains(['.', '/']))
    };
    page.split('`').skip(1).step_by(2).filter(is_test).collect()
}

#[test]
fn every_test_that_other_pages_name_is_there() {
    let mut there = HashSet::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["tests", "src", "init"] {
        tests(&top.join(directory), &mut there);
    }
    let devices = include_str!("qemu/main.rs");
    let pages = [
        ("cgroups.md", include_str!("../docs/cgroups.md")),
        ("security.md", include_str!("../docs/security.md")),
    ];
    for (page, text) in pages {
        let names = named(text);
        assert!(names.len() > 60, "{page}: {names:?}");
        for name in names {
            let check = devices.contains(&format!("\"{name}\""));
            assert!(there.contains(name) || check, "{page}: there is no test {name}");
        }
    }
}
