//! Time namespaces: new with offsets, joined by path.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use serde_json::{Value, json};
use std::fs;

/// Gives the config a time namespace.
fn with_time(config: &mut Value, path: Option<String>, offsets: Option<Value>) {
    let namespace = match path {
        Some(path) => json!({"type": "time", "path": path}),
        None => json!({"type": "time"}),
    };
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
    if let Some(offsets) = offsets {
        config["linux"]["timeOffsets"] = offsets;
    }
}

/// What /proc/uptime says, in seconds.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

const LOOK: &str = "readlink /proc/self/ns/time; cat /proc/self/timens_offsets; cat /proc/uptime";

#[test]
fn the_clocks_of_a_container_are_ahead_by_the_offsets() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let offsets = json!({"monotonic": {"secs": 86_400, "nanosecs": 500}, "boottime": {"secs": 1_000_000}});
    let text = t.sh(LOOK, |c| with_time(c, None, Some(offsets)));
    let seen = lines(&text);
    let own = fs::read_link("/proc/self/ns/time").unwrap();
    assert_ne!(seen[0], own.to_string_lossy(), "the namespace is new");
    assert_eq!(seen[1..3], ["monotonic 86400 500", "boottime 1000000 0"], "{text}");
    let host = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let ahead = uptime(&seen[3]) - host;
    // The host was asked later, at best within the same hundredth of a second, and the difference is rounded.
    assert!((999_900.0..1_000_000.01).contains(&ahead), "ahead by {ahead}");
}

#[test]
fn offsets_may_be_below_zero_and_may_be_missing() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let text = t.sh(LOOK, |c| with_time(c, None, Some(json!({"boottime": {"secs": -2, "nanosecs": 1}}))));
    assert_eq!(lines(&text)[1..3], ["monotonic 0 0", "boottime -2 1"], "{text}");
    let text = t.sh(LOOK, |c| with_time(c, None, None));
    assert_eq!(lines(&text)[1..3], ["monotonic 0 0", "boottime 0 0"], "{text}");
    assert_ne!(lines(&text)[0], fs::read_link("/proc/self/ns/time").unwrap().to_string_lossy());
}

#[test]
fn a_time_namespace_is_joined_by_path() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let mut config = spec(&["sleep", "1000"]);
    with_time(&mut config, None, Some(json!({"boottime": {"secs": 5_000}})));
    let id = t.detached(&config);
    let path = format!("/proc/{}/ns/time", t.pid(&id));
    let theirs = fs::read_link(&path).unwrap();
    let text = t.sh(LOOK, |c| with_time(c, Some(path), None));
    assert_eq!(lines(&text)[0], theirs.to_string_lossy());
    assert_eq!(lines(&text)[2], "boottime 5000 0");
    // Known by its start time, which must not be that of another clock.
    assert_eq!(t.status(&id), "running");
}

#[test]
fn offsets_that_cannot_be_had_are_refused() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let offsets = |value: Value, path: Option<&str>| {
        let mut config = spec(&["true"]);
        with_time(&mut config, path.map(str::to_owned), Some(value));
        config
    };
    let one = json!({"monotonic": {"secs": 1}});
    let mut without = spec(&["true"]);
    without["linux"]["timeOffsets"] = one.clone();
    for (config, words) in [
        (without, &["linux.timeOffsets", "namespace of type time"][..]),
        (offsets(one, Some("/proc/self/ns/time")), &["linux.timeOffsets", "new"]),
        (
            offsets(json!({"realtime": {"secs": 1}}), None),
            &["linux.timeOffsets[\"realtime\"]", "monotonic, boottime"],
        ),
        (
            offsets(json!({"boottime": {"nanosecs": 1_000_000_000}}), None),
            &["linux.timeOffsets[\"boottime\"].nanosecs"],
        ),
        (offsets(json!({"boottime": {"secs": "1"}}), None), &["linux.timeOffsets[\"boottime\"].secs"]),
        (offsets(json!({"boottime": 1}), None), &["linux.timeOffsets[\"boottime\"]"]),
        // Before the clock began: only the kernel knows when that was.
        (offsets(json!({"boottime": {"secs": -4_000_000_000_i64}}), None), &["linux.timeOffsets"]),
        (offsets(json!({"monotonic": {"secs": i64::MAX}}), None), &["linux.timeOffsets"]),
    ] {
        t.run(&config).fails_saying(words);
    }
    t.assert_nothing_left();
}

#[test]
fn a_user_namespace_may_have_a_time_of_its_own() {
    mote_only!("runc 1.1 knows no time namespaces");
    let t = Test::new();
    let mut config = spec(&["sh", "-c", LOOK]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for kind in ["uidMappings", "gidMappings"] {
        config["linux"][kind] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    with_time(&mut config, None, Some(json!({"boottime": {"secs": 77}})));
    let text = t.run(&config);
    assert_eq!(lines(text.ok())[2], "boottime 77 0", "{text}");
}
