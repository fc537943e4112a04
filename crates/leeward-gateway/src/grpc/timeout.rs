//! How long a call may take: up to eight digits and a unit.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};

use super::TIMEOUT;

/// The most digits.
const DIGITS_MAX: usize = 8;
const NUMBER_MAX: u128 = 99_999_999;

/// It is said twice, or is no time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadTimeout;

/// What a call says; `None` when it has all the time there is.
///
/// # Errors
/// [`BadTimeout`]: a service might read it in another way.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Duration>, BadTimeout> {
    let mut said = headers.get_all(TIMEOUT).iter();
    match (said.next(), said.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => parse(one.as_bytes()).map(Some).ok_or(BadTimeout),
        _ => Err(BadTimeout),
    }
}

fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// As a service reads it: never more than there is, in the finest unit that has room for it.
pub(crate) fn write(left: Duration) -> HeaderValue {
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (u128::from(left.as_secs()), 'S')];
    let fitting = units.into_iter().find(|(number, _)| *number <= NUMBER_MAX);
    let (number, unit) = fitting.unwrap_or_else(|| (u128::from(left.as_secs() / 3_600).min(NUMBER_MAX), 'H'));
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn up_to_eight_digits_and_a_unit() {
        let cases = [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("03S", Some(3_000_000_000)),
            ("4m", Some(4_000_000)),
            ("5u", Some(5_000)),
            ("99999999n", Some(99_999_999)),
            ("0m", Some(0)),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("1h", None),
            ("+1S", None),
            ("-1S", None),
            ("1.5S", None),
            ("1 S", None),
            (" 1S", None),
            ("1S ", None),
            ("123456789n", None),
            ("1SS", None),
            ("0x1S", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text.as_bytes()), nanos.map(Duration::from_nanos), "{text:?}");
        }
        let twice: HeaderMap =
            ["1S", "1S"].into_iter().map(|text| (TIMEOUT, HeaderValue::from_static(text))).collect();
        assert_eq!(read(&twice), Err(BadTimeout));
        assert_eq!(read(&HeaderMap::new()), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_never_more(nanos in prop_oneof![0..1_000_000_000_000_u64, any::<u64>()]) {
            let left = Duration::from_nanos(nanos);
            let said = parse(write(left).as_bytes()).unwrap();
            prop_assert!(said <= left);
            prop_assert!(left - said < Duration::from_secs(1) || left > Duration::from_secs(99_999_999));
        }
    }
}
