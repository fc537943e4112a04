//! A moment as people write it: `2027-01-31`, or `2027-01-31T18:00:00Z`.

/// Seconds of Unix time; a day alone is its beginning. Always UTC.
pub(super) fn unix_s(text: &str) -> Option<i64> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, seconds_of_day(time)?),
        None => (text, 0),
    };
    let [year, month, day] = numbers::<3>(day, '-', [4, 2, 2])?;
    let is_day = (1_970..=9_999).contains(&year) && (1..=12).contains(&month) && day >= 1;
    (is_day && day <= days_of(year, month)).then(|| days_since_1970(year, month, day) * 86_400 + time)
}

fn seconds_of_day(text: &str) -> Option<i64> {
    let [hour, minute, second] = numbers::<3>(text.strip_suffix('Z')?, ':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// Numbers of exactly so many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let fine = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| fine)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1_970) * 365 + leap_days(before) - leap_days(1_969);
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1994-11-06T08:49:37Z", Some(784_111_777)),
            ("2000-02-29", Some(951_782_400)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2100-02-28T23:59:59Z", Some(4_107_542_399)),
            ("2100-02-29", None),
            ("2027-13-01", None),
            ("2027-1-01", None),
            ("2027-01-00", None),
            ("2027-01-01T24:00:00Z", None),
            ("2027-01-01T00:00:00", None),
            ("2027-01-01T00:00:00+01:00", None),
            ("+027-01-01", None),
            ("1969-12-31", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(unix_s(text), expected, "{text}");
        }
    }
}
