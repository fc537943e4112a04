//! A route that is going away, said in the headers of its answers: since when it should not be used (`Deprecation`, RFC 9745), when it
//! ends (`Sunset`, RFC 8594), and where that is explained (`Link`).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderName, HeaderValue};

use crate::lines::Answering;

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// What is said of a route that is going away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deprecated {
    /// Since when, or from when on.
    pub since: Day,
    /// When it ends.
    pub sunset: Option<Day>,
    /// Where to read about it.
    pub link: Option<HeaderValue>,
}

impl Deprecated {
    /// Says it. A service that says something else of its own is overruled, but for its links.
    pub(crate) fn write(&self, answer: &mut Answering<'_>) {
        answer.say_text(&DEPRECATION, format!("@{}", self.since.unix_s()));
        if let Some(sunset) = self.sunset {
            answer.say_text(&SUNSET, sunset.http_date());
        }
        if let Some(link) = &self.link {
            let link = [b"<", link.as_bytes(), b">; rel=\"deprecation\""].concat();
            if let Ok(link) = HeaderValue::from_bytes(&link) {
                answer.add(&header::LINK, &link);
            }
        }
    }
}

/// A day, from its first second in UTC on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

/// The text is none, or names a day that there is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no such day")]
pub struct NoDay;

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse::<u16>().ok()).ok_or(NoDay)
        };
        let is_dashed = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let is_day = is_dashed && (1970..=9_999).contains(&year) && (1..=days_of(year, month)).contains(&day);
        let narrow = |number: u16| u8::try_from(number).map_err(|_| NoDay);
        if is_day { Ok(Self { year, month: narrow(month)?, day: narrow(day)? }) } else { Err(NoDay) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Day {
    fn unix_s(self) -> u64 {
        let years: u64 = (1970..self.year).map(|year| 365 + u64::from(is_leap(year))).sum();
        let months: u64 = (1..u16::from(self.month)).map(|month| u64::from(days_of(self.year, month))).sum();
        (years + months + u64::from(self.day) - 1) * 86_400
    }

    fn http_date(self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.unix_s()))
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of(year: u16, month: u16) -> u16 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_day_is_that_of_the_calendar() {
        for (text, unix_s, date) in [
            ("1970-01-01", 0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2024-02-29", 1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            ("2025-03-01", 1_740_787_200, "Sat, 01 Mar 2025 00:00:00 GMT"),
            ("9999-12-31", 253_402_214_400, "Fri, 31 Dec 9999 00:00:00 GMT"),
        ] {
            let day: Day = text.parse().unwrap();
            assert_eq!(
                (day.unix_s(), day.http_date().as_str(), day.to_string().as_str()),
                (unix_s, date, text)
            );
        }
        for wrong in [
            "2025-02-29",
            "2100-02-29",
            "2025-13-01",
            "2025-00-01",
            "2025-04-31",
            "2025-04-00",
            "1969-12-31",
            "25-04-01",
            "2025/04/01",
            "2025-4-1",
            "2025-04-01T",
            "+025-04-01",
            "",
        ] {
            assert_eq!(wrong.parse::<Day>(), Err(NoDay), "{wrong}");
        }
    }
}
