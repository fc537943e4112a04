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
    list: Vec<(&'static str, Datum)>,
    groups: Vec<(&'static str, Self)>,
    /// Of which it is another than they have by themselves.
    others: Vec<&'static str>,
}

impl Defaults {
    pub(super) fn of<T: Options>(base: &mut T) -> Self {
        Self::record(|fields| base.visit(fields))
    }

    pub(super) fn record(show: impl FnOnce(&mut Fields<'_>)) -> Self {
        let mut recorder = Recorder { defaults: Self::default(), open: Vec::new() };
        show(&mut Fields { visitor: &mut recorder, path: String::new(), defaults: Self::default() });
        recorder.defaults
    }

    pub(super) fn get(&self, name: &str) -> Option<Datum> {
        self.list.iter().find(|(known, _)| *known == name).map(|(_, datum)| *datum)
    }

    /// Takes what is said of a group: here, if the base has it on, else by itself.
    pub(super) fn take(&mut self, name: &str, by_itself: impl FnOnce() -> Self) -> Self {
        let own = by_itself();
        let Some(at) = self.groups.iter().position(|(known, _)| *known == name) else { return own };
        self.groups.swap_remove(at).1.beside(&own)
    }

    /// Notes which of them are others than these.
    pub(super) fn beside(mut self, own: &Self) -> Self {
        let others = self.list.iter().filter(|(name, datum)| own.get(name).is_some_and(|own| own != *datum));
        self.others = others.map(|(name, _)| *name).collect();
        self
    }

    /// Whether an option has here what it has by itself.
    pub(super) fn is_its_own(&self, name: &str) -> bool {
        !self.others.contains(&name)
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
        self.defaults.list.push((field.name, now));
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        let state = group.state();
        self.defaults.list.extend(state.map(|state| (group.name, state)));
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
