//! mote's programs against libseccomp's, run in the same interpreter on the same calls: the same verdict each time, or one of
//! the reasons of [`Reason`].
//!
//! `$MOTE_SECCOMP_INPUTS` calls for each of 200 random profiles, 1,000,000 for those of Docker and Podman. What is measured is
//! printed with --nocapture. Needs libseccomp-dev and cc.
#![cfg(target_arch = "x86_64")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mote::seccomp as api;
use mote::seccomp::assembler::{Call, run};
use mote::seccomp::compile::compile;
use mote::seccomp::names::{Arch, Name, X32, X32_BIT, X86, X86_64};
use mote::seccomp::profile::{ACTIONS, Profile};
use mote::seccomp::split::{self, run_all};
use mote::spec::{Seccomp, Spec};
use mote::sys::seccomp::Instruction;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[path = "seccomp/model.rs"]
mod model;

use model::{Random, arch_of, holds, interesting, is_vacuous, rules};

const DOCKER: &str = include_str!("samples/docker20-bridge.json");
const PODMAN: &str = include_str!("samples/podman43-p1.json");

const ARCHES: [&Arch; 3] = [&X86_64, &X86, &X32];
const ENOSYS: u32 = 0x0005_0026;

/// Why a verdict may differ. Each is checked, not just claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// The call is newer than any that the profile names: ENOSYS, as under runc, which puts its own program before
    /// libseccomp's.
    NewerThanProfile,
    /// Debian's libseccomp (2.5.4, of 2022) is older than the call and ignores the rule.
    NewerThanLibseccomp,
    /// Rules with conditions and different actions are about the call, and more than one of them holds. libseccomp takes the
    /// one that its tree meets first, mote the most restrictive.
    Overlap,
    /// Several rules with conditions are about the call, and libseccomp's tree of them says what none of them says: its
    /// nodes for `<` and `<=` of different values do not fit together, and contradicting rules are left out.
    WrongTree,
    /// libseccomp's program compares numbers without having loaded one.
    NumberNotLoaded,
}

fn helper() -> &'static Path {
    static HELPER: OnceLock<PathBuf> = OnceLock::new();
    HELPER.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libseccomp-helper");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/libseccomp.c");
        let made = Command::new("cc").arg("-o").arg(&path).args([source, "-lseccomp"]).status();
        assert!(made.expect("cc").success(), "needs libseccomp-dev");
        path
    })
}

/// What libseccomp makes of a profile, and what it does not take of it.
struct Theirs {
    program: Vec<Instruction>,
    unknown: HashSet<String>,
    /// Calls about which it does not take rules that contradict others (EEXIST); runc starts no container then.
    refused: HashSet<String>,
    /// The profile in libseccomp.c's words.
    lines: String,
}

