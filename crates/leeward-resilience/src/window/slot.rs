//! A number for each thread that no other living thread has.
//!
//! Under loom the threads of a model are one thread of the system, so that they get their numbers from the model; how
//! numbers are taken and given back is not a part of it.

#[cfg(loom)]
mod modelled;
#[cfg(not(loom))]
mod threads;

#[cfg(loom)]
pub(crate) use self::modelled::{slot, slots};
#[cfg(not(loom))]
pub(crate) use self::threads::{slot, slots};
