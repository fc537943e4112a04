//! Where the places of a document lie in one another. A configuration of thousands of routes is asked for a hundred thousand places,
//! and hardly any is ever printed: each is a step from the one around it, and becomes a text when somebody wants one.

use std::fmt::Write;

use super::document::join;
use super::notes::Names;

/// One step into a map or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The key of this number among the names.
    Key(usize),
    /// An item, from 0.
    Item(usize),
    /// Every name of the user's choice, where nothing is read but asked.
    EachName,
    /// Every item, likewise.
    EachItem,
}

/// A place's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trail(usize);

impl Trail {
    /// The document itself.
    pub(super) const ROOT: Self = Self(0);
}

/// Every place from which a step was made or of which something is noted. One may have several numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Trails {
    /// By their numbers from 1.
    list: Vec<(Trail, Step)>,
}

impl Trails {
    /// A number for the place that is one step from another.
    pub(super) fn add(&mut self, above: Trail, step: Step) -> Trail {
        self.list.push((above, step));
        Trail(self.list.len())
    }

    /// The place around another one, and how that lies in it; `None` for the document.
    pub(super) fn way(&self, trail: Trail) -> Option<(Trail, Step)> {
        self.list.get(trail.0.checked_sub(1)?).copied()
    }

    /// The path of a place, such as `routes[2].retry.attempts`.
    pub(super) fn path(&self, names: &Names, trail: Trail) -> String {
        let steps: Vec<Step> = std::iter::successors(self.way(trail), |(above, _)| self.way(*above))
            .map(|(_, step)| step)
            .collect();
        let mut path = String::new();
        for step in steps.iter().rev() {
            step.join(names, &mut path);
        }
        path
    }
}

impl Step {
    /// Appends the step to the path of what is around.
    pub(super) fn join(self, names: &Names, path: &mut String) {
        match self {
            Self::Key(number) => join(path, names.name(number)),
            Self::Item(index) => {
                // Writing into a string does not fail.
                let _ok = write!(path, "[{index}]");
            }
            Self::EachName => path.push_str(".*"),
            Self::EachItem => path.push_str("[]"),
        }
    }
}
