//! Which devices a container may use: `linux.resources.devices` as an eBPF program on its cgroup.
//!
//! cgroup v2 has no files for this. The rules are first folded into the model of the v1 controller
//! (Documentation/admin-guide/cgroup-v1/devices.rst: a default and exceptions from it), then compiled: for each
//! access the program compares type, access, major and minor with one exception after the other.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{During, Result};
use crate::spec;
use crate::sys::bpf;

/// One rule of `linux.resources.devices`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    allow: bool,
    device: Device,
    access: u32,
}

/// A set of devices; `None` is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
}

// `BPF_DEVCG_*` of include/uapi/linux/bpf.h
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

impl Rule {
    /// Checks one entry; an error is the field's name and what is wrong.
    pub fn new(rule: &spec::DeviceRule<'_>) -> std::result::Result<Self, (&'static str, &'static str)> {
        let kind = match rule.kind {
            None => None,
            Some(kind) if kind == "a" || kind.is_empty() => None,
            Some(kind) if kind == "b" => Some(BLOCK),
            Some(kind) if kind == "c" || kind == "u" => Some(CHARACTER),
            Some(_) => return Err(("type", "expected a, b, c or u")),
        };
        let number = |number: Option<i64>, field| match number {
            None | Some(-1) => Ok(None),
            Some(number) => match u32::try_from(number) {
                Ok(number) if number <= 0x000f_ffff => Ok(Some(number)),
                _ => Err((field, "expected -1 for any, or a number from 0 to 1048575")),
            },
        };
        let access = rule.access.filter(|access| !access.is_empty()).map_or(Ok(ALL), |access| {
            access.chars().try_fold(0, |all, letter| match letter {
                'r' => Ok(all | READ),
                'w' => Ok(all | WRITE),
                'm' => Ok(all | MKNOD),
                _ => Err(("access", "expected some of the letters r, w and m")),
            })
        })?;
        let device =
            Device { kind, major: number(rule.major, "major")?, minor: number(rule.minor, "minor")? };
        Ok(Self { allow: rule.allow, device, access })
    }
}

const fn allow(kind: u32, major: Option<u32>, minor: Option<u32>, access: u32) -> Rule {
    Rule { allow: true, device: Device { kind: Some(kind), major, minor }, access }
}

/// What every container may use, whatever its rules: the default devices of runtime-spec config-linux.md, terminals,
/// and making nodes (which are of no use without a rule for them). runc and crun add the same.
const DEFAULTS: &[Rule] = &[
    allow(CHARACTER, None, None, MKNOD),
    allow(BLOCK, None, None, MKNOD),
    allow(CHARACTER, Some(1), Some(3), ALL), // null
    allow(CHARACTER, Some(1), Some(5), ALL), // zero
    allow(CHARACTER, Some(1), Some(7), ALL), // full
    allow(CHARACTER, Some(1), Some(8), ALL), // random
    allow(CHARACTER, Some(1), Some(9), ALL), // urandom
    allow(CHARACTER, Some(5), Some(0), ALL), // tty
    allow(CHARACTER, Some(5), Some(2), ALL), // ptmx
    allow(CHARACTER, Some(136), None, ALL),  // pts
];

/// The rules folded together: what is allowed unless an exception fits.
#[derive(Debug, PartialEq, Eq)]
pub struct Folded {
    /// What holds without an exception.
    pub allow: bool,
    exceptions: Vec<(Device, u32)>,
}

fn fold<'r>(rules: impl Iterator<Item = &'r Rule>) -> Folded {
    let mut folded = Folded { allow: false, exceptions: Vec::new() };
    for rule in rules {
        if rule.device == (Device { kind: None, major: None, minor: None }) && rule.access == ALL {
            folded = Folded { allow: rule.allow, exceptions: Vec::new() };
        } else if rule.allow != folded.allow {
            match folded.exceptions.iter_mut().find(|(device, _)| *device == rule.device) {
                Some((_, access)) => *access |= rule.access,
                None => folded.exceptions.push((rule.device, rule.access)),
            }
        } else {
            // Takes back earlier exceptions for the same devices, or for some of them.
            for (_, access) in folded.exceptions.iter_mut().filter(|(device, _)| rule.device.covers(*device))
            {
                *access &= !rule.access;
            }
            folded.exceptions.retain(|(_, access)| *access != 0);
        }
    }
    folded
}

