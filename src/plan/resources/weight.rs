//! `cpu.shares` of cgroup v1 as `cpu.weight` of v2.
//!
//! The conversion that runc has used since 1.3.2 and crun since 1.23: through (2, 1), (1024, 100) and (262144, 10000), the
//! least, the default and the greatest of both, weight = ceil(10^((l^2 + 125 l) / 612 - 7/34)) with l = log2(shares).
//! <https://github.com/opencontainers/cgroups/pull/20>, <https://github.com/containers/crun/pull/1767>.

/// Bits behind the point of [`log2`].
const FRACTION: u32 = 40;

/// `log2(n)` for n from 1 up, bit by bit: squaring doubles a logarithm, and what is 2 or more has another bit set.
fn log2(n: u64) -> u128 {
    let whole = n.ilog2();
    let mut mantissa = u128::from(n) << (63 - whole); // 1 to 2, with 63 bits behind the point
    let mut result = u128::from(whole);
    for _ in 0..FRACTION {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = mantissa >> 64;
        mantissa >>= bit;
        result = result << 1 | bit;
    }
    result
}

/// The weight for shares other than 0.
pub fn of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let l = log2(shares);
    // log10 of the weight, times 612; then log2 of the weight, times 612.
    let exponent = ((l * l) >> FRACTION) + 125 * l - (126 << FRACTION);
    let target = (exponent * log2(10)) >> FRACTION;
    // A weight that is met to within the last bits is met: 1024 is 100.
    let slack = 612 << 6;
    let (mut low, mut high) = (1, 10_000);
    while low < high {
        let middle = (low + high) / 2;
        if 612 * log2(middle) + slack >= target { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::of_shares;

    #[test]
    fn shares_become_the_weight_that_runc_and_crun_give() {
        for (shares, weight) in [(1, 1), (2, 1), (3, 2), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(of_shares(shares), weight, "{shares}");
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the others' formula, in their floating point; its results are small and not negative"
        )]
        for shares in (3..262_144_u64).step_by(37) {
            let l = (shares as f64).log2();
            let expected = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64;
            assert_eq!(of_shares(shares), expected, "{shares}");
        }
    }
}
