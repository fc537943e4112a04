//! Options: their ranges, their documents, their reference.

mod document;
mod ranges;
mod reference;

use leeward_resilience::config::{Datum, Enter, Field, Form, Group, Options, Value, Visitor, visit};

/// A document of texts at dotted paths.
fn document(entries: &[(&str, &str)]) -> Value {
    let mut map = Vec::new();
    for (path, text) in entries {
        put(&mut map, path, text);
    }
    Value::Map(map)
}

fn put(map: &mut Vec<(String, Value)>, path: &str, text: &str) {
    let Some((name, below)) = path.split_once('.') else {
        map.push((path.to_owned(), text.into()));
        return;
    };
    if !map.iter().any(|(key, _)| key == name) {
        map.push((name.to_owned(), Value::Map(Vec::new())));
    }
    let (_, place) = map.iter_mut().find(|(key, _)| key == name).unwrap();
    let Value::Map(inner) = place else { panic!("{path} is below a text") };
    put(inner, below, text);
}

/// Sets the option at a path to what a text says, in its range or not, as code can. `false` when its type has no such
/// value.
fn set<T: Options>(options: &mut T, path: &str, text: &str) -> bool {
    let mut setter = Setter { path, text, set: None };
    visit(options, &mut setter);
    let wanted = setter.set.unwrap_or_else(|| panic!("nothing is at {path}"));
    let mut reader = Setter { path, text: "", set: None };
    visit(options, &mut reader);
    reader.set == Some(wanted)
}

struct Setter<'a> {
    path: &'a str,
    /// Empty only looks.
    text: &'a str,
    set: Option<Datum>,
}

impl Visitor for Setter<'_> {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        if field.path != self.path {
            return None;
        }
        if self.text.is_empty() {
            self.set = Some(now);
            return None;
        }
        self.set = field.kind.parse(self.text);
        self.set
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        let Some(below) = self.path.strip_prefix(&format!("{}.", group.path)) else { return Enter::Skip };
        match group.form {
            Form::Plain | Form::Taken => Enter::Inside,
            Form::Optional { .. } => Enter::On,
            Form::OneOf { names, .. } => {
                let name = below.split('.').next().unwrap();
                Enter::Take(names.iter().position(|known| *known == name).unwrap())
            }
        }
    }

    fn leave(&mut self) {}
}
