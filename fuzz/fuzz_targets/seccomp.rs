//! The seccomp compiler: what bytes make of a profile compiles for each architecture, means what its rules say when they are
//! read one by one, and passes the kernel's verifier.
//!
//! The kernel takes a program apart before it looks for a number for its listener; with no number to be had it says EMFILE,
//! and nothing is loaded. So this needs root, but neither a container nor a fork.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use mote::json;
use mote::seccomp as api;
use mote::seccomp::assembler::Call;
use mote::seccomp::names::{AARCH64, ARM, Arch, Name, RISCV64, X32, X32_BIT, X86, X86_64};
use mote::seccomp::profile::{ALLOW, Condition, ERRNO, KILL_THREAD, LOG, Operator, Profile, Rule, TRACE};
use mote::seccomp::split::{compile, run_all};
use mote::spec;
use mote::sys::seccomp::{FLAG_NEW_LISTENER, Instruction, set_mode_filter};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[path = "../../tests/seccomp/model.rs"]
mod model;

use model::{OPERATORS, meaning};

/// Bytes one after the other; zeros at the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        // Values that comparisons turn at, and any others.
        match self.next() {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 32,
            3 => u32::MAX.into(),
            4 => u64::from_be_bytes(std::array::from_fn(|_| self.next())),
            small => small.into(),
        }
    }
}

/// A profile as bytes say.
fn profile(bytes: &mut Bytes<'_>) -> Profile {
    let machines: [&[&'static Arch]; 5] =
        [&[&X86_64], &[&X86_64, &X86, &X32], &[&X86_64, &X86], &[&AARCH64, &ARM], &[&RISCV64]];
    let verdict = |bytes: &mut Bytes<'_>| match bytes.next() % 9 {
        0 => ALLOW,
        1 => LOG,
        2 => TRACE | u32::from(bytes.next()),
        3 => 0x0003_0000,
        4 => KILL_THREAD,
        5 => 0x8000_0000,
        6 => 0x7fc0_0000,
        _ => ERRNO | u32::from(bytes.next()),
    };
    let arches = machines[usize::from(bytes.next()) % machines.len()].to_vec();
    let mut profile = Profile { arches, ..Profile::new(verdict(bytes)) };
    let names: Vec<Name> = Name::all().collect();
    while !bytes.0.is_empty() && profile.rules.len() < 1000 {
        let verdict = verdict(bytes);
        let mut conditions = Vec::new();
        let mut arguments = bytes.next();
        for argument in 0..6 {
            if arguments & 1 == 1 {
                let operator = OPERATORS[usize::from(bytes.next()) % OPERATORS.len()];
                let mask = if operator == Operator::MaskedEq { bytes.number() } else { u64::MAX };
                conditions.push(Condition { argument, operator, value: bytes.number() & mask, mask });
            }
            arguments >>= 1;
        }
        let rule = profile.rules.len();
        profile.rules.push(Rule { verdict, conditions });
        let first = usize::from(bytes.next()) * 2;
        let count = usize::from(bytes.next() % 8);
        for name in names.iter().skip(first).take(count + 1) {
            profile.named.push(*name);
            if verdict != profile.default {
                profile.entries.push((*name, rule));
            }
        }
    }
    profile
}

/// Asks the kernel whether it takes a program.
fn verify(program: &[Instruction]) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("setrlimit");
    let result = set_mode_filter(program, FLAG_NEW_LISTENER);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("setrlimit");
    assert_eq!(result, Err(Errno::EMFILE), "the kernel refuses {program:x?}");
}

fuzz_target!(|data: &[u8]| {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The question is worth something only if a wrong program gets another answer.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("setrlimit");
        let wrong =
            [Instruction { code: 0x15, jt: 9, jf: 9, k: 0 }, Instruction { code: 6, jt: 0, jf: 0, k: 0 }];
        let result = set_mode_filter(&wrong, FLAG_NEW_LISTENER);
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard).expect("setrlimit");
        assert_eq!(result, Err(Errno::EINVAL), "needs root");
    });
    // As text: a profile of config.json.
    if data.first() == Some(&b'{') {
        let Ok(seccomp) = json::parse::<spec::Seccomp<'_>>(data) else { return };
        if let Ok(Some(profile)) = Profile::check(&seccomp)
            && let Ok(programs) = compile(&profile)
        {
            programs.iter().for_each(|program| verify(program));
        }
        return;
    }
    let bytes = &mut Bytes(data.get(..16384).unwrap_or(data));
    let profile = profile(bytes);
    let Ok(programs) = compile(&profile) else { return };
    programs.iter().for_each(|program| verify(program));
    let mut values = vec![0, 1, u64::MAX, 1 << 32];
    for condition in profile.rules.iter().flat_map(|rule| &rule.conditions).take(16) {
        values.extend([condition.value, condition.value ^ 1, condition.value ^ 1 << 32, !condition.mask]);
    }
    let mut turn = 0;
    for arch in &profile.arches {
        for (name, _) in profile.entries.iter().take(64) {
            let Some(number) = arch.number(*name) else { continue };
            for number in [number, number + 1] {
                let arguments = std::array::from_fn(|_| {
                    turn += 7;
                    values[turn % values.len()]
                });
                let call = Call { number, arch: arch.audit, arguments };
                if (number & X32_BIT != 0) == (arch.bit != 0) {
                    let verdict = run_all(&programs, &call).expect("ends").verdict;
                    assert_eq!(verdict, meaning(&profile, &call), "{call:x?} {profile:?}");
                }
            }
        }
    }
});
