//! Time as the state file and the logs write it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sys::clock::clock_gettime;

/// Room for a date, a time and nine decimals.
pub const RFC3339_LEN: usize = 32;

/// Now as RFC 3339 in UTC with nanoseconds, trailing zeros left out: `2026-11-23T21:23:30.38609927Z`.
pub fn now_rfc3339() -> heapless::String<RFC3339_LEN> {
    rfc3339(clock_gettime(libc::CLOCK_REALTIME).unwrap_or_default())
}

/// A time since 1970 in the same form.
pub fn rfc3339(since_epoch: Duration) -> heapless::String<RFC3339_LEN> {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = heapless::String::new();
    // A year has at most five digits as long as the kernel's clock does not overflow, so all of this fits.
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if since_epoch.subsec_nanos() != 0 {
        let _ = write!(text, ".{:09}", since_epoch.subsec_nanos());
        while text.ends_with('0') {
            text.pop();
        }
    }
    let _ = text.push('Z');
    text
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar: years are counted from March, so that the
/// leap day comes last, in eras of 400 years.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_709_251_200, 500_000_000, "2024-03-01T00:00:00.5Z"),
            (1_795_468_989, 386_099_270, "2026-11-23T21:23:09.38609927Z"),
            (4_102_444_800, 0, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Duration::new(seconds, nanos)), text);
        }
    }
}
