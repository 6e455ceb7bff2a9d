//! Extended regular expressions over container ids, for crun's `--regex`: regex(7) without classes such as `[[:alpha:]]`
//! and back references. An id is short, so the search may try one way after the other; one that would take too long is
//! given up.

/// A compiled expression.
#[derive(Debug)]
pub struct Regex(Vec<Branch>);

/// Pieces that stand one after the other.
type Branch = Vec<Piece>;

/// An atom and how often it stands.
#[derive(Debug)]
struct Piece {
    atom: Atom,
    least: u32,
    most: u32,
}

#[derive(Debug)]
enum Atom {
    Byte(u8),
    Any,
    /// Ranges, and whether they are what is not wanted.
    Set(Vec<(u8, u8)>, bool),
    Group(Vec<Branch>),
    Begin,
    End,
}

/// How many repetitions `{m,n}` may ask for; `RE_DUP_MAX` of limits.h.
const DUP_MAX: u32 = 255;

/// How deep groups may nest.
const DEPTH: u32 = 16;

/// How many steps one search may take.
const STEPS: u32 = 1 << 20;

impl Regex {
    /// Compiles an expression, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let mut rest = text.as_bytes();
        let branches = alternatives(&mut rest, 0)?;
        if rest.is_empty() { Ok(Self(branches)) } else { Err("a ) without its (") }
    }

    /// Whether it stands anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let mut steps = STEPS;
        let text = text.as_bytes();
        (0..=text.len()).any(|at| any(&self.0, text, at, &mut steps, &mut |_, _| true))
    }
}

fn alternatives(rest: &mut &[u8], depth: u32) -> Result<Vec<Branch>, &'static str> {
    if depth > DEPTH {
        return Err("too many ( in each other");
    }
    let mut branches = vec![Branch::new()];
    loop {
        match rest.split_first() {
            None | Some((b')', _)) => return Ok(branches),
            Some((b'|', after)) => {
                *rest = after;
                branches.push(Branch::new());
            }
            Some((byte, after)) => {
                *rest = after;
                let atom = atom(*byte, rest, depth)?;
                let mut piece = Piece { atom, least: 1, most: 1 };
                repetition(&mut piece, rest)?;
                if let Some(branch) = branches.last_mut() {
                    branch.push(piece);
                }
            }
        }
    }
}

fn atom(byte: u8, rest: &mut &[u8], depth: u32) -> Result<Atom, &'static str> {
    Ok(match byte {
        b'.' => Atom::Any,
        b'^' => Atom::Begin,
        b'$' => Atom::End,
        b'*' | b'+' | b'?' | b'{' => return Err("a repetition of nothing"),
        b'[' => set(rest)?,
        b'(' => {
            let inner = alternatives(rest, depth + 1)?;
            *rest = rest.strip_prefix(b")").ok_or("a ( without its )")?;
            Atom::Group(inner)
        }
        b'\\' => {
            let (escaped, after) = rest.split_first().ok_or("a \\ at the end")?;
            *rest = after;
            Atom::Byte(*escaped)
        }
        other => Atom::Byte(other),
    })
}

fn set(rest: &mut &[u8]) -> Result<Atom, &'static str> {
    const OPEN: &str = "a [ without its ]";
    let negated = rest.strip_prefix(b"^");
    let negated = negated.inspect(|after| *rest = after).is_some();
    let mut ranges = Vec::new();
    loop {
        let (first, after) = rest.split_first().ok_or(OPEN)?;
        *rest = after;
        match (first, after) {
            // A ] that stands first is meant as itself.
            (b']', _) if !ranges.is_empty() => return Ok(Atom::Set(ranges, negated)),
            (b'[', [b':' | b'.' | b'=', ..]) => return Err("[: [. and [= are not supported"),
            (_, [b'-', last, after @ ..]) if *last != b']' => {
                if last < first {
                    return Err("a range whose end is before its beginning");
                }
                *rest = after;
                ranges.push((*first, *last));
            }
            _ => ranges.push((*first, *first)),
        }
    }
}

