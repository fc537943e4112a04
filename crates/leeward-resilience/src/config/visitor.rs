//! Who walks over a description.

use super::datum::Datum;
use super::defaults::Defaults;
use super::field::Field;
use super::fields::Fields;
use super::group::Group;
use super::options::Options;

/// What becomes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// Nothing; its options are not shown.
    Skip,
    /// Its options are shown, if it has any at the moment: a group that is off has none.
    Inside,
    /// It is switched off.
    Off,
    /// It is switched on, with its defaults if it was off.
    On,
    /// It takes this form, with its defaults if it had another.
    Take(usize),
    /// All of its forms are shown in turn, with their defaults.
    Each,
}

/// Walks over options.
pub trait Visitor {
    /// One option and its value. What is returned takes its place; it must be of the field's kind and range.
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum>;

    /// A group begins. `short` puts the whole group in place by one text, and says whether it could be read. The form of
    /// a [`OneOf`](super::OneOf) comes as a group of its own within.
    fn enter(&mut self, group: &Group, short: &mut dyn FnMut(&str) -> bool) -> Enter;

    /// The group that was entered last and whose options were shown is over.
    fn leave(&mut self);

    /// A rule over several options; `path` is that of the option at fault, or of their group.
    fn rule(&mut self, path: &str, ok: bool, given: &str, allowed: &'static str) {
        let _nobody_asks = (path, ok, given, allowed);
    }
}

/// Walks `visitor` over `options`, and tells it of no default and no reason for one: looking for them costs more than the rest.
pub fn visit<T: Options>(options: &mut T, visitor: &mut dyn Visitor) {
    walk(options, None, visitor);
}

/// Walks `visitor` over `options` with what holds where nothing is said: [`Options::base`], or what others use in its place.
pub fn visit_over<T: Options>(options: &mut T, base: &T, visitor: &mut dyn Visitor) {
    let of_type = Defaults::of(&mut T::base());
    walk(options, Some(Defaults::of(&mut base.clone()).compared_to(&of_type)), visitor);
}

fn walk<T: Options>(options: &mut T, defaults: Option<Defaults>, visitor: &mut dyn Visitor) {
    let path = T::NAME.to_owned();
    options.visit(&mut Fields { visitor, path, defaults, reasons: &[] });
}
