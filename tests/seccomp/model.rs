//! What a profile means, read rule by rule: what the compiler's programs are compared with, beside the compiler, against
//! libseccomp and by the fuzzer. Who includes it names `mote::seccomp` `api`.
#![allow(dead_code, reason = "not each of them needs all of it")]

use super::api::assembler::Call;
use super::api::compile::MULTIPLEXED;
use super::api::names::{Arch, Name, X32_BIT, X86, X86_64};
use super::api::profile::{ACTION, ALLOW, Condition, ERRNO, KILL_THREAD, LOG, Operator, Profile, TRACE};

/// All operators.
pub const OPERATORS: [Operator; 7] =
    [Operator::Eq, Operator::Ne, Operator::Lt, Operator::Le, Operator::Gt, Operator::Ge, Operator::MaskedEq];

/// The bits of an argument that are looked at.
fn half(arch: &Arch) -> u64 {
    if arch.wide { u64::MAX } else { u64::from(u32::MAX) }
}

/// Whether a comparison asks for nothing: its mask leaves no bit.
pub fn is_vacuous(c: &Condition, arch: &Arch) -> bool {
    c.operator == Operator::MaskedEq && c.mask & half(arch) == 0
}

/// Whether it holds for a call.
pub fn holds(c: &Condition, arch: &Arch, call: &Call) -> bool {
    let argument = call.arguments[usize::from(c.argument)] & half(arch);
    let (value, mask) = (c.value & half(arch), c.mask & half(arch));
    match c.operator {
        Operator::Eq => argument == value,
        Operator::Ne => argument != value,
        Operator::Lt => argument < value,
        Operator::Le => argument <= value,
        Operator::Gt => argument > value,
        Operator::Ge => argument >= value,
        Operator::MaskedEq => argument & mask == value & mask,
    }
}

/// The rules about a call: the verdict and the conditions of each. On x86 also those about what goes through socketcall and
/// ipc, which ask for a number in the first argument instead of what they ask for there.
pub fn rules(profile: &Profile, arch: &Arch, number: u32) -> Vec<(u32, Vec<Condition>)> {
    let mut rules = Vec::new();
    for (other, rule) in &profile.entries {
        let rule = &profile.rules[*rule];
        if arch.number(*other) == Some(number) {
            rules.push((rule.verdict, rule.conditions.clone()));
        }
        if arch.audit != X86.audit {
            continue;
        }
        let is_through = |via: &str| Name::of(via).and_then(|via| arch.number(via)) == Some(number);
        let through = MULTIPLEXED.iter().find(|(call, via, _)| other.text() == *call && is_through(via));
        if let Some((.., value)) = through {
            let first = Condition { argument: 0, operator: Operator::Eq, value: *value, mask: u64::MAX };
            let rest = rule.conditions.iter().filter(|c| c.argument != 0).copied();
            rules.push((rule.verdict, std::iter::once(first).chain(rest).collect()));
        }
    }
    rules
}

/// The architecture of a profile that a call is made for.
pub fn arch_of(arches: &[&'static Arch], call: &Call) -> Option<&'static Arch> {
    let x32 = call.number & X32_BIT != 0;
    let same =
        |arch: &&&Arch| arch.audit == call.arch && (arch.audit != X86_64.audit || (arch.bit != 0) == x32);
    arches.iter().find(same).copied()
}

/// What becomes of a call.
pub fn meaning(profile: &Profile, call: &Call) -> u32 {
    let Some(arch) = arch_of(&profile.arches, call) else {
        // -1 is what a tracer makes of a call that it skips.
        let native = profile.arches.iter().any(|arch| arch.audit == call.arch) && call.number == u32::MAX;
        return if native { profile.default } else { KILL_THREAD };
    };
    let rules = rules(profile, arch, call.number);
    if let Some((plain, _)) =
        rules.iter().find(|(_, conditions)| conditions.iter().all(|c| is_vacuous(c, arch)))
    {
        return *plain;
    }
    let holding = rules.iter().filter(|(_, conditions)| conditions.iter().all(|c| holds(c, arch, call)));
    if let Some((verdict, _)) = holding.min_by_key(|(verdict, _)| (verdict & ACTION).cast_signed()) {
        return *verdict;
    }
    let last = profile.named.iter().filter_map(|name| arch.number(*name)).max();
    let passes = matches!(profile.default & ACTION, ALLOW | LOG | TRACE);
    if !passes && last.is_some_and(|last| call.number > last) {
        return ERRNO | 38; // ENOSYS of all these architectures
    }
    profile.default
}

/// Values at which comparisons of a profile turn, and some others.
pub fn interesting(profile: &Profile) -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 1 << 31, 1 << 32, u64::from(u32::MAX)];
    for condition in profile.rules.iter().flat_map(|rule| &rule.conditions) {
        let masked = condition.value & condition.mask;
        for value in
            [condition.value, condition.mask, masked, !condition.mask, condition.value ^ condition.mask]
        {
            let (above, below) = (value.wrapping_add(1), value.wrapping_sub(1));
            values.extend([value, above, below, value ^ 1 << 32, value ^ 1 << 63]);
        }
    }
    values
}

/// Numbers from nowhere in particular, the same in every run.
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of `all`.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap_or(0)]
    }
}