/// Hands a profile to libseccomp the way runc does.
fn theirs(profile: &Value, optimize: Option<u32>) -> Theirs {
    let action = |action: &Value, errno: &Value| {
        let value = ACTIONS.iter().find(|(name, _)| action == name).unwrap().1;
        let data = errno.as_u64().map_or(1, |errno| u32::try_from(errno).unwrap());
        if matches!(value, 0x0005_0000 | 0x7ff0_0000) { value | data } else { value }
    };
    let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let mut lines = format!("default {default:x}\n");
    for arch in profile["architectures"].as_array().into_iter().flatten() {
        let word = arch.as_str().unwrap().trim_start_matches("SCMP_ARCH_").to_lowercase();
        writeln!(lines, "arch {word}").unwrap();
    }
    if let Some(level) = optimize {
        writeln!(lines, "optimize {level}").unwrap();
    }
    for rule in profile["syscalls"].as_array().unwrap() {
        let verdict = action(&rule["action"], &rule["errnoRet"]);
        if verdict == default {
            continue;
        }
        let args: Vec<&Value> = rule["args"].as_array().into_iter().flatten().collect();
        let indexes: HashSet<_> = args.iter().map(|arg| arg["index"].as_u64()).collect();
        let written = args.iter().map(|arg| {
            let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
            let op = ops.iter().position(|op| arg["op"] == format!("SCMP_CMP_{op}")).unwrap() + 1;
            let hex = |key| format!("{:x}", arg[key].as_u64().unwrap_or(0));
            format!(" {} {op} {} {}", arg["index"], hex("value"), hex("valueTwo"))
        });
        let rules: Vec<String> =
            if indexes.len() < args.len() { written.collect() } else { vec![written.collect()] };
        for name in rule["names"].as_array().unwrap() {
            for args in &rules {
                writeln!(lines, "rule {verdict:x} {}{args}", name.as_str().unwrap()).unwrap();
            }
        }
    }
    let mut command = Command::new(helper());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("helper");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{lines}");
    let instruction = |bytes: &[u8]| Instruction {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let said = String::from_utf8(output.stderr).unwrap();
    let names = |what: &str| {
        let lines = said.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
    };
    Theirs {
        program: output.stdout.chunks(8).map(instruction).collect(),
        unknown: names("unknown "),
        refused: names("refused "),
        lines,
    }
}

fn checked(profile: &Value) -> Profile {
    let text = profile.to_string();
    let spec: Seccomp<'_> = mote::json::parse(text.as_bytes()).unwrap();
    Profile::check(&spec).unwrap().unwrap()
}

/// Runs both on `count` calls; gives how often each reason was needed.
fn compare(value: &Value, count: u64, random: &mut Random) -> BTreeMap<Reason, u64> {
    let profile = checked(value);
    let (ours, theirs) = (split::compile(&profile).unwrap(), theirs(value, None));
    let values = interesting(&profile);
    // Calls that a rule with conditions is about get half of the inputs.
    let mut with = Vec::new();
    for arch in ARCHES {
        for (name, rule) in &profile.entries {
            if let Some(number) = arch.number(*name).filter(|_| !profile.rules[*rule].conditions.is_empty()) {
                with.push((arch.audit, number));
            }
        }
        with.extend(
            Name::of("socketcall").and_then(|name| arch.number(name)).map(|number| (arch.audit, number)),
        );
        with.extend(Name::of("ipc").and_then(|name| arch.number(name)).map(|number| (arch.audit, number)));
    }
    let mut reasons = BTreeMap::new();
    for n in 0..count {
        let (arch, number) = match n % 8 {
            0..4 => random.of(&with),
            4 => (X86_64.audit, u32::try_from(random.below(520)).unwrap()),
            5 => (X86.audit, u32::try_from(random.below(520)).unwrap()),
            6 => (X86_64.audit, X32_BIT + u32::try_from(random.below(560)).unwrap()),
            _ => {
                let number = random.of(&[0, 1, 39, X32_BIT - 1, X32_BIT, u32::MAX, u32::MAX - 1]);
                (random.of(&[X86_64.audit, X86.audit, 0xc000_00b7, 0]), number)
            }
        };
        let arguments = std::array::from_fn(|i| {
            // The number of a call through socketcall or ipc.
            if i == 0 && random.below(4) == 0 { random.below(26) } else { random.of(&values) }
        });
        let call = Call { number, arch, arguments };
        let mine = run_all(&ours, &call).unwrap().verdict;
        let its = run(&theirs.program, &call).unwrap().verdict;
        if mine != its {
            let reason = reason(&profile, &theirs, &call, mine, its);
            let reason = reason.unwrap_or_else(|| {
                let brief = brief(&profile, &call);
                panic!("mote says {mine:x}, libseccomp {its:x}: {call:x?}\n{brief}\n{}", theirs.lines)
            });
            *reasons.entry(reason).or_insert(0) += 1;
        }
    }
    reasons
}

/// Whether the part of a libseccomp program for an architecture begins without loading the number.
fn forgets_number(program: &[Instruction], audit: u32) -> bool {
    let is_load = |i: &Instruction| (i.code, i.k) == (0x20, 0);
    let mut at = 1;
    while let Some(i) = program.get(at).filter(|i| i.code == 0x15) {
        if i.k == audit {
            return !program.get(at + 1 + usize::from(i.jt)).is_some_and(is_load);
        }
        at += 1 + usize::from(i.jf);
    }
    false
}

fn reason(profile: &Profile, theirs: &Theirs, call: &Call, mine: u32, its: u32) -> Option<Reason> {
    if forgets_number(&theirs.program, call.arch) {
        return Some(Reason::NumberNotLoaded);
    }
    let arch = arch_of(&ARCHES, call)?;
    let last = profile.named.iter().filter_map(|name| arch.number(*name)).max();
    if mine == ENOSYS && its == profile.default && last.is_some_and(|last| call.number > last) {
        return Some(Reason::NewerThanProfile);
    }
    let name = arch.name(call.number)?;
    if theirs.unknown.contains(name.text()) {
        return (its == profile.default).then_some(Reason::NewerThanLibseccomp);
    }
    // What the rules say when they are read one by one.
    let rules = rules(profile, arch, call.number);
    if rules.iter().any(|(_, conditions)| conditions.iter().all(|c| is_vacuous(c, arch))) {
        return None;
    }
    let holding = rules.iter().filter(|(_, conditions)| conditions.iter().all(|c| holds(c, arch, call)));
    let mut said: HashSet<u32> = holding.map(|(verdict, _)| *verdict).collect();
    if said.is_empty() {
        said.insert(profile.default);
    }
    match (said.contains(&mine), said.contains(&its)) {
        (true, true) => Some(Reason::Overlap),
        (true, false) if rules.len() > 1 => Some(Reason::WrongTree),
        _ => None,
    }
}

/// The rules about a call.
fn brief(profile: &Profile, call: &Call) -> String {
    let arch = arch_of(&ARCHES, call).unwrap_or(&X86_64);
    let name = arch.name(call.number);
    let rules = rules(profile, arch, call.number);
    format!("{} default {:x}: {rules:x?}", name.map_or("", Name::text), profile.default)
}

fn sample(config: &str) -> Value {
    let mut config: Value = serde_json::from_str(config).unwrap();
    config["linux"]["seccomp"].take()
}

#[test]
fn the_profiles_of_docker_and_podman_get_the_same_verdicts() {
    let mut random = Random(11);
    for (name, config) in [("Docker", DOCKER), ("Podman", PODMAN)] {
        let reasons = compare(&sample(config), 1_000_000, &mut random);
        eprintln!("{name}: 1000000 calls, {reasons:?}");
        let expected =
            |reason: &Reason| matches!(reason, Reason::NewerThanProfile | Reason::NewerThanLibseccomp);
        assert!(reasons.keys().all(expected), "{name}: {reasons:?}");
    }
}

/// A profile that nobody would write. With `mixed` also rules for one call that have conditions and different actions.
fn random_profile(random: &mut Random, mixed: bool) -> Value {
    let actions = ["ALLOW", "LOG", "TRACE", "ERRNO", "TRAP", "KILL", "KILL_PROCESS"]
        .map(|action| format!("SCMP_ACT_{action}"));
    let arches: [&[&str]; 4] = [
        &[],
        &["SCMP_ARCH_X86_64"],
        &["SCMP_ARCH_X86"],
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    ];
    let all: Vec<Name> = Name::all().collect();
    let values = [0, 1, 2, 8, 0xffff_ffff, 1 << 32, (1 << 32) + 8, u64::MAX, 0x7e02_0000, random.next()];
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let some: Vec<Name> = (0..6).map(|_| random.of(&all)).collect();
    let mut rules = Vec::new();
    let mut used: BTreeMap<&str, String> = BTreeMap::new();
    for _ in 0..random.below(40) + 1 {
        let action = actions[usize::try_from(random.below(7)).unwrap()].clone();
        let mut args = Vec::new();
        for index in 0..6 {
            if random.below(5) == 0 {
                let op = format!("SCMP_CMP_{}", random.of(&ops));
                args.push(json!({"index": index, "value": random.of(&values), "valueTwo": random.of(&values), "op": op}));
            }
        }
        if args.len() == 2 && random.below(3) == 0 {
            args[1]["index"] = args[0]["index"].clone();
        }
        let errno = random.of(&[1, 22, 38]);
        let mut names = Vec::new();
        for _ in 0..random.below(5) + 1 {
            let name = if random.below(2) == 0 { random.of(&some) } else { random.of(&all) }.text();
            let action = format!("{action} {errno}");
            if mixed || used.entry(name).or_insert_with(|| action.clone()) == &action {
                names.push(name);
            }
        }
        if !names.is_empty() {
            rules.push(json!({"names": names, "action": action, "errnoRet": errno, "args": args}));
        }
    }
    let default = actions[usize::try_from(random.below(7)).unwrap()].clone();
    json!({"defaultAction": default, "defaultErrnoRet": 5, "architectures": random.of(&arches), "syscalls": rules})
}

#[test]
fn random_profiles_get_the_same_verdicts() {
    let count = std::env::var("MOTE_SECCOMP_INPUTS").map_or(5_000, |count| count.parse().unwrap());
    let (mut random, mut all) = (Random(0x5eed), BTreeMap::new());
    for n in 0..200 {
        let mut profile = random_profile(&mut random, n % 4 == 3);
        // Without the calls that libseccomp finds contradictions about.
        loop {
            let refused = theirs(&profile, None).refused;
            if refused.is_empty() {
                break;
            }
            let rules = profile["syscalls"].as_array_mut().unwrap();
            for rule in rules.iter_mut() {
                let names = rule["names"].as_array_mut().unwrap();
                names.retain(|name| !refused.contains(name.as_str().unwrap()));
            }
            // A rule without calls is wrong input.
            rules.retain(|rule| !rule["names"].as_array().unwrap().is_empty());
        }
        for (reason, times) in compare(&profile, count, &mut random) {
            *all.entry(reason).or_insert(0) += times;
        }
    }
    eprintln!("200 random profiles: {count} calls each, {all:?}");
}

/// 4,096 instructions are what the kernel takes in one program. libseccomp writes a longer one, which it cannot load.
#[test]
fn a_profile_of_several_programs_gets_the_same_verdicts() {
    let calls = ["ioctl", "read", "write", "futex", "prctl", "mmap", "openat", "socket", "semop", "seccomp"];
    let arg = |index: u8, op: &str, value: u64| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    for (default, action, op) in [("ERRNO", "ALLOW", "NE"), ("ALLOW", "KILL", "EQ")] {
        let rules = (0..700).map(|n| {
            let name = calls[n % calls.len()];
            let args = [arg(1, "EQ", n as u64 * 5), arg(2, op, n as u64 % 7 + 1)];
            json!({"names": [name], "action": format!("SCMP_ACT_{action}"), "args": args})
        });
        let profile = json!({"defaultAction": format!("SCMP_ACT_{default}"),
            "syscalls": rules.collect::<Vec<_>>()});
        let programs = split::compile(&checked(&profile)).unwrap();
        let theirs = theirs(&profile, None).program;
        assert!(programs.len() > 1 && theirs.len() > 4096, "{} {}", programs.len(), theirs.len());
        let reasons = compare(&profile, 100_000, &mut Random(5));
        eprintln!(
            "{default}, {action}: {} programs, libseccomp {} instructions, {reasons:?}",
            programs.len(),
            theirs.len()
        );
        assert!(reasons.keys().all(|reason| *reason == Reason::NewerThanProfile), "{reasons:?}");
    }
}

/// What a call costs in instructions, under both.
#[test]
fn the_calls_that_programs_make_most_cost_less() {
    let hot = [
        "read",
        "write",
        "close",
        "openat",
        "newfstatat",
        "mmap",
        "futex",
        "epoll_wait",
        "recvfrom",
        "sendto",
    ];
    for (name, config) in [("Docker", DOCKER), ("Podman", PODMAN)] {
        let profile = sample(config);
        let (ours, theirs) = (compile(&checked(&profile)).unwrap(), theirs(&profile, None).program);
        eprintln!("{name}: {} instructions, libseccomp {}", ours.len(), theirs.len());
        let mut sums = [0, 0];
        // Check and compile, the best of many; under 300 us in a build that ships.
        let text = profile.to_string();
        let spec: Seccomp<'_> = mote::json::parse(text.as_bytes()).unwrap();
        let once = || {
            let begin = Instant::now();
            assert!(compile(&Profile::check(&spec).unwrap().unwrap()).is_some());
            begin.elapsed()
        };
        let mut times: Vec<Duration> = (0..200).map(|_| once()).collect();
        times.sort_unstable();
        eprintln!("  compiled in {:?}, median {:?}", times[0], times[100]);
        assert!(cfg!(debug_assertions) || times[0] < Duration::from_micros(300), "{times:?}");
        for name in hot {
            let number = X86_64.number(Name::of(name).unwrap()).unwrap();
            let call = Call { number, arch: X86_64.audit, arguments: [0; 6] };
            let [mine, its] = [&ours, &theirs].map(|program| run(program, &call).unwrap().steps);
            eprintln!("  {name}: {mine}, libseccomp {its}");
            // Five is the least there is: load and compare the architecture, then the number, and return.
            assert!(mine < its || mine <= 6, "{name}: {mine} instructions, libseccomp {its}");
            sums = [sums[0] + mine, sums[1] + its];
        }
        eprintln!("  sum: {}, libseccomp {}", sums[0], sums[1]);
        assert!(sums[0] < sums[1]);
    }
}

/// Podman and Docker in the same words as the kernel reads them: nothing of the samples is lost on the way.
#[test]
fn the_samples_are_read_whole() {
    let spec: Spec<'_> = mote::json::parse(DOCKER.as_bytes()).unwrap();
    assert_eq!(spec.linux.seccomp.unwrap().syscalls.len(), 12);
}
