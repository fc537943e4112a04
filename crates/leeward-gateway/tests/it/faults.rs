//! What clients and operators see of each fault behind the gateway, or beneath it: one list of cases, of which each is made to
//! happen and from which `docs/faults.md` is written.

mod case;
mod docs;
mod ill;
mod own;

use self::case::{Case, Expected, Seen};
use self::ill::{Ill, ill};

const fn seen(status: u16, code: &'static str, asked: usize) -> Seen {
    Seen { status, code, asked, is_cut: false, hint: "" }
}

/// All cases, in the order of the page.
fn cases() -> Vec<Case> {
    let mut cases = services();
    cases.extend(own::cases());
    cases
}

/// Faults of services. Attempts and times are those of the defaults, but for the shorter waits that a case says.
fn services() -> Vec<Case> {
    [hard(), in_the_body(), odd(), failing()].into_iter().flatten().collect()
}

/// There is no answer.
fn hard() -> Vec<Case> {
    vec![
        Case {
            name: "refuses",
            fault: "nobody listens where the service should be",
            bound: "at once: a refused connection takes no time; `connect_timeout` (1 s) where packets are dropped",
            expected: Expected {
                get: Seen { hint: "URL is wrong", ..seen(503, "upstream_unavailable", 0) },
                post: seen(503, "upstream_unavailable", 0),
                shown: &[
                    r#"leeward_gateway_refusals_total{stage="upstream",code="upstream_unavailable"} 1"#,
                    r#"leeward_retries_total{policy="one"} 2"#,
                ],
            },
            observe: || Box::pin(ill(Ill::Refuses, "")),
        },
        Case {
            name: "hangs",
            fault: "the service reads the request and never answers",
            bound: "`attempt_timeout` (5 s) for each attempt, `deadline` for all; here 150 ms",
            expected: Expected {
                get: Seen { hint: "attempt_timeout", ..seen(504, "upstream_timeout", 3) },
                post: Seen { hint: "attempt_timeout", ..seen(504, "upstream_timeout", 1) },
                shown: &[
                    r#"leeward_gateway_refusals_total{stage="upstream",code="upstream_timeout"} 1"#,
                    r#"leeward_attempt_timeouts_total{policy="one"} 3"#,
                ],
            },
            observe: || Box::pin(ill(Ill::Hangs, "attempt_timeout: 150ms")),
        },
        Case {
            name: "resets-before-the-head",
            fault: "the connection is reset after the request, before any byte of the answer",
            bound: "at once",
            expected: Expected {
                get: seen(502, "upstream_invalid", 3),
                post: seen(502, "upstream_invalid", 1),
                shown: &[
                    r#"leeward_gateway_refusals_total{stage="upstream",code="upstream_invalid"} 1"#,
                    r#"leeward_retries_total{policy="one"} 2"#,
                ],
            },
            observe: || Box::pin(ill(Ill::Resets(b""), "")),
        },
        Case {
            name: "resets-in-the-head",
            fault: "the connection is reset in the middle of the answer's head",
            bound: "at once",
            expected: Expected {
                get: seen(502, "upstream_invalid", 3),
                post: seen(502, "upstream_invalid", 1),
                shown: &[r#"leeward_gateway_refusals_total{stage="upstream",code="upstream_invalid"} 1"#],
            },
            observe: || Box::pin(ill(Ill::Resets(b"HTTP/1.1 200 OK\r\nContent-Le"), "")),
        },
    ]
}

/// There is the beginning of an answer.
fn in_the_body() -> Vec<Case> {
    vec![
        Case {
            name: "resets-in-the-body",
            fault: "the connection is reset in the middle of the answer's body",
            bound: "at once: the answer has begun, so that its end is all there is to tell",
            expected: Expected {
                get: Seen { is_cut: true, ..seen(200, "", 1) },
                post: Seen { is_cut: true, ..seen(200, "", 1) },
                shown: &[r#"http_requests_total{method="GET",route="/",status_code="200"} 1"#],
            },
            observe: || Box::pin(ill(Ill::Resets(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), "")),
        },
        Case {
            name: "silent-in-the-body",
            fault: "the answer begins and then stands still",
            bound: "`read_timeout` (60 s); here 150 ms",
            expected: Expected {
                get: Seen { is_cut: true, ..seen(200, "", 1) },
                post: Seen { is_cut: true, ..seen(200, "", 1) },
                shown: &[r#"http_requests_total{method="GET",route="/",status_code="200"} 1"#],
            },
            observe: || {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
                Box::pin(ill(Ill::Stops(answer), "read_timeout: 150ms"))
            },
        },
    ]
}

/// There is an answer, of a kind.
fn odd() -> Vec<Case> {
    vec![
        Case {
            name: "answers-garbage",
            fault: "what comes back is no HTTP",
            bound: "at once",
            expected: Expected {
                get: seen(502, "upstream_invalid", 1),
                post: seen(502, "upstream_invalid", 1),
                shown: &[r#"leeward_gateway_refusals_total{stage="upstream",code="upstream_invalid"} 1"#],
            },
            observe: || Box::pin(ill(Ill::Says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "")),
        },
        Case {
            name: "answers-slowly",
            fault: "the answer comes after 300 ms, within `attempt_timeout`",
            bound: "as long as the service takes",
            expected: Expected {
                get: seen(200, "", 1),
                post: seen(200, "", 1),
                shown: &[r#"http_requests_total{method="GET",route="/",status_code="200"} 1"#],
            },
            observe: || Box::pin(ill(Ill::Slow, "")),
        },
        Case {
            name: "closes-a-kept-connection",
            fault: "the service closes a connection that it kept while the next request is on its way over it",
            bound: "at once: a request that may be repeated goes over a new connection, another one may have been executed",
            expected: Expected {
                get: seen(200, "", 2),
                post: seen(502, "upstream_invalid", 1),
                shown: &[r#"http_requests_total{method="GET",route="/",status_code="200"} 1"#],
            },
            observe: || Box::pin(ill(Ill::ClosesKept, "")),
        },
    ]
}

/// There is an answer that says that it failed, or none now and then.
fn failing() -> Vec<Case> {
    vec![
        Case {
            name: "says-503",
            fault: "the service answers 503",
            bound: "the waits between attempts, 50 and 100 ms at most",
            expected: Expected {
                get: seen(503, "", 3),
                post: seen(503, "", 1),
                shown: &[r#"leeward_retries_total{policy="one"} 2"#],
            },
            observe: || {
                let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown";
                Box::pin(ill(Ill::Says(answer), ""))
            },
        },
        Case {
            name: "says-500",
            fault: "the service answers 500",
            bound: "at once: it may have done half of it",
            expected: Expected {
                get: seen(500, "", 1),
                post: seen(500, "", 1),
                shown: &[r#"http_requests_total{method="GET",route="/",status_code="500"} 1"#],
            },
            observe: || {
                let answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\ndown";
                Box::pin(ill(Ill::Says(answer), ""))
            },
        },
        Case {
            name: "is-flapping",
            fault: "every other request is broken off before its answer",
            bound: "the wait before the second attempt, 50 ms at most",
            expected: Expected {
                get: seen(200, "", 2),
                post: seen(502, "upstream_invalid", 1),
                shown: &[r#"leeward_retries_total{policy="one"} 1"#],
            },
            observe: || Box::pin(ill(Ill::Flaps, "")),
        },
        Case {
            name: "keeps-failing",
            fault: "30 requests in a row are answered with 503",
            bound: "at once, for the break of the circuit breaker (250 to 500 ms, and a quarter at most)",
            expected: Expected {
                get: Seen { hint: "circuit_breaker", ..seen(503, "breaker_open", 0) },
                post: seen(503, "breaker_open", 0),
                shown: &[
                    r#"leeward_breaker_state{policy="one"} 2"#,
                    r#"leeward_gateway_refusals_total{stage="breaker",code="breaker_open"} 11"#,
                ],
            },
            // A break that does not end while the test looks.
            observe: || {
                Box::pin(ill(Ill::KeepsFailing, "circuit_breaker: {break_initial: 30s, break_max: 30s}"))
            },
        },
    ]
}

#[tokio::test]
async fn each_fault_is_seen_as_the_page_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let observed = (case.observe)().await;
        wrong.extend(case.expected.differs(case.name, &observed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
