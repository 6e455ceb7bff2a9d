//! A profile that does not fit in one program becomes several. The kernel runs them all, and the verdict with the most
//! restrictive action counts; Documentation/userspace-api/seccomp_filter.rst.
//!
//! Each call is judged by one program and allowed by the others, so what counts is what that one says. The first program
//! also judges calls that no rule is about. It is loaded last: to load a filter takes seccomp(2), which may not be allowed
//! any more then. It is also the one with the listener, of which the kernel takes one.
//!
//! The rules for one call are divided too if they have to be, in two cases:
//! * all of them compare the same argument for equality: then by its value, and each program allows what is outside;
//! * all of them have actions more restrictive than the default: then the most restrictive of all programs is the most
//!   restrictive of all rules. Of verdicts with the same action the kernel takes the one of the program that was loaded
//!   last, so earlier rules go to programs that are loaded later.
//!
//! Otherwise not: where one of several rules is enough to allow a call, two programs would ask for one of each.

use super::assembler::{Call, Run, run};
use super::compile::{Guard, Item, Judgement, items, low, share};
use super::names::{NATIVE, Name};
use super::profile::{ACTION, ALLOW, NOTIFY, Operator, Profile};
use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};

/// What all filters of a process may have together, and what each counts besides its own; kernel/seccomp.c
/// `MAX_INSNS_PER_PATH`.
pub const MAX_PER_PROCESS: usize = 32768;
const PENALTY: usize = 4;

/// Compiles to as many programs as are needed. They are loaded from the last to the first. An error says what does not fit.
pub fn compile(profile: &Profile) -> Result<Vec<Vec<Instruction>>, String> {
    let items = items(profile);
    if let Some(program) = share(profile, &items, 0..items.len(), true) {
        return Ok(vec![program]);
    }
    let programs = divide(profile, items)?;
    let counted: usize = programs.iter().map(|program| converted(program) + PENALTY).sum();
    if counted > MAX_PER_PROCESS {
        return Err(format!(
            "{counted} instructions as the kernel counts them, which takes {MAX_PER_PROCESS} for one process"
        ));
    }
    Ok(programs)
}

fn divide(profile: &Profile, mut items: Vec<Item>) -> Result<Vec<Vec<Instruction>>, String> {
    items.sort_by_key(|item| !stays_first(item));
    let bound = items.iter().filter(|item| stays_first(item)).count();
    let whole = || {
        format!(
            "what SCMP_ACT_NOTIFY and seccomp(2) are about does not fit in one filter of {BPF_MAXINSNS} instructions, and may not be divided"
        )
    };
    let mut programs = vec![share(profile, &items, 0..0, true).ok_or_else(whole)?];
    let (mut first, mut is_base) = (0, true);
    while first < items.len() {
        // Parts of what is said about a call go to different programs.
        let here = items.get(first..).unwrap_or_default();
        let most = here.windows(2).position(|pair| matches!(pair, [a, b] if a.is_about_the_call_of(b)));
        let mut over = most.map_or(here.len(), |at| at + 1) + 1;
        let (mut fits, mut best) = (0, None);
        while fits + 1 < over {
            let middle = usize::midpoint(fits, over);
            match share(profile, &items, first..first + middle, is_base) {
                Some(program) => (fits, best) = (middle, Some(program)),
                None => over = middle,
            }
        }
        match (best, programs.first_mut()) {
            (_, _) if is_base && fits < bound => return Err(whole()),
            (Some(program), Some(base)) if is_base => *base = program,
            (Some(program), _) => programs.push(program),
            // The first may be full with what no item is about.
            (None, _) if is_base => {}
            (None, _) => {
                let item = items.get(first).ok_or_else(whole)?;
                let [one, other] = item.halve(profile.default).ok_or_else(|| item.too_long())?;
                items.splice(first..=first, [one, other]);
            }
        }
        (first, is_base) = (first + fits, false);
    }
    Ok(programs)
}

/// What the first program has to judge: the call that loads it, and what the listener is asked about.
fn stays_first(item: &Item) -> bool {
    let notifies = match &item.rules {
        Ok(rules) => rules.iter().any(|(verdict, _)| *verdict == NOTIFY),
        Err(verdict) => *verdict == NOTIFY,
    };
    let loads = || Name::of("seccomp").and_then(|name| NATIVE.number(name)) == Some(item.number);
    notifies || (std::ptr::eq(item.arch, NATIVE) && loads())
}

