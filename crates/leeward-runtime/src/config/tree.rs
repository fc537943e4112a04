//! The values of a YAML document, each with its place, made from the parser's events within fixed bounds.

use std::collections::{BTreeMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

/// How deep lists and maps may lie in one another. The deepest option lies six deep.
pub const DEPTH_MAX: usize = 32;

/// Most values of a document, each counted as often as aliases repeat it: a few lines of aliases can stand for billions.
pub const VALUES_MAX: usize = 250_000;

/// Most bytes of text in the keys and values of a document, counted in the same way.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A YAML value with its place. Scalars keep their text: a getter gives them their type.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) place: Place,
    /// Different for every value of a document, also for those that an alias repeats.
    pub(super) id: usize,
    pub(super) kind: Kind,
}

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
    /// Valid YAML that a configuration does not need: the reason.
    Unusable(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

type Refused = (Place, String);

const START: Place = Place { line: 1, column: 1 };

impl Tree {
    /// A map without entries, at the beginning of a document.
    pub(super) const EMPTY: Self = Self { place: START, id: 0, kind: Kind::Map(Vec::new()) };
}

/// Reads the one document in `text`; an empty file is an empty map.
pub(super) fn read(text: &str) -> Result<Tree, Refused> {
    let mut builder = Builder::default();
    // The parser keeps a stack of its own, and so does the builder: neither calls itself for what lies inside.
    for event in Parser::<StrInput<'_>>::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.take(event, span)?;
    }
    match builder.document {
        None | Some(Tree { kind: Kind::Null, .. }) => Ok(Tree::EMPTY),
        Some(tree) => Ok(tree),
    }
}

fn syntax(error: &ScanError) -> Refused {
    (place(error.marker()), format!("is not YAML: {}", error.info()))
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

#[derive(Default)]
struct Builder {
    /// The lists and maps that are open, innermost last.
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    size: Size,
    document: Option<Tree>,
}

struct Open {
    place: Place,
    anchor: usize,
    tagged: bool,
    /// What there was before it.
    before: Size,
    /// How deep the deepest of what is in it lies.
    depth: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Tree>),
    Map {
        entries: Vec<(Key, Tree)>,
        /// The keys, where they are too many to be looked at in turn.
        seen: HashSet<String>,
        key: Option<Key>,
        /// Set when a key is a list, a map, or tagged.
        odd: bool,
    },
}

/// What an alias stands for.
struct Anchored {
    tree: Tree,
    size: Size,
    depth: usize,
}

/// How much there is of a document, or of a part of it.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    text_bytes: usize,
}

impl Size {
    const ONE: Self = Self { values: 1, text_bytes: 0 };

    const fn of_text(text: &str) -> Self {
        Self { values: 1, text_bytes: text.len() }
    }

