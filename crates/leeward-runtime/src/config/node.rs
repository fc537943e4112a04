use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fmt::Display;

use super::document::Document;
use super::origins::Spot;
use super::problem::{Origin, Problem};
use super::secret::without_credentials;
use super::shape::{Form, Guise, Shape};
use super::trails::{Step, Trail};
use super::tree::{Key, Kind, Place, Tree};

/// Stands for every name of the user's choice, where only what may be given is asked.
const ANY_NAME: &str = "*";

/// A place in a [`Document`], whether or not something stands there.
#[derive(Clone, Debug)]
pub struct Node<'d> {
    pub(super) doc: &'d Document,
    /// The place around this one, and how this one lies in it; `None` at the root.
    way: Option<(Trail, Step)>,
    /// This place's own number, once something is noted of it or below it.
    trail: Cell<Option<Trail>>,
    /// Its path, once somebody wants to see it.
    path: OnceCell<String>,
    pub(super) given: Given<'d>,
    /// Maps that stand in for the keys that the given one does not have, nearest first.
    under: Vec<&'d Tree>,
    /// Where to point when nothing is given: the map that lacks it.
    parent: Place,
    /// Whether what is required may be missing.
    is_partial: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Given<'d> {
    Nothing,
    Tree(&'d Tree),
    Env {
        name: &'d str,
        text: &'d str,
    },
    /// Nothing is read: what is asked for is recorded.
    Asked,
}

impl<'d> Node<'d> {
    pub(super) fn root(doc: &'d Document, tree: &'d Tree) -> Self {
        let node = Self::new(doc, None, Given::Tree(tree), tree.place);
        node.note();
        node
    }

    pub(super) fn described(doc: &'d Document) -> Self {
        Self::new(doc, None, Given::Asked, Place { line: 1, column: 1 })
    }

    fn new(doc: &'d Document, way: Option<(Trail, Step)>, given: Given<'d>, parent: Place) -> Self {
        let (trail, path) = (Cell::new(None), OnceCell::new());
        Self { doc, way, trail, path, given, under: Vec::new(), parent, is_partial: false }
    }

