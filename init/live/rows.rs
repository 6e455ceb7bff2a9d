//! What a reader tells PID 1: one packet for each thing, of bounded size, with no text in it that PID 1 would have to parse. Both
//! are the same program, so the bytes need no version; a packet that is cut or makes no sense is none.

use crate::manifest::{AFTER_BYTES, RestartPolicy};
use crate::name::Name;
use crate::stdin::Wanted;
use crate::supervise::{BackOff, Conf, Probe, Role};
use crate::world::{FILE_BYTES, Reason};

/// The largest packet.
pub const ROW_BYTES: usize = 640;

/// The name of a manifest's file.
pub type File = heapless::String<FILE_BYTES>;

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// A pod that is new; its containers follow.
    Pod {
        /// Its manifest.
        file: File,
        /// What the manifest's text comes to.
        hash: u64,
        /// Its name.
        name: Name,
        /// `spec.restartPolicy`
        policy: RestartPolicy,
        /// `spec.terminationGracePeriodSeconds`
        grace_ms: u64,
        /// `mote/after`
        after: heapless::String<AFTER_BYTES>,
        /// `mote/control`
        control: bool,
        /// How many containers follow.
        count: u32,
    },
    /// A container of the pod before.
    Unit {
        /// Its name.
        name: Name,
        /// What PID 1 has to know of it.
        conf: Conf,
        /// Its standard input.
        stdin: Wanted,
        /// Whether it has a terminal.
        tty: bool,
    },
    /// A manifest that is wrong, and of which no pod runs.
    Failed {
        /// The manifest.
        file: File,
        /// Why.
        reason: Reason,
    },
    /// A manifest that has become wrong, or right again without a change; its pod runs on.
    Wrong {
        /// The manifest.
        file: File,
        /// Why; empty when it is right.
        reason: Reason,
    },
    /// The pod of this manifest is to be replaced.
    Changed(File),
    /// The pod of this manifest is to go.
    Gone(File),
    /// That was all.
    End,
}

/// Bytes on their way out.
struct Out(heapless::Vec<u8, ROW_BYTES>);

impl Out {
    fn put(&mut self, bytes: &[u8]) {
        let _ = self.0.extend_from_slice(bytes); // ROW_BYTES is enough for the largest, see the test
    }
    fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }
    fn number(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }
    fn short(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }
    fn text(&mut self, text: &str) {
        self.put(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        self.put(text.as_bytes());
    }
}

/// Bytes on their way in.
struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
    fn short(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }
    fn text(&mut self) -> Option<&'b str> {
        let length = u16::from_le_bytes(*self.take(2)?.first_chunk()?);
        std::str::from_utf8(self.take(length.into())?).ok()
    }
    fn string<const N: usize>(&mut self) -> Option<heapless::String<N>> {
        heapless::String::try_from(self.text()?).ok()
    }
    fn name(&mut self) -> Option<Name> {
        Name::new(self.text()?)
    }
    fn reason(&mut self) -> Option<Reason> {
        Some(Reason::of(format_args!("{}", self.text()?)))
    }
}

const POLICIES: [RestartPolicy; 3] = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
const ROLES: [Role; 3] = [Role::Init, Role::Sidecar, Role::Main];
const STDIN: [Wanted; 3] = [Wanted::No, Wanted::Always, Wanted::Once];

/// The place of `value` in `all`, as a byte.
fn place<T: PartialEq>(all: &[T], value: &T) -> u8 {
    all.iter().position(|other| other == value).and_then(|i| u8::try_from(i).ok()).unwrap_or(u8::MAX)
}

fn at<T: Copy>(all: &[T], place: Option<u8>) -> Option<T> {
    all.get(usize::from(place?)).copied()
}

fn put_conf(out: &mut Out, conf: &Conf) {
    out.byte(place(&ROLES, &conf.role));
    out.byte(place(&POLICIES, &conf.policy));
    let BackOff { initial_ms, max_ms, reset_ms } = conf.back_off;
    for number in [conf.grace_ms, initial_ms, max_ms, reset_ms, conf.critical_limit] {
        out.short(number);
    }
    out.byte(u8::from(conf.post_start) | u8::from(conf.pre_stop) << 1);
    for probe in &conf.probes {
        out.byte(u8::from(probe.is_some()));
        let Some(probe) = probe else { continue };
        let grace_s = probe.grace_s.unwrap_or(u32::MAX);
        for number in [probe.delay_s, probe.period_s, probe.timeout_s, probe.success, probe.failure, grace_s]
        {
            out.short(number);
        }
    }
}

