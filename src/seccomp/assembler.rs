//! Writes classic BPF back to front: where a jump leads is known before the jump is written, so nothing is patched.
//!
//! A jump reaches 255 instructions. What is farther gets a copy if it is a verdict, which costs nothing on the way, and
//! an unconditional jump otherwise.

use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};

/// A 32-bit word of `struct seccomp_data`, by its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u8);

impl Word {
    /// The number of the call.
    pub const NUMBER: Self = Self(0);
    /// The `AUDIT_ARCH_*` it was made for.
    pub const ARCH: Self = Self(4);

    /// The lower half of an argument on a little-endian machine, the only kind there is a table for.
    pub fn low(argument: u8) -> Self {
        Self(16 + argument * 8)
    }

    /// Its upper half.
    pub fn high(argument: u8) -> Self {
        Self(20 + argument * 8)
    }
}

/// Where a comparison leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To this verdict.
    Return(u32),
    /// To an instruction.
    Code {
        /// Its place, counted from the end of the program.
        at: usize,
        /// The word that it loads, if that is all it does.
        loads: Option<Word>,
    },
}

/// Values from `start` up to the next range's: where they lead, and how often they come.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first of them.
    pub start: u32,
    /// Where they lead.
    pub target: Target,
    /// How often they come, against other ranges.
    pub weight: u32,
}

// BPF_* of linux/bpf_common.h
const LD_W_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;
/// Jumps if A is the operand.
pub const JEQ: u16 = 0x15;
/// Jumps if A is above the operand.
pub const JGT: u16 = 0x25;
/// Jumps if A is the operand or above.
pub const JGE: u16 = 0x35;
/// Jumps if A has a bit of the operand.
pub const JSET: u16 = 0x45;

/// How far a jump may go: what may still be written between it and its target leaves some of the 255 unused.
const REACH: usize = 250;

/// A program that grows from its end.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The last instruction first.
    code: Vec<Instruction>,
    /// The place of the latest copy of each verdict.
    returns: Vec<(u32, usize)>,
    full: bool,
}

impl Assembler {
    /// Makes `target` what the program begins with: also a verdict, if that is all it says.
    pub fn begin(&mut self, target: Target) {
        if let Target::Return(verdict) = target {
            self.push(RET_K, 0, 0, verdict);
        }
    }

    /// The program, front to back; `None` when it is longer than the kernel takes.
    pub fn finish(mut self) -> Option<Vec<Instruction>> {
        self.code.reverse();
        (!self.full).then_some(self.code)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        if self.code.len() == BPF_MAXINSNS {
            self.full = true;
        } else {
            self.code.push(Instruction { code, jt, jf, k });
        }
        self.code.len() - 1
    }

    /// How many instructions lie between the next one and the one at `at`.
    fn distance(&self, at: usize) -> usize {
        self.code.len().saturating_sub(at + 1)
    }

    /// The place to jump to for `target` when A holds the word `has`.
    fn reach(&mut self, target: Target, has: Option<Word>) -> usize {
        match target {
            Target::Return(verdict) => {
                let known = self.returns.iter().position(|(other, _)| *other == verdict);
                match known.and_then(|i| self.returns.get(i)) {
                    Some(&(_, at)) if self.distance(at) <= REACH => return at,
                    _ => {}
                }
                let at = self.push(RET_K, 0, 0, verdict);
                match known.and_then(|i| self.returns.get_mut(i)) {
                    Some(entry) => entry.1 = at,
                    None => self.returns.push((verdict, at)),
                }
                at
            }
            Target::Code { at, loads } => {
                let at = if loads.is_some() && loads == has { at.saturating_sub(1) } else { at };
                match self.distance(at) {
                    0..=REACH => at,
                    far => self.push(JA, 0, 0, u32::try_from(far).unwrap_or(u32::MAX)),
                }
            }
        }
    }

    /// Compares A, which holds the word `has` if that is known.
    pub fn test(&mut self, code: u16, k: u32, yes: Target, no: Target, has: Option<Word>) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.reach(yes, has), self.reach(no, has));
        // At most REACH and the few that `reach` has written since.
        let short = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (jt, jf) = (short(self.distance(yes)), short(self.distance(no)));
        Target::Code { at: self.push(code, jt, jf, k), loads: None }
    }

    /// Keeps the bits of `mask` in A and goes on with `next`.
    pub fn and(&mut self, mask: u32, next: Target) -> Target {
        self.before(AND_K, mask, next, None)
    }

    /// Loads a word and goes on with `next`.
    pub fn load(&mut self, word: Word, next: Target) -> Target {
        self.before(LD_W_ABS, word.0.into(), next, Some(word))
    }

    /// One instruction in front of `next`. A verdict needs nothing in A.
    fn before(&mut self, code: u16, k: u32, next: Target, loads: Option<Word>) -> Target {
        let Target::Code { at, .. } = next else { return next };
        match self.distance(at) {
            0 => {}
            far => _ = self.push(JA, 0, 0, u32::try_from(far).unwrap_or(u32::MAX)),
        }
        Target::Code { at: self.push(code, 0, 0, k), loads }
    }

    /// Finds the range of A by a search tree whose two sides come about equally often. `ranges` are sorted and the first
    /// one takes everything below the second.
    pub fn search(&mut self, ranges: &[Range], has: Option<Word>) -> Target {
        match ranges {
            [] => Target::Return(0),
            [one] => one.target,
            // One value that stands out.
            [below, one, above]
                if below.target == above.target && one.start.checked_add(1) == Some(above.start) =>
            {
                self.test(JEQ, one.start, one.target, below.target, has)
            }
            _ => {
                // A range weighs something also if it never comes, so that the tree stays flat.
                let weigh = |range: &Range| u64::from(range.weight) + 1;
                let all: u64 = ranges.iter().map(weigh).sum();
                let (mut below, mut best) = (0, (u64::MAX, 1));
                for (at, range) in ranges.iter().enumerate().take(ranges.len() - 1) {
                    below += weigh(range);
                    best = best.min((below.max(all - below), at + 1));
                }
                let (left, right) = ranges.split_at(best.1);
                let middle = right.first().map_or(0, |range| range.start);
                let right = self.search(right, has);
                let left = self.search(left, has);
                self.test(JGE, middle, right, left, has)
            }
        }
    }
}

