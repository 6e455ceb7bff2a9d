//! `metadata.annotations`: those called `mote/...`, by which mote is told what Kubernetes has no field for. Others are somebody
//! else's and pass. Those of the network are in `network`.
//!
//! | annotation | value | meaning |
//! | --- | --- | --- |
//! | `mote/after` | `pod, pod` | begin when each of them is ready or has succeeded; one that is not restarted always counts as ready by its readinessProbe only |
//! | `mote/critical` | `true`, `false` | restart the device when a container of this pod has failed too often |
//! | `mote/critical-limit` | 1 to 1000, default 5 | so many failures in a row |
//! | `mote/control` | `true`, `false` | its containers may use the control socket |
//! | `mote/backoff-initial` | `10ms` to `1h` | the delay before the second restart in a row; doubled for each further one |
//! | `mote/backoff-max` | up to `24h` | where the doubling ends |
//! | `mote/backoff-reset` | `1s` to `24h` | a run of this length makes the next restart immediate again |

use mote::board::{RESTART_DELAY_MAX_MS, RESTART_DELAY_MS, RESTART_RESET_MS};
use mote::error::{Error, Result};
use mote::json::{Pairs, Str};

use crate::name::Name;
use crate::supervise::BackOff;

/// How many failures in a row a critical container has by default.
const CRITICAL_LIMIT: u32 = 5;

const DAY_MS: u32 = 86_400_000;

/// The longest `mote/after`, all names together.
pub const AFTER_BYTES: usize = 256;

/// What the annotations say.
#[derive(Debug)]
pub struct Annotations {
    /// `mote/after`: names with one blank between.
    pub after: heapless::String<AFTER_BYTES>,
    /// `mote/control`
    pub control: bool,
    /// The limit of a critical pod, otherwise 0.
    pub critical_limit: u32,
    /// The delays between restarts.
    pub back_off: BackOff,
}

/// A name after `mote/`, and what reads its value into the annotations.
type Reader = fn(&str, &mut Raw) -> std::result::Result<(), &'static str>;

/// What has been read so far.
struct Raw {
    after: heapless::String<AFTER_BYTES>,
    control: bool,
    critical: bool,
    limit: u32,
    back_off: BackOff,
}

const READERS: &[(&str, Reader)] = &[
    ("after", |value, raw| names(value, &mut raw.after)),
    ("control", |value, raw| truth(value, &mut raw.control)),
    ("critical", |value, raw| truth(value, &mut raw.critical)),
    ("critical-limit", |value, raw| {
        let limit = value.parse().ok().filter(|limit| (1..=1000).contains(limit));
        raw.limit = limit.ok_or("expected a number from 1 to 1000")?;
        Ok(())
    }),
    ("backoff-initial", |value, raw| duration(value, 10, 3_600_000, &mut raw.back_off.initial_ms)),
    ("backoff-max", |value, raw| duration(value, 10, DAY_MS, &mut raw.back_off.max_ms)),
    ("backoff-reset", |value, raw| duration(value, 1000, DAY_MS, &mut raw.back_off.reset_ms)),
];

/// Reads the annotations of the pod in `file`.
pub fn read(file: &str, all: &Pairs<'_, Str<'_>>) -> Result<Annotations> {
    let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    let mut raw = Raw {
        after: heapless::String::new(),
        control: false,
        critical: false,
        limit: CRITICAL_LIMIT,
        back_off: BackOff {
            initial_ms: ms(RESTART_DELAY_MS),
            max_ms: ms(RESTART_DELAY_MAX_MS),
            reset_ms: ms(RESTART_RESET_MS),
        },
    };
    for (name, value) in all.iter() {
        let (name, value) = (name.decode(), value.decode());
        let Some(own) = name.strip_prefix("mote/") else { continue };
        if own.split('-').next() == Some("network") {
            continue; // see `network`
        }
        let reader = READERS.iter().find(|(name, _)| *name == own);
        let read =
            reader.map_or(Err("not an annotation that mote knows"), |(_, read)| read(value.trim(), &mut raw));
        read.map_err(|why| Error::config(file, format!("metadata.annotations[\"{name}\"]"), why))?;
    }
    // The other one is the board's.
    raw.back_off.max_ms = raw.back_off.max_ms.max(raw.back_off.initial_ms);
    Ok(Annotations {
        after: raw.after,
        control: raw.control,
        critical_limit: if raw.critical { raw.limit } else { 0 },
        back_off: raw.back_off,
    })
}

