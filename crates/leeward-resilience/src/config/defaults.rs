//! Values where nothing is said.

use super::datum::Datum;
use super::field::Field;
use super::fields::Fields;
use super::group::Group;
use super::options::Options;
use super::visitor::{Enter, Visitor};

/// The values of options where nothing is said, found by walking over the base. A group that the base has on is told with what it is in there, which
/// need not be what it is by itself.
#[derive(Default)]
pub(super) struct Defaults {
    /// Options and their values, and groups with whether they are on, or their form.
    values: Vec<(&'static str, Datum)>,
    /// What is within the groups that are on.
    groups: Vec<(&'static str, Self)>,
    /// The options whose value here is not that of their type.
    changed: Vec<&'static str>,
}

impl Defaults {
    pub(super) fn of<T: Options>(base: &mut T) -> Self {
        Self::record(|fields| base.visit(fields))
    }

    pub(super) fn record(show: impl FnOnce(&mut Fields<'_>)) -> Self {
        let mut recorder = Recorder { defaults: Self::default(), open: Vec::new() };
        show(&mut Fields { visitor: &mut recorder, path: String::new(), defaults: None, reasons: &[] });
        recorder.defaults
    }

    pub(super) fn get(&self, name: &str) -> Option<Datum> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, datum)| *datum)
    }

    /// Takes what is said of a group: here, if the base has it on, else by its type.
    pub(super) fn take(&mut self, name: &str, of_type: impl FnOnce() -> Self) -> Self {
        let of_type = of_type();
        let Some(at) = self.groups.iter().position(|(known, _)| *known == name) else { return of_type };
        self.groups.swap_remove(at).1.compared_to(&of_type)
    }

    /// Notes which values are not those of the type.
    pub(super) fn compared_to(mut self, of_type: &Self) -> Self {
        let is_changed = |(name, datum): &&(&str, Datum)| of_type.get(name).is_some_and(|own| own != *datum);
        self.changed = self.values.iter().filter(is_changed).map(|(name, _)| *name).collect();
        self
    }

    /// Whether an option has here another value than by its type.
    pub(super) fn is_changed(&self, name: &str) -> bool {
        self.changed.contains(&name)
    }
}

struct Recorder {
    /// What was found in the group that is open, and
    defaults: Defaults,
    /// in those around it, each with the name of the one within.
    open: Vec<(&'static str, Defaults)>,
}

impl Visitor for Recorder {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        self.defaults.values.push((field.name, now));
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        let state = group.state();
        self.defaults.values.extend(state.map(|state| (group.name, state)));
        if state == Some(Datum::Off) {
            return Enter::Skip;
        }
        self.open.push((group.name, std::mem::take(&mut self.defaults)));
        Enter::Inside
    }

    fn leave(&mut self) {
        if let Some((name, around)) = self.open.pop() {
            let within = std::mem::replace(&mut self.defaults, around);
            self.defaults.groups.push((name, within));
        }
    }
}
