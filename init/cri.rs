//! The CRI log format: `<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <text>`, a line each; P marks a piece of a line
//! that goes on in the next one of the same stream. Kubernetes: `kubelet-cri-logging.md`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mote::board::LOG_LINE_BYTES;
use mote::time::civil;

/// The length of a time as written here.
pub const TIME_BYTES: usize = 30;

/// Writes `time` as `2006-01-02T15:04:05.999999999Z`.
pub fn time(time: SystemTime) -> [u8; TIME_BYTES] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO); // a clock before 1970 says 1970
    let (days, of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |end: usize, digits: usize, mut value: u64| {
        for at in (end - digits..end).rev() {
            if let Some(byte) = out.get_mut(at) {
                *byte = b'0' + u8::try_from(value % 10).unwrap_or(0);
            }
            value /= 10;
        }
    };
    put(4, 4, year);
    put(7, 2, month);
    put(10, 2, day);
    put(13, 2, of_day / 3600);
    put(16, 2, of_day / 60 % 60);
    put(19, 2, of_day % 60);
    put(29, 9, u64::from(since.subsec_nanos()));
    out
}

/// Which stream a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// Cuts what a stream brings into pieces of at most [`LOG_LINE_BYTES`].
#[derive(Debug)]
pub struct Splitter {
    stream: Stream,
    /// The beginning of a line whose end has not come; empty most of the time, and then without memory of its own.
    pending: Vec<u8>,
}

impl Splitter {
    /// With the beginning of a line that is pending.
    pub const fn new(stream: Stream, pending: Vec<u8>) -> Self {
        Self { stream, pending }
    }

    /// The beginning of a line whose end has not come.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Gives `emit` each piece of `data` that is complete, in the format, with the number of bytes of `data` before it, and keeps
    /// the rest.
    pub fn feed(&mut self, all: &[u8], time: &[u8; TIME_BYTES], emit: &mut dyn FnMut(usize, &[&[u8]])) {
        let mut data = all;
        while !data.is_empty() {
            let room = LOG_LINE_BYTES - self.pending.len();
            let window = data.get(..room.min(data.len())).unwrap_or(data);
            let at = all.len() - data.len();
            match window.iter().position(|&b| b == b'\n') {
                Some(end) => {
                    self.emit(at, data.get(..end).unwrap_or(b""), "F", time, emit);
                    data = data.get(end + 1..).unwrap_or(b"");
                }
                // The newline right behind a full piece still belongs to it: no empty line follows.
                None if window.len() == room && data.get(room) == Some(&b'\n') => {
                    self.emit(at, window, "F", time, emit);
                    data = data.get(room + 1..).unwrap_or(b"");
                }
                None if window.len() == room && data.len() > room => {
                    self.emit(at, window, "P", time, emit);
                    data = data.get(room..).unwrap_or(b"");
                }
                None => {
                    self.pending.extend_from_slice(data);
                    return;
                }
            }
        }
    }

    /// Gives `emit` what is pending as if its newline had come: the container has ended, and the next line is
    /// another run's.
    pub fn flush(&mut self, time: &[u8; TIME_BYTES], emit: &mut dyn FnMut(usize, &[&[u8]])) {
        if !self.pending.is_empty() {
            self.emit(0, b"", "F", time, emit);
        }
    }

    fn emit(
        &mut self,
        at: usize,
        end: &[u8],
        tag: &str,
        time: &[u8; TIME_BYTES],
        emit: &mut dyn FnMut(usize, &[&[u8]]),
    ) {
        let pending = std::mem::take(&mut self.pending);
        let (stream, tag) = (self.stream.word().as_bytes(), tag.as_bytes());
        emit(at, &[time, b" ", stream, b" ", tag, b" ", &pending, end, b"\n"]);
    }
}

/// What follows the time of a line that says that the container has ended: an empty line for all other readers.
pub const END: &[u8] = b" stdout F:end \n";

