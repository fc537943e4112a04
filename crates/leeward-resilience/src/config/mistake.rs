//! Mistakes in a policy's options, all of them at once.

use std::fmt;

/// One option that is not as it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The option, as `policy.option`.
    pub path: String,
    /// The value it has, in the form in which it is written.
    pub given: String,
    /// The values it may have; for a name that is unknown, the known ones.
    pub allowed: String,
    /// The name that was most likely meant.
    pub suggestion: Option<String>,
}

impl Mistake {
    /// A value that is not allowed.
    pub fn new(path: impl Into<String>, given: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { path: path.into(), given: given.to_string(), allowed: allowed.into(), suggestion: None }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, allowed: {}", self.path, self.given, self.allowed)?;
        match &self.suggestion {
            Some(name) => write!(f, ", did you mean: {name}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of a policy or a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    /// In the order of the options; never empty in an `Err`.
    pub mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    /// The paths of the mistakes.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        self.mistakes.iter().map(|mistake| mistake.path.as_str()).collect()
    }

    /// Records a mistake unless `ok`.
    pub(crate) fn check(&mut self, ok: bool, path: &str, given: impl fmt::Debug, allowed: &str) {
        if !ok {
            self.mistakes.push(Mistake::new(path, format_args!("{given:?}"), allowed));
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
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
