//! Reading options from a tree of values.

use super::check::check;
use super::datum::{Datum, Kind};
use super::field::{Field, Refused};
use super::group::{Form, Group};
use super::mistake::{ConfigErrors, Mistake};
use super::options::Options;
use super::suggest::nearest;
use super::value::Value;
use super::visitor::{Enter, Visitor, visit};

/// Options from what a document says; what it does not say is the default.
///
/// # Errors
/// Every unknown name, every value that has not the form of its option or is outside of its range.
pub fn read<T: Options>(value: &Value) -> Result<T, ConfigErrors> {
    let mut options = T::base();
    read_into(&mut options, value)?;
    Ok(options)
}

/// As [`read`], over options that are there: what the document does not say stays as it is. With an `Err` everything does.
///
/// # Errors
/// As of [`read`].
pub fn read_into<T: Options>(options: &mut T, value: &Value) -> Result<(), ConfigErrors> {
    let mut reader = Reader { scopes: Vec::new(), errors: ConfigErrors::default() };
    let read = match value.text().and_then(|text| T::from_short(&text)) {
        Some(short) => short,
        None => {
            let allowed =
                ["a map of its options"].into_iter().chain(T::SHORT).collect::<Vec<_>>().join(", or ");
            let map = reader.map(T::NAME, value, &allowed);
            reader.scopes.push(Scope::new(T::NAME, map));
            let mut read = options.clone();
            visit(&mut read, &mut reader);
            reader.leave();
            read
        }
    };
    let mut errors = reader.errors;
    errors.merge(check(&read));
    errors.finish()?;
    *options = read;
    Ok(())
}

/// A map that is being read.
struct Scope<'v> {
    path: String,
    map: &'v [(String, Value)],
    /// The names that were asked for.
    known: Vec<&'static str>,
}

impl<'v> Scope<'v> {
    fn new(path: &str, map: &'v [(String, Value)]) -> Self {
        Self { path: path.to_owned(), map, known: Vec::new() }
    }

    fn get(&mut self, name: &'static str) -> &'v Value {
        self.known.push(name);
        self.map.iter().find(|(key, _)| key == name).map_or(&Value::Null, |(_, value)| value)
    }

    fn unknown(&self) -> Vec<Mistake> {
        let unknown = self.map.iter().filter(|(key, _)| !self.known.contains(&key.as_str()));
        let twice = self.map.iter().enumerate().filter(|(at, (key, _))| {
            self.known.contains(&key.as_str()) && self.map[..*at].iter().any(|(before, _)| before == key)
        });
        let path =
            |key: &str| if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let unknown = unknown.map(|(key, _)| Mistake {
            suggestion: nearest(key, &self.known).map(str::to_owned),
            ..Mistake::new(path(key), "an unknown option", self.known.join(", "))
        });
        let twice = twice.map(|(_, (key, _))| Mistake::new(path(key), "given twice", "each option once"));
        unknown.chain(twice).collect()
    }
}

struct Reader<'v> {
    scopes: Vec<Scope<'v>>,
    errors: ConfigErrors,
}

impl<'v> Reader<'v> {
    fn value(&mut self, name: &'static str) -> &'v Value {
        self.scopes.last_mut().map_or(&Value::Null, |scope| scope.get(name))
    }

    /// The entries of a map; a mistake if it is none.
    fn map(&mut self, path: &str, value: &'v Value, allowed: &str) -> &'v [(String, Value)] {
        match value {
            Value::Map(map) => map,
            Value::Null => &[],
            _ => {
                self.mistake(path, value, allowed);
                &[]
            }
        }
    }

    fn mistake(&mut self, path: &str, value: &Value, allowed: &str) {
        self.errors.mistakes.push(Mistake::new(path, value.shown(), allowed));
    }

    /// The form whose name stands alone, or as the one key of a map.
    fn form(&mut self, group: &Group, names: &[&'static str], value: &Value) -> Option<usize> {
        let name = match value {
            Value::Text(name) => Some(name),
            Value::Map(map) => map.first().filter(|_| map.len() == 1).map(|(name, _)| name),
            _ => None,
        };
        let form = name.and_then(|name| names.iter().position(|known| known == name));
        if form.is_none() {
            let shown = name.map_or_else(|| value.shown(), |name| format!("`{name}`"));
            let suggestion = name.and_then(|name| nearest(name, names)).map(str::to_owned);
            let mistake = Mistake { suggestion, ..Mistake::new(&group.path, shown, group.written()) };
            self.errors.mistakes.push(mistake);
        }
        form
    }
}

/// Whether a word switches options on, or off.
fn is_switch(value: &Value, on: bool) -> bool {
    match value {
        Value::Flag(given) => *given == on,
        Value::Text(text) => text == if on { "on" } else { "off" },
        _ => false,
    }
}

impl Visitor for Reader<'_> {
    fn field(&mut self, field: &Field, _: Datum) -> Option<Datum> {
        let value = self.value(field.name);
        if *value == Value::Null {
            if field.required {
                self.mistake(&field.path, value, &field.written());
            }
            return None;
        }
        let read = match (value, field.optional) {
            (Value::Flag(false), true) => Ok(Datum::Off),
            _ => value.text().ok_or(Refused::Form).and_then(|text| field.parse(&text)),
        };
        let allowed = match read {
            Ok(datum) => return Some(datum),
            Err(Refused::Form) => field.written(),
            Err(Refused::Range) => field.allowed(),
        };
        let names = if let Kind::Choice(names) = &field.kind { names.as_slice() } else { &[] };
        let suggestion = value.text().and_then(|text| nearest(&text, names)).map(str::to_owned);
        let mistake = Mistake { suggestion, ..Mistake::new(&field.path, value.shown(), allowed) };
        self.errors.mistakes.push(mistake);
        None
    }

    fn enter(&mut self, group: &Group, short: &mut dyn FnMut(&str) -> bool) -> Enter {
        let value = self.value(group.name);
        let is_form = |text: &str| matches!(group.form, Form::OneOf { names, .. } if names.contains(&text));
        if group.short.is_some() && value.text().is_some_and(|text| !is_form(&text) && short(&text)) {
            return Enter::Skip;
        }
        // The options of a form are shown also when there is no word of them: one may be required.
        if *value == Value::Null && group.form != Form::Taken {
            return Enter::Skip;
        }
        let entered = match group.form {
            Form::Plain | Form::Taken => Enter::Inside,
            Form::Optional { .. } | Form::OneOf { optional: true, .. } if is_switch(value, false) => {
                return Enter::Off;
            }
            Form::Optional { .. } => Enter::On,
            Form::OneOf { names, .. } => match self.form(group, names, value) {
                Some(form) => Enter::Take(form),
                None => return Enter::Skip,
            },
        };
        let is_word = match group.form {
            Form::Plain | Form::Taken => false,
            Form::Optional { .. } => is_switch(value, true),
            Form::OneOf { .. } => true,
        };
        let map = match value {
            Value::Map(map) => map.as_slice(),
            _ if is_word => &[],
            _ => self.map(&group.path, value, &group.written()),
        };
        self.scopes.push(Scope::new(&group.path, map));
        entered
    }

    fn leave(&mut self) {
        if let Some(scope) = self.scopes.pop() {
            self.errors.mistakes.extend(scope.unknown());
        }
    }
}
