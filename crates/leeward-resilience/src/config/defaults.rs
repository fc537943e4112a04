//! Values where nothing is said.

use super::datum::Datum;
use super::field::Field;
use super::fields::Fields;
use super::group::Group;
use super::options::Options;
use super::visitor::{Enter, Visitor};

/// The values of one level of options where nothing is said, found by walking over the base.
#[derive(Default)]
pub(super) struct Defaults {
    list: Vec<(&'static str, Datum)>,
}

impl Defaults {
    pub(super) fn of<T: Options>(base: &mut T) -> Self {
        let mut defaults = Self::default();
        defaults.record(|fields| base.visit(fields));
        defaults
    }

    pub(super) fn record(&mut self, show: impl FnOnce(&mut Fields<'_>)) {
        show(&mut Fields { visitor: self, path: String::new(), defaults: Self::default() });
    }

    pub(super) fn get(&self, name: &str) -> Option<Datum> {
        self.list.iter().find(|(known, _)| *known == name).map(|(_, datum)| *datum)
    }
}

impl Visitor for Defaults {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        self.list.push((field.name, now));
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        self.list.extend(group.state().map(|state| (group.name, state)));
        Enter::Skip
    }

    fn leave(&mut self) {}
}
