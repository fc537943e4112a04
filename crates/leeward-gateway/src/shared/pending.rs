//! Changes that are checked and not made yet.

use leeward_resilience::ConfigErrors;

/// What becomes of policies that go on under other options, at the moment when their snapshot is published: until then a
/// configuration may still be refused, and must have changed nothing.
#[derive(Default)]
pub(crate) struct Pending(Vec<Box<dyn FnOnce() -> Result<(), ConfigErrors>>>);

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pending").field(&self.0.len()).finish()
    }
}

impl Pending {
    /// A change whose options are checked already.
    pub(crate) fn add(&mut self, change: impl FnOnce() -> Result<(), ConfigErrors> + 'static) {
        self.0.push(Box::new(change));
    }

    /// Makes all of them.
    pub(crate) fn apply(self) {
        for change in self.0 {
            if let Err(error) = change() {
                tracing::error!(%error, "options that were checked are refused: those before them go on");
            }
        }
    }
}
