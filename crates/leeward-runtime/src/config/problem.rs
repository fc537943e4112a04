use std::fmt;
use std::sync::Arc;

/// Most mistakes that one report lists. Nobody corrects more in one go, and it bounds what a file of garbage
/// can print.
pub const PROBLEMS_MAX: usize = 100;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A place in a file; lines and columns count from 1.
    File {
        /// The file's name as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Env(name) => write!(f, "environment {name}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub origin: Origin,
    /// The option's path, such as `routes[2].retry.attempts`; empty for the document itself.
    pub path: String,
    /// What was given, unless it is secret, missing or not one value.
    pub given: Option<String>,
    /// What is wrong, as a clause that follows the given value.
    pub message: String,
    /// The values or the range that are allowed.
    pub allowed: Option<String>,
    /// The nearest allowed name.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if let Some(given) = &self.given {
            write!(f, "`{given}` ")?;
        }
        f.write_str(&self.message)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "\n  allowed: {allowed}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n  did you mean: {suggestion}")?;
        }
        Ok(())
    }
}

/// All mistakes of a document, by their place in it. Displayed one a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// `None` when there is no mistake.
    pub(super) fn of(mut list: Vec<Problem>) -> Option<Self> {
        list.sort_by(|one, other| one.origin.cmp(&other.origin));
        let omitted = list.len().saturating_sub(PROBLEMS_MAX);
        list.truncate(PROBLEMS_MAX);
        (!list.is_empty()).then_some(Self { list, omitted })
    }

    pub(super) fn one(problem: Problem) -> Self {
        Self { list: vec![problem], omitted: 0 }
    }

    /// The mistakes, at most [`PROBLEMS_MAX`].
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many mistakes there are, including those that are not listed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.omitted
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
