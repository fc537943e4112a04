//! What a reader asks of a document, found by letting it read one that only listens. The getters that read a configuration are
//! thereby its one declaration: names, types, ranges and choices cannot differ from what is accepted.

use std::collections::BTreeMap;

use leeward_resilience::config::{
    Datum, Enter, Field, Form as GroupForm, Group, Kind, Options, Visitor, visit_over,
};

use super::document::Document;
use super::node::Node;
use crate::env::Env;

/// What may stand at one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Its place among all, in the order of asking.
    pub order: usize,
    /// What it may be, each on its own.
    pub forms: Vec<Form>,
    /// Whether it has to be there, where the map around it is.
    pub required: bool,
    /// What it is, in a sentence; empty where only the reader knows.
    pub what: &'static str,
    /// Why its default is what it is.
    pub why: &'static str,
    /// Its value where nothing is said, as it is written; `None` where there is none, or only the reader knows.
    pub default: Option<String>,
    /// The environment variable that takes precedence.
    pub env: Option<String>,
}

/// A form that a value may have. Bounds are as they are written.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Any text but an empty one.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole(Bounds),
    /// A number.
    Number(Bounds),
    /// A duration, `5s`.
    Duration(Bounds),
    /// A size, `64KiB`.
    Size(Bounds),
    /// A percentage, `20%`.
    Percentage(Bounds),
    /// A share, `20%` or `0.2`.
    Share(Bounds),
    /// A rate, `100/s`.
    Rate,
    /// One of these words.
    Choice(Vec<String>),
    /// `env:NAME` or `file:PATH`.
    Secret,
    /// A text with a form of its own: what it is, and what is allowed.
    Written(String, String),
    /// All options of a group in one text: how it is written.
    Short(&'static str),
    /// A map, whose keys are the places below.
    Map,
    /// A map with exactly one of the keys below.
    OneOf,
    /// A map whose keys are names of the user's choice; the values are at `.*`.
    Names,
    /// A list; the items are at `[]`.
    List,
    /// A text, or a list of texts.
    Texts,
}

/// The values that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The least value.
    pub least: String,
    /// Whether the least value itself is not allowed.
    pub above: bool,
    /// The greatest value; `None` where there is none.
    pub most: Option<String>,
    /// In words, other options that bound it included.
    pub allowed: String,
}

/// What may stand at each place: `limits.body`, `routes[].path`, `services.*.urls`.
pub type Shapes = BTreeMap<String, Shape>;

/// What a node that only listens is taken for by those who ask whether it is a list or a single value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guise {
    #[default]
    Map,
    List,
    Scalar,
}

/// The places where a reader asked what is given, and what it was told.
pub(super) type Guises = BTreeMap<String, Guise>;

/// What `read` asks of a document. Every getter yields nothing, every map and list is there and has one entry. Where it asks
/// whether a list or a single value is given it is run again for each answer: at most three times for each such place.
#[must_use]
pub fn describe(read: impl Fn(&Node<'_>)) -> Shapes {
    let mut shapes = Shapes::new();
    let mut met = Guises::new();
    let mut rounds = vec![Guises::new()];
    while let Some(guises) = rounds.pop() {
        let document = Document::empty(&Env::default());
        let heard;
        (shapes, heard) = document.listen(shapes, guises, &read);
        for place in heard.keys() {
            if met.insert(place.clone(), Guise::Map).is_none() {
                for guise in [Guise::List, Guise::Scalar] {
                    let mut guises = heard.clone();
                    guises.insert(place.clone(), guise);
                    rounds.push(guises);
                }
            }
        }
    }
    shapes
}

impl Node<'_> {
    /// Says that this form may stand here; whether anybody listens.
    pub(super) fn tells(&self, form: impl FnOnce() -> Form) -> bool {
        self.shape(|shape| {
            let form = form();
            if !shape.forms.contains(&form) {
                shape.forms.push(form);
            }
        })
    }

    /// Describes the options of a policy below this place, of which `base` holds where nothing is said; whether anybody listens.
    pub(super) fn tells_policy<T: Options>(&self, base: &T, optional: bool) -> bool {
        if !self.tells(|| Form::Map) {
            return false;
        }
        if let Some(short) = T::SHORT {
            self.tells(|| Form::Short(short));
        }
        if optional {
            self.tells(|| Form::Choice(vec!["on".to_owned(), "off".to_owned()]));
        }
        visit_over(&mut base.clone(), base, &mut Teller { open: vec![self.clone()] });
        true
    }
}

struct Teller<'d> {
    open: Vec<Node<'d>>,
}

impl<'d> Teller<'d> {
    fn get(&self, name: &str) -> Option<Node<'d>> {
        self.open.last().map(|node| node.get(name))
    }
}

fn form_of(field: &Field) -> Form {
    let bounds = || {
        let range = field.range.as_ref();
        Bounds {
            least: range.map(|range| range.least.to_string()).unwrap_or_default(),
            above: range.is_some_and(|range| range.above),
            most: range.and_then(|range| range.most).map(|most| most.to_string()),
            allowed: field.written(),
        }
    };
    match &field.kind {
        Kind::Flag => Form::Flag,
        Kind::Count => Form::Whole(bounds()),
        Kind::Number => Form::Number(bounds()),
        Kind::Share => Form::Share(bounds()),
        Kind::Size => Form::Size(bounds()),
        Kind::Time => Form::Duration(bounds()),
        Kind::Choice(names) => Form::Choice(names.iter().map(|&name| name.to_owned()).collect()),
    }
}

impl Visitor for Teller<'_> {
    fn field(&mut self, field: &Field, _: Datum) -> Option<Datum> {
        let node = self.get(field.name)?;
        node.tells(|| form_of(field));
        if field.optional {
            node.tells(|| Form::Choice(vec!["off".to_owned()]));
        }
        node.shape(|shape| {
            (shape.what, shape.why) = (field.what, field.why);
            shape.required = field.required;
            shape.default = field.default.map(|default| default.to_string());
        });
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        let Some(node) = self.get(group.name) else { return Enter::Skip };
        let (form, words) = match group.form {
            GroupForm::Plain | GroupForm::Taken => (Form::Map, Vec::new()),
            GroupForm::Optional { .. } => (Form::Map, vec!["on", "off"]),
            GroupForm::OneOf { names, optional, .. } => {
                (Form::OneOf, names.iter().copied().chain(optional.then_some("off")).collect())
            }
        };
        node.tells(|| form);
        if !words.is_empty() {
            node.tells(|| Form::Choice(words.into_iter().map(str::to_owned).collect()));
        }
        if let Some(short) = group.short {
            node.tells(|| Form::Short(short));
        }
        node.shape(|shape| {
            (shape.what, shape.why) = (group.what, group.why);
            shape.default = group.default.map(|default| default.to_string());
        });
        self.open.push(node);
        Enter::Each
    }

    fn leave(&mut self) {
        self.open.pop();
    }
}
