//! Writing options as a tree of values.

use super::datum::Datum;
use super::field::Field;
use super::group::Group;
use super::options::Options;
use super::value::Value;
use super::visitor::{Enter, Visitor, visit};

/// Every option in force, in a form that [reads](super::read) back to the same.
#[must_use]
pub fn write<T: Options>(options: &T) -> Value {
    let mut writer = Writer { open: vec![(String::new(), Vec::new())] };
    visit(&mut options.clone(), &mut writer);
    Value::Map(writer.open.pop().map(|(_, entries)| entries).unwrap_or_default())
}

struct Writer {
    /// The maps that are being written, each with its name in the one around it.
    open: Vec<(String, Vec<(String, Value)>)>,
}

impl Writer {
    fn push(&mut self, name: &str, value: Value) {
        if let Some((_, entries)) = self.open.last_mut() {
            entries.push((name.to_owned(), value));
        }
    }
}

impl Visitor for Writer {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        let value = match now {
            Datum::Flag(yes) => Value::Flag(yes),
            Datum::Count(count) => Value::Whole(count.into()),
            Datum::Number(number) => Value::Number(number),
            Datum::Off | Datum::Share(_) | Datum::Size(_) | Datum::Time(_) | Datum::Choice(_) => {
                Value::Text(now.to_string())
            }
        };
        self.push(field.name, value);
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        if group.state() == Some(Datum::Off) {
            self.push(group.name, Value::Text("off".to_owned()));
            return Enter::Skip;
        }
        self.open.push((group.name.to_owned(), Vec::new()));
        Enter::Inside
    }

    fn leave(&mut self) {
        let Some((name, entries)) = self.open.pop() else { return };
        let value = match entries.as_slice() {
            // A form without options is its name.
            [(form, Value::Map(options))] if options.is_empty() => Value::Text(form.clone()),
            _ => Value::Map(entries),
        };
        self.push(&name, value);
    }
}
