//! Reads `board.conf`: the keys that exist, what each may hold, and the Rust constants that come of it. Pure, so that
//! `build.rs` includes it and `tests/board.rs` tests it.

/// What a key may hold.
pub enum Kind {
    /// A whole number from `min` to `max`, a constant of the Rust type `ty`.
    Number {
        /// `usize` for what is counted or sized in memory, otherwise the type of the code that uses it.
        ty: &'static str,
        /// The least value allowed.
        min: u64,
        /// The greatest value allowed.
        max: u64,
    },
    /// A host name: 1 to 63 of `a-z`, `0-9` and `-`, as sethostname(2) and RFC 1123 have it.
    HostName,
}

/// One key of `board.conf`. None has a default: a board says everything, so its file can be read alone.
pub struct Key {
    /// As written in `board.conf`; the constant has the same name in capitals.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Becomes the constant's documentation.
    pub doc: &'static str,
}

const fn number(name: &'static str, ty: &'static str, min: u64, max: u64, doc: &'static str) -> Key {
    Key { name, kind: Kind::Number { ty, min, max }, doc }
}

/// Every key, in the order of the generic `board.conf`.
pub const KEYS: &[Key] = &[
    Key {
        name: "hostname",
        kind: Kind::HostName,
        doc: "The host name, unless init.json or `mote.hostname=` has one.",
    },
    number("max_pods", "usize", 1, 256, "The most pods that PID 1 runs at a time."),
    number(
        "max_containers",
        "usize",
        1,
        1024,
        "The most containers that PID 1 runs at a time, over all pods.",
    ),
    number("control_clients", "usize", 1, 64, "The most connections to the control socket at a time."),
    number(
        "event_records",
        "usize",
        16,
        65_536,
        "Records of what has become of containers that are kept, 256 bytes each.",
    ),
    number("log_file_bytes", "u64", 4096, 1 << 30, "Size from which a container's log file is rotated."),
    number("log_files", "u32", 1, 16, "Log files kept per container, the current one included."),
    number(
        "log_total_bytes",
        "u64",
        1 << 16,
        1 << 40,
        "Size of all log files together; the oldest go first.",
    ),
    number(
        "log_rate_bytes",
        "u64",
        1024,
        1 << 40,
        "Bytes a second that a container's log takes for long; four times that at once. The rest is dropped and counted.",
    ),
    number(
        "log_line_bytes",
        "usize",
        256,
        65536,
        "Longest log line; a longer one is split, marked partial (CRI's `P`).",
    ),
    number(
        "restart_delay_ms",
        "u64",
        10,
        60_000,
        "Delay before the first restart; doubled for each further one.",
    ),
    number("restart_delay_max_ms", "u64", 10, 3_600_000, "Where the doubling of the restart delay ends."),
    number("restart_reset_ms", "u64", 1000, 86_400_000, "Uptime after which the restart delay starts over."),
    number("grace_default_s", "u32", 0, 3600, "Seconds from SIGTERM to SIGKILL for a pod that sets none."),
    number("pod_pids_max", "u32", 8, 4_194_304, "The most processes of one pod."),
    number(
        "pods_reserve_kib",
        "u64",
        1024,
        1 << 30,
        "Memory that pods together do not get, in KiB; half of it is what one pod alone leaves to the others.",
    ),
    number(
        "size_budget_kib_x86_64",
        "usize",
        100,
        4096,
        "Largest small binary for x86_64, in KiB; `make size` checks.",
    ),
    number(
        "size_budget_kib_aarch64",
        "usize",
        100,
        4096,
        "Largest small binary for aarch64, in KiB; `make size` checks.",
    ),
];

/// What is wrong, and in which line (from 1).
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    /// The line; for a missing key the last one.
    pub line: usize,
    /// Names the key and what is allowed.
    pub why: String,
}

/// Turns the text of a `board.conf` into Rust constants.
pub fn constants(text: &str) -> Result<String, Error> {
    let mut values: Vec<Option<String>> = KEYS.iter().map(|_| None).collect();
    for (index, line) in text.lines().enumerate() {
        let fail = |why| Err(Error { line: index + 1, why });
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return fail(format!("`{line}` is not of the form `key = value`"));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(slot) = KEYS.iter().position(|key| key.name == name) else {
            let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            return fail(format!("unknown key `{name}`; allowed: {}", known.join(", ")));
        };
        if values[slot].is_some() {
            return fail(format!("key `{name}` is set twice"));
        }
        match literal(&KEYS[slot].kind, value) {
            Ok(literal) => values[slot] = Some(literal),
            Err(allowed) => return fail(format!("`{name} = {value}`; allowed: {allowed}")),
        }
    }
    let mut out = String::new();
    for (key, value) in KEYS.iter().zip(values) {
        let Some(value) = value else {
            return Err(Error {
                line: text.lines().count(),
                why: format!("key `{}` is missing ({})", key.name, key.doc),
            });
        };
        let (name, ty) = (key.name.to_uppercase(), key.kind.rust_type());
        out += &format!("/// {}\npub const {name}: {ty} = {value};\n", key.doc);
    }
    Ok(out)
}

impl Kind {
    fn rust_type(&self) -> &'static str {
        match self {
            Kind::Number { ty, .. } => ty,
            Kind::HostName => "&str",
        }
    }
}

/// The Rust literal for `value`, or what is allowed in its place.
fn literal(kind: &Kind, value: &str) -> Result<String, String> {
    match *kind {
        Kind::Number { min, max, .. } => match value.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
            _ => Err(format!("a whole number from {min} to {max}")),
        },
        Kind::HostName => {
            let valid = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
            if (1..=63).contains(&value.len()) && value.bytes().all(valid) {
                Ok(format!("{value:?}"))
            } else {
                Err("1 to 63 of a-z, 0-9 and -".into())
            }
        }
    }
}
