//! The atomics and the lock of whatever is shared between threads here, in one place, so that a model checker can put its own
//! in their stead.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use parking_lot::Mutex;
