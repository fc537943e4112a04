//! Numbers with units, as configurations and flags write them.
//!
//! A number without its unit is refused: nobody reading `timeout: 30` knows what of. Each `show_` function
//! writes what its counterpart reads.

use std::fmt;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of each unit, largest first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Bytes of each unit; the binary ones, which are shown, first and largest first.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u64,
    /// In what time, more than none.
    pub per: Duration,
}

impl Rate {
    /// The rate in units a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate beyond 2^52 is not told apart from its neighbour"
        )]
        let count = self.count as f64;
        count / self.per.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = show_duration(self.per);
        let per = if matches!(per.as_str(), "1s" | "1m" | "1h" | "1d") { &per[1..] } else { per.as_str() };
        write!(f, "{}/{per}", self.count)
    }
}

/// Reads `250ms`, `1.5s`, `1m30s`: parts with a unit, each but the last whole.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos = 0_u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, tail) = part(rest, &DURATION_UNITS)?;
        let is_last = tail.is_empty();
        // `30s1m` and `1s1s` are slips of the hand, not durations.
        if unit >= last_unit || (!is_last && number.contains('.')) {
            return None;
        }
        nanos = nanos.checked_add(scaled(number, unit)?)?;
        last_unit = unit;
        rest = tail;
    }
    (last_unit != u64::MAX).then(|| Duration::from_nanos(nanos))
}

/// Writes a duration in as many units as it needs: `1m30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in DURATION_UNITS {
        if nanos >= unit {
            text.push_str(&format!("{}{name}", nanos / unit));
            nanos %= unit;
        }
    }
    text
}

/// Reads `512B`, `64KiB`, `1.5GB`: a number of bytes.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let (number, unit, tail) = part(text.trim(), &SIZE_UNITS)?;
    if tail.is_empty() { scaled(number, unit) } else { None }
}

/// Writes a size in the largest binary unit that leaves no remainder.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let shown = SIZE_UNITS[..4].iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (name, unit) = shown.copied().unwrap_or(("B", 1));
    format!("{}{name}", bytes / unit)
}

/// Reads `20%` as 0.2; more than 100 % is no percentage of something.
#[must_use]
pub fn percentage(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().ok().filter(|_| is_plain)?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// Writes a share as a percentage of at most four decimals.
#[must_use]
pub fn show_percentage(share: f64) -> String {
    let percent = (share * 1_000_000.0).round() / 10_000.0;
    format!("{percent}%")
}

/// Reads a share as `50%` or as `0.5`, also one of more than all.
#[must_use]
pub fn share(text: &str) -> Option<f64> {
    let text = text.trim();
    // The decimal point is moved in the text: dividing would round twice, and 99.9 % were not 0.999.
    let (number, shift) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), "e-2"),
        None => (text, ""),
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    format!("{number}{shift}").parse().ok().filter(|_| is_plain)
}

/// Writes a share as a percentage, or as a number where it has no short one, so that it reads back to the same.
#[must_use]
pub fn show_share(given: f64) -> String {
    let percentage = format!("{}%", (given * 1e8).round() / 1e6);
    if share(&percentage) == Some(given) { percentage } else { given.to_string() }
}

/// Reads `100/s`, `5000/h`, `1/10s`.
#[must_use]
pub fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    let per = per.trim();
    let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
        duration(per)
    } else {
        duration(&format!("1{per}"))
    };
    per.filter(|per| !per.is_zero()).map(|per| Rate { count, per })
}

/// Splits off a number and its unit: the digits, the unit's factor, and what follows.
fn part<'t>(text: &'t str, units: &[(&str, u64)]) -> Option<(&'t str, u64, &'t str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let rest = rest.trim_start();
    let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(unit_end);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    Some((number, factor, tail.trim_start()))
}

/// A decimal number times a whole factor, exactly; none if it does not come out whole or does not fit.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && decimals.is_empty()) || decimals.contains('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if decimals.is_empty() {
        return Some(whole);
    }
    let tenths = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let part = decimals.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
    if part % tenths != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(part / tenths).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("250ms", Some(Duration::from_millis(250))),
            ("5s", Some(Duration::from_secs(5))),
            ("5 s", Some(Duration::from_secs(5))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("5 parsecs", None),
            ("30s1m", None),
            ("1s1s", None),
            ("1.5m30s", None),
            ("1.s", None),
            (".5s", None),
            ("1.2.3s", None),
            ("0.1ns", None),
            ("999999999999d", None),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let table = [
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("10MiB", Some(10 << 20)),
            ("1.5GB", Some(1_500_000_000)),
            ("2kB", Some(2_000)),
            ("10", None),
            ("10mib", None),
            ("0.5B", None),
            ("20000000TiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn percentages() {
        for (text, expected) in [("20%", Some(0.2)), ("0.5%", Some(0.005)), ("100%", Some(1.0)), ("20", None)]
        {
            assert_eq!(percentage(text), expected, "{text}");
        }
        for text in ["101%", "-1%", "NaN%", "inf%", "1e1%", "%"] {
            assert_eq!(percentage(text), None, "{text}");
        }
    }

    #[test]
    fn shares() {
        let table = [
            ("20%", Some(0.2)),
            ("0.2", Some(0.2)),
            ("150%", Some(1.5)),
            ("1", Some(1.0)),
            ("-5%", Some(-0.05)),
        ];
        for (text, expected) in
            table.into_iter().chain(["", "%", "NaN", "inf%", "1e1", "a"].map(|text| (text, None)))
        {
            assert_eq!(share(text), expected, "{text}");
        }
        for value in [0.0, 0.005, 0.2, 0.999, 1.0 / 3.0, 0.1 + 0.2, 1.5, -0.05] {
            assert_eq!(share(&show_share(value)), Some(value), "{}", show_share(value));
        }
        assert_eq!([0.0, 0.005, 0.5, 0.999, 1.0].map(show_share), ["0%", "0.5%", "50%", "99.9%", "100%"]);
    }

    #[test]
    fn rates() {
        let table = [
            ("100/s", Some((100, 1))),
            ("5000/h", Some((5000, 3600))),
            ("1/10s", Some((1, 10))),
            ("0/s", None),
            ("100", None),
            ("100/", None),
            ("1/0s", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(count, secs)| Rate { count, per: Duration::from_secs(secs) });
            assert_eq!(rate(text), expected, "{text}");
        }
        assert!((Rate { count: 30, per: Duration::from_secs(60) }.per_second() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_is_shown_reads_back() {
        for nanos in [0, 1, 999, 1_000, 1_500_000, 90 * SECOND, 86_400 * SECOND + 1, u64::MAX] {
            let value = Duration::from_nanos(nanos);
            assert_eq!(duration(&show_duration(value)), Some(value));
        }
        for bytes in [0, 1, 1023, 1024, 10 << 20, (1 << 30) + 1, u64::MAX] {
            assert_eq!(size(&show_size(bytes)), Some(bytes));
        }
        for share in [0.0, 0.005, 0.2, 1.0] {
            assert_eq!(percentage(&show_percentage(share)), Some(share));
        }
        for text in ["100/s", "5/m", "1/10s", "7/1h30m"] {
            assert_eq!(rate(text).map(|rate| rate.to_string()).as_deref(), Some(text));
        }
    }
}