/// One line of a log file, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// When it was printed.
    pub time: &'a [u8],
    /// Whether it is no line, but the end of a run of the container.
    pub end: bool,
    /// Whether the line ends with it.
    pub full: bool,
    /// The text.
    pub text: &'a [u8],
}

/// Takes a line apart, without its newline; `None` for one that is not in the format.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let mut parts = line.splitn(4, |&b| b == b' ');
    let (time, stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = stream == b"stdout" || stream == b"stderr";
    // Tags may be several, with colons between them; the first is the one that counts.
    let mut tags = tag.split(|&b| b == b':');
    let full = match tags.next() {
        Some(b"F") => true,
        Some(b"P") => false,
        _ => return None,
    };
    known.then(|| Piece { time, end: tags.any(|tag| tag == b"end"), full, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64, nanos: u32) -> String {
        String::from_utf8_lossy(&time(UNIX_EPOCH + Duration::new(secs, nanos))).into_owned()
    }

    #[test]
    fn times_are_utc_with_nine_digits() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_735_689_599, 999_999_999), "2024-12-31T23:59:59.999999999Z");
        assert_eq!(at(4_107_542_400, 120), "2100-03-01T00:00:00.000000120Z");
    }

    /// What comes out when `chunks` come in.
    fn split(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(Stream::Err, Vec::new());
        let (now, mut lines) = (time(UNIX_EPOCH), Vec::new());
        let mut emit = |_, parts: &[&[u8]]| lines.push(parts.concat());
        for chunk in chunks {
            splitter.feed(chunk, &now, &mut emit);
        }
        splitter.flush(&now, &mut emit);
        lines.iter().map(|line| line[TIME_BYTES + 1..].to_vec()).collect()
    }

    #[test]
    fn lines_come_out_whole_however_they_come_in() {
        let want: Vec<Vec<u8>> =
            [&b"stderr F one\n"[..], b"stderr F \n", b"stderr F t\0w\x1bo\n", b"stderr F tail\n"]
                .map(<[u8]>::to_vec)
                .into();
        assert_eq!(split(&[b"one\n\nt\0w\x1bo\ntail"]), want);
        let bytes: Vec<[u8; 1]> = b"one\n\nt\0w\x1bo\ntail".iter().map(|&b| [b]).collect();
        assert_eq!(split(&bytes.iter().map(|b| &b[..]).collect::<Vec<_>>()), want);
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_none_is_empty() {
        let text = |n: usize| vec![b'x'; n];
        let line = |tag: &str, n: usize| [b"stderr ", tag.as_bytes(), b" ", &text(n)[..], b"\n"].concat();
        let max = LOG_LINE_BYTES;
        for (length, newline, want) in [
            (max - 1, true, vec![line("F", max - 1)]),
            (max, true, vec![line("F", max)]),
            (max, false, vec![line("F", max)]),
            (max + 1, true, vec![line("P", max), line("F", 1)]),
            (2 * max, true, vec![line("P", max), line("F", max)]),
            (2 * max + 5, false, vec![line("P", max), line("P", max), line("F", 5)]),
        ] {
            let mut data = text(length);
            data.extend(newline.then_some(b'\n'));
            assert_eq!(split(&[&data]), want, "{length} {newline}");
            for cut in [1, max / 2, max - 1, max, max + 1] {
                let (a, b) = data.split_at(cut.min(data.len()));
                assert_eq!(split(&[a, b]), want, "{length} {newline} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_line_is_taken_apart() {
        let piece = |line: &'static str| parse(line.as_bytes()).map(|p| (p.full, p.text));
        assert_eq!(piece("2024-01-01T00:00:00Z stdout F a b  c"), Some((true, &b"a b  c"[..])));
        assert_eq!(piece("2024-01-01T00:00:00Z stderr P:x "), Some((false, &b""[..])));
        for bad in ["", "a b c", "t stdlog F x", "t stdout X x", "t stdout F"] {
            assert_eq!(piece(bad), None, "{bad}");
        }
    }
}
