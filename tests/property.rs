//! Mutated configs: whatever stands in config.json, mote does not crash, says one line at most, and leaves nothing.
//!
//! Each case is made from a seed that a failure prints; `MOTE_SEED` starts elsewhere, `MOTE_CASES` sets their number. All
//! of it runs in private namespaces, so that a config which asks for the host's gets ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, count_from_env, is_mote, spec};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// xorshift64*: the same numbers everywhere, from any seed but 0.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).unwrap() % n.max(1)
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// Values that have broken parsers and runtimes. None of them names anything of the host that must not be touched.
fn nasty(random: &mut Random) -> Value {
    let long = "x".repeat(random.pick(&[63, 64, 255, 256, 4095, 4096, 70_000]));
    let values = [
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1),
        json!(65_536),
        json!(4_294_967_295u64),
        json!(4_294_967_296u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(0.1),
        json!(""),
        json!("/"),
        json!("."),
        json!(".."),
        json!("../../.."),
        json!("/../../tmp/nosuch"),
        json!("/proc/self/fd/7"),
        json!("a/b"),
        json!("nul\u{0}inside"),
        json!("\u{1b}[2J\u{7}\u{8}\r\n"),
        json!("\u{202e}\u{fffd}😀"),
        json!("%s%n%x"),
        json!("CAP_KILL"),
        json!("ro"),
        json!("rbind"),
        json!("size=-1"),
        json!("/dev/null"),
        json!("/nosuch"),
        json!(long),
        json!([]),
        json!({}),
        json!([[[[[[]]]]]]),
        json!(["a", 1, null]),
        json!({"": "", "type": "pid"}),
    ];
    random.pick(&values)
}

/// Paths of all places, as lists of keys.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| {
            pointers(v, &format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), all)
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, v)| pointers(v, &format!("{at}/{n}"), all))
        }
        _ => {}
    }
}

/// Changes the tree: replaces, removes, doubles, adds, swaps.
fn mutate_tree(config: &mut Value, random: &mut Random) {
    let mut all = Vec::new();
    pointers(config, "", &mut all);
    let place = random.pick(&all[1..]);
    let (parent, key) =
        place.rsplit_once('/').map(|(p, k)| (p.to_owned(), k.replace("~1", "/").replace("~0", "~"))).unwrap();
    let other = config.pointer(&random.pick(&all)).unwrap().clone();
    let value = nasty(random);
    let action = random.below(6);
    match (config.pointer_mut(&parent).unwrap(), action) {
        (Value::Object(map), 0) => drop(map.remove(&key)),
        (Value::Object(map), 1) => drop(map.insert(key, other)),
        (Value::Object(map), 2) => drop(map.insert(format!("{key}\u{0}x"), value)),
        (Value::Object(map), _) => drop(map.insert(key, value)),
        (Value::Array(list), 0) => drop(list.remove(key.parse().unwrap())),
        (Value::Array(list), 1) => {
            let copy = list[key.parse::<usize>().unwrap()].clone();
            let times = random.pick(&[1, 1, 2, 40, 3000]);
            list.extend(std::iter::repeat_n(copy, times));
        }
        (Value::Array(list), 2) => list.push(other),
        (Value::Array(list), _) => list[key.parse::<usize>().unwrap()] = value,
        _ => unreachable!("the parent of a place is a tree"),
    }
}

/// Changes the text: flips, cuts, doubles and inserts bytes.
fn mutate_text(text: &mut Vec<u8>, random: &mut Random) {
    let (at, to) = (random.below(text.len()), random.below(text.len()));
    let (from, until) = (at.min(to), at.max(to));
    match random.below(6) {
        0 => text[at] = random.next().to_le_bytes()[0],
        1 => text[at] ^= 1 << random.below(8),
        2 => drop(text.drain(from..until)),
        3 => text.truncate(at),
        4 => {
            let part = text[from..until.min(from + 200)].to_vec();
            text.splice(at..at, part);
        }
        _ => {
            let part: &[u8] = random.pick(&[
                &b"\\u0000"[..],
                b"\\ud800",
                b"\\",
                b"\"",
                b"{",
                b"}",
                b"[",
                b"]",
                b",",
                b":",
                b"\xff",
                b"\xef\xbb\xbf",
                b"1e999",
                b"-",
                b"00",
                b"/*x*/",
                b"\0",
                b"null",
            ]);
            text.splice(at..at, part.iter().copied());
        }
    }
}

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// What a hook runs: it is there on the host and in the container, and harmless whatever its arguments are.
const HOOK: &str = "/bin/true";

/// Hooks run on the host, as root: whatever else a mutation has made of one's path that is a program becomes [`HOOK`] again.
fn disarm(config: &mut Value) {
    let lists = config.get_mut("hooks").and_then(Value::as_object_mut).into_iter().flatten();
    for hook in lists.filter_map(|(_, list)| list.as_array_mut()).flatten() {
        if let Some(path) = hook.get_mut("path")
            && path.as_str().is_some_and(|path| std::path::Path::new(path).is_file())
        {
            *path = json!(HOOK);
        }
    }
}