impl Device {
    fn covers(self, other: Self) -> bool {
        let any_or_same = |a: Option<u32>, b| a.is_none() || a == b;
        any_or_same(self.kind, other.kind)
            && any_or_same(self.major, other.major)
            && any_or_same(self.minor, other.minor)
    }
}

/// Largest major number that a device can have; `MINORBITS` of include/linux/kdev_t.h leaves it 12 bits.
const MAJOR_MAX: u32 = 0xfff;

impl Folded {
    /// Exceptions that share type and access, so that both are looked at once: the groups, in order of appearance.
    fn groups(&self) -> Vec<(Option<u32>, u32)> {
        let mut groups = Vec::new();
        for (device, access) in &self.exceptions {
            if !groups.contains(&(device.kind, *access)) {
                groups.push((device.kind, *access));
            }
        }
        groups
    }

    /// Makes one exception of two that together are about every device: there are only two types.
    fn join_types(&mut self) {
        let whole = |kind, access| (Device { kind: Some(kind), major: None, minor: None }, access);
        for access in 1..=ALL {
            let (block, character) = (whole(BLOCK, access), whole(CHARACTER, access));
            if self.exceptions.contains(&block) && self.exceptions.contains(&character) {
                self.exceptions.retain(|exception| *exception != block && *exception != character);
                self.exceptions.insert(0, (Device { kind: None, major: None, minor: None }, access));
            }
        }
    }
}

/// Compiles the rules. The context is `struct bpf_cgroup_dev_ctx`: access in the upper and type in the lower half of
/// the first word, then major and minor.
///
/// The verdict of an exception is in R0 from the start, so each that fits is one jump to the one exit. Loading costs the
/// kernel time for each instruction, at every create.
fn compile(mut folded: Folded) -> Vec<bpf::Instruction> {
    use bpf::{Instruction, Register::*};
    folded.join_types();
    let groups = folded.groups();
    let mut program = vec![
        Instruction::mov_imm(R0, u32::from(!folded.allow)),
        Instruction::load_u32(R2, R1, 0),
        Instruction::load_u32(R4, R1, 4),
        Instruction::load_u32(R5, R1, 8),
        Instruction::mov(R3, R2),
        Instruction::shift_right_imm(R3, 16),
        Instruction::and_imm(R2, 0xffff),
        // Both numbers in one, as in a dev_t.
        Instruction::mov(R6, R4),
        Instruction::shift_left_imm(R6, 20),
        Instruction::or(R6, R5),
    ];
    let mut to_exit = Vec::new();
    for (kind, access) in groups {
        let mut guards: heapless::Vec<usize, 2> = heapless::Vec::new();
        if access != ALL {
            program.push(Instruction::mov(R1, R3));
            // Allowed is what asks for nothing beyond the exception; denied is what asks for any of it.
            program.push(Instruction::and_imm(R1, if folded.allow { access } else { ALL & !access }));
            if folded.allow {
                // Not zero means that it fits: skip the jump that follows for all others.
                let mut fits = Instruction::jump_not_equal_imm(R1, 0);
                fits.to_skip(1);
                program.extend([fits, Instruction::jump()]);
            } else {
                program.push(Instruction::jump_not_equal_imm(R1, 0));
            }
            let _ = guards.push(program.len() - 1); // two at most
        }
        if let Some(kind) = kind {
            let _ = guards.push(program.len()); // as above
            program.push(Instruction::jump_not_equal_imm(R2, kind));
        }
        let devices = folded.exceptions.iter().filter(|(device, of)| (device.kind, *of) == (kind, access));
        let whole = devices.clone().any(|(device, _)| device.major.is_none() && device.minor.is_none());
        if whole && guards.is_empty() {
            // Whatever would follow could never be reached, which the verifier refuses.
            return vec![Instruction::mov_imm(R0, u32::from(!folded.allow)), Instruction::exit()];
        }
        // The kernel's numbers have no more bits, so others fit no device.
        for (device, _) in devices.filter(|(device, _)| !whole && device.major.unwrap_or(0) <= MAJOR_MAX) {
            to_exit.push(program.len());
            program.push(match (device.major, device.minor) {
                (Some(major), Some(minor)) => Instruction::jump_equal_imm(R6, major << 20 | minor),
                (Some(major), None) => Instruction::jump_equal_imm(R4, major),
                (None, minor) => Instruction::jump_equal_imm(R5, minor.unwrap_or(0)),
            });
        }
        if whole {
            to_exit.push(program.len());
            program.push(Instruction::jump());
        }
        let end = program.len();
        skip_to(&mut program, &guards, end);
    }
    program.extend([Instruction::mov_imm(R0, u32::from(folded.allow)), Instruction::exit()]);
    let exit = program.len() - 1;
    skip_to(&mut program, &to_exit, exit);
    program
}

