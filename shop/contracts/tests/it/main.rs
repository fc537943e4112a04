//! The JSON of every wire type is pinned by a file under `tests/golden`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod golden;
mod samples;