fn config_of(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let samples: [&str; 6] = [
        "",
        include_str!("samples/containerd16-cri-container.json"),
        include_str!("samples/containerd16-cri-sandbox.json"),
        include_str!("samples/docker20-bridge.json"),
        include_str!("samples/podman43-p1.json"),
        include_str!("samples/podman43-p2.json"),
    ];
    let sample = random.pick(&samples);
    let mut config = if sample.is_empty() { spec(&["true"]) } else { serde_json::from_str(sample).unwrap() };
    config["process"]["args"] = json!(["true"]);
    config["root"]["path"] = json!("rootfs");
    config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    if random.below(4) != 0 {
        // Most of them shall come further than to the first missing source or namespace.
        let linux = config["linux"].as_object_mut().unwrap();
        linux["namespaces"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|n| drop(n.as_object_mut().unwrap().remove("path")));
        config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "bind");
    }
    // Hooks of every kind in each of them, and limits besides what the sample has.
    for kind in KINDS {
        let hook = json!({"path": HOOK, "args": ["true", "x"], "env": ["A=b"], "timeout": 5});
        config["hooks"][kind] = json!([hook, hook]);
    }
    let resources = config["linux"]["resources"].as_object_mut().unwrap();
    let limits = json!({"pids": {"limit": 100}, "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
        "memory": {"limit": 64 << 20}, "blockIO": {"weight": 200}, "unified": {}});
    for (key, value) in limits.as_object().unwrap() {
        resources.entry(key).or_insert_with(|| value.clone());
    }
    let text_only = random.below(3) == 0;
    for _ in 0..=random.below(3) {
        if !text_only {
            mutate_tree(&mut config, &mut random);
        }
        // What would wait or write outside our namespaces.
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("cgroupsPath");
        }
        disarm(&mut config);
    }
    let mut text = serde_json::to_vec(&config).unwrap();
    if text_only {
        for _ in 0..=random.below(3) {
            mutate_text(&mut text, &mut random);
            text.push(b' ');
        }
    }
    text
}

#[test]
fn no_config_crashes_the_runtime_or_leaves_anything() {
    let t = Test::new();
    let bundle = t.dir.join("bundle");
    let first = u64::try_from(count_from_env("MOTE_SEED", 1)).unwrap();
    let cases = u64::try_from(count_from_env("MOTE_CASES", 400)).unwrap();
    let mut codes = std::collections::BTreeMap::new();
    for seed in first..first + cases {
        if !bundle.exists() {
            common::make_rootfs(&bundle.join("rootfs"));
        }
        let config = config_of(seed);
        fs::write(bundle.join("config.json"), &config).unwrap();
        let run = t.run_bundle(&bundle).deadline(Duration::from_secs(20));
        let here = t.dir.join("root").display().to_string();
        // By the mounts' ids: somebody else's may go meanwhile, with the directory that they are on.
        let script = format!(
            "ids() {{ cut -d' ' -f1 /proc/self/mountinfo; }}; before=$(ids); \"$@\"; code=$?; \
             [ -z \"$(ids | grep -vxF \"$before\")\" ] || exit 99; \
             [ -z \"$(ls -A {here})\" ] || exit 98; exit $code"
        );
        let out = run
            .under([
                "unshare",
                "-m",
                "-u",
                "-i",
                "-n",
                "--propagation",
                "private",
                "bash",
                "-c",
                &script,
                "bash",
            ])
            .run();
        let say = || format!("MOTE_SEED={seed} MOTE_CASES=1: {out}");
        assert_eq!(out.status.signal(), None, "{}", say());
        let code = out.code();
        *codes.entry(code).or_insert(0) += 1;
        assert_ne!(code, 99, "mounts are left: {}", say());
        assert_ne!(code, 98, "files are left: {}", say());
        if is_mote() {
            // `true` gives 0; a string that became its argument cannot change that, nor a name its applet beyond 127.
            // A profile may have it killed, or fail to exit, which ends it by a fault; a limit of memory may kill it too.
            let profile = config.windows(9).any(|words| words == b"\"seccomp\"");
            let killed = code == 128 + 9 || profile && matches!(code - 128, 4 | 6 | 11 | 31);
            assert!(matches!(code, 0 | 1 | 2 | 127) || killed, "{}", say());
            let limit = usize::from(code == 1);
            // Unknown capabilities are warned about, as runtime-spec has it; what goes wrong is one line all the same.
            let lines = out.stderr.lines().filter(|line| !line.starts_with("mote: warning: "));
            assert!(lines.count() <= limit.max(1), "{}", say());
            assert!(out.stderr.len() < 2000, "an endless line: {}", say());
            let hostile = out.stderr.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(hostile, None, "{}", say());
        }
        if seed % 50 == 0 {
            t.assert_nothing_left();
        }
    }
    t.assert_nothing_left();
    println!("exit codes: {codes:?}");
    assert!(cases < 100 || codes.get(&0).is_some_and(|n| *n > 3), "no mutated config ran at all: {codes:?}");
}
