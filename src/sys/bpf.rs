//! `bpf(2)`: programs of type `BPF_PROG_TYPE_CGROUP_DEVICE`, and the few instructions they are made of.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// A register of the BPF machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// The return value.
    R0,
    /// The context, until it is overwritten.
    R1,
    /// Scratch.
    R2,
    /// Scratch.
    R3,
    /// Scratch.
    R4,
    /// Scratch.
    R5,
    /// Scratch.
    R6,
}

/// `struct bpf_insn`
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Operation codes of Documentation/bpf/standardization/instruction-set.rst
const LDX_W: u8 = 0x61;
const MOV_X: u8 = 0xbf;
const MOV_K: u8 = 0xb7;
const AND_K: u8 = 0x57;
const RSH_K: u8 = 0x77;
const LSH_K: u8 = 0x67;
const OR_X: u8 = 0x4f;
const JA: u8 = 0x05;
/// Compares the lower halves: a 32-bit number of the instruction is not sign-extended. Linux 5.1.
const JEQ32_K: u8 = 0x16;
const JNE_K: u8 = 0x55;
const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(code: u8, to: Register, from: Register, offset: i16, immediate: u32) -> Self {
        Self { code, registers: (from as u8) << 4 | to as u8, offset, immediate: immediate.cast_signed() }
    }

    /// `to = *(u32 *)(from + offset)`
    pub const fn load_u32(to: Register, from: Register, offset: i16) -> Self {
        Self::new(LDX_W, to, from, offset, 0)
    }

    /// `to = from`
    pub const fn mov(to: Register, from: Register) -> Self {
        Self::new(MOV_X, to, from, 0, 0)
    }

    /// `to = value`
    pub const fn mov_imm(to: Register, value: u32) -> Self {
        Self::new(MOV_K, to, Register::R0, 0, value)
    }

    /// `to &= value`
    pub const fn and_imm(to: Register, value: u32) -> Self {
        Self::new(AND_K, to, Register::R0, 0, value)
    }

    /// `to >>= bits`
    pub const fn shift_right_imm(to: Register, bits: u32) -> Self {
        Self::new(RSH_K, to, Register::R0, 0, bits)
    }

    /// `to <<= bits`
    pub const fn shift_left_imm(to: Register, bits: u32) -> Self {
        Self::new(LSH_K, to, Register::R0, 0, bits)
    }

    /// `to |= from`
    pub const fn or(to: Register, from: Register) -> Self {
        Self::new(OR_X, to, from, 0, 0)
    }

    /// Jumps if the lower half of `register` equals `value`; see [`Instruction::to_skip`].
    pub const fn jump_equal_imm(register: Register, value: u32) -> Self {
        Self::new(JEQ32_K, register, Register::R0, 0, value)
    }

    /// Jumps if `register != value`, which is below 2^31; see [`Instruction::to_skip`].
    pub const fn jump_not_equal_imm(register: Register, value: u32) -> Self {
        Self::new(JNE_K, register, Register::R0, 0, value)
    }

    /// Jumps; see [`Instruction::to_skip`].
    pub const fn jump() -> Self {
        Self::new(JA, Register::R0, Register::R0, 0, 0)
    }

    /// Makes a jump one over `skip` instructions; 32767 at most.
    pub fn to_skip(&mut self, skip: usize) {
        self.offset = i16::try_from(skip).unwrap_or(i16::MAX);
    }

    /// Returns R0.
    pub const fn exit() -> Self {
        Self::new(EXIT, Register::R0, Register::R0, 0, 0)
    }
}

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`, up to the fields of Linux 4.15.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The start of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`, up to the field of Linux 5.6.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// The start of `union bpf_attr` for `BPF_PROG_QUERY`, Linux 4.15.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    _padding: u32,
}

const BPF_CGROUP_DEVICE: u32 = 6;

