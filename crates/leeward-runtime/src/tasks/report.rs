use std::fmt;

/// What became of the tasks in a shutdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// How many tasks came to rest by themselves.
    pub stopped: usize,
    /// The names of those that did not in their time and were aborted, in stop order.
    pub abandoned: Vec<String>,
}

impl StopReport {
    /// Whether every task came to rest by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.abandoned.is_empty()
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks stopped", self.stopped)?;
        if !self.is_clean() {
            write!(f, ", {} abandoned: {}", self.abandoned.len(), self.abandoned.join(", "))?;
        }
        Ok(())
    }
}
