//! The defects that other libraries have, one test each, by their numbers.
//!
//! 14 (fast 429s under peak EWMA) is where the load is measured, in `leeward-discovery`.

mod adaptive;
mod breaker;
mod keyed;
mod layers;
mod pipeline;
mod retry;
mod stream;
mod time;
