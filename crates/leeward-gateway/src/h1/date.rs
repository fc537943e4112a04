//! The `Date` of answers, written once a second.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderMap};

const LENGTH: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

thread_local! {
    static GOOD: Cell<[u8; LENGTH]> = const { Cell::new([0; LENGTH]) };
    static DATE: Cell<(i64, [u8; LENGTH])> = const { Cell::new((i64::MIN, [0; LENGTH])) };
}

/// Whether an answer says its date, once and as HTTP does.
pub(crate) fn is_said(headers: &HeaderMap) -> bool {
    let mut dates = headers.get_all(header::DATE).iter();
    let date = dates.next().and_then(|date| date.to_str().ok());
    dates.next().is_none() && date.is_some_and(is_date)
}

/// Services say the same second many times: the last text that was found to be a date is compared before it is read.
pub(super) fn is_date(text: &str) -> bool {
    if text.as_bytes() == GOOD.get() {
        return true;
    }
    let is_good = httpdate::parse_http_date(text).is_ok();
    if let (true, Ok(text)) = (is_good, text.as_bytes().try_into()) {
        GOOD.set(text);
    }
    is_good
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` at this time.
pub(crate) fn at(unix_ms: i64) -> [u8; LENGTH] {
    let second = unix_ms.div_euclid(1_000);
    let (written, text) = DATE.get();
    if written == second {
        return text;
    }
    let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since);
    let mut date = [b' '; LENGTH];
    let count = text.len().min(LENGTH);
    date[..count].copy_from_slice(&text.as_bytes()[..count]);
    DATE.set((second, date));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_others_understand_is_said() {
        let said = |dates: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for date in dates {
                headers.append(header::DATE, http::HeaderValue::from_static(date));
            }
            is_said(&headers)
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(said(&[date]) && said(&[date]));
        assert!(!said(&["Sun, 06 Nov 1994 08:49:37 GMX"]) && said(&["Sunday, 06-Nov-94 08:49:37 GMT"]));
        assert!(!said(&[]) && !said(&["evil"]) && !said(&[date, date]));
    }

    #[test]
    fn it_follows_the_clock() {
        assert_eq!(&at(784_111_777_000), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&at(784_111_777_999), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&at(784_111_778_000), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
