//! A profile becomes a program.
//!
//! For each architecture the numbers are cut into ranges that share a verdict; a search tree finds the range, with the
//! calls that programs make most near its root. Calls with conditions lead to code that compares arguments, one half at
//! a time, each half loaded and compared once for all rules that ask about it.
//!
//! Which of several rules for one call counts: one without conditions (or with masks that leave none), the first of them
//! if there are several. Among those with conditions the most restrictive action whose conditions hold, as the kernel has
//! it for several filters, and the first of the file among different errors.

use super::assembler::{Assembler, JEQ, JGE, JGT, JSET, Range, Target, Word};
use super::names::{Arch, Name, X32_BIT};
use super::profile::{ACTION, ALLOW, Condition, ERRNO, KILL_THREAD, LOG, Operator, Profile, Rule, TRACE};
use crate::sys::seccomp::Instruction;

/// What a call gets for which the kernel has no number.
const ENOSYS: u32 = ERRNO | libc::ENOSYS.unsigned_abs();

/// The `AUDIT_ARCH_*` that x86_64 and x32 share.
const AUDIT_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`
const AUDIT_I386: u32 = 0x4000_0003;

/// What programs call most, and how heavily it weighs in the search tree. From `strace -c` of servers and shells; a wrong
/// weight costs an instruction or two.
const HOT: &[(&str, u32)] = &[
    ("read", 200),
    ("write", 200),
    ("futex", 200),
    ("epoll_wait", 100),
    ("epoll_pwait", 100),
    ("recvfrom", 50),
    ("sendto", 50),
    ("recvmsg", 50),
    ("sendmsg", 50),
    ("clock_gettime", 50),
    ("openat", 100),
    ("close", 100),
    ("newfstatat", 100),
    ("fstat", 50),
    ("statx", 20),
    ("mmap", 100),
    ("munmap", 20),
    ("mprotect", 20),
    ("lseek", 20),
    ("poll", 20),
    ("ppoll", 20),
    ("getpid", 20),
    ("rt_sigprocmask", 50),
    ("rt_sigaction", 20),
    ("sched_yield", 20),
    ("nanosleep", 20),
    ("clock_nanosleep", 20),
];

/// Calls that x86 programs make through another with a number in its first argument: socketcall(2) and ipc(2).
/// linux/net.h, linux/ipc.h
pub const MULTIPLEXED: &[(&str, &str, u64)] = &[
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

/// One rule about one call.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    rule: usize,
    /// The number in the first argument of a call that is made through another.
    through: Option<u64>,
}

/// A verdict, and the conditions that lead to it.
pub type Judgement = (u32, Vec<Condition>);

/// What a profile says of one call, or a part of that.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where the call is made.
    pub arch: &'static Arch,
    /// Its number.
    pub number: u32,
    /// Its rules, the ones that count more first; or the verdict if one of them has no conditions.
    pub rules: Result<Vec<Judgement>, u32>,
    /// It is about calls alone whose arguments these all hold: what others get is said elsewhere.
    pub guards: Vec<Guard>,
}

/// The lower half of an argument lies between two values.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Which argument.
    pub argument: u8,
    /// The least.
    pub from: u32,
    /// The greatest.
    pub to: u32,
}

/// Rules for a call that differ in their conditions, the ones that count more first: a verdict, and the rules that lead
/// to it.
type Classes = Vec<(u32, Vec<Vec<Condition>>)>;

struct Compiler<'p> {
    profile: &'p Profile,
    /// What becomes of calls that no rule is about.
    default: Target,
    /// Whether the program judges calls that no item is about, and not just its share.
    is_base: bool,
    assembler: Assembler,
    /// Code that compares arguments, for calls that have the same rules; whether for 64 bits.
    written: Vec<(bool, Classes, Target)>,
}

/// Compiles to one program; `None` when it is longer than the kernel takes.
pub fn compile(profile: &Profile) -> Option<Vec<Instruction>> {
    let items = items(profile);
    share(profile, &items, 0..items.len(), true)
}

/// Compiles a share of what a profile says: the items with an index in `own`, of which no two are about the same call, and
/// with `is_base` what no item is about. The program allows the rest: that is for others to judge. `None` when it is longer
/// than the kernel takes.
pub fn share(
    profile: &Profile,
    items: &[Item],
    own: std::ops::Range<usize>,
    is_base: bool,
) -> Option<Vec<Instruction>> {
    let elsewhere = Target::Return(ALLOW);
    let default = if is_base { Target::Return(profile.default) } else { elsewhere };
    let mut compiler =
        Compiler { profile, default, is_base, assembler: Assembler::default(), written: Vec::new() };
    let mut groups: Vec<Vec<&Arch>> = Vec::new();
    for arch in &profile.arches {
        match groups.iter_mut().find(|group| group.iter().any(|other| other.audit == arch.audit)) {
            Some(group) => group.push(arch),
            None => groups.push(vec![arch]),
        }
    }
    // Another architecture than those listed: what libseccomp does with it.
    let mut entry = if is_base { Target::Return(KILL_THREAD) } else { elsewhere };
    // The machine's own comes last here, and so first in the program.
    for group in groups.iter().rev() {
        let code = compiler.section(group, items, &own);
        let audit = group.first().map_or(0, |arch| arch.audit);
        entry = compiler.assembler.test(JEQ, audit, code, entry, Some(Word::ARCH));
    }
    let entry = compiler.assembler.load(Word::ARCH, entry);
    compiler.assembler.begin(entry);
    compiler.assembler.finish()
}

/// All that a profile says of calls that it names, by architecture and number.
pub fn items(profile: &Profile) -> Vec<Item> {
    let mut items = Vec::new();
    for arch in &profile.arches {
        items.extend(entries(profile, arch).chunk_by(|a, b| a.number == b.number).filter_map(|entries| {
            let number = entries.first()?.number;
            Some(Item { arch, number, rules: in_order(profile, entries, arch.wide), guards: Vec::new() })
        }));
    }
    items
}

impl Compiler<'_> {
    /// Code for all calls of architectures that the kernel does not tell apart but by a bit of the number.
    fn section(&mut self, abis: &[&Arch], items: &[Item], own: &std::ops::Range<usize>) -> Target {
        let default = self.default;
        let mut ranges = Vec::new();
        for arch in abis {
            add(&mut ranges, arch.bit, default, 0);
            // The machine's own programs alone: x32 would double the weights in the same tree for nobody.
            let hot = HOT.iter().filter(|_| arch.bit == 0);
            let hot = hot.filter_map(|(name, weight)| Some((arch.number(Name::of(name)?)?, *weight)));
            let hot: Vec<(u32, u32)> = hot.collect();
            let here = items.iter().enumerate().filter(|(_, item)| std::ptr::eq(item.arch, *arch));
            // Of several parts of what is said about a call the own one comes first.
            let mut here: Vec<(u32, bool, &Item)> =
                here.map(|(at, item)| (item.number, !own.contains(&at), item)).collect();
            here.sort_by_key(|(number, others, _)| (*number, *others));
            here.dedup_by_key(|(number, ..)| *number);
            for (number, others, item) in here {
                let target = if others { Target::Return(ALLOW) } else { self.item(item) };
                let weight = hot.iter().find(|(other, _)| *other == number && !others).map_or(0, |(_, w)| *w);
                add(&mut ranges, number, target, weight);
                add(&mut ranges, number + 1, default, 0);
            }
            if let Some(last) = self.last_known(arch).filter(|_| self.is_base) {
                add(&mut ranges, last + 1, Target::Return(ENOSYS), 0);
            }
        }
        if let [only] = abis
            && only.audit == AUDIT_X86_64
        {
            // x32 without being asked for is another architecture. -1 is what a tracer makes of a call that it skips.
            add(&mut ranges, X32_BIT, if self.is_base { Target::Return(KILL_THREAD) } else { default }, 0);
            add(&mut ranges, u32::MAX, default, 0);
        }
        let tree = self.assembler.search(&ranges, Some(Word::NUMBER));
        self.assembler.load(Word::NUMBER, tree)
    }

    /// The largest number that the profile's author knew, where calls beyond it are answered with ENOSYS: a C library then
    /// falls back to an older call, where any other error would be final. Not if the default lets calls through, or
    /// shows them to a tracer, which knows better. The same rule as runc's.
    fn last_known(&self, arch: &Arch) -> Option<u32> {
        match self.profile.default & ACTION {
            ALLOW | LOG | TRACE => None,
            _ => self.profile.named.iter().filter_map(|name| arch.number(*name)).max(),
        }
    }

    /// Where a call leads that an item is about.
    fn item(&mut self, item: &Item) -> Target {
        let mut target = match &item.rules {
            Ok(rules) => self.decide(rules, item.arch.wide),
            Err(verdict) => Target::Return(*verdict),
        };
        let elsewhere = Target::Return(ALLOW);
        for Guard { argument, from, to } in &item.guards {
            let word = Word::low(*argument);
            target = self.assembler.test(JGE, *from, target, elsewhere, Some(word));
            target = self.assembler.test(JGT, *to, elsewhere, target, Some(word));
            target = self.assembler.load(word, target);
        }
        target
    }

    /// Where a call leads for which there are these rules.
    fn decide(&mut self, rules: &[Judgement], wide: bool) -> Target {
        let mut classes: Classes = Vec::new();
        for (verdict, conditions) in rules {
            match classes.last_mut() {
                Some((last, rules)) if last == verdict => rules.push(conditions.clone()),
                _ => classes.push((*verdict, vec![conditions.clone()])),
            }
        }
        if let Some((.., target)) = self.written.iter().find(|(w, other, _)| *w == wide && *other == classes)
        {
            return *target;
        }
        let mut next = Target::Return(self.profile.default);
        for (verdict, rules) in classes.iter().rev() {
            let mut rules: Vec<&[Condition]> = rules.iter().map(Vec::as_slice).collect();
            next = self.any(&mut rules, Target::Return(*verdict), next, wide);
        }
        self.written.push((wide, classes, next));
        next
    }

    /// Code that leads to `hit` if all conditions of one of the rules hold, and to `miss` otherwise.
    fn any(&mut self, rules: &mut [&[Condition]], hit: Target, miss: Target, wide: bool) -> Target {
        if rules.iter().any(|rule| rule.is_empty()) {
            return hit;
        }
        // Rules that begin alike stand together then. The order says nothing: all lead to the same.
        rules.sort_unstable();
        let first = |rule: &[Condition]| rule.first().copied();
        let mut next = miss;
        for group in rules
            .chunk_by_mut(|a, b| match (first(a), first(b)) {
                (Some(a), Some(b)) => a == b || a.shares_high_half(&b),
                _ => false,
            })
            .rev()
        {
            next = self.group(group, hit, next, wide);
        }
        next
    }

    /// The same for rules that begin with the same comparison, or with comparisons for equality that share an upper half.
    fn group(&mut self, rules: &mut [&[Condition]], hit: Target, miss: Target, wide: bool) -> Target {
        let Some(condition) = rules.first().and_then(|rule| rule.first()).copied() else { return hit };
        if condition.operator != Operator::Eq {
            let mut rest: Vec<_> = rules.iter().map(|rule| rule.get(1..).unwrap_or_default()).collect();
            let yes = self.any(&mut rest, hit, miss, wide);
            return self.compare(&condition, yes, miss, wide);
        }
        let word = Word::low(condition.argument);
        let mut values = Vec::new();
        for same in rules.chunk_by(|a, b| a.first() == b.first()) {
            let Some(value) = same.first().and_then(|rule| rule.first()).map(|c| low(c.value)) else {
                continue;
            };
            let mut rest: Vec<_> = same.iter().map(|rule| rule.get(1..).unwrap_or_default()).collect();
            values.push((value, self.any(&mut rest, hit, miss, wide)));
        }
        let mut next = miss;
        if values.len() <= 4 {
            for (value, target) in values.iter().rev() {
                next = self.assembler.test(JEQ, *value, *target, next, Some(word));
            }
        } else {
            let mut ranges = vec![Range { start: 0, target: miss, weight: 0 }];
            for (value, target) in values {
                add(&mut ranges, value, target, 0);
                if let Some(above) = value.checked_add(1) {
                    add(&mut ranges, above, miss, 0);
                }
            }
            next = self.assembler.search(&ranges, Some(word));
        }
        next = self.assembler.load(word, next);
        if wide { self.equal_high(&condition, next, miss) } else { next }
    }

    /// Code that compares an upper half for equality.
    fn equal_high(&mut self, condition: &Condition, yes: Target, no: Target) -> Target {
        let word = Word::high(condition.argument);
        let next = self.assembler.test(JEQ, high(condition.value), yes, no, Some(word));
        self.assembler.load(word, next)
    }

    /// Code for one comparison.
    fn compare(&mut self, condition: &Condition, yes: Target, no: Target, wide: bool) -> Target {
        let Condition { argument, operator, value, mask } = *condition;
        let (low_word, high_word) = (Word::low(argument), Word::high(argument));
        // In terms of what BPF has: equality, > and >=.
        let (yes, no) = match operator {
            Operator::Ne | Operator::Lt | Operator::Le => (no, yes),
            Operator::Eq | Operator::Gt | Operator::Ge | Operator::MaskedEq => (yes, no),
        };
        match operator {
            Operator::MaskedEq => {
                let next = self.masked(low_word, low(mask), low(value), yes, no);
                if wide { self.masked(high_word, high(mask), high(value), next, no) } else { next }
            }
            Operator::Eq | Operator::Ne => {
                let next = self.assembler.test(JEQ, low(value), yes, no, Some(low_word));
                let next = self.assembler.load(low_word, next);
                if wide { self.equal_high(condition, next, no) } else { next }
            }
            Operator::Gt | Operator::Le | Operator::Ge | Operator::Lt => {
                let code = if matches!(operator, Operator::Gt | Operator::Le) { JGT } else { JGE };
                let next = self.assembler.test(code, low(value), yes, no, Some(low_word));
                let next = self.assembler.load(low_word, next);
                if !wide {
                    return next;
                }
                let next = self.assembler.test(JEQ, high(value), next, no, Some(high_word));
                let next = self.assembler.test(JGT, high(value), yes, next, Some(high_word));
                self.assembler.load(high_word, next)
            }
        }
    }

    /// Code that compares some bits of a word.
    fn masked(&mut self, word: Word, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        let next = match (mask, value) {
            (0, _) => return yes,
            (u32::MAX, _) => self.assembler.test(JEQ, value, yes, no, Some(word)),
            (_, 0) => self.assembler.test(JSET, mask, no, yes, Some(word)),
            _ => {
                let next = self.assembler.test(JEQ, value, yes, no, None);
                self.assembler.and(mask, next)
            }
        };
        self.assembler.load(word, next)
    }
}

/// The rules of an architecture by number, and in the order of the file for each.
fn entries(profile: &Profile, arch: &Arch) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(profile.entries.len());
    for (name, rule) in &profile.entries {
        entries.extend(arch.number(*name).map(|number| Entry { number, rule: *rule, through: None }));
    }
    if arch.audit == AUDIT_I386 {
        for (name, via, call) in MULTIPLEXED {
            let Some((name, number)) = Name::of(name).zip(Name::of(via).and_then(|via| arch.number(via)))
            else {
                continue;
            };
            let rules = profile.entries.iter().filter(|(other, _)| *other == name);
            entries.extend(rules.map(|(_, rule)| Entry { number, rule: *rule, through: Some(*call) }));
        }
    }
    entries.sort_by_key(|entry| (entry.number, entry.rule));
    entries
}

/// The rules for one call with their conditions, the ones that count more first; or the verdict if one of them has none.
fn in_order(profile: &Profile, entries: &[Entry], wide: bool) -> Result<Vec<Judgement>, u32> {
    let rules = entries.iter().filter_map(|entry| Some((entry, profile.rules.get(entry.rule)?)));
    let narrowed =
        |(entry, rule): (&Entry, &Rule)| (rule.verdict, conditions(&rule.conditions, entry.through, wide));
    let mut rules: Vec<Judgement> = rules.map(narrowed).collect();
    if let Some((verdict, _)) = rules.iter().find(|(_, conditions)| conditions.is_empty()) {
        return Err(*verdict);
    }
    rules.sort_by_key(|(verdict, _)| (verdict & ACTION).cast_signed());
    Ok(rules)
}

/// The rules with conditions for one call, the ones that count more first.
pub fn rules_for(profile: &Profile, arch: &Arch, number: u32) -> Vec<Judgement> {
    let mut entries = entries(profile, arch);
    entries.retain(|entry| entry.number == number);
    in_order(profile, &entries, arch.wide).unwrap_or_default()
}

impl Condition {
    /// Whether both ask for equality and the same upper half.
    fn shares_high_half(&self, other: &Self) -> bool {
        let key = |c: &Self| (c.operator == Operator::Eq, c.argument, high(c.value));
        self.operator == Operator::Eq && key(self) == key(other)
    }
}

/// The conditions of a rule as this architecture sees them: 32-bit ones compare lower halves, as libseccomp does.
fn conditions(conditions: &[Condition], through: Option<u64>, wide: bool) -> Vec<Condition> {
    let first = through.map(|value| Condition { argument: 0, operator: Operator::Eq, value, mask: u64::MAX });
    // What the first argument is compared with cannot be seen: it is behind a pointer.
    let rest = conditions.iter().filter(|condition| through.is_none() || condition.argument != 0);
    let half = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let narrow = |c: Condition| Condition { value: c.value & half, mask: c.mask & half, ..c };
    let some = |c: &Condition| c.operator != Operator::MaskedEq || c.mask != 0;
    first.into_iter().chain(rest.copied()).map(narrow).filter(some).collect()
}

/// Adds a range at the end; the one before it ends there.
fn add(ranges: &mut Vec<Range>, start: u32, target: Target, weight: u32) {
    if ranges.last().is_some_and(|last| last.start == start) {
        ranges.pop();
    }
    match ranges.last_mut() {
        Some(last) if last.target == target => last.weight += weight,
        _ => ranges.push(Range { start, target, weight }),
    }
}

/// The lower half.
pub fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The upper half.
fn high(value: u64) -> u32 {
    low(value >> 32)
}
