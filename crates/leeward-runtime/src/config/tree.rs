use saphyr::{LoadableYamlNode, MarkedYaml, Marker, Scalar, ScanError, YamlData};

/// A YAML value with its place. Scalars keep their text: a getter gives them their type.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
    /// Valid YAML that a configuration does not need: the reason.
    Unusable(&'static str),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Reads the one document in `text`; an empty file is an empty map.
pub(super) fn read(text: &str) -> Result<Tree, (Place, String)> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| syntax(&error))?;
    let source: Vec<char> = text.chars().collect();
    let mut documents = documents.iter().map(|document| convert(document, &source));
    let start = Place { line: 1, column: 1 };
    let first = documents.next().unwrap_or(Tree { place: start, kind: Kind::Null });
    if let Some(second) = documents.next() {
        return Err((second.place, "begins a second document, and a configuration is one".to_owned()));
    }
    match first.kind {
        Kind::Null => Ok(Tree { place: start, kind: Kind::Map(Vec::new()) }),
        _ => Ok(first),
    }
}

fn syntax(error: &ScanError) -> (Place, String) {
    (place(error.marker()), format!("is not YAML: {}", error.info()))
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn convert(node: &MarkedYaml<'_>, source: &[char]) -> Tree {
    let kind = match &node.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Kind::Null,
            Scalar::String(text) => Kind::Scalar(text.to_string()),
            other => Kind::Scalar(raw(node, source).unwrap_or_else(|| shown(other))),
        },
        YamlData::Sequence(items) => Kind::List(items.iter().map(|item| convert(item, source)).collect()),
        YamlData::Mapping(entries) => map(entries.iter(), source),
        YamlData::BadValue if is_empty(node) => Kind::Null,
        YamlData::Tagged(..) => Kind::Unusable("has a YAML tag, which nothing here uses"),
        YamlData::BadValue | YamlData::Representation(..) | YamlData::Alias(_) => {
            Kind::Unusable("cannot be read")
        }
    };
    Tree { place: place(&node.span.start), kind }
}

/// The loader's stand-in for a document without content.
fn is_empty(node: &MarkedYaml<'_>) -> bool {
    node.span.start.index() >= node.span.end.index()
}

fn map<'a>(entries: impl Iterator<Item = (&'a MarkedYaml<'a>, &'a MarkedYaml<'a>)>, source: &[char]) -> Kind {
    let mut map = Vec::new();
    for (key, value) in entries {
        let key_place = place(&key.span.start);
        match convert(key, source).kind {
            Kind::Scalar(text) => map.push((Key { text, place: key_place }, convert(value, source))),
            Kind::Null => {
                map.push((Key { text: "null".to_owned(), place: key_place }, convert(value, source)))
            }
            _ => return Kind::Unusable("has a key that is not a name"),
        }
    }
    Kind::Map(map)
}

/// The scalar as it is written, so that `1.10` is not read as `1.1`.
fn raw(node: &MarkedYaml<'_>, source: &[char]) -> Option<String> {
    let written: String = source.get(node.span.start.index()..node.span.end.index())?.iter().collect();
    let written = written.trim();
    // What stands at the place of an alias is its name.
    (!written.is_empty() && !written.starts_with(['*', '&', '!'])).then(|| written.to_owned())
}

fn shown(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => String::new(),
        Scalar::Boolean(yes) => yes.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::FloatingPoint(number) => number.to_string(),
        Scalar::String(text) => text.to_string(),
    }
}
