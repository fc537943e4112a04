/// How alike two names must be, from 0 to 1, for one to be offered for the other. Swapped, missing and
/// doubled letters stay above it; words that merely share a beginning do not.
const LIKENESS_MIN: f64 = 0.84;

/// The known name that `given` was most likely meant to be, if any is near.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let given = plain(given);
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given, &plain(name)), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_name_that_was_meant_and_no_other() {
        let known = ["listen", "timeout", "attempt_timeout", "retry", "rate_limit", "concurrency_limit"];
        let table = [
            ("lisen", Some("listen")),
            ("tiemout", Some("timeout")),
            ("rate-limit", Some("rate_limit")),
            ("Retry", Some("retry")),
            ("retires", Some("retry")),
            ("concurency_limit", Some("concurrency_limit")),
            ("banana", None),
            ("tls", None),
        ];
        for (given, meant) in table {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }
}