    /// The value at `key` of this map. Asking makes the key a known one, also where the map itself is absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Node<'d> {
        let name = self.doc.notes().borrow_mut().names.number(key);
        let step = Step::Key(name);
        if self.tells(|| Form::Map) {
            return self.asked(step);
        }
        if self.entries_read().is_none() {
            return self.child(step, &[]);
        }
        let value = |(map, entries): (&'d Tree, &'d Vec<(Key, Tree)>)| {
            self.doc.notes().borrow_mut().ask(map, name);
            entries.iter().find(|(known, _)| known.text == key).map(|(_, value)| value)
        };
        // As a rule there is one map.
        if self.under.is_empty() {
            return self.child(step, self.layers().next().and_then(value).as_slice());
        }
        self.child(step, &self.layers().filter_map(value).collect::<Vec<_>>())
    }

    /// This map over others: a key that it does not have is taken from the first that has it, and so on within maps; a list
    /// or a single value is taken whole.
    #[must_use]
    pub fn over(mut self, others: &[Node<'d>]) -> Self {
        let mut maps: Vec<&'d Tree> = Vec::new();
        for other in others {
            maps.extend(other.layers().map(|(map, _)| map));
        }
        if !self.is_given() && !matches!(self.given, Given::Asked) {
            let mut maps = maps.into_iter();
            self.given = maps.next().map_or(Given::Nothing, Given::Tree);
            self.under.extend(maps);
        } else if self.keys().is_some() {
            self.under.extend(maps);
        }
        self
    }

    /// Whether this map has the key. Asking does not make it a known one.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.keys().is_some_and(|keys| keys.contains(&key))
    }

    /// Lets an environment variable take precedence over the document, if it is set.
    #[must_use]
    pub fn env(mut self, name: &'d str) -> Self {
        self.shape(|shape| shape.env = Some(name.to_owned()));
        if let Some(text) = self.doc.environment().get(name) {
            self.given = Given::Env { name, text };
            self.note();
        }
        self
    }

    /// This place as a part of a whole that stands elsewhere: what is [required](Self::required) may be missing in it.
    #[must_use]
    pub fn partial(self) -> Self {
        Self { is_partial: true, ..self }
    }

    /// Records a mistake if nothing is given here.
    #[must_use]
    pub fn required(self) -> Self {
        self.shape(|shape| shape.required = !self.is_partial);
        if !self.is_given() && !self.is_partial {
            self.record(None, "is required".to_owned(), None, None);
        }
        self
    }

    /// Whether this is a part that something else makes whole, so that nothing is missing in it.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether a value is given here. `key:` with nothing behind it, and `key: null`, give none.
    #[must_use]
    pub fn is_given(&self) -> bool {
        match &self.given {
            Given::Nothing => false,
            Given::Tree(tree) => !matches!(tree.kind, Kind::Null),
            Given::Env { .. } | Given::Asked => true,
        }
    }

    /// Whether a list is given here, for values that may be one or several.
    #[must_use]
    pub fn is_list(&self) -> bool {
        if let Some(guise) = self.guise() {
            return guise == Guise::List;
        }
        matches!(self.tree(), Some(Tree { kind: Kind::List(_), .. }))
    }

    /// Whether a single value is given here, neither a list nor a map.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        if let Some(guise) = self.guise() {
            return guise == Guise::Scalar;
        }
        self.scalar_text().is_some()
    }

    /// The elements of a list; none if nothing is given.
    #[must_use]
    pub fn items(&self) -> Vec<Node<'d>> {
        if self.tells(|| Form::List) {
            return vec![self.asked(Step::EachItem)];
        }
        match self.tree() {
            Some(Tree { kind: Kind::List(items), .. }) => {
                let item = |(index, item): (usize, &'d Tree)| self.child(Step::Item(index), &[item]);
                items.iter().enumerate().map(item).collect()
            }
            _ if !self.is_given() => Vec::new(),
            _ => {
                self.mismatch("is not a list", "a list, as `[a, b]` or one `- a` a line");
                Vec::new()
            }
        }
    }

    /// The entries of a map whose keys are names of the user's choice.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'d str, Node<'d>)> {
        if self.tells(|| Form::Names) {
            return vec![(ANY_NAME, self.asked(Step::EachName))];
        }
        if self.entries_read().is_none() {
            return Vec::new();
        }
        let mut named: Vec<(&'d str, Vec<&'d Tree>)> = Vec::new();
        let mut places: HashMap<&'d str, usize> = HashMap::new();
        for (map, entries) in self.layers() {
            self.doc.notes().borrow_mut().welcome(map);
            for (key, value) in entries {
                let at = *places.entry(&key.text).or_insert(named.len());
                match named.get_mut(at) {
                    Some((_, found)) => found.push(value),
                    None => named.push((&key.text, vec![value])),
                }
            }
        }
        let entry = |(name, found): (&'d str, Vec<&'d Tree>)| {
            let number = self.doc.notes().borrow_mut().names.find(name);
            (name, self.child(Step::Key(number), &found))
        };
        named.into_iter().map(entry).collect()
    }

    /// The path of this place, such as `routes[2].retry.attempts`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.get_or_init(|| {
            let trail = self.trail();
            let notes = self.doc.notes().borrow();
            notes.trails.path(&notes.names, trail)
        })
    }

    /// Where the value stands; for an absent one, where the map stands that lacks it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.given {
            Given::Env { name, .. } => Origin::Env((*name).to_owned()),
            Given::Nothing | Given::Tree(_) | Given::Asked => self.doc.origin(self.place()),
        }
    }

    /// Records a mistake that only the caller can see, such as a name that nothing else defines.
    pub fn reject(&self, message: impl Display, allowed: impl Display) {
        self.record(self.shown(), message.to_string(), Some(allowed.to_string()), None);
    }

    /// As [`Node::reject`] for a name that must be one of `known`.
    pub fn reject_name<'a>(&self, message: impl Display, known: impl IntoIterator<Item = &'a str>) {
        let known: Vec<&str> = known.into_iter().collect();
        let suggestion =
            self.shown().and_then(|given| super::nearest(&given, known.iter().copied()).map(str::to_owned));
        self.record(self.shown(), message.to_string(), Some(known.join(", ")), suggestion);
    }

    /// As [`Node::reject_name`] for the key that this value stands at.
    pub fn reject_key<'a>(&self, key: &str, message: impl Display, known: impl IntoIterator<Item = &'a str>) {
        let known: Vec<&str> = known.into_iter().collect();
        let suggestion = super::nearest(key, known.iter().copied()).map(str::to_owned);
        self.record(Some(key.to_owned()), message.to_string(), Some(known.join(", ")), suggestion);
    }

    /// The scalar's text, or a recorded mistake.
    pub(super) fn scalar(&self, what: &str, allowed: &str) -> Option<&'d str> {
        match &self.given {
            Given::Env { text, .. } => Some(text),
            Given::Tree(Tree { kind: Kind::Scalar(text), .. }) => Some(text),
            Given::Nothing | Given::Asked | Given::Tree(Tree { kind: Kind::Null, .. }) => None,
            Given::Tree(_) => {
                self.mismatch(&format!("is not {what}"), allowed);
                None
            }
        }
    }

    pub(super) fn record(
        &self,
        given: Option<String>,
        message: String,
        allowed: Option<String>,
        suggestion: Option<String>,
    ) {
        if matches!(self.given, Given::Asked) {
            return;
        }
        let (given, message) =
            (given.map(|given| without_credentials(&given)), without_credentials(&message));
        let (origin, path) = (self.origin(), self.path().to_owned());
        let problem = Problem { origin, path, given, message, allowed, suggestion };
        let mut notes = self.doc.notes().borrow_mut();
        // The same option may be read twice; one mistake is one line.
        if !notes.problems.contains(&problem) {
            notes.problems.push(problem);
        }
    }

    /// The scalar's text, if it is one.
    pub(super) fn scalar_text(&self) -> Option<&'d str> {
        match &self.given {
            Given::Env { text, .. } => Some(text),
            Given::Tree(Tree { kind: Kind::Scalar(text), .. }) => Some(text),
            Given::Tree(_) | Given::Nothing | Given::Asked => None,
        }
    }

    pub(super) fn shown(&self) -> Option<String> {
        self.scalar_text().map(str::to_owned)
    }

    fn mismatch(&self, message: &str, allowed: &str) {
        let reason = match self.tree().map(|tree| &tree.kind) {
            Some(Kind::Unusable(reason)) => *reason,
            _ => message,
        };
        let shape = match self.tree().map(|tree| &tree.kind) {
            Some(Kind::List(_)) => Some("a list".to_owned()),
            Some(Kind::Map(_)) => Some("a map".to_owned()),
            _ => self.shown(),
        };
        self.record(shape, reason.to_owned(), Some(allowed.to_owned()), None);
    }

    fn entries_read(&self) -> Option<(&'d Tree, &'d Vec<(Key, Tree)>)> {
        match self.tree() {
            Some(map @ Tree { kind: Kind::Map(entries), .. }) => Some((map, entries)),
            _ if !self.is_given() => None,
            _ => {
                self.mismatch("is not a map", "a map, as `key: value` lines");
                None
            }
        }
    }

    /// This place with nothing in it.
    pub(super) fn hollow(&self) -> Self {
        Self { given: Given::Nothing, under: Vec::new(), parent: self.place(), ..self.clone() }
    }

    /// The keys of this map, without asking for any; `None` when it is none.
    pub(super) fn keys(&self) -> Option<Vec<&'d str>> {
        match self.tree() {
            Some(Tree { kind: Kind::Map(entries), .. }) => {
                Some(entries.iter().map(|(key, _)| key.text.as_str()).collect())
            }
            _ => None,
        }
    }

    /// The maps that are read here: the given one, then those under it.
    fn layers(&self) -> impl Iterator<Item = (&'d Tree, &'d Vec<(Key, Tree)>)> {
        let maps = self.tree().into_iter().chain(self.under.iter().copied());
        maps.filter_map(|map| match &map.kind {
            Kind::Map(entries) => Some((map, entries)),
            _ => None,
        })
    }

    /// What was found for a key, nearest first: a value that is there, and under a map the maps that it is laid over.
    fn child(&self, step: Step, found: &[&'d Tree]) -> Self {
        let is_there = |tree: &&&'d Tree| !matches!(tree.kind, Kind::Null);
        let first = found.iter().find(is_there).or(found.first()).copied();
        let is_map = |tree: &&'d Tree| matches!(tree.kind, Kind::Map(_));
        let maps = found.iter().filter(is_there).copied().take_while(is_map);
        // As a rule there is one map, or none.
        let under = if found.len() > 1 { maps.skip(1).collect() } else { Vec::new() };
        let given = first.map_or(Given::Nothing, Given::Tree);
        let node = Node {
            doc: self.doc,
            way: Some((self.trail(), step)),
            trail: Cell::new(None),
            path: OnceCell::new(),
            given,
            under,
            parent: self.place(),
            is_partial: self.is_partial,
        };
        node.note();
        node
    }

    /// This place's number.
    fn trail(&self) -> Trail {
        let Some((above, step)) = self.way else { return Trail::ROOT };
        if let Some(trail) = self.trail.get() {
            return trail;
        }
        let trail = self.doc.notes().borrow_mut().trails.add(above, step);
        self.trail.set(Some(trail));
        trail
    }

    fn asked(&self, step: Step) -> Self {
        let node = Node::new(self.doc, Some((self.trail(), step)), Given::Asked, self.parent);
        let node = Node { is_partial: self.is_partial, ..node };
        node.shape(|_| {});
        node
    }

    /// Puts down what is said of this place; whether anybody listens.
    pub(super) fn shape(&self, say: impl FnOnce(&mut Shape)) -> bool {
        if !matches!(self.given, Given::Asked) {
            return false;
        }
        let path = self.path().to_owned();
        let mut notes = self.doc.notes().borrow_mut();
        let order = notes.shapes.len();
        let new = || Shape { order, ..Shape::default() };
        say(notes.shapes.entry(path).or_insert_with(new));
        true
    }

    /// What it is taken for, where nothing is read.
    fn guise(&self) -> Option<Guise> {
        if !matches!(self.given, Given::Asked) {
            return None;
        }
        let path = self.path().to_owned();
        Some(*self.doc.notes().borrow_mut().guises.entry(path).or_default())
    }

    /// Puts down that something is given here.
    fn note(&self) {
        let is_value = match &self.given {
            Given::Tree(Tree { kind: Kind::Scalar(_), .. }) | Given::Env { .. } => true,
            Given::Tree(Tree { kind: Kind::List(_) | Kind::Map(_), .. }) => false,
            Given::Tree(_) | Given::Nothing | Given::Asked => return,
        };
        let trail = self.trail();
        let mut notes = self.doc.notes().borrow_mut();
        let spot = match &self.given {
            Given::Env { name, .. } => Spot::Env(notes.names.find(name)),
            Given::Nothing | Given::Tree(_) | Given::Asked => Spot::File(self.place()),
        };
        notes.given.push(super::origins::Given { trail, spot, is_value });
    }

    fn tree(&self) -> Option<&'d Tree> {
        match &self.given {
            Given::Tree(tree) => Some(tree),
            Given::Nothing | Given::Env { .. } | Given::Asked => None,
        }
    }

    fn place(&self) -> Place {
        self.tree().map_or(self.parent, |tree| tree.place)
    }
}