    const fn since(self, before: Self) -> Self {
        Self { values: self.values - before.values, text_bytes: self.text_bytes - before.text_bytes }
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refused> {
        let at = place(&span.start);
        match event {
            Event::DocumentStart(_) if self.document.is_some() => {
                return Err((at, "begins a second document, and a configuration is one".to_owned()));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
            Event::SequenceStart(anchor, tag) => {
                self.begin(at, anchor, is_foreign(tag.as_deref()), Inside::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Map { entries: Vec::new(), seen: HashSet::new(), key: None, odd: false };
                self.begin(at, anchor, is_foreign(tag.as_deref()), inside)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size::of_text(&text);
                let kind = if is_foreign(tag.as_deref()) {
                    Kind::Unusable(TAGGED)
                } else if style == ScalarStyle::Plain && is_null(&text) {
                    Kind::Null
                } else {
                    Kind::Scalar(text.into_owned())
                };
                let before = self.count(at, size)?;
                self.put(Tree { place: at, id: before.values, kind }, anchor, before, 0)?;
            }
            Event::Alias(anchor) => self.repeat(at, anchor)?,
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, anchor: usize, tagged: bool, inside: Inside) -> Result<(), Refused> {
        self.is_deep(place, 1)?;
        let before = self.count(place, Size::ONE)?;
        self.open.push(Open { place, anchor, tagged, before, depth: 0, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refused> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.inside {
            _ if open.tagged => Kind::Unusable(TAGGED),
            Inside::List(items) => Kind::List(items),
            Inside::Map { odd: true, .. } => Kind::Unusable("has a key that is not a name"),
            Inside::Map { entries, .. } => Kind::Map(entries),
        };
        let tree = Tree { place: open.place, id: open.before.values, kind };
        self.put(tree, open.anchor, open.before, open.depth + 1)
    }

    fn repeat(&mut self, place: Place, anchor: usize) -> Result<(), Refused> {
        let Some((size, depth)) = self.anchors.get(&anchor).map(|known| (known.size, known.depth)) else {
            return Err((place, "is an alias inside of what it stands for".to_owned()));
        };
        self.is_deep(place, depth)?;
        let before = self.count(place, size)?;
        let Some(Anchored { tree, .. }) = self.anchors.get(&anchor) else { return Ok(()) };
        let mut tree = Tree { place, ..tree.clone() };
        number(&mut tree, &mut { before.values });
        self.put(tree, 0, before, depth)
    }

    /// A value is complete: it goes into what is open, or is the document.
    fn put(&mut self, tree: Tree, anchor: usize, before: Size, depth: usize) -> Result<(), Refused> {
        if anchor > 0 {
            let size = self.size.since(before);
            // The copy counts as well: it takes as much room.
            self.count(tree.place, size)?;
            self.anchors.insert(anchor, Anchored { tree: tree.clone(), size, depth });
        }
        let Some(open) = self.open.last_mut() else {
            self.document = Some(tree);
            return Ok(());
        };
        open.depth = open.depth.max(depth);
        match &mut open.inside {
            Inside::List(items) => items.push(tree),
            Inside::Map { entries, seen, key, odd } => match key.take() {
                Some(key) => entries.push((key, tree)),
                None => {
                    let text = match tree.kind {
                        Kind::Scalar(text) => text,
                        Kind::Null => "null".to_owned(),
                        _ => {
                            *odd = true;
                            String::new()
                        }
                    };
                    if !*odd && is_twice(entries, seen, &text) {
                        return Err((tree.place, format!("is not YAML: duplicate key `{text}` in a map")));
                    }
                    *key = Some(Key { text, place: tree.place });
                }
            },
        }
        Ok(())
    }

    fn is_deep(&self, place: Place, more: usize) -> Result<(), Refused> {
        if self.open.len() + more > DEPTH_MAX {
            return Err((
                place,
                format!("lies more than {DEPTH_MAX} lists and maps deep; no configuration does"),
            ));
        }
        Ok(())
    }

    /// Counts so much more, and says what there was before.
    fn count(&mut self, place: Place, more: Size) -> Result<Size, Refused> {
        let before = self.size;
        self.size.values += more.values;
        self.size.text_bytes += more.text_bytes;
        let beyond = |bound: String| {
            Err((place, format!("is beyond {bound}, those that aliases repeat counted each time")))
        };
        if self.size.values > VALUES_MAX {
            return beyond(format!("{VALUES_MAX} values"));
        }
        if self.size.text_bytes > TEXT_BYTES_MAX {
            return beyond(format!("{TEXT_BYTES_MAX} bytes of text"));
        }
        Ok(before)
    }
}

/// Most entries of a map whose keys are looked at in turn.
const FEW: usize = 16;

/// Whether a key stands in a map already.
fn is_twice(entries: &[(Key, Tree)], seen: &mut HashSet<String>, key: &str) -> bool {
    if entries.len() < FEW {
        return entries.iter().any(|(known, _)| known.text == key);
    }
    if seen.is_empty() {
        seen.extend(entries.iter().map(|(known, _)| known.text.clone()));
    }
    !seen.insert(key.to_owned())
}

const TAGGED: &str = "has a YAML tag, which nothing here uses";

fn is_foreign(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| !tag.is_yaml_core_schema())
}

fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

/// Gives a copy numbers of its own. No tree is deeper than [`DEPTH_MAX`].
fn number(tree: &mut Tree, next: &mut usize) {
    tree.id = *next;
    *next += 1;
    match &mut tree.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| number(item, next)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| number(value, next)),
        Kind::Null | Kind::Scalar(_) | Kind::Unusable(_) => {}
    }
}
