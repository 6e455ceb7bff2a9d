//! The compiler against the meaning of profiles, for every architecture there is a table of.

use super::assembler::{Call, run};
use super::compile::compile;
use super::names::{AARCH64, ARCHES, ARM, Arch, NATIVE, Name, RISCV64, X32, X32_BIT, X86, X86_64};
use super::profile::{ALLOW, Condition, ERRNO, KILL_THREAD, LOG, NOTIFY, Operator, Profile, TRACE};
use super::split::{self, run_all};
use super::{self as api};
use crate::error::Wrong;
use crate::json;
use crate::spec::{Seccomp, Spec};
use model::{OPERATORS, Random, interesting, meaning};

#[path = "../../tests/seccomp/model.rs"]
mod model;

const DOCKER: &str = include_str!("../../tests/samples/docker20-bridge.json");
const PODMAN: &str = include_str!("../../tests/samples/podman43-p1.json");

fn check(text: &str, native: &'static Arch) -> Result<Option<Profile>, Wrong> {
    let spec: Seccomp<'_> = json::parse(text.as_bytes()).map_err(|flaw| (flaw.field, flaw.why))?;
    Profile::check_for(&spec, native)
}

fn profile(text: &str, native: &'static Arch) -> Profile {
    match check(text, native) {
        Ok(Some(profile)) => profile,
        other => unreachable!("{text}: {other:?}"),
    }
}

fn sample(config: &str, native: &'static Arch) -> Profile {
    let spec: Spec<'_> = json::parse(config.as_bytes()).unwrap_or_else(|flaw| unreachable!("{flaw:?}"));
    let checked = spec.linux.seccomp.map(|seccomp| Profile::check_for(&seccomp, native));
    checked.and_then(Result::ok).flatten().unwrap_or_else(|| unreachable!())
}

fn compare(profile: &Profile, count: u64, random: &mut Random) {
    let programs = split::compile(profile).unwrap_or_else(|why| unreachable!("{why}"));
    let values = interesting(profile);
    let audits: Vec<u32> = profile.arches.iter().map(|arch| arch.audit).chain([0, X86.audit]).collect();
    let one = |call: Call| {
        let verdict = run_all(&programs, &call).map(|run| run.verdict);
        assert_eq!(verdict, Some(meaning(profile, &call)), "{call:x?} of {} rules", profile.rules.len());
    };
    for number in (0..520).chain(X32_BIT..X32_BIT + 560).chain([X32_BIT - 1, u32::MAX - 1, u32::MAX]) {
        audits.iter().for_each(|&arch| one(Call { number, arch, arguments: [0; 6] }));
    }
    // Calls with conditions get most of the inputs.
    let with: Vec<(u32, u32)> = profile
        .arches
        .iter()
        .flat_map(|arch| {
            let named =
                profile.entries.iter().filter(|(_, rule)| !profile.rules[*rule].conditions.is_empty());
            named.filter_map(|(name, _)| Some((arch.audit, arch.number(*name)?)))
        })
        .collect();
    if !with.is_empty() {
        for _ in 0..count {
            let (arch, number) = random.of(&with);
            let arguments = std::array::from_fn(|_| random.of(&values));
            one(Call { number, arch, arguments });
        }
    }
}

#[test]
fn the_profiles_of_docker_and_podman_mean_what_they_say() {
    let mut random = Random(7);
    for config in [DOCKER, PODMAN] {
        for native in [&X86_64, &AARCH64, &RISCV64] {
            // Its x86 lets socketcall and ipc through whole, so that what goes through them needs no model.
            compare(&sample(config, native), 4_000, &mut random);
        }
    }
}