fn repetition(piece: &mut Piece, rest: &mut &[u8]) -> Result<(), &'static str> {
    let (least, most, after) = match *rest {
        [b'*', after @ ..] => (0, u32::MAX, after),
        [b'+', after @ ..] => (1, u32::MAX, after),
        [b'?', after @ ..] => (0, 1, after),
        [b'{', after @ ..] => {
            const WHY: &str = "expected {m}, {m,} or {m,n} with numbers up to 255";
            let end = after.iter().position(|byte| *byte == b'}').ok_or(WHY)?;
            let (inside, after) = after.split_at(end);
            let inside = std::str::from_utf8(inside).map_err(|_| WHY)?;
            let number = |word: &str| word.parse().ok().filter(|n| *n <= DUP_MAX).ok_or(WHY);
            let (least, most) = match inside.split_once(',') {
                None => (number(inside)?, number(inside)?),
                Some((least, "")) => (number(least)?, u32::MAX),
                Some((least, most)) => (number(least)?, number(most)?),
            };
            if least > most {
                return Err(WHY);
            }
            (least, most, after.get(1..).unwrap_or_default())
        }
        _ => return Ok(()),
    };
    if matches!(after, [b'*' | b'+' | b'?' | b'{', ..]) {
        return Err("a repetition of a repetition");
    }
    *rest = after;
    (piece.least, piece.most) = (least, most);
    Ok(())
}

/// What has to match behind.
type Next<'n> = &'n mut dyn FnMut(usize, &mut u32) -> bool;

fn any(branches: &[Branch], text: &[u8], at: usize, steps: &mut u32, next: Next<'_>) -> bool {
    branches.iter().any(|branch| sequence(branch, 0, text, at, steps, next))
}

/// Matches a branch whose first piece has matched `done` times already.
fn sequence(branch: &[Piece], done: u32, text: &[u8], at: usize, steps: &mut u32, next: Next<'_>) -> bool {
    let Some(left) = steps.checked_sub(1) else { return false };
    *steps = left;
    let Some((piece, others)) = branch.split_first() else { return next(at, steps) };
    let once_more = done < piece.most && {
        let mut again = |to: usize, steps: &mut u32| {
            // A repetition that takes nothing would go on for ever.
            (to > at || done < piece.least) && sequence(branch, done + 1, text, to, steps, next)
        };
        one(&piece.atom, text, at, steps, &mut again)
    };
    once_more || done >= piece.least && sequence(others, 0, text, at, steps, next)
}

fn one(atom: &Atom, text: &[u8], at: usize, steps: &mut u32, next: Next<'_>) -> bool {
    let byte = text.get(at);
    let fits = match atom {
        Atom::Group(branches) => return any(branches, text, at, steps, next),
        Atom::Begin => return at == 0 && next(at, steps),
        Atom::End => return at == text.len() && next(at, steps),
        Atom::Byte(wanted) => byte == Some(wanted),
        Atom::Any => byte.is_some(),
        Atom::Set(ranges, negated) => byte.is_some_and(|byte| {
            ranges.iter().any(|(first, last)| (first..=last).contains(&byte)) != *negated
        }),
    };
    fits && next(at + 1, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_is_what_grep_finds() {
        let all = ["web", "web-1", "web-22", "db", "a+b", "a.b", "ab", "abab", "aab", "xyz_1", "..a", "^a"];
        for (pattern, expected) in [
            ("", &all[..]),
            ("^web$", &["web"]),
            ("web", &["web", "web-1", "web-22"]),
            ("^web-[0-9]+$", &["web-1", "web-22"]),
            ("^(web|db)$", &["web", "db"]),
            ("^(ab)*$", &["ab", "abab"]),
            ("^(a|ab)(b|ab)?$", &["ab", "aab", "abab"].map(|s| s)),
            ("^a{2}b", &["aab"]),
            ("^a{1,}b$", &["ab", "aab"]),
            ("a\\+b", &["a+b"]),
            ("^a.b$", &["a+b", "a.b", "aab"]),
            ("[^a-z0-9.^+-]", &["xyz_1"]),
            ("^[]a]+b$", &["ab", "aab"]),
            ("(a*)*c", &[]),
            ("^\\^", &["^a"]),
            ("^()+a", &["a+b", "a.b", "ab", "abab", "aab"]),
        ] {
            let Ok(regex) = Regex::new(pattern) else { unreachable!("{pattern}") };
            let mut found: Vec<&str> = all.into_iter().filter(|id| regex.is_match(id)).collect();
            let mut expected = expected.to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in [
            "(",
            ")",
            "a)",
            "[",
            "[a",
            "*",
            "a**",
            "a{",
            "a{1",
            "a{2,1}",
            "a{999}",
            "a{x}",
            "\\",
            "[b-a]",
            "[[:alpha:]]",
        ] {
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
        assert!(Regex::new(&"(".repeat(1000)).is_err());
    }

    #[test]
    fn a_search_that_takes_too_long_ends() {
        let Ok(regex) = Regex::new("^(a|a)*(a|a)*(a|a)*$") else { unreachable!() };
        assert!(!regex.is_match(&("a".repeat(200) + "b")));
    }
}