/// Lets the jumps at `from` go to `target`.
fn skip_to(program: &mut [bpf::Instruction], from: &[usize], target: usize) {
    for &at in from {
        if let Some(jump) = program.get_mut(at) {
            jump.to_skip(target - at - 1);
        }
    }
}

/// The rules, and what every container may use, folded together.
pub fn folded(rules: &[Rule]) -> Folded {
    fold(rules.iter().chain(DEFAULTS))
}

impl Folded {
    /// The exceptions in the words of the v1 controller, which has no access for both types of device in one rule.
    pub fn exceptions(&self) -> impl Iterator<Item = String> {
        let kinds = |device: &Device| {
            [(BLOCK, 'b'), (CHARACTER, 'c')].into_iter().filter({
                let kind = device.kind;
                move |(code, _)| kind.is_none_or(|kind| kind == *code)
            })
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        self.exceptions.iter().flat_map(move |(device, access)| {
            let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')].into_iter();
            let letters: String =
                letters.filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter).collect();
            let (major, minor) = (number(device.major), number(device.minor));
            kinds(device).map(move |(_, kind)| format!("{kind} {major}:{minor} {letters}"))
        })
    }
}

/// Attaches the program for `rules` to a cgroup, in the place of one that is there: a container has one program of its
/// own, whatever those of outer cgroups say besides. It goes away with the cgroup. Linux 4.15, CONFIG_CGROUP_BPF.
pub fn apply(rules: &[Rule], cgroup: BorrowedFd<'_>, replace: bool) -> Result<()> {
    let field = c"linux.resources.devices";
    let program = bpf::load_cgroup_device(&compile(folded(rules))).during("bpf(BPF_PROG_LOAD)", field)?;
    let mut old = Vec::new();
    if replace {
        old = bpf::attached_cgroup_device(cgroup).during("bpf(BPF_PROG_QUERY)", field)?;
    }
    let (first, others) = match old.split_first() {
        Some((first, others)) => (Some(first), others),
        None => (None, old.as_slice()),
    };
    match (bpf::attach_cgroup_device(&program, cgroup, first), first) {
        // Before Linux 5.6 one cannot stand in for another: for a moment both have their say.
        (Err(Errno::EINVAL), Some(first)) => {
            bpf::attach_cgroup_device(&program, cgroup, None).during("bpf(BPF_PROG_ATTACH)", field)?;
            bpf::detach_cgroup_device(first, cgroup).during("bpf(BPF_PROG_DETACH)", field)?;
        }
        (result, _) => result.during("bpf(BPF_PROG_ATTACH)", field)?,
    }
    for old in others {
        bpf::detach_cgroup_device(old, cgroup).during("bpf(BPF_PROG_DETACH)", field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Device = Device { kind: None, major: None, minor: None };
    const DENY_ALL: Rule = Rule { allow: false, device: EVERYTHING, access: ALL };
    const ALLOW_ALL: Rule = Rule { allow: true, device: EVERYTHING, access: ALL };

    /// What the kernel would answer: runs the program as it stands.
    fn verdict(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        bpf::interpret(&compile(fold(rules.iter())), [access << 16 | kind, major, minor]) == 1
    }

    fn deny(kind: u32, major: u32, minor: u32, access: u32) -> Rule {
        Rule { allow: false, ..allow(kind, Some(major), Some(minor), access) }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert!(!verdict(&[], CHARACTER, 1, 3, READ));
        assert!(!verdict(&[DENY_ALL], BLOCK, 8, 0, READ));
    }

    #[test]
    fn the_defaults_survive_a_rule_that_denies_all() {
        let rules: Vec<Rule> = [DENY_ALL].iter().chain(DEFAULTS).copied().collect();
        assert!(verdict(&rules, CHARACTER, 1, 3, READ | WRITE));
        assert!(verdict(&rules, CHARACTER, 136, 7, READ | WRITE));
        assert!(verdict(&rules, BLOCK, 8, 0, MKNOD), "making a node is allowed");
        assert!(!verdict(&rules, BLOCK, 8, 0, READ), "using it is not");
        assert!(!verdict(&rules, BLOCK, 8, 0, READ | MKNOD));
        assert!(!verdict(&rules, BLOCK, 1, 3, READ), "the type counts");
        assert!(!verdict(&rules, CHARACTER, 1, 1, READ), "mem");
    }

    #[test]
    fn the_last_rule_that_fits_counts() {
        let both = [allow(CHARACTER, Some(10), Some(229), ALL), deny(CHARACTER, 10, 229, WRITE)];
        assert!(verdict(&both, CHARACTER, 10, 229, READ));
        assert!(!verdict(&both, CHARACTER, 10, 229, READ | WRITE));
        assert!(verdict(&[both[0], both[1], ALLOW_ALL], CHARACTER, 10, 229, WRITE));
        assert!(!verdict(&[both[0], DENY_ALL], CHARACTER, 10, 229, READ));
    }

    #[test]
    fn a_denied_device_stands_out_of_a_rule_that_allows_all() {
        let rules = [ALLOW_ALL, deny(BLOCK, 8, 0, WRITE | MKNOD)];
        assert!(verdict(&rules, BLOCK, 8, 0, READ));
        assert!(!verdict(&rules, BLOCK, 8, 0, READ | WRITE));
        assert!(verdict(&rules, BLOCK, 8, 1, WRITE));
    }

    /// The rules as the v1 controller reads them, one after the other.
    fn oracle(folded: &Folded, kind: u32, major: u32, minor: u32, access: u32) -> bool {
        let asked = Device { kind: Some(kind), major: Some(major), minor: Some(minor) };
        let fits = folded.exceptions.iter().any(|(device, of)| {
            device.covers(asked) && if folded.allow { access & of != 0 } else { access & !of == 0 }
        });
        folded.allow != fits
    }

    #[test]
    fn a_program_says_what_its_rules_say() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u32| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            u32::try_from(seed >> 33).unwrap_or(0) % below
        };
        for _ in 0..2000 {
            let mut rules = Vec::new();
            for _ in 0..random(9) {
                let pick = |n: u32| (n > 0).then_some(n);
                let device = Device { kind: pick(random(3)), major: pick(random(4)), minor: pick(random(4)) };
                rules.push(Rule { allow: random(3) > 0, device, access: 1 + random(ALL) });
            }
            for _ in 0..40 {
                let (kind, major, minor, access) = (1 + random(2), random(5), random(5), 1 + random(ALL));
                let folded = fold(rules.iter());
                let expected = oracle(&folded, kind, major, minor, access);
                assert_eq!(verdict(&rules, kind, major, minor, access), expected, "{rules:?}");
            }
        }
    }

    #[test]
    fn the_defaults_take_few_instructions() {
        assert!(compile(fold(DEFAULTS.iter())).len() <= 25);
    }

    #[test]
    fn no_instruction_is_out_of_reach() {
        let every = Device { kind: None, major: None, minor: None };
        let parts = [READ, WRITE | MKNOD].map(|access| Rule { allow: true, device: every, access });
        assert_eq!(compile(fold(parts.iter())).len(), 2);
    }

    #[test]
    fn the_program_for_docker_s_list_is_short() {
        let c = |major, minor| allow(CHARACTER, Some(major), Some(minor), ALL);
        // As Docker 20.10 writes it; tests/samples/docker20-bridge.json.
        let docker =
            [DENY_ALL, c(1, 5), c(1, 3), c(1, 9), c(1, 8), c(5, 0), c(5, 1), deny(CHARACTER, 10, 229, ALL)];
        assert!(compile(folded(&docker)).len() <= 26);
    }

    #[test]
    fn exceptions_read_as_the_v1_controller_takes_them() {
        let rules = [
            allow(CHARACTER, Some(1), None, READ | WRITE),
            Rule { allow: true, device: EVERYTHING, access: MKNOD },
        ];
        let exceptions: Vec<_> = fold(rules.iter()).exceptions().collect();
        assert_eq!(exceptions, ["c 1:* rw", "b *:* m", "c *:* m"]);
    }

    #[test]
    fn accesses_of_two_rules_for_one_device_add_up() {
        let rules =
            [allow(CHARACTER, Some(10), Some(200), READ), allow(CHARACTER, Some(10), Some(200), WRITE)];
        assert!(verdict(&rules, CHARACTER, 10, 200, READ | WRITE));
        assert!(!verdict(&rules, CHARACTER, 10, 200, MKNOD));
    }
}