/// A profile that nobody would write.
fn random_profile(random: &mut Random) -> Profile {
    let verdicts = [ALLOW, LOG, TRACE | 7, ERRNO | 1, ERRNO | 38, 0x0003_0000, 0x8000_0000, KILL_THREAD];
    let natives: [&[&'static Arch]; 3] = [&[&X86_64, &X32], &[&AARCH64, &ARM], &[&RISCV64]];
    let arches = random.of(&natives);
    let some = if random.below(2) == 0 { arches } else { &arches[..1] };
    let names: Vec<Name> = Name::all().collect();
    let mut profile = Profile { arches: some.to_vec(), ..Profile::new(random.of(&verdicts)) };
    let values = [0, 1, 8, 0xffff_ffff, 1 << 32, (1 << 32) + 8, u64::MAX, 0x7e02_0000];
    for _ in 0..random.below(40) + 1 {
        let verdict = random.of(&verdicts);
        let mut conditions = Vec::new();
        for argument in 0..6 {
            if random.below(4) == 0 {
                let operator = random.of(&OPERATORS);
                let mask = if operator == Operator::MaskedEq { random.of(&values) } else { u64::MAX };
                conditions.push(Condition { argument, operator, value: random.of(&values) & mask, mask });
            }
        }
        let rule = profile.rules.len();
        profile.rules.push(super::profile::Rule { verdict, conditions });
        // Few names, so that several rules are about the same call.
        for _ in 0..random.below(3) + 1 {
            let name = if random.below(3) > 0 {
                names[usize::try_from(random.below(5) * 61).unwrap_or(0)]
            } else {
                random.of(&names)
            };
            profile.named.push(name);
            if verdict != profile.default {
                profile.entries.push((name, rule));
            }
        }
    }
    profile
}

#[test]
fn profiles_that_nobody_would_write_mean_what_they_say() {
    let mut random = Random(0x5eed);
    for _ in 0..150 {
        let profile = random_profile(&mut random);
        compare(&profile, 400, &mut random);
    }
}

#[test]
fn calls_through_socketcall_follow_the_rules_of_the_call() {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
        "syscalls":[{"names":["socket","bind","shmget"],"action":"SCMP_ACT_ALLOW"},
        {"names":["connect"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":3,"op":"SCMP_CMP_EQ"},{"index":1,"value":5,"op":"SCMP_CMP_EQ"}]}]}"#;
    let program = compile(&profile(text, &X86_64)).unwrap_or_default();
    let says = |name, a0, a1| {
        let number = Name::of(name).and_then(|name| X86.number(name)).unwrap_or(u32::MAX);
        let call = Call { number, arch: X86.audit, arguments: [a0, a1, 0, 0, 0, 0] };
        run(&program, &call).map(|run| run.verdict)
    };
    let (yes, no) = (Some(ALLOW), Some(ERRNO | 1));
    for (name, a0, a1, expected) in [
        ("socket", 0, 0, yes),
        ("socketcall", 1, 0, yes),
        ("socketcall", 2, 0, yes),
        ("socketcall", 4, 0, no),
        ("socketcall", 3, 5, yes),
        ("socketcall", 3, 4, no),
        ("ipc", 23, 0, yes),
        ("ipc", 24, 0, no),
        ("connect", 3, 5, yes),
        ("connect", 4, 5, no),
    ] {
        assert_eq!(says(name, a0, a1), expected, "{name}({a0}, {a1})");
    }
}

#[test]
fn one_argument_twice_in_a_rule_makes_a_rule_of_each_comparison() {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
        {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"},{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]}]}"#;
    let program = compile(&profile(text, NATIVE)).unwrap_or_default();
    let number = Name::of("socket").and_then(|name| NATIVE.number(name)).unwrap_or(0);
    for (arguments, verdict) in [([1, 0], ALLOW), ([2, 0], ALLOW), ([3, 9], ALLOW), ([3, 0], ERRNO | 1)] {
        let [a, b] = arguments;
        let call = Call { number, arch: NATIVE.audit, arguments: [a, b, 0, 0, 0, 0] };
        assert_eq!(run(&program, &call).map(|run| run.verdict), Some(verdict), "{arguments:?}");
    }
}

#[test]
fn each_wrong_field_is_named() {
    let rule = |rest: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],"action":"SCMP_ACT_LOG"}},{{{rest}}}]}}"#
        )
    };
    let args = |args: &str| rule(&format!(r#""names":["read"],"action":"SCMP_ACT_ERRNO","args":[{args}]"#));
    let seven = [r#"{"index":0,"value":1,"op":"SCMP_CMP_EQ"}"#; 7].join(",");
    for (text, field) in [
        (r#"{"defaultAction":"ALLOW"}"#.to_owned(), "defaultAction"),
        (r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#.to_owned(), "defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.to_owned(), "defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#.to_owned(), "defaultErrnoRet"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_VAX"]}"#
                .to_owned(),
            "architectures[1]",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["X86"]}"#.to_owned(), "architectures[0]"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","LOG"]}"#.to_owned(),
            "flags[1]",
        ),
        (rule(r#""names":["read"],"action":"SCMP_ACT_DENY""#), "syscalls[1].action"),
        (rule(r#""names":["read"]"#), "syscalls[1].action"),
        (rule(r#""names":["read",""],"action":"SCMP_ACT_TRAP""#), "syscalls[1].names[1]"),
        (rule(r#""names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096"#), "syscalls[1].errnoRet"),
        (rule(r#""names":["read"],"action":"SCMP_ACT_TRACE","errnoRet":65536"#), "syscalls[1].errnoRet"),
        (rule(r#""names":["read"],"action":"SCMP_ACT_NOTIFY""#), "listenerPath"),
        (rule(r#""names":["write"],"action":"SCMP_ACT_NOTIFY""#), "syscalls[1].names[0]"),
        (args(&seven), "syscalls[1].args"),
        (args(r#"{"index":6,"value":1,"op":"SCMP_CMP_EQ"}"#), "syscalls[1].args[0].index"),
        (args(r#"{"index":0,"value":1,"op":"=="}"#), "syscalls[1].args[0].op"),
        (args(r#"{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}"#), "syscalls[1].args[0].value"),
    ] {
        match check(&text, NATIVE) {
            Err(wrong) => assert_eq!(wrong.0, field, "{text}"),
            other => unreachable!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_engines_write_for_no_profile_is_none() {
    assert!(matches!(check("{}", NATIVE), Ok(None)));
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":1}],
        "architectures":["SCMP_ARCH_MIPS"],"flags":[]}"#;
    let profile = profile(text, NATIVE);
    assert_eq!((profile.entries.len(), profile.arches.len(), profile.flags), (0, 1, 0));
    // An error where none is given is nobody's mistake: Podman writes them.
    assert!(check(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":70000}"#, NATIVE).is_ok());
}

/// The kernel takes no empty program. Found by the fuzzer.
#[test]
fn a_profile_that_says_the_same_of_everything_is_one_instruction() {
    for text in [
        r#"{"defaultAction":"SCMP_ACT_KILL"}"#,
        r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL"}]}"#,
    ] {
        let profile = Profile { named: Vec::new(), ..profile(text, NATIVE) };
        let program = compile(&profile).unwrap_or_default();
        let call = Call { number: 0, arch: NATIVE.audit, arguments: [0; 6] };
        assert_eq!((program.len(), run(&program, &call).map(|run| run.verdict)), (1, Some(KILL_THREAD)));
    }
}

/// A profile with these rules.
fn of_rules(default: &str, rules: &[String]) -> Profile {
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{}]}}"#, rules.join(","));
    profile(&text, NATIVE)
}

/// A rule with these comparisons: index, operator, value.
fn rule(name: &str, action: &str, args: &[(u8, &str, u64)]) -> String {
    let args = args
        .iter()
        .map(|(index, op, value)| format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_{op}"}}"#));
    let args = args.collect::<Vec<_>>().join(",");
    format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_{action}","errnoRet":9,"args":[{args}]}}"#)
}

/// Rules for several calls, of which each fits in one program.
fn about_many_calls(action: &str) -> Vec<String> {
    let calls = ["ioctl", "read", "write", "futex", "prctl", "mmap", "openat"];
    let rules = (0..).zip(calls).flat_map(|(i, name)| (0..200).map(move |n| (name, n * 7 + i)));
    rules.map(|(name, n)| rule(name, action, &[(1, "NE", n), (2, "GT", n)])).collect()
}

/// How many programs there are, after all of them were compared with what the profile says.
fn programs(profile: &Profile) -> usize {
    compare(profile, 3_000, &mut Random(31));
    let programs = split::compile(profile).unwrap_or_default();
    assert!(programs.iter().all(|program| (1..=4096).contains(&program.len())));
    programs.len()
}

#[test]
fn a_profile_too_long_for_one_program_becomes_several_by_its_calls() {
    assert_eq!(programs(&of_rules("ERRNO", &about_many_calls("ALLOW"))), 4);
}

#[test]
fn the_rules_for_one_call_are_divided_where_that_means_the_same() {
    // By the value of an argument that all of them compare for equality.
    let equal: Vec<_> =
        (0..1200).map(|n| rule("ioctl", "ALLOW", &[(1, "EQ", n * 5), (2, "GT", n)])).collect();
    assert_eq!(programs(&of_rules("ERRNO", &equal)), 5);
    // By rules that are all more restrictive than the default. The first of the file counts among different errors.
    let denies = |n: u64| {
        format!(
            r#"{{"names":["ioctl"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[
        {{"index":1,"value":{},"op":"SCMP_CMP_GT"}},{{"index":2,"value":{n},"op":"SCMP_CMP_NE"}}]}}"#,
            n % 90 + 1,
            4000 - n * 2
        )
    };
    let restrictive: Vec<_> = (0..1000).map(denies).collect();
    assert_eq!(programs(&of_rules("ALLOW", &restrictive)), 5);
}

#[test]
fn what_must_not_be_divided_is_refused_by_its_name() {
    let why =
        |default: &str, rules: &[String]| split::compile(&of_rules(default, rules)).err().unwrap_or_default();
    let many = |name: &str, action: &str, count: u64| -> Vec<String> {
        (0..count).map(|n| rule(name, action, &[(1, "NE", n * 7), (2, "GT", n * 7)])).collect()
    };
    assert!(why("ERRNO", &many("ioctl", "ALLOW", 3000)).starts_with("the rules for ioctl of "));
    // Another seccomp(2) could not be loaded, and a second listener is not to be had.
    assert!(why("ALLOW", &many("seccomp", "ERRNO", 3000)).contains("seccomp(2)"));
    let mut notifies = of_rules("ALLOW", &many("ioctl", "ERRNO", 3000));
    notifies.rules.iter_mut().for_each(|rule| rule.verdict = NOTIFY);
    assert!(split::compile(&notifies).err().unwrap_or_default().contains("SCMP_ACT_NOTIFY"));
    // 32768 in all.
    let calls = [
        "ioctl", "read", "write", "futex", "prctl", "mmap", "openat", "close", "fcntl", "poll", "lseek",
        "brk",
    ];
    let all: Vec<_> = calls.iter().flat_map(|name| many(name, "ERRNO", 600)).collect();
    assert!(why("ALLOW", &all).contains("32768"), "{}", why("ALLOW", &all));
}

#[test]
fn the_filter_that_the_listener_and_seccomp_itself_are_in_is_the_first() {
    let mut rules = about_many_calls("ERRNO");
    rules.push(rule("seccomp", "ERRNO", &[]));
    rules.push(rule("umask", "TRAP", &[]));
    let mut profile = of_rules("ALLOW", &rules);
    profile
        .rules
        .iter_mut()
        .filter(|rule| rule.verdict == 0x0003_0000)
        .for_each(|rule| rule.verdict = NOTIFY);
    let programs = split::compile(&profile).unwrap_or_default();
    assert!(programs.len() > 1);
    for name in ["seccomp", "umask"] {
        let number = Name::of(name).and_then(|name| NATIVE.number(name)).unwrap_or(0);
        let call = Call { number, arch: NATIVE.audit, arguments: [0; 6] };
        for (i, program) in programs.iter().enumerate() {
            assert_eq!(run(program, &call).map(|run| run.verdict == ALLOW), Some(i > 0), "{name} {i}");
        }
    }
}

#[test]
fn hot_calls_are_near_the_root() {
    let program = compile(&sample(DOCKER, &X86_64)).unwrap_or_default();
    let steps = |name: &str| {
        let number = Name::of(name).and_then(|name| X86_64.number(name)).unwrap_or(u32::MAX);
        run(&program, &Call { number, arch: X86_64.audit, arguments: [0; 6] }).map_or(0, |run| run.steps)
    };
    let all: Vec<_> = [
        "read",
        "write",
        "close",
        "mmap",
        "futex",
        "openat",
        "newfstatat",
        "epoll_wait",
        "recvfrom",
        "sendto",
    ]
    .map(|name| (name, steps(name)))
    .to_vec();
    eprintln!("{} instructions, {all:?}", program.len());
    assert!(all.iter().all(|(_, steps)| *steps <= 9), "{all:?}");
    assert!(ARCHES.len() == 6);
}

#[test]
fn a_filter_is_kept_and_read_back() {
    let filter = super::Filter {
        programs: vec![compile(&sample(DOCKER, &X86_64)).unwrap_or_default(), vec![]],
        flags: 6,
        listener: None,
    };
    let bytes = filter.to_bytes();
    assert_eq!(bytes.len(), 4 + 4 + filter.programs[0].len() * 8 + 4);
    let read = super::Filter::from_bytes(&bytes).map(|read| (read.flags, read.programs == filter.programs));
    assert_eq!(read, Some((6, true)));
    for cut in [0, 3, 4, 7, bytes.len() - 5, bytes.len() - 1] {
        assert!(super::Filter::from_bytes(bytes.get(..cut).unwrap_or_default()).is_none(), "{cut}");
    }
}
