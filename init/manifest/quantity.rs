//! Kubernetes' quantities, such as `250m`, `1.5` and `64Mi`: strings, or plain numbers as YAML makes them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// What is wanted where bytes are counted.
pub const WANT_BYTES: &str = "expected a quantity such as 64Mi or 100M";

/// The suffixes, with how many thousandths one is. Of those below a thousandth: see [`milli`].
const SUFFIXES: &[(&str, u128)] = &[
    ("", 1000),
    ("m", 1),
    ("k", 1000 * 1000),
    ("M", 1000 * 1000_u128.pow(2)),
    ("G", 1000 * 1000_u128.pow(3)),
    ("T", 1000 * 1000_u128.pow(4)),
    ("P", 1000 * 1000_u128.pow(5)),
    ("E", 1000 * 1000_u128.pow(6)),
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("Pi", 1000 << 50),
    ("Ei", 1000 << 60),
];

/// The largest quantity that Kubernetes has, 2^63-1, in thousandths; what is larger is taken for it.
const MAX: u128 = 1000 * ((1 << 63) - 1);

/// The thousandths of the quantity in `text`, a JSON value; rounded up. `None` for what is none, or below zero.
pub fn milli(text: &str) -> Option<u64> {
    value(text).map(|milli| u64::try_from(milli).unwrap_or(u64::MAX))
}

/// The same in whole units, rounded up.
pub fn bytes(text: &str) -> Option<u64> {
    value(text).map(|milli| u64::try_from(milli.div_ceil(1000)).unwrap_or(u64::MAX))
}

fn value(text: &str) -> Option<u128> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (text, negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') {
        return None;
    }
    // Numerator and denominator of one.
    let (mut scale, mut below) = match (SUFFIXES.iter().find(|(name, _)| *name == suffix), suffix) {
        (Some((_, scale)), _) => (*scale, 1),
        (None, "u") => (1, 1000),
        (None, "n") => (1, 1_000_000),
        (None, _) => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            // Beyond these everything is the largest quantity, or the smallest.
            let power = |by: i32| 10_u128.pow(by.clamp(0, 24).unsigned_abs());
            (1000 * power(exponent), power(exponent.checked_neg()?))
        }
    };
    let digits = |text: &str| {
        text.bytes().fold(0_u128, |n, digit| n.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
    };
    // More than nine digits behind the point say nothing more than that the quantity is rounded up.
    let (part, rest) = part.split_at(part.len().min(9));
    let value = digits(whole).saturating_mul(scale).div_ceil(below);
    below = below.saturating_mul(10_u128.pow(u32::try_from(part.len()).ok()?));
    scale = digits(part).saturating_mul(scale).saturating_add(u128::from(digits(rest) > 0)).div_ceil(below);
    let value = value.saturating_add(scale).min(MAX);
    (!negative || value == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        const MAX: u64 = u64::MAX;
        for (text, milli) in [
            ("250m", Some(250)),
            ("1.5", Some(1500)),
            ("2", Some(2000)),
            ("+2", Some(2000)),
            ("2.", Some(2000)),
            (".5", Some(500)),
            ("\"100m\"", Some(100)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("0.5Gi", Some(512 * 1024 * 1024 * 1000)),
            ("100M", Some(100_000_000_000)),
            ("1e3", Some(1_000_000)),
            ("1E3", Some(1_000_000)),
            ("15e-1", Some(1500)),
            ("1e-9", Some(1)),
            ("100u", Some(1)),
            ("1500u", Some(2)),
            ("1n", Some(1)),
            ("2000000n", Some(2)),
            ("0.0001", Some(1)),
            ("0.0000000000001", Some(1)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-1", None),
            ("-1m", None),
            ("", None),
            (".", None),
            ("+", None),
            ("64MB", None),
            ("64mi", None),
            ("1.2.3", None),
            ("1e", None),
            ("1e1.5", None),
            (" 1", None),
            ("Ki", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
            ("1E", Some(MAX)),
            ("99999999999999999999", Some(MAX)),
            ("1e99999", Some(MAX)),
            ("999999999999999999999999999999999999999999999999Ei", Some(MAX)),
        ] {
            assert_eq!(super::milli(text), milli, "{text}");
        }
        assert_eq!(bytes("1Ki"), Some(1024));
        assert_eq!(bytes("1m"), Some(1));
        assert_eq!(bytes("1e99"), Some((1 << 63) - 1));
    }
}
