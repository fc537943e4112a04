//! What is said of options under a name.

use super::datum::Datum;

/// What kind of a group it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Options under a name.
    Plain,
    /// Options under a name, that are all in force or off together.
    Optional {
        /// Whether they are in force.
        on: bool,
    },
    /// One of several forms, each with its own options, which come as a group within.
    OneOf {
        /// The names of the forms.
        names: &'static [&'static str],
        /// Which one it is; `None` is off.
        now: Option<usize>,
        /// Whether it may be off.
        optional: bool,
    },
    /// The options of the form that is taken.
    Taken,
}

/// Options under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The path from the root.
    pub path: String,
    /// The last part of the path.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Why its default is what it is; empty where there is nothing to choose.
    pub why: &'static str,
    /// What kind of a group it is.
    pub form: Form,
    /// How the whole is written as one text, where it can be.
    pub short: Option<&'static str>,
    /// The form that it has, or whether it is on, where nothing is said; `None` where the [visitor](super::visit) is told of none.
    pub default: Option<Datum>,
}

impl Group {
    /// Its state as a value: the name of its form, or `on` or `off`.
    #[must_use]
    pub fn state(&self) -> Option<Datum> {
        match self.form {
            Form::Plain | Form::Taken => None,
            Form::Optional { on: true } => Some(Datum::Choice("on")),
            Form::Optional { on: false } | Form::OneOf { now: None, .. } => Some(Datum::Off),
            Form::OneOf { names, now: Some(now), .. } => Some(Datum::Choice(names.get(now)?)),
        }
    }

    /// What may stand here, in words.
    #[must_use]
    pub fn written(&self) -> String {
        let (mut ways, optional) = match self.form {
            Form::Plain | Form::Taken => (vec!["a map of its options".to_owned()], false),
            Form::Optional { .. } => (vec!["a map of its options".to_owned(), "on".to_owned()], true),
            Form::OneOf { names, optional, .. } => (vec![format!("one of {}", names.join(", "))], optional),
        };
        ways.extend(self.short.map(str::to_owned));
        ways.extend(optional.then(|| "off".to_owned()));
        ways.join(", or ")
    }
}
