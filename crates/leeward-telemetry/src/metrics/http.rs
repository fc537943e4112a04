//! The names and labels that every HTTP server of the platform uses.

/// Requests answered. Labels: [`REQUEST_LABELS`].
pub const REQUESTS_TOTAL: &str = "http_requests_total";
/// The labels of [`REQUESTS_TOTAL`].
pub const REQUEST_LABELS: [&str; 3] = ["method", "route", "status_code"];
/// Time from the request's head to the response's head, in seconds. Labels: [`DURATION_LABELS`].
pub const REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";
/// The labels of [`REQUEST_DURATION_SECONDS`].
pub const DURATION_LABELS: [&str; 2] = ["method", "route"];
