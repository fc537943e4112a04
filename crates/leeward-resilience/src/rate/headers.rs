//! What a client is told of a limit, so that it can keep to it: items of the `RateLimit` and `RateLimit-Policy` headers of
//! draft-ietf-httpapi-ratelimit-headers. Several limits are several items, with commas between them.

use std::time::Duration;

use super::{Decision, RateLimit};

impl RateLimit {
    /// The item of `RateLimit-Policy`: `"name";q=100;w=60`, a hundred calls in sixty seconds. `name` is ASCII without quotation
    /// marks.
    #[must_use]
    pub fn policy_item(&self, name: &str) -> String {
        format!("\"{name}\";q={};w={}", self.limit, whole_seconds(self.period))
    }
}

impl Decision {
    /// The item of `RateLimit`: `"name";r=3;t=12`, three more calls now, and all of them again in twelve seconds.
    #[must_use]
    pub fn state_item(&self, name: &str) -> String {
        let mut item = String::with_capacity(name.len() + 32);
        self.push_state_item(name, &mut item);
        item
    }

    /// Writes [`Decision::state_item`] behind a text, without a text of its own: it is said with each answer.
    pub fn push_state_item(&self, name: &str, text: &mut String) {
        text.push('"');
        text.push_str(name);
        text.push_str("\";r=");
        push_number(text, self.remaining.into());
        text.push_str(";t=");
        push_number(text, whole_seconds(self.reset_after));
    }
}

/// A time as headers say it (`Retry-After` too): in whole seconds, rounded up, for whoever comes back too early is rejected
/// again.
#[must_use]
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

fn push_number(text: &mut String, mut number: u64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut from = DIGITS_MAX;
    loop {
        from -= 1;
        digits[from] += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[from..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_all_its_digits_and_no_other() {
        for number in [0, 7, 10, 909, 4_294_967_296, u64::MAX] {
            let mut text = "x".to_owned();
            push_number(&mut text, number);
            assert_eq!(text, format!("x{number}"));
        }
    }

    #[test]
    fn nobody_is_told_to_come_back_too_early() {
        let cases = [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60), (60_000, 60)];
        for (ms, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