fn truth(value: &str, to: &mut bool) -> std::result::Result<(), &'static str> {
    *to = match value {
        "true" => true,
        "false" => false,
        _ => return Err("expected \"true\" or \"false\""),
    };
    Ok(())
}

/// Reads names of pods, with commas or blanks between.
fn names(value: &str, to: &mut heapless::String<AFTER_BYTES>) -> std::result::Result<(), &'static str> {
    for name in value.split([',', ' ']).filter(|name| !name.is_empty()) {
        if Name::new(name).is_none() {
            return Err("expected names of pods, with commas between");
        }
        let blank = if to.is_empty() { "" } else { " " };
        to.push_str(blank).and_then(|()| to.push_str(name)).map_err(|_| "longer than 256 bytes")?;
    }
    Ok(())
}

/// Reads `500ms`, `10s`, `5m` or `1h`.
fn duration(value: &str, least: u32, most: u32, to: &mut u32) -> std::result::Result<(), &'static str> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number with ms, s, m or h"),
    };
    let ms = number.parse::<u32>().ok().and_then(|number| number.checked_mul(scale));
    let ms = ms.filter(|ms| (least..=most).contains(ms));
    *to = ms.ok_or(if least == 10 {
        "expected at least 10ms and not more than 24h (initial: 1h)"
    } else {
        "expected 1s to 24h"
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;
    use mote::{json, object};

    object! { struct Doc<'a> { annotations: Pairs<'a, Str<'a>> = "annotations" } }

    fn of(text: &str) -> std::result::Result<Annotations, String> {
        let text = format!(r#"{{"annotations":{text}}}"#);
        let doc: Doc<'_> = json::parse(text.as_bytes()).expect("JSON");
        read("x.json", &doc.annotations).map_err(|e| e.to_string())
    }

    #[test]
    fn the_board_speaks_where_there_is_none() {
        let none = of(r#"{"example.org/x":"y"}"#).expect("others pass");
        assert_eq!((none.after.as_str(), none.critical_limit, none.control), ("", 0, false));
        assert_eq!(u64::from(none.back_off.initial_ms), RESTART_DELAY_MS);
    }

    #[test]
    fn each_is_read() {
        let all = of(
            r#"{"mote/after":"a, b,c","mote/critical":"true","mote/critical-limit":"7","mote/control":"true",
            "mote/backoff-initial":"250ms","mote/backoff-max":"2m","mote/backoff-reset":"1h"}"#,
        );
        let all = all.expect("all are right");
        assert_eq!((all.after.as_str(), all.critical_limit, all.control), ("a b c", 7, true));
        let want = BackOff { initial_ms: 250, max_ms: 120_000, reset_ms: 3_600_000 };
        assert_eq!(all.back_off, want);
        assert_eq!(of(r#"{"mote/critical":"true"}"#).expect("right").critical_limit, CRITICAL_LIMIT);
        let long = of(r#"{"mote/backoff-initial":"10m"}"#).expect("right").back_off;
        assert_eq!((long.initial_ms, long.max_ms), (600_000, 600_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            (r#"{"mote/critcal":"true"}"#, "mote/critcal\"]: not an annotation"),
            (r#"{"mote/critical":"yes"}"#, "mote/critical\"]: expected"),
            (r#"{"mote/control":"1"}"#, "mote/control\"]: expected"),
            (r#"{"mote/critical-limit":"0"}"#, "1 to 1000"),
            (r#"{"mote/after":"A"}"#, "mote/after\"]: expected names"),
            (r#"{"mote/backoff-initial":"5"}"#, "ms, s, m or h"),
            (r#"{"mote/backoff-initial":"2h"}"#, "mote/backoff-initial\"]: expected"),
            (r#"{"mote/backoff-max":"99999999h"}"#, "mote/backoff-max\"]: expected"),
            (r#"{"mote/backoff-reset":"1ms"}"#, "1s to 24h"),
        ] {
            let error = of(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
