//! `linux.seccomp`: from a profile to the programs that the kernel runs before each system call.
//!
//! `spec -> Profile -> programs`: [`profile`] checks, [`compile`] cuts the numbers into ranges and writes a search tree,
//! [`assembler`] knows the instructions, [`split`] makes several programs of what is too long for one. All of it happens before clone; the child loads what is there.

pub mod assembler;
pub mod compile;
pub mod default;
pub mod explain;
pub mod names;
pub mod notify;
pub mod profile;
pub mod raw;
pub mod split;

use crate::error::Wrong;
use crate::spec;
use crate::sys::seccomp::{FLAG_NEW_LISTENER, Instruction};
use notify::Listener;
use profile::Profile;

#[cfg(test)]
mod tests;

/// What a child loads.
#[derive(Debug)]
pub struct Filter {
    /// The programs, nearly always one. The first is loaded last; see [`split`].
    pub programs: Vec<Vec<Instruction>>,
    /// For seccomp(2), when the first is loaded.
    pub flags: u32,
    /// Who answers for `SCMP_ACT_NOTIFY`; set if and only if a rule has it.
    pub listener: Option<Listener>,
}

/// What the caller asks for besides `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The profile of [`default`] where `config.json` has none.
    RuntimeDefault,
    /// No filter, whatever `config.json` has.
    Unconfined,
}

impl Filter {
    /// As it is kept for `exec`: the flags, then for each program its length and its instructions as the kernel has them,
    /// little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.flags.to_le_bytes().to_vec();
        for program in &self.programs {
            let length = u32::try_from(program.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            for Instruction { code, jt, jf, k } in program {
                bytes.extend_from_slice(&code.to_le_bytes());
                bytes.extend_from_slice(&[*jt, *jf]);
                bytes.extend_from_slice(&k.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads one back, without its listener; `None` when it has been cut.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (flags, mut rest) = bytes.split_first_chunk()?;
        let one = |[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| Instruction {
            code: u16::from_le_bytes([*c0, *c1]),
            jt: *jt,
            jf: *jf,
            k: u32::from_le_bytes([*k0, *k1, *k2, *k3]),
        };
        let mut programs = Vec::new();
        while let Some((length, instructions)) = rest.split_first_chunk() {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (program, more) = instructions.split_at_checked(length.checked_mul(8)?)?;
            programs.push(program.as_chunks().0.iter().map(one).collect());
            rest = more;
        }
        let flags = u32::from_le_bytes(*flags);
        (rest.is_empty() && !programs.is_empty()).then_some(Self { programs, flags, listener: None })
    }

    /// Compiles `linux.seccomp`, or what is wished for instead of it, for a container with these capabilities, a bit each.
    /// `None` for a profile that says nothing. An error names the field below `linux.seccomp`.
    pub fn new(
        spec: Option<&spec::Seccomp<'_>>,
        wish: Option<Wish>,
        capabilities: u64,
    ) -> Result<Option<Self>, Wrong> {
        let own = match (wish, spec) {
            (Some(Wish::Unconfined), _) | (_, None) => None,
            (_, Some(spec)) => Profile::check(spec)?.map(|profile| (profile, Some(spec))),
        };
        let default = || (wish == Some(Wish::RuntimeDefault)).then(|| (default::profile(capabilities), None));
        let Some((profile, spec)) = own.or_else(default) else { return Ok(None) };
        let listener = spec.filter(|_| profile.notifies).map(|spec| Listener {
            path: spec.listener_path.decode(),
            metadata: spec.listener_metadata.decode(),
        });
        let flags = profile.flags | if profile.notifies { FLAG_NEW_LISTENER } else { 0 };
        match split::compile(&profile) {
            Ok(programs) => Ok(Some(Self { programs, flags, listener })),
            Err(why) => Err(("syscalls".to_owned(), why).into()),
        }
    }
}