impl Item {
    fn is_about_the_call_of(&self, other: &Self) -> bool {
        std::ptr::eq(self.arch, other.arch) && self.number == other.number
    }

    fn too_long(&self) -> String {
        let name = self.arch.name(self.number).map_or("", Name::text);
        format!(
            "the rules for {name} of {} do not fit in a filter of {BPF_MAXINSNS} instructions, and cannot be divided",
            self.arch.word
        )
    }

    /// Two parts that say the same when each has a program of its own; see above. The first belongs in the one that is
    /// loaded later.
    fn halve(&self, default: u32) -> Option<[Self; 2]> {
        let rules = self.rules.as_deref().ok()?;
        let part = |rules: Vec<Judgement>| Self { rules: Ok(rules), ..self.clone() };
        let values = (0..6).filter_map(|argument| {
            let all: Option<Vec<u32>> = rules.iter().map(|rule| equals(rule, argument)).collect();
            let mut all = all?;
            all.sort_unstable();
            all.dedup();
            Some((all.len(), argument, *all.get(all.len() / 2)?))
        });
        if let Some((2.., argument, middle)) = values.max() {
            let is_above = |rule: &&Judgement| equals(rule, argument) >= Some(middle);
            let (above, below) = rules.iter().partition::<Vec<_>, _>(is_above);
            let [mut below, mut above] =
                [below, above].map(|rules| part(rules.into_iter().cloned().collect()));
            below.guard(Guard { argument, from: 0, to: middle - 1 });
            above.guard(Guard { argument, from: middle, to: u32::MAX });
            return Some([below, above]);
        }
        let action = |verdict: u32| (verdict & ACTION).cast_signed();
        if rules.len() < 2 || rules.iter().any(|(verdict, _)| action(*verdict) >= action(default)) {
            return None;
        }
        let (earlier, later) = rules.split_at(rules.len() / 2);
        Some([part(earlier.to_vec()), part(later.to_vec())])
    }

    /// Narrows what it is about.
    fn guard(&mut self, guard: Guard) {
        match self.guards.iter_mut().find(|other| other.argument == guard.argument) {
            Some(other) => {
                other.from = other.from.max(guard.from);
                other.to = other.to.min(guard.to);
            }
            None => self.guards.push(guard),
        }
    }
}

/// The lower half of what a rule says that an argument equals.
fn equals((_, conditions): &Judgement, argument: u8) -> Option<u32> {
    let equal = conditions.iter().find(|c| c.argument == argument && c.operator == Operator::Eq);
    equal.map(|c| low(c.value))
}

/// How long a program is once the kernel has converted it, which is what it counts; net/core/filter.c
/// `bpf_convert_filter`. With net.core.bpf_jit_harden it may count more.
fn converted(program: &[Instruction]) -> usize {
    const PROLOGUE: usize = 3;
    let one = |i: &Instruction| match (i.code & 7, i.code & 0xf0) {
        (6, _) => 2, // return: load the value, exit
        (5, 0) => 1, // an unconditional jump
        (5, compares) => {
            let large = usize::from(i.k.cast_signed() < 0);
            let one_way = i.jf == 0 || (i.jt == 0 && compares != 0x40);
            large + if one_way { 1 } else { 2 }
        }
        _ => 1,
    };
    PROLOGUE + program.iter().map(one).sum::<usize>()
}

/// Runs all programs as the kernel does: the most restrictive verdict counts, and of those with the same action the one of
/// the program that was loaded last, which is the first. `steps` are those of all.
pub fn run_all(programs: &[Vec<Instruction>], call: &Call) -> Option<Run> {
    let mut all = Run { verdict: ALLOW, steps: 0, arguments: false };
    for program in programs {
        let one = run(program, call)?;
        if (one.verdict & ACTION).cast_signed() < (all.verdict & ACTION).cast_signed() {
            all.verdict = one.verdict;
        }
        all.steps += one.steps;
        all.arguments |= one.arguments;
    }
    Some(all)
}
