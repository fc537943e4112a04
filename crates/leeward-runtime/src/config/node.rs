use std::fmt::Display;

use super::document::{Document, join};
use super::problem::{Origin, Problem};
use super::tree::{Kind, Place, Tree};

/// A place in a [`Document`], whether or not something stands there.
#[derive(Clone, Debug)]
pub struct Node<'d> {
    pub(super) doc: &'d Document,
    path: String,
    pub(super) given: Given<'d>,
    /// Where to point when nothing is given: the map that lacks it.
    parent: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Given<'d> {
    Nothing,
    Tree(&'d Tree),
    Env { name: &'d str, text: &'d str },
}

impl<'d> Node<'d> {
    pub(super) fn root(doc: &'d Document, tree: &'d Tree) -> Self {
        Self { doc, path: String::new(), given: Given::Tree(tree), parent: tree.place }
    }

    /// The value at `key` of this map. Asking makes the key a known one, also where the map itself is absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Node<'d> {
        let mut path = self.path.clone();
        join(&mut path, key);
        let given = self.entries_read().and_then(|(map, entries)| {
            self.doc.notes().borrow_mut().asked(map).keys.insert(key.to_owned());
            entries.iter().find(|(known, _)| known.text == key)
        });
        let given = given.map_or(Given::Nothing, |(_, value)| Given::Tree(value));
        Node { doc: self.doc, path, given, parent: self.place() }
    }

    /// Lets an environment variable take precedence over the document, if it is set.
    #[must_use]
    pub fn env(mut self, name: &'d str) -> Self {
        if let Some(text) = self.doc.environment().get(name) {
            self.given = Given::Env { name, text };
        }
        self
    }

    /// Records a mistake if nothing is given here.
    #[must_use]
    pub fn required(self) -> Self {
        if !self.is_given() {
            self.record(None, "is required".to_owned(), None, None);
        }
        self
    }

    /// Whether a value is given here. `key:` with nothing behind it, and `key: null`, give none.
    #[must_use]
    pub fn is_given(&self) -> bool {
        match &self.given {
            Given::Nothing => false,
            Given::Tree(tree) => !matches!(tree.kind, Kind::Null),
            Given::Env { .. } => true,
        }
    }

    /// The elements of a list; none if nothing is given.
    #[must_use]
    pub fn items(&self) -> Vec<Node<'d>> {
        match self.tree() {
            Some(Tree { kind: Kind::List(items), .. }) => {
                let item =
                    |(index, item): (usize, &'d Tree)| self.below(format!("{}[{index}]", self.path), item);
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
        let Some((map, entries)) = self.entries_read() else { return Vec::new() };
        self.doc.notes().borrow_mut().asked(map).any = true;
        let entry = |(key, value): &'d (super::tree::Key, Tree)| {
            let mut path = self.path.clone();
            join(&mut path, &key.text);
            (key.text.as_str(), self.below(path, value))
        };
        entries.iter().map(entry).collect()
    }

    /// The path of this place, such as `routes[2].retry.attempts`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the value stands; for an absent one, where the map stands that lacks it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.given {
            Given::Env { name, .. } => Origin::Env((*name).to_owned()),
            Given::Nothing | Given::Tree(_) => self.doc.origin(self.place()),
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

    /// The scalar's text, or a recorded mistake.
    pub(super) fn scalar(&self, what: &str, allowed: &str) -> Option<&'d str> {
        match &self.given {
            Given::Env { text, .. } => Some(text),
            Given::Tree(Tree { kind: Kind::Scalar(text), .. }) => Some(text),
            Given::Nothing | Given::Tree(Tree { kind: Kind::Null, .. }) => None,
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
        let problem =
            Problem { origin: self.origin(), path: self.path.clone(), given, message, allowed, suggestion };
        let mut notes = self.doc.notes().borrow_mut();
        // The same option may be read twice; one mistake is one line.
        if !notes.problems.contains(&problem) {
            notes.problems.push(problem);
        }
    }

    pub(super) fn shown(&self) -> Option<String> {
        match &self.given {
            Given::Env { text, .. } => Some((*text).to_owned()),
            Given::Tree(Tree { kind: Kind::Scalar(text), .. }) => Some(text.clone()),
            Given::Tree(_) | Given::Nothing => None,
        }
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

    fn entries_read(&self) -> Option<(&'d Tree, &'d Vec<(super::tree::Key, Tree)>)> {
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
        Self { given: Given::Nothing, parent: self.place(), ..self.clone() }
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

    fn below(&self, path: String, tree: &'d Tree) -> Node<'d> {
        Node { doc: self.doc, path, given: Given::Tree(tree), parent: self.place() }
    }

    fn tree(&self) -> Option<&'d Tree> {
        match &self.given {
            Given::Tree(tree) => Some(tree),
            Given::Nothing | Given::Env { .. } => None,
        }
    }

    fn place(&self) -> Place {
        self.tree().map_or(self.parent, |tree| tree.place)
    }
}
