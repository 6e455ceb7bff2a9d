//! `mote logs [-f] [--tail N] [--since T] [--previous] [--timestamps] <pod>/<container>`: the log files, oldest first, without what CRI puts before each line. PID 1
//! is not asked: the files are there even when it is busy.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mote::cli::options::{Kind, Opt};
use mote::cli::{Command, Context};
use mote::error::{During as _, Result};
use mote::sys::file::{self, write_all};
use mote::sys::terminal::STDOUT;

use super::follow::Follow;
use super::packet::Packet;
use super::{Host, ps};
use crate::cri;

/// `logs`
pub const COMMAND: Command = Command {
    name: "logs",
    arguments: "<pod>/<container>",
    about: "print what a container has printed",
    options: &[
        super::RUN,
        Opt { name: "follow", short: Some('f'), kind: Kind::Flag, about: "and what it prints from now on" },
        Opt {
            name: "previous",
            short: Some('p'),
            kind: Kind::Flag,
            about: "what the last run of it that has ended has printed",
        },
        Opt {
            name: "since",
            short: None,
            kind: Kind::Value("TIME"),
            about: "from then on: 10s, 5m, 2h, 1d ago, or a time such as 2026-01-31T12:00:00Z",
        },
        Opt { name: "tail", short: None, kind: Kind::Value("N"), about: "the last N lines alone" },
        Opt { name: "timestamps", short: None, kind: Kind::Flag, about: "with the time of each line" },
    ],
    count: (1, 1),
    run,
};

/// Prints the log.
fn run(context: &Context<'_>) -> Result<i32> {
    let tail = context
        .options
        .text("tail")
        .map(|n| n.parse::<usize>().map_err(|_| context.wrong("tail", "expected a number of lines")));
    let (pod, container) = super::target(context)?;
    let host = Host::of(context);
    let dir = host.logs.join(pod.as_str()).join(container.as_str());
    let since = context.options.text("since").map(|text| {
        since(&text).ok_or_else(|| {
            context.wrong("since", "expected 10s, 5m, 2h, 1d or a time such as 2026-01-31T12:00:00Z")
        })
    });
    let mut filter = Filter {
        since: since.transpose()?.unwrap_or_default(),
        timestamps: context.options.has("timestamps"),
        run: None,
    };
    if context.options.has("previous") {
        if context.options.has("follow") {
            return Err(context.wrong(
                "previous",
                "nothing more comes of a run that has ended, so there is nothing to follow",
            ));
        }
        let ended = count_runs(&dir)?;
        let last = ended.checked_sub(1);
        filter.run = Some(last.ok_or_else(|| context.wrong("previous", "no run of it has ended yet"))?);
    }
    // One that is there and has printed nothing so far has no log.
    let silent = |row: &Packet| row.is("pod", pod.as_str()) && row.is("container", container.as_str());
    let silent = !dir.exists() && ps::ask(&host).is_ok_and(|there| there.containers.iter().any(silent));
    let until = context.options.has("follow").then_some(Until::NobodyReads);
    print(&dir, until, silent, tail.transpose()?, filter, &|| ()).map(|()| 0)
}

/// Which lines are printed, and how.
#[derive(Debug, Clone, Default)]
struct Filter {
    /// Those from this time on, as it is written in the files; so compared, as it always has the same places.
    since: Vec<u8>,
    /// With the time.
    timestamps: bool,
    /// Those of this run alone; the first in the files is 0.
    run: Option<usize>,
}

/// The time that `--since` means, as it is written in log files.
fn since(text: &str) -> Option<Vec<u8>> {
    if let Some(number) =
        text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|number| number.parse::<u64>().ok())
    {
        let unit = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            _ => 86_400,
        };
        let ago = Duration::from_secs(number.checked_mul(unit)?);
        // Before 1970 is before all of them.
        return Some(
            cri::time(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)).to_vec(),
        );
    }
    // 2026-01-31T12:00:00Z, in UTC as the files have it, or the first part of that.
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let form = "0000-00-00T00:00:00.000000000";
    let same = |(a, b): (char, char)| if b == '0' { a.is_ascii_digit() } else { a == b };
    let fits = digits.len() >= 10 && digits.len() <= form.len() && digits.chars().zip(form.chars()).all(same);
    fits.then(|| digits.as_bytes().to_vec())
}

/// How many runs have ended of which there is a line.
fn count_runs(dir: &Path) -> Result<usize> {
    let mut out = Output::new(Some(0), Filter { run: Some(usize::MAX), ..Filter::default() });
    for path in files(dir)? {
        if let Ok(file) = File::open(&path) {
            out.copy(&mut BufReader::new(file))?;
        }
    }
    Ok(out.runs)
}

/// Prints what comes from now on, which is when `ready` is called, until a run ends.
pub fn follow(dir: &Path, ready: &dyn Fn()) -> Result<()> {
    print(dir, Some(Until::RunEnds), true, Some(0), Filter::default(), ready)
}

