//! Mistakes in a policy's options, all of them at once.

use std::fmt;

/// One option outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The option, as `policy.option`.
    pub path: &'static str,
    /// The value it has.
    pub given: String,
    /// The values it may have.
    pub allowed: &'static str,
}

/// Every mistake of a policy or a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    /// In the order of the options; never empty in an `Err`.
    pub mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    /// Records a mistake unless `ok`.
    pub(crate) fn check(
        &mut self,
        ok: bool,
        path: &'static str,
        given: impl fmt::Debug,
        allowed: &'static str,
    ) {
        if !ok {
            self.mistakes.push(Mistake { path, given: format!("{given:?}"), allowed });
        }
    }

    /// `Ok` when nothing was recorded.
    pub(crate) fn finish(self) -> Result<(), Self> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Adds the mistakes of a part.
    pub(crate) fn merge(&mut self, part: Result<(), Self>) {
        if let Err(mut part) = part {
            self.mistakes.append(&mut part.mistakes);
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} is {}, allowed: {}", mistake.path, mistake.given, mistake.allowed)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
