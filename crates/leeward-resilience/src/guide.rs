//! The guide: which policy when, how to choose its numbers, and where a setting of another library went.
//!
//! Each policy's own page is its module: [`timeout`](crate::timeout) and [`deadline`](crate::deadline),
//! [`retry`](crate::retry), [`hedge`](crate::hedge), [`breaker`](crate::breaker), [`throttle`](crate::throttle),
//! [`rate`](crate::rate), [`adaptive`](crate::adaptive), [`concurrency`](crate::concurrency), [`shed`](crate::shed),
//! [`fallback`](crate::fallback), [`cache`](crate::cache), [`fault`](crate::fault); how they stand together is
//! [`pipeline`](crate::pipeline), and how hops hear of each other's attempts is [`effort`](crate::effort).
//!
//! | Question | Page |
//! |---|---|
//! | Something goes wrong: what helps, and what does it cost? | [`which_policy`] |
//! | What number do I write down, and does it work? | [`tuning`] |
//! | I come from Resilience4j (Java) | [`from_resilience4j`] |
//! | I come from Polly (.NET) | [`from_polly`] |
//! | I come from opossum (Node.js) | [`from_opossum`] |
//! | I come from tenacity (Python) | [`from_tenacity`] |
//! | I come from failsafe-go (Go) | [`from_failsafe_go`] |
//!
//! This module holds no code. Every example in it runs as a test.

#[doc = include_str!("../docs/which_policy.md")]
pub mod which_policy {}

#[doc = include_str!("../docs/tuning.md")]
pub mod tuning {}

#[doc = include_str!("../docs/from_resilience4j.md")]
pub mod from_resilience4j {}

#[doc = include_str!("../docs/from_polly.md")]
pub mod from_polly {}

#[doc = include_str!("../docs/from_opossum.md")]
pub mod from_opossum {}

#[doc = include_str!("../docs/from_tenacity.md")]
pub mod from_tenacity {}

#[doc = include_str!("../docs/from_failsafe_go.md")]
pub mod from_failsafe_go {}