fn conf(from: &mut In<'_>) -> Option<Conf> {
    let (role, policy) = (at(&ROLES, from.byte())?, at(&POLICIES, from.byte())?);
    let grace_ms = from.short()?;
    let back_off = BackOff { initial_ms: from.short()?, max_ms: from.short()?, reset_ms: from.short()? };
    let (critical_limit, hooks) = (from.short()?, from.byte()?);
    let mut probes = [None; 3];
    for probe in &mut probes {
        if from.byte()? == 0 {
            continue;
        }
        *probe = Some(Probe {
            delay_s: from.short()?,
            period_s: from.short()?,
            timeout_s: from.short()?,
            success: from.short()?,
            failure: from.short()?,
            grace_s: from.short().map(|s| (s != u32::MAX).then_some(s))?,
        });
    }
    let (post_start, pre_stop) = (hooks & 1 != 0, hooks & 2 != 0);
    Some(Conf { role, policy, grace_ms, back_off, critical_limit, post_start, pre_stop, probes })
}

impl Row {
    /// As it is sent.
    pub fn encode(&self) -> heapless::Vec<u8, ROW_BYTES> {
        let mut out = Out(heapless::Vec::new());
        match self {
            Self::Pod { file, hash, name, policy, grace_ms, after, control, count } => {
                out.byte(1);
                out.text(file);
                out.number(*hash);
                out.text(name.as_str());
                out.byte(place(&POLICIES, policy));
                out.number(*grace_ms);
                out.text(after);
                out.byte(u8::from(*control));
                out.short(*count);
            }
            Self::Unit { name, conf, stdin, tty } => {
                out.byte(2);
                out.text(name.as_str());
                out.byte(place(&STDIN, stdin));
                out.byte(u8::from(*tty));
                put_conf(&mut out, conf);
            }
            Self::Failed { file, reason } | Self::Wrong { file, reason } => {
                out.byte(if matches!(self, Self::Failed { .. }) { 3 } else { 4 });
                out.text(file);
                out.text(reason.as_str());
            }
            Self::Changed(file) => {
                out.byte(5);
                out.text(file);
            }
            Self::Gone(file) => {
                out.byte(6);
                out.text(file);
            }
            Self::End => out.byte(7),
        }
        out.0
    }

    /// What was sent as `bytes`. Allocates nothing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let from = &mut In(bytes);
        let row = match from.byte()? {
            1 => Self::Pod {
                file: from.string()?,
                hash: from.number()?,
                name: from.name()?,
                policy: at(&POLICIES, from.byte())?,
                grace_ms: from.number()?,
                after: from.string()?,
                control: from.byte()? == 1,
                count: from.short()?,
            },
            2 => Self::Unit {
                name: from.name()?,
                stdin: at(&STDIN, from.byte())?,
                tty: from.byte()? != 0,
                conf: conf(from)?,
            },
            3 => Self::Failed { file: from.string()?, reason: from.reason()? },
            4 => Self::Wrong { file: from.string()?, reason: from.reason()? },
            5 => Self::Changed(from.string()?),
            6 => Self::Gone(from.string()?),
            7 => Self::End,
            _ => return None,
        };
        from.0.is_empty().then_some(row)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;
    use std::fmt::Write as _;

    fn rows() -> Vec<Row> {
        let text = |length: usize| "x".repeat(length);
        let file = File::try_from(text(FILE_BYTES).as_str()).expect("fits");
        let name = Name::new(&text(63)).expect("a name");
        let after = heapless::String::try_from(text(AFTER_BYTES).as_str()).expect("fits");
        let mut reason = Reason::new();
        let _ = write!(reason, "{}", text(500));
        let probe =
            Probe { delay_s: 1, period_s: 2, timeout_s: 3, success: 4, failure: 5, grace_s: Some(86_400) };
        let conf = Conf {
            role: Role::Sidecar,
            policy: RestartPolicy::Never,
            grace_ms: 86_400_000,
            back_off: BackOff { initial_ms: 7, max_ms: 8, reset_ms: 9 },
            critical_limit: 10,
            post_start: false,
            pre_stop: true,
            probes: [Some(probe), None, Some(Probe { grace_s: None, ..probe })],
        };
        vec![
            Row::Pod {
                file: file.clone(),
                hash: u64::MAX - 1,
                name: name.clone(),
                policy: RestartPolicy::OnFailure,
                grace_ms: 86_400_000,
                after,
                control: true,
                count: 32,
            },
            Row::Unit { name, conf, stdin: Wanted::Once, tty: true },
            Row::Failed { file: file.clone(), reason: reason.clone() },
            Row::Wrong { file: file.clone(), reason },
            Row::Changed(file.clone()),
            Row::Gone(file),
            Row::End,
        ]
    }

    #[test]
    fn the_longest_rows_arrive_as_they_were_sent() {
        for row in rows() {
            assert_eq!(Row::decode(&row.encode()), Some(row));
        }
    }

    #[test]
    fn a_row_that_is_cut_or_too_long_is_none() {
        for row in rows() {
            let bytes = row.encode();
            for end in 0..bytes.len() {
                assert_eq!(Row::decode(&bytes[..end]), None);
            }
            assert_eq!(Row::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
