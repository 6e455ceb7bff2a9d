//! `linux.seccomp`: from a profile to the program that the kernel runs before each system call.
//!
//! `spec -> Profile -> program`: [`profile`] checks, [`compile`] cuts the numbers into ranges and writes a search tree,
//! [`assembler`] knows the instructions. All of it happens before clone; the child loads what is there.

pub mod assembler;
pub mod compile;
pub mod explain;
pub mod names;
pub mod notify;
pub mod profile;

use crate::spec;
use crate::sys::seccomp::{BPF_MAXINSNS, FLAG_NEW_LISTENER, Instruction};
use notify::Listener;
use profile::{Profile, Wrong};

#[cfg(test)]
mod tests;

/// What a child loads.
#[derive(Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// For seccomp(2).
    pub flags: u32,
    /// Who answers for `SCMP_ACT_NOTIFY`; set if and only if a rule has it.
    pub listener: Option<Listener>,
}

impl Filter {
    /// Compiles `linux.seccomp`. `None` for a profile that says nothing. An error names the field below `linux.seccomp`.
    pub fn new(spec: &spec::Seccomp<'_>) -> Result<Option<Self>, Wrong> {
        let Some(profile) = Profile::check(spec)? else { return Ok(None) };
        let listener = profile.notifies.then(|| Listener {
            path: spec.listener_path.decode(),
            metadata: spec.listener_metadata.decode(),
        });
        let flags = profile.flags | if profile.notifies { FLAG_NEW_LISTENER } else { 0 };
        match compile::compile(&profile) {
            Some(program) => Ok(Some(Self { program, flags, listener })),
            None => Err(("syscalls".to_owned(), too_long()).into()),
        }
    }
}

/// Why a profile cannot be had that is fine otherwise.
pub fn too_long() -> String {
    format!("more rules than fit in the {BPF_MAXINSNS} instructions that the kernel takes")
}