/// `BPF_PROG_LOAD` of a `BPF_PROG_TYPE_CGROUP_DEVICE`. Linux 4.15.
/// Errors: `EINVAL` when the verifier refuses it or the kernel lacks the type, `EPERM`.
pub fn load_cgroup_device(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    const BPF_PROG_LOAD: u32 = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let attr = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        instructions: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        name: *b"mote_devices\0\0\0\0",
        ..Load::default()
    };
    // SAFETY: `attr` is the start of a bpf_attr of the size given; it points at a live slice and a static string. On
    // success the result is a new descriptor that nobody else owns.
    let fd = checked(unsafe { syscall!(Sysno::bpf, BPF_PROG_LOAD, &raw const attr, size_of::<Load>()) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}

/// `BPF_PROG_ATTACH` to a cgroup v2 directory, beside the programs of outer cgroups, which keep their say, and in the
/// place of `replaced`. Linux 4.15; with `replaced` 5.6.
/// Errors: `EINVAL` before that, `EPERM`.
pub fn attach_cgroup_device(
    program: &OwnedFd,
    cgroup: BorrowedFd<'_>,
    replaced: Option<&OwnedFd>,
) -> Result<(), Errno> {
    const BPF_PROG_ATTACH: u32 = 8;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    const BPF_F_REPLACE: u32 = 4;
    let attr = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replaced: replaced.map_or(0, |program| program.as_raw_fd().cast_unsigned()),
    };
    // Kernels before 5.6 refuse a longer attr only when what they do not know is not zero.
    // SAFETY: `attr` is the start of a bpf_attr of the size given; the descriptors are open while borrowed.
    checked(unsafe { syscall!(Sysno::bpf, BPF_PROG_ATTACH, &raw const attr, size_of::<Attach>()) }).map(drop)
}

/// `BPF_PROG_DETACH` of one program of a cgroup v2 directory. Linux 4.15.
pub fn detach_cgroup_device(program: &OwnedFd, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    const BPF_PROG_DETACH: u32 = 9;
    let attr = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: as in attach_cgroup_device.
    checked(unsafe { syscall!(Sysno::bpf, BPF_PROG_DETACH, &raw const attr, size_of::<Attach>()) }).map(drop)
}

/// `BPF_PROG_QUERY` and `BPF_PROG_GET_FD_BY_ID`: the programs of a cgroup v2 directory itself, 64 at most. Linux 4.15.
pub fn attached_cgroup_device(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    const BPF_PROG_GET_FD_BY_ID: u32 = 13;
    const BPF_PROG_QUERY: u32 = 16;
    let mut ids = [0_u32; 64];
    let mut attr = Query {
        target: cgroup.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        programs: ids.as_mut_ptr().addr() as u64,
        count: 64,
        ..Query::default()
    };
    // SAFETY: `attr` is the start of a bpf_attr of the size given and points at room for as many numbers as it says;
    // the kernel writes the count back into it.
    checked(unsafe { syscall!(Sysno::bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<Query>()) })?;
    let count = usize::try_from(attr.count).unwrap_or(0);
    let open = |id: &u32| {
        let attr = [*id, 0, 0];
        // SAFETY: `attr` is the start of a bpf_attr: an id and two zeros. On success the result is a new descriptor.
        let fd = checked(unsafe {
            syscall!(Sysno::bpf, BPF_PROG_GET_FD_BY_ID, attr.as_ptr(), size_of_val(&attr))
        })?;
        // SAFETY: as above.
        unsafe { owned(fd) }
    };
    ids.iter().take(count).map(open).collect()
}

/// Runs a program on a context of three words, for tests.
#[cfg(test)]
pub fn interpret(program: &[Instruction], context: [u32; 3]) -> u64 {
    let (mut registers, mut at) = ([0_u64; 7], 0);
    loop {
        let Instruction { code, registers: both, offset, immediate } = program[at];
        let (to, from) = (usize::from(both & 15), usize::from(both >> 4));
        let value = u64::from(immediate.cast_unsigned());
        let skip = usize::from(offset.cast_unsigned());
        at += 1;
        match code {
            LDX_W => registers[to] = context[skip / 4].into(),
            MOV_X => registers[to] = registers[from],
            MOV_K => registers[to] = value,
            AND_K => registers[to] &= value,
            RSH_K => registers[to] >>= value,
            LSH_K => registers[to] <<= value,
            OR_X => registers[to] |= registers[from],
            JA => at += skip,
            JEQ32_K if registers[to] & 0xffff_ffff == value => at += skip,
            JNE_K if registers[to] != value => at += skip,
            JEQ32_K | JNE_K => {}
            _ => return registers[0],
        }
    }
}
