//! The check of ranges.

use super::datum::Datum;
use super::field::Field;
use super::group::Group;
use super::mistake::{ConfigErrors, Mistake};
use super::options::Options;
use super::visitor::{Enter, Visitor, visit};

/// Checks every option, and what the options say of each other.
///
/// # Errors
/// All the options outside their range.
pub fn check<T: Options>(options: &T) -> Result<(), ConfigErrors> {
    let mut check = Check::default();
    visit(&mut options.clone(), &mut check);
    check.errors().finish()
}

#[derive(Default)]
struct Check {
    found: Vec<Found>,
}

struct Found {
    mistake: Mistake,
    /// The options that it does not go with; none when it is wrong whatever others are.
    others: Vec<String>,
}

impl Check {
    fn push(&mut self, mistake: Mistake, others: Vec<String>) {
        self.found.push(Found { mistake, others });
    }

    /// The mistakes. An option that is wrong itself bounds no other: one slip is one mistake.
    fn errors(self) -> ConfigErrors {
        let is_wrong = |path: &String| {
            self.found.iter().any(|found| found.others.is_empty() && found.mistake.path == *path)
        };
        let (kept, found) = (|it: &&Found| !it.others.iter().any(is_wrong), &self.found);
        ConfigErrors { mistakes: found.iter().filter(kept).map(|found| found.mistake.clone()).collect() }
    }
}

impl Visitor for Check {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        let range = field.range.as_ref().filter(|_| now != Datum::Off)?;
        let mistake = || Mistake::new(&field.path, now, field.allowed());
        if !range.admits(now) {
            self.push(mistake(), Vec::new());
        } else if !range.fits(now) {
            let siblings = field.path.strip_suffix(field.name).unwrap_or_default();
            let others = [range.floor, range.ceiling].into_iter().flatten();
            self.push(mistake(), others.map(|other| format!("{siblings}{}", other.name)).collect());
        }
        None
    }

    fn enter(&mut self, _: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        Enter::Inside
    }

    fn leave(&mut self) {}

    fn rule(&mut self, path: &str, ok: bool, given: &str, allowed: &'static str) {
        if !ok {
            self.push(Mistake::new(path, given, allowed), Vec::new());
        }
    }
}
