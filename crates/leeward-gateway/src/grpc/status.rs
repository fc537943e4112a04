//! How a call went, as gRPC counts it.

use http::header::HeaderMap;
use leeward_resilience::Class;

use super::STATUS;
use crate::refusal::code;

const OK: u8 = 0;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const DATA_LOSS: u8 = 15;
const UNAUTHENTICATED: u8 = 16;

/// What a refusal of the gateway is in gRPC. Where the gateway knows no better it is what gRPC makes of the HTTP status.
pub(crate) fn code_of(refused: &str) -> u8 {
    match refused {
        code::UNAUTHENTICATED
        | code::TOKEN_INVALID
        | code::TOKEN_EXPIRED
        | code::TOKEN_REVOKED
        | code::KEY_INVALID
        | code::KEY_EXPIRED
        | code::PASSWORD_INVALID
        | code::TWO_SPEAKERS => UNAUTHENTICATED,
        code::FORBIDDEN | code::ADDRESS_REFUSED | code::CERTIFICATE_REQUIRED => PERMISSION_DENIED,
        code::NOT_FOUND | code::METHOD_NOT_ALLOWED => UNIMPLEMENTED,
        // A limit that the caller ran into, which waiting or asking for less helps against.
        code::RATE_LIMITED | code::TOO_LARGE | code::HEAD_TOO_LARGE => RESOURCE_EXHAUSTED,
        code::DEADLINE_EXCEEDED | code::UPSTREAM_TIMEOUT | code::BODY_TIMEOUT | code::HEAD_TIMEOUT => {
            DEADLINE_EXCEEDED
        }
        code::OVERLOADED
        | code::SHED
        | code::BREAKER_OPEN
        | code::UNAVAILABLE
        | code::UPSTREAM_INVALID
        | code::KEYS_UNAVAILABLE
        | code::REVOCATIONS_STALE
        | code::CHECKS_BUSY => UNAVAILABLE,
        // What is malformed, and faults of the gateway.
        _ => INTERNAL,
    }
}

/// What the end of a call says about the service, if it says how it went.
///
/// A service that is not there or hangs, or that has lost its way, has failed. What it thinks of one caller, or of one call, is its
/// word and no failure, as over HTTP: an answer of 8 (`RESOURCE_EXHAUSTED`) is a 429.
pub(crate) fn class(said: &HeaderMap) -> Option<Class> {
    let said = said.get(STATUS)?;
    let number = said.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN);
    Some(match number {
        UNAVAILABLE => Class::RETRYABLE,
        UNKNOWN | DEADLINE_EXCEEDED | INTERNAL | DATA_LOSS => Class::PERMANENT,
        OK.. => Class::Success,
    })
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn every_code_has_a_status_that_is_a_failure() {
        // By HTTP status, where nothing better is known: https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html.
        let by_http = |status: u16| match status {
            401 => UNAUTHENTICATED,
            403 => PERMISSION_DENIED,
            404 => UNIMPLEMENTED,
            502 | 503 => UNAVAILABLE,
            _ => INTERNAL,
        };
        for (code, status) in code::ALL {
            let known_better =
                matches!(status, 405 | 408 | 413 | 429 | 431 | 504) || *code == code::TWO_SPEAKERS;
            assert_ne!(code_of(code), OK, "{code}");
            assert!(known_better || code_of(code) == by_http(*status), "{code}");
            assert!(!known_better || code_of(code) != INTERNAL, "{code}");
        }
    }

    #[test]
    fn some_ends_are_failures_of_the_service() {
        let of =
            |text: &'static str| class(&[(STATUS, HeaderValue::from_static(text))].into_iter().collect());
        assert_eq!(class(&HeaderMap::new()), None);
        for fine in ["0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "12", "16", "99"] {
            assert_eq!(of(fine), Some(Class::Success), "{fine}");
        }
        for failed in ["2", "4", "13", "15", "", "x", "-1", "256"] {
            assert_eq!(of(failed), Some(Class::PERMANENT), "{failed}");
        }
        assert_eq!(of("14"), Some(Class::RETRYABLE));
    }
}
