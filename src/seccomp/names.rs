//! Names and numbers of system calls by architecture, from names.tsv by way of build.rs.

use crate::json::Str;

/// What build.rs wrote.
#[allow(dead_code, reason = "columns of other architectures")]
mod tables {
    include!(concat!(env!("OUT_DIR"), "/syscalls.rs"));
}

/// A system call by its place in the table of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(u16);

/// What makes an architecture for a filter.
#[derive(Debug)]
pub struct Arch {
    /// Its name without `SCMP_ARCH_`, in lower case.
    pub word: &'static str,
    /// `AUDIT_ARCH_*`, what the kernel calls it.
    pub audit: u32,
    /// Set in the number of each of its calls.
    pub bit: u32,
    /// Whether all 64 bits of an argument are looked at. libseccomp looks at 32 on x32 too.
    pub wide: bool,
    numbers: &'static [u16],
    /// The machine that runs it.
    machine: &'static str,
}

/// Bit 30 of a number tells x32 from x86_64; `__X32_SYSCALL_BIT`.
pub const X32_BIT: u32 = 0x4000_0000;

macro_rules! arches {
    ($($name:ident: $word:literal, $audit:literal, $bit:expr, $wide:literal, on $target:literal;)*) => {
        $(
            #[doc = concat!("`SCMP_ARCH_` for ", $word, ".")]
            #[cfg(any(test, debug_assertions, target_arch = $target))]
            pub static $name: Arch = Arch {
                word: $word,
                audit: $audit,
                bit: $bit,
                wide: $wide,
                numbers: &tables::$name,
                machine: $target,
            };
        )*

        /// The architectures that a program of this build can meet. Debug builds have all of them, for tests.
        pub static ARCHES: &[&Arch] = &[
            $(#[cfg(any(test, debug_assertions, target_arch = $target))] &$name,)*
        ];
    };
}

// `AUDIT_ARCH_*` of linux/audit.h
arches! {
    X86_64: "x86_64", 0xc000_003e, 0, true, on "x86_64";
    X86: "x86", 0x4000_0003, 0, false, on "x86_64";
    X32: "x32", 0xc000_003e, X32_BIT, false, on "x86_64";
    AARCH64: "aarch64", 0xc000_00b7, 0, true, on "aarch64";
    ARM: "arm", 0x4000_0028, 0, false, on "aarch64";
    RISCV64: "riscv64", 0xc000_00f3, 0, true, on "riscv64";
}

/// The architecture that this is built for.
#[cfg(target_arch = "x86_64")]
pub static NATIVE: &Arch = &X86_64;
/// The architecture that this is built for.
#[cfg(target_arch = "aarch64")]
pub static NATIVE: &Arch = &AARCH64;
/// The architecture that this is built for.
#[cfg(target_arch = "riscv64")]
pub static NATIVE: &Arch = &RISCV64;

/// Every word that may follow `SCMP_ARCH_`; runtime-spec config-linux.md.
pub const WORDS: &[&str] = &[
    "X86",
    "X86_64",
    "X32",
    "ARM",
    "AARCH64",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
];

impl Name {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(tables::ENDS.len())
    }

    /// The call of that name; `None` when no architecture has one.
    pub fn find(name: Str<'_>) -> Option<Self> {
        match name.plain() {
            Some(name) => Self::of(name),
            None => Self::of(&name.decode()),
        }
    }

    /// The same for plain text.
    pub fn of(name: &str) -> Option<Self> {
        let (mut low, mut high) = (0, u16::try_from(tables::ENDS.len()).unwrap_or(u16::MAX));
        while low < high {
            let middle = low + (high - low) / 2;
            match Self(middle).text().cmp(name) {
                std::cmp::Ordering::Equal => return Some(Self(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The name itself.
    pub fn text(self) -> &'static str {
        let end = |at: usize| tables::ENDS.get(at).map_or(0, |end| usize::from(*end));
        let at = usize::from(self.0);
        let start = at.checked_sub(1).map_or(0, end);
        tables::NAMES.get(start..end(at)).unwrap_or_default()
    }
}

impl Arch {
    /// Whether programs of this architecture run on a machine whose own is `native`.
    pub fn runs_on(&self, native: &Self) -> bool {
        self.machine == native.machine
    }

    /// The number of a call here, with the architecture's bit.
    pub fn number(&self, name: Name) -> Option<u32> {
        match *self.numbers.get(usize::from(name.0))? {
            0xffff => None,
            private if private & 0x8000 != 0 => Some(0x0f_0000 + u32::from(private & 0x7fff)),
            number => Some(u32::from(number) | self.bit),
        }
    }

    /// The call that has the number here.
    pub fn name(&self, number: u32) -> Option<Name> {
        Name::all().find(|name| self.number(*name) == Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_number_stands_twice() {
        for name in Name::all() {
            assert_eq!(Name::of(name.text()), Some(name));
        }
        for arch in ARCHES {
            let mut numbers: Vec<_> = Name::all().filter_map(|name| arch.number(name)).collect();
            let count = numbers.len();
            assert!(count > 300, "{}", arch.word);
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{}", arch.word);
        }
        for no_name in ["", "a", "zzz", "rea", "reads"] {
            assert_eq!(Name::of(no_name), None);
        }
    }

    #[test]
    fn the_numbers_are_those_that_this_program_is_compiled_with() {
        for (name, number) in
            [("read", libc::SYS_read), ("execve", libc::SYS_execve), ("seccomp", libc::SYS_seccomp)]
        {
            let number = u32::try_from(number).ok();
            assert_eq!(Name::of(name).and_then(|name| NATIVE.number(name)), number, "{name}");
        }
        let number = |arch: &Arch, name| Name::of(name).and_then(|name| arch.number(name));
        assert_eq!(number(&X32, "ioctl"), Some(X32_BIT + 514));
        assert_eq!(number(&ARM, "set_tls"), Some(0x0f_0005));
        assert_eq!(number(&X86, "socketcall"), Some(102));
        assert_eq!(number(&AARCH64, "open"), None);
    }
}
