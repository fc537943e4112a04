//! The words in which options are described.

use std::ops::RangeBounds;
use std::time::Duration;

use super::datum::{Datum, Kind};
use super::defaults::Defaults;
use super::field::Field;
use super::group::{Form, Group};
use super::options::{OneOf, Options};
use super::range::{Other, Range};
use super::scalar::Scalar;
use super::visitor::{Enter, Visitor};
use crate::mode::Mode;

/// The description of options as they give it: see [`Options`].
pub struct Fields<'v> {
    pub(super) visitor: &'v mut dyn Visitor,
    pub(super) path: String,
    /// `None` where nobody asks for them.
    pub(super) defaults: Option<Defaults>,
    pub(super) reasons: &'static [(&'static str, &'static str)],
}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'v> Fields<'v> {
    /// The option `name`: what it is, and why its default is what it is, a sentence each.
    pub fn at(&mut self, name: &'static str, what: &'static str, why: &'static str) -> At<'_, 'v> {
        At { fields: self, name, what, why, floor: None, ceiling: None, default: Source::Base }
    }

    /// A rule over several options, which holds if `ok`; `name` is that of the option at fault, or empty for all of them.
    pub fn rule(&mut self, name: &str, ok: bool, given: impl std::fmt::Display, allowed: &'static str) {
        let path = if name.is_empty() { self.path.clone() } else { self.path_of(name) };
        self.visitor.rule(&path, ok, &given.to_string(), allowed);
    }

    /// The option `mode`, that every policy has.
    pub fn mode(&mut self, mode: &mut Mode) {
        let what = "Whether it acts, or only says what it would do.";
        self.at("mode", what, "A policy that is written down is meant.")
            .choice(mode, &[("enforced", Mode::Enforced), ("shadow", Mode::Shadow)]);
    }

    /// Shows options of which some have other defaults here than by their types: the reasons for these, by the ends of their paths.
    pub fn because(
        &mut self,
        reasons: &'static [(&'static str, &'static str)],
        show: impl FnOnce(&mut Fields<'_>),
    ) {
        let (path, defaults) = (self.path.clone(), self.defaults.take());
        let mut fields = Fields { visitor: &mut *self.visitor, path, defaults, reasons };
        show(&mut fields);
        self.defaults = fields.defaults;
    }

    /// What holds within a group where nothing is said: what is said of it around it, else by its type.
    fn defaults_of(&mut self, name: &str, of_type: impl FnOnce() -> Defaults) -> Option<Defaults> {
        Some(self.defaults.as_mut()?.take(name, of_type))
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Shows what is below `name`.
    fn below(&mut self, name: &str, defaults: Option<Defaults>, show: impl FnOnce(&mut Fields<'_>)) {
        let (path, reasons) = (self.path_of(name), self.reasons);
        show(&mut Fields { visitor: &mut *self.visitor, path, defaults, reasons });
        self.visitor.leave();
    }
}

/// Where an option's default comes from.
enum Source {
    /// What the base says.
    Base,
    /// Another option.
    Other(&'static str, Datum),
    /// There is none.
    Nowhere,
}

/// One option on its way to the visitor.
pub struct At<'f, 'v> {
    fields: &'f mut Fields<'v>,
    name: &'static str,
    what: &'static str,
    why: &'static str,
    floor: Option<Other>,
    ceiling: Option<Other>,
    default: Source,
}

impl std::fmt::Debug for At<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("At").field("name", &self.name).finish_non_exhaustive()
    }
}

impl At<'_, '_> {
    /// It has no default.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.default = Source::Nowhere;
        self
    }

    /// Its default is the value of another option.
    #[must_use]
    pub fn follows(mut self, name: &'static str, value: Datum) -> Self {
        self.default = Source::Other(name, value);
        self
    }

    /// It may not be less than another option, unless that is off.
    #[must_use]
    pub fn at_least(mut self, name: &'static str, value: impl Into<Option<Datum>>) -> Self {
        self.floor = Some(Other { name, value: value.into() });
        self
    }

    /// It may not be more than another option, unless that is off.
    #[must_use]
    pub fn at_most(mut self, name: &'static str, value: impl Into<Option<Datum>>) -> Self {
        self.ceiling = Some(Other { name, value: value.into() });
        self
    }

    /// Yes or no.
    pub fn flag(self, value: &mut bool) {
        let read = |datum| if let Datum::Flag(yes) = datum { Some(yes) } else { None };
        self.show(value, Kind::Flag, None, Datum::Flag, read);
    }

    /// A whole number.
    pub fn count<S: Scalar<u64>>(self, value: &mut S, range: impl RangeBounds<u64>) {
        let range = Range::of(&range, Datum::Count(0), Datum::Count);
        let read = |datum| if let Datum::Count(count) = datum { Some(count) } else { None };
        self.show(value, Kind::Count, Some(range), Datum::Count, read);
    }

    /// A number.
    pub fn number<S: Scalar<f64>>(self, value: &mut S, range: impl RangeBounds<f64>) {
        let range = Range::of(&range, Datum::Number(0.0), Datum::Number);
        let read = |datum| if let Datum::Number(number) = datum { Some(number) } else { None };
        self.show(value, Kind::Number, Some(range), Datum::Number, read);
    }

    /// A share, 1 being all.
    pub fn share<S: Scalar<f64>>(self, value: &mut S, range: impl RangeBounds<f64>) {
        let range = Range::of(&range, Datum::Share(0.0), Datum::Share);
        let read = |datum| if let Datum::Share(share) = datum { Some(share) } else { None };
        self.show(value, Kind::Share, Some(range), Datum::Share, read);
    }

    /// Bytes.
    pub fn size<S: Scalar<u64>>(self, value: &mut S, range: impl RangeBounds<u64>) {
        let range = Range::of(&range, Datum::Size(0), Datum::Size);
        let read = |datum| if let Datum::Size(bytes) = datum { Some(bytes) } else { None };
        self.show(value, Kind::Size, Some(range), Datum::Size, read);
    }

    /// A time.
    pub fn duration<S: Scalar<Duration>>(self, value: &mut S, range: impl RangeBounds<Duration>) {
        let range = Range::of(&range, Datum::Time(Duration::ZERO), Datum::Time);
        let read = |datum| if let Datum::Time(time) = datum { Some(time) } else { None };
        self.show(value, Kind::Time, Some(range), Datum::Time, read);
    }

    /// One of the named choices, all of them.
    pub fn choice<T: Copy + PartialEq>(self, value: &mut T, choices: &[(&'static str, T)]) {
        let names = choices.iter().map(|(name, _)| *name).collect();
        let Some((now, _)) = choices.iter().find(|(_, choice)| choice == value) else { return };
        let field = self.describe(Kind::Choice(names), None, false);
        let new = self.fields.visitor.field(&field, Datum::Choice(now));
        if let Some(Datum::Choice(name)) = new
            && let Some((_, choice)) = choices.iter().find(|(known, _)| *known == name)
        {
            *value = *choice;
        }
    }

    /// Options under a name.
    pub fn group<T: Options>(self, options: &mut T) {
        let group = self.describe_group(Form::Plain, T::SHORT);
        let entered = self.fields.visitor.enter(&group, &mut |text| put(options, T::from_short(text)));
        if entered != Enter::Skip {
            let defaults = self.fields.defaults_of(self.name, || Defaults::of(&mut T::base()));
            self.fields.below(self.name, defaults, |fields| options.visit(fields));
        }
    }

    /// Options under a name, that may be off.
    pub fn optional<T: Options>(self, options: &mut Option<T>) {
        let group = self.describe_group(Form::Optional { on: options.is_some() }, T::SHORT);
        let mut short = |text: &str| put(options, T::from_short(text).map(Some));
        match self.fields.visitor.enter(&group, &mut short) {
            Enter::Skip => return,
            Enter::Off => *options = None,
            Enter::On | Enter::Each => *options = Some(options.take().unwrap_or_else(T::base)),
            Enter::Inside | Enter::Take(_) => {}
        }
        if let Some(options) = options {
            let defaults = self.fields.defaults_of(self.name, || Defaults::of(&mut T::base()));
            self.fields.below(self.name, defaults, |fields| options.visit(fields));
        }
    }

    /// Options of several forms.
    pub fn one_of<T: OneOf>(self, options: &mut T) {
        let mut held = Some(options.clone());
        self.forms(&mut held, false);
        put(options, held);
    }

    /// Options of several forms, that may be off.
    pub fn optional_one_of<T: OneOf>(self, options: &mut Option<T>) {
        self.forms(options, true);
    }

    fn forms<T: OneOf>(self, options: &mut Option<T>, optional: bool) {
        let now = options.as_ref().map(OneOf::form);
        let group = self.describe_group(Form::OneOf { names: T::NAMES, now, optional }, T::SHORT);
        let mut short = |text: &str| put(options, T::from_short(text).map(Some));
        let entered = self.fields.visitor.enter(&group, &mut short);
        let defaults = self.fields.defaults_of(self.name, Defaults::default);
        match entered {
            Enter::Skip => {}
            Enter::Off => *options = None,
            Enter::Take(form) => {
                let had = options.take().filter(|options| options.form() == form);
                let options = options.insert(had.unwrap_or_else(|| T::base(form)));
                self.fields.below(self.name, defaults, |fields| fields.form(options));
            }
            Enter::Inside | Enter::On => {
                if let Some(options) = options {
                    self.fields.below(self.name, defaults, |fields| fields.form(options));
                }
            }
            Enter::Each => self.fields.below(self.name, defaults, |fields| {
                (0..T::NAMES.len()).for_each(|form| fields.form(&mut T::base(form)));
            }),
        }
    }

    fn show<U, S: Scalar<U>>(
        self,
        value: &mut S,
        kind: Kind,
        range: Option<Range>,
        datum: fn(U) -> Datum,
        read: impl FnOnce(Datum) -> Option<U>,
    ) {
        let range = range.map(|range| Range { floor: self.floor, ceiling: self.ceiling, ..range });
        let field = self.describe(kind, range, S::OPTIONAL);
        let now = value.get().map_or(Datum::Off, datum);
        let Some(new) = self.fields.visitor.field(&field, now) else { return };
        let new = if new == Datum::Off { None } else { read(new) };
        put(value, S::of(new));
    }

    fn describe(&self, kind: Kind, range: Option<Range>, optional: bool) -> Field {
        let Self { name, what, .. } = *self;
        let (path, default, why) = (self.fields.path_of(name), self.default(), self.why());
        let follows = if let Source::Other(name, _) = self.default { Some(name) } else { None };
        let required = matches!(self.default, Source::Nowhere);
        Field { path, name, what, why, kind, range, optional, required, default, follows }
    }

    fn describe_group(&self, form: Form, short: Option<&'static str>) -> Group {
        let Self { name, what, .. } = *self;
        let (path, default, why) = (self.fields.path_of(name), self.default(), self.why());
        Group { path, name, what, why, form, short, default }
    }

    /// The reason that was given for this place, or else that of the type, unless the default is another one here.
    fn why(&self) -> &'static str {
        let Some(defaults) = &self.fields.defaults else { return "" };
        let path = self.fields.path_of(self.name);
        let is_its =
            |end: &str| path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if let Some((_, why)) = self.fields.reasons.iter().find(|(end, _)| is_its(end)) {
            return why;
        }
        let is_changed = matches!(self.default, Source::Base) && defaults.is_changed(self.name);
        if is_changed { "" } else { self.why }
    }

    fn default(&self) -> Option<Datum> {
        match self.default {
            Source::Base => self.fields.defaults.as_ref()?.get(self.name),
            Source::Other(_, value) => Some(value),
            Source::Nowhere => None,
        }
    }
}

impl Fields<'_> {
    /// Shows the options of the form that is taken, as a group of its own.
    fn form<T: OneOf>(&mut self, options: &mut T) {
        let form = options.form();
        let Some(name) = T::NAMES.get(form).copied() else { return };
        let (path, what, why) = (self.path_of(name), "", "");
        let group = Group { path, name, what, why, form: Form::Taken, short: None, default: None };
        if self.visitor.enter(&group, &mut |_| false) != Enter::Skip {
            let of_type = || Defaults::record(|fields| T::base(form).visit(fields));
            let defaults = self.defaults_of(name, of_type);
            self.below(name, defaults, |fields| options.visit(fields));
        }
    }
}

fn put<T>(place: &mut T, new: Option<T>) -> bool {
    match new {
        Some(new) => {
            *place = new;
            true
        }
        None => false,
    }
}
