//! Which devices a container may use: `linux.resources.devices` as an eBPF program on its cgroup.
//!
//! cgroup v2 has no files for this. The rules are first folded into the model of the v1 controller
//! (Documentation/admin-guide/cgroup-v1/devices.rst: a default and exceptions from it), then compiled: for each
//! access the program compares type, access, major and minor with one exception after the other.

use std::os::fd::BorrowedFd;

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
struct Folded {
    allow: bool,
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

/// Compiles the rules. The context is `struct bpf_cgroup_dev_ctx`: access in the upper and type in the lower half of
/// the first word, then major and minor.
fn compile(folded: &Folded) -> Vec<bpf::Instruction> {
    use bpf::{Instruction, Register::*};
    let mut program = vec![
        Instruction::load_u32(R2, R1, 0),
        Instruction::load_u32(R4, R1, 4),
        Instruction::load_u32(R5, R1, 8),
        Instruction::mov(R3, R2),
        Instruction::and_imm(R2, 0xffff),
        Instruction::shift_right_imm(R3, 16),
    ];
    for (device, access) in &folded.exceptions {
        let checks = [(R2, device.kind), (R4, device.major), (R5, device.minor)];
        let checks = checks.into_iter().filter_map(|(register, value)| value.map(|value| (register, value)));
        let masked = *access != ALL;
        // How many instructions of this exception are left: a comparison that fails skips them all.
        let mut left = checks.clone().count() + if masked { 3 } else { 0 } + 2;
        for (register, value) in checks {
            left -= 1;
            program.push(Instruction::jump_not_equal_imm(register, value, left));
        }
        if masked {
            program.push(Instruction::mov(R1, R3));
            // Allowed is what asks for nothing beyond the exception; denied is what asks for any of it.
            program.extend(if folded.allow {
                [Instruction::and_imm(R1, *access), Instruction::jump_equal_imm(R1, 0, 2)]
            } else {
                [Instruction::and_imm(R1, ALL & !*access), Instruction::jump_not_equal_imm(R1, 0, 2)]
            });
        }
        program.extend([Instruction::mov_imm(R0, u32::from(!folded.allow)), Instruction::exit()]);
    }
    program.extend([Instruction::mov_imm(R0, u32::from(folded.allow)), Instruction::exit()]);
    program
}

/// Attaches the program for `rules` to a cgroup. It goes away with the cgroup. Linux 4.15, CONFIG_CGROUP_BPF.
pub fn apply(rules: &[Rule], cgroup: BorrowedFd<'_>) -> Result<()> {
    let program = compile(&fold(rules.iter().chain(DEFAULTS)));
    let program =
        bpf::load_cgroup_device(&program).during("bpf(BPF_PROG_LOAD)", c"linux.resources.devices")?;
    bpf::attach_cgroup_device(&program, cgroup).during("bpf(BPF_PROG_ATTACH)", c"linux.resources.devices")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Device = Device { kind: None, major: None, minor: None };
    const DENY_ALL: Rule = Rule { allow: false, device: EVERYTHING, access: ALL };
    const ALLOW_ALL: Rule = Rule { allow: true, device: EVERYTHING, access: ALL };

    /// What the kernel would answer: runs the program as it stands.
    fn verdict(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        bpf::interpret(&compile(&fold(rules.iter())), [access << 16 | kind, major, minor]) == 1
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

    #[test]
    fn accesses_of_two_rules_for_one_device_add_up() {
        let rules =
            [allow(CHARACTER, Some(10), Some(200), READ), allow(CHARACTER, Some(10), Some(200), WRITE)];
        assert!(verdict(&rules, CHARACTER, 10, 200, READ | WRITE));
        assert!(!verdict(&rules, CHARACTER, 10, 200, MKNOD));
    }
}
