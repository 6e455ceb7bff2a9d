//! A profile in words, for a person who reviews what it means. Verdicts and costs are those of the programs themselves,
//! which are run for each number at which the verdict may change.

use std::fmt::{self, Write as _};

use nix::errno::Errno;

use super::assembler::{Call, Run};
use super::compile::rules_for;
use super::names::{Arch, Name};
use super::profile::{self, ACTION, Condition, ERRNO, FLAGS, Operator, Profile, TRACE};
use super::split::run_all;
use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};

/// Numbers that get the same verdict, or one call with conditions.
struct Range {
    first: u32,
    last: u32,
    least: Run,
    most: usize,
}

/// Explains `programs`, which were made of `profile`.
pub fn explain(profile: &Profile, programs: &[Vec<Instruction>]) -> String {
    let mut out = String::new();
    let _ = write(&mut out, profile, programs); // to a String
    out
}

fn write(out: &mut String, profile: &Profile, programs: &[Vec<Instruction>]) -> fmt::Result {
    for program in programs {
        writeln!(out, "instructions    {} of {BPF_MAXINSNS}", program.len())?;
    }
    if programs.len() > 1 {
        writeln!(
            out,
            "filters         {}, which all judge each call: the most restrictive verdict counts",
            programs.len()
        )?;
    }
    writeln!(out, "default         {}", Verdict(profile.default))?;
    writeln!(
        out,
        "elsewhere       {}: calls of architectures that are not listed",
        Verdict(profile::KILL_THREAD)
    )?;
    for (name, flag) in FLAGS {
        if profile.flags & flag != 0 {
            writeln!(out, "flag            {name}")?;
        }
    }
    for arch in &profile.arches {
        writeln!(out, "\n{}\n{:<15} {:<34} {:<6} calls", arch.word, "numbers", "verdict", "cost")?;
        for range in ranges(arch, programs) {
            line(out, profile, arch, &range)?;
        }
    }
    Ok(())
}

/// The ranges of an architecture, up to the end of its numbers.
fn ranges(arch: &Arch, programs: &[Vec<Instruction>]) -> Vec<Range> {
    // A verdict changes at a call and behind one, and nowhere else.
    let named = Name::all().filter_map(|name| arch.number(name));
    let mut starts: Vec<u32> = named.flat_map(|number| [number, number + 1]).chain([arch.bit]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for (i, &first) in starts.iter().enumerate() {
        let call = Call { number: first, arch: arch.audit, arguments: [0; 6] };
        let Some(this) = run_all(programs, &call) else { continue };
        let last = starts.get(i + 1).map_or(first, |next| next - 1);
        match ranges.last_mut() {
            Some(range)
                if range.least.verdict == this.verdict && !range.least.arguments && !this.arguments =>
            {
                range.last = last;
                range.least.steps = range.least.steps.min(this.steps);
                range.most = range.most.max(this.steps);
            }
            _ => ranges.push(Range { first, last, least: this, most: this.steps }),
        }
    }
    ranges
}

fn line(out: &mut String, profile: &Profile, arch: &Arch, range: &Range) -> fmt::Result {
    let (first, last) = (range.first - arch.bit, range.last - arch.bit);
    let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let (least, most) = (range.least.steps, range.most);
    let cost = if least == most { least.to_string() } else { format!("{least}-{most}") };
    let mut names: Vec<(u32, &str)> = Name::all()
        .filter_map(|name| Some((arch.number(name)?, name.text())))
        .filter(|(number, _)| (range.first..=range.last).contains(number))
        .collect();
    names.sort_unstable();
    if range.least.arguments {
        write!(out, "{numbers:<15} {:<34} {:<6}", "by its arguments", format!("{cost}+"))?;
    } else {
        write!(out, "{numbers:<15} {:<34} {cost:<6}", Verdict(range.least.verdict).to_string())?;
    }
    // Lines of a width that a terminal has.
    let mut width = 0;
    for (_, name) in &names {
        if width + name.len() > 60 {
            write!(out, "\n{:57}", "")?;
            width = 0;
        }
        write!(out, " {name}")?;
        width += name.len() + 1;
    }
    if names.is_empty() {
        out.push_str(" (none)");
    }
    out.push('\n');
    if range.least.arguments {
        for (verdict, conditions) in rules_for(profile, arch, range.first) {
            write!(out, "{:16}{}", "", Verdict(verdict))?;
            for (i, condition) in conditions.iter().enumerate() {
                write!(out, " {} {condition}", if i == 0 { "if" } else { "and" })?;
            }
            out.push('\n');
        }
        writeln!(out, "{:16}{} otherwise", "", Verdict(profile.default))?;
    }
    Ok(())
}

/// A verdict in words.
struct Verdict(u32);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, data) = (self.0 & ACTION, self.0 & !ACTION);
        let named = |(name, value): &(&'static str, u32)| (*value == action).then_some(*name);
        let name = profile::ACTIONS.iter().skip(1).find_map(named).unwrap_or_default();
        let word = name.strip_prefix("SCMP_ACT_").unwrap_or(name);
        word.chars().try_for_each(|c| f.write_char(if c == '_' { ' ' } else { c.to_ascii_lowercase() }))?;
        match action {
            ERRNO => {
                let errno = Errno::from_raw(i32::try_from(data).unwrap_or(0));
                let words = match errno {
                    Errno::UnknownErrno => "unknown",
                    // As the program sees it; elsewhere the words advise who starts it.
                    Errno::ENOSYS => "function not implemented",
                    _ => crate::error::words(errno),
                };
                write!(f, " {data} ({words})")
            }
            TRACE => write!(f, " {data}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { argument, operator, value, mask } = self;
        let sign = match operator {
            Operator::MaskedEq => return write!(f, "a{argument} & {mask:#x} == {value:#x}"),
            Operator::Eq => "==",
            Operator::Ne => "!=",
            Operator::Lt => "<",
            Operator::Le => "<=",
            Operator::Gt => ">",
            Operator::Ge => ">=",
        };
        write!(f, "a{argument} {sign} {value:#x}")
    }
}
