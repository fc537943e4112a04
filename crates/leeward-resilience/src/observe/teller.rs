//! Whom a handle tells, and under which name.

use std::fmt;
use std::sync::Arc;

use super::{Event, Observer};
use crate::mode::Mode;
use crate::outcome::Rejected;

#[derive(Clone)]
pub(crate) struct Teller {
    name: Arc<str>,
    observer: Option<Arc<dyn Observer>>,
}

impl Teller {
    pub(crate) fn new(name: impl Into<Arc<str>>, observer: Option<Arc<dyn Observer>>) -> Self {
        Self { name: name.into(), observer }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(&self.name, event);
        }
    }

    /// Whether anybody is told.
    pub(crate) const fn is_heard(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells of a rejection, and says whether it is one: in shadow mode the call passes.
    pub(crate) fn reject(&self, mode: Mode, rejected: Rejected) -> Result<(), Rejected> {
        if mode.is_shadow() {
            self.tell(&Event::WouldReject(rejected));
            Ok(())
        } else {
            self.tell(&Event::Rejected(rejected));
            Err(rejected)
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