/// What a program says, and what it took to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The verdict.
    pub verdict: u32,
    /// How many instructions were executed.
    pub steps: usize,
    /// Whether an argument was looked at.
    pub arguments: bool,
}

/// What the kernel tells a filter of a call: `struct seccomp_data` without the instruction pointer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The number.
    pub number: u32,
    /// `AUDIT_ARCH_*`
    pub arch: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// Runs a program of the instructions that are used here, which are those of libseccomp. `None` for any other.
pub fn run(program: &[Instruction], call: &Call) -> Option<Run> {
    let (mut a, mut at) = (0_u32, 0_usize);
    let mut run = Run { verdict: 0, steps: 0, arguments: false };
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        at += 1;
        run.steps += 1;
        let compare = |yes: bool| usize::from(if yes { jt } else { jf });
        match code {
            LD_W_ABS => {
                a = match k {
                    0 => call.number,
                    4 => call.arch,
                    16..64 if k % 4 == 0 => {
                        run.arguments = true;
                        let argument = call.arguments.get(usize::try_from((k - 16) / 8).ok()?)?;
                        u32::try_from(argument >> (k % 8 * 8) & 0xffff_ffff).ok()?
                    }
                    _ => return None,
                }
            }
            AND_K => a &= k,
            JA => at = at.checked_add(usize::try_from(k).ok()?)?,
            JEQ => at += compare(a == k),
            JGT => at += compare(a > k),
            JGE => at += compare(a >= k),
            JSET => at += compare(a & k != 0),
            RET_K => {
                run.verdict = k;
                return Some(run);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tree over these ranges says for `number`; a target is its index as verdict.
    fn found(starts: &[u32], number: u32) -> u32 {
        let mut assembler = Assembler::default();
        let ranges: Vec<Range> = (0..)
            .zip(starts)
            .map(|(i, start)| Range { start: *start, target: Target::Return(i), weight: i * 7 % 5 })
            .collect();
        let tree = assembler.search(&ranges, Some(Word::NUMBER));
        assembler.load(Word::NUMBER, tree);
        let program = assembler.finish().unwrap_or_default();
        assert!(program.len() > starts.len(), "{program:?}");
        let call = Call { number, arch: 0, arguments: [0; 6] };
        run(&program, &call).map_or(u32::MAX, |run| run.verdict)
    }

    #[test]
    fn a_tree_finds_each_range_however_many_there_are() {
        for count in [2, 3, 4, 17, 300, 1200] {
            let starts: Vec<u32> = (0..count).map(|i| i * i + i / 3).collect();
            for (i, start) in (0..).zip(&starts) {
                assert_eq!(found(&starts, *start), i, "{count}");
                let last = starts.get(i as usize + 1).map_or(u32::MAX, |next| next - 1);
                assert_eq!(found(&starts, last), i, "{count}");
            }
        }
    }

    #[test]
    fn a_program_that_is_too_long_is_none() {
        let mut assembler = Assembler::default();
        let ranges: Vec<Range> =
            (0..5000).map(|i| Range { start: i, target: Target::Return(i), weight: 0 }).collect();
        assembler.search(&ranges, None);
        assert_eq!(assembler.finish(), None);
    }

    #[test]
    fn what_is_compared_already_is_not_loaded_again() {
        let mut assembler = Assembler::default();
        let word = Word::low(0);
        let second = assembler.test(JEQ, 2, Target::Return(2), Target::Return(0), Some(word));
        let second = assembler.load(word, second);
        let first = assembler.test(JEQ, 1, Target::Return(1), second, Some(word));
        assembler.load(word, first);
        let program = assembler.finish().unwrap_or_default();
        let call = |value| Call { number: 0, arch: 0, arguments: [value, 0, 0, 0, 0, 0] };
        for (value, verdict, steps) in [(1, 1, 3), (2, 2, 4), (3, 0, 4)] {
            assert_eq!(run(&program, &call(value)), Some(Run { verdict, steps, arguments: true }));
        }
    }
}
