//! What must hold for the tree as a whole.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arrows;