/// How long a log is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Over the runs, for as long as somebody reads.
    NobodyReads,
    /// To the end of the run that prints now.
    RunEnds,
}

/// The files of one container, oldest first.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for name in file::names(dir).during("open", dir)? {
        let number = match name.to_str() {
            Some("0.log") => Some(0),
            Some(name) => name.strip_prefix("0.log.").and_then(|n| n.parse::<u32>().ok()),
            None => None,
        };
        numbered.extend(number.map(|number| (number, dir.join(name))));
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().rev().map(|(_, path)| path).collect())
}

/// `silent` says that there may be no log.
fn print(
    dir: &Path,
    until: Option<Until>,
    silent: bool,
    tail: Option<usize>,
    filter: Filter,
    ready: &dyn Fn(),
) -> Result<()> {
    let mut out = Output::new(tail, filter);
    // Before the first look, so that nothing falls between the two.
    let follow = until.map(|_| Follow::new(dir)).transpose()?;
    let mut reader = None;
    let files = match files(dir) {
        Err(_) if silent && !dir.exists() => Vec::new(),
        files => files?,
    };
    for path in files {
        // Rotation may take a file away between the listing and here.
        let Ok(file) = File::open(&path) else { continue };
        let mut next = BufReader::new(file);
        out.copy(&mut next)?;
        reader = Some(next);
    }
    out.end_of_tail()?;
    ready();
    let ends = out.ends;
    match follow {
        Some(follow) => follow.run(reader, &mut |reader| {
            out.copy(reader)?;
            Ok(until != Some(Until::RunEnds) || out.ends == ends)
        }),
        None => Ok(()),
    }
}

fn put(line: &[u8]) -> Result<()> {
    write_all(STDOUT, line).during("write", "standard output")
}

/// Standard output, or the last lines on their way there.
struct Output {
    tail: Option<(usize, VecDeque<Vec<u8>>)>,
    /// What has been read of a line in the file, and of a line that comes in pieces.
    line: Vec<u8>,
    piece: Vec<u8>,
    filter: Filter,
    /// How many runs have ended so far that had a line, and whether the present one has.
    runs: usize,
    has_line: bool,
    /// How many have ended.
    ends: usize,
    /// Whether what comes goes on with a line.
    within: bool,
}

impl Output {
    fn new(tail: Option<usize>, filter: Filter) -> Self {
        let tail = tail.map(|n| (n, VecDeque::new()));
        Self {
            tail,
            line: Vec::new(),
            piece: Vec::new(),
            filter,
            runs: 0,
            has_line: false,
            ends: 0,
            within: false,
        }
    }

    /// Prints what can be read.
    fn copy(&mut self, from: &mut BufReader<File>) -> Result<()> {
        while from.read_until(b'\n', &mut self.line).during("read", "log")? > 0 {
            if self.line.pop_if(|end| *end == b'\n').is_none() {
                return Ok(()); // the rest of the line comes later
            }
            let line = std::mem::take(&mut self.line);
            match cri::parse(&line) {
                Some(piece) if piece.end => {
                    self.ends += 1;
                    self.runs += usize::from(std::mem::take(&mut self.has_line));
                }
                Some(piece) => {
                    self.has_line = true;
                    let other_run = self.filter.run.is_some_and(|run| run != self.runs);
                    if other_run || *piece.time < *self.filter.since {
                        continue;
                    }
                    if self.filter.timestamps && !self.within {
                        self.piece.extend_from_slice(piece.time);
                        self.piece.push(b' ');
                    }
                    self.within = !piece.full;
                    self.piece.extend_from_slice(piece.text);
                    if piece.full {
                        self.piece.push(b'\n');
                        self.emit()?;
                    } else if self.tail.is_none() {
                        self.emit()?; // a line may be longer than memory
                    }
                }
                None => {
                    self.piece.extend_from_slice(&line); // torn: as it stands
                    self.piece.push(b'\n');
                    self.emit()?;
                }
            }
        }
        Ok(())
    }

    fn emit(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.piece);
        let Some((most, lines)) = &mut self.tail else {
            return put(&text);
        };
        lines.push_back(text);
        if lines.len() > *most {
            lines.pop_front();
        }
        Ok(())
    }

    /// Prints the last lines; what comes from here on is printed at once.
    fn end_of_tail(&mut self) -> Result<()> {
        let lines = self.tail.take().map(|(_, lines)| lines).unwrap_or_default();
        lines.iter().try_for_each(|line| put(line))
    }
}

/// The last `most` lines, for the demo.
pub fn last(host: &Host, pod: &str, container: &str, most: usize) -> Result<Vec<String>> {
    let dir = host.logs.join(pod).join(container);
    let mut out = Output::new(Some(most), Filter::default());
    for path in files(&dir)? {
        if let Ok(file) = File::open(&path) {
            out.copy(&mut BufReader::new(file))?;
        }
    }
    let lines = out.tail.map(|(_, lines)| lines).unwrap_or_default();
    Ok(lines.iter().map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect())
}
