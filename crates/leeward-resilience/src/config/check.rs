//! The check of ranges.

use super::field::{Datum, Field, Group};
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
    check.errors.finish()
}

#[derive(Default)]
struct Check {
    errors: ConfigErrors,
}

impl Visitor for Check {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        let is_in = field.range.as_ref().is_none_or(|range| range.contains(now));
        if now != Datum::Off && !is_in {
            self.errors.mistakes.push(Mistake::new(&field.path, now, field.allowed()));
        }
        None
    }

    fn enter(&mut self, _: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        Enter::Inside
    }

    fn leave(&mut self) {}

    fn rule(&mut self, path: &str, ok: bool, given: &str, allowed: &'static str) {
        if !ok {
            self.errors.mistakes.push(Mistake::new(path, given, allowed));
        }
    }
}
