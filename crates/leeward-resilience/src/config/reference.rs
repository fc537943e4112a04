//! The reference of all options, made from their descriptions.
#![doc = ""]
#![doc = include_str!("../../docs/options.md")]

use std::fmt::Write;

use super::datum::Datum;
use super::field::Field;
use super::group::{Form, Group};
use super::options::Options;
use super::visitor::{Enter, Visitor, visit_over};

/// One option of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The path below the options, as `budget.ratio`.
    pub option: String,
    /// What its value looks like.
    pub kind: &'static str,
    /// The values that it may have.
    pub range: String,
    /// What holds where nothing is said; `required` where something must be.
    pub default: String,
    /// What it is.
    pub what: &'static str,
    /// Why its default is what it is.
    pub why: &'static str,
}

/// Every option, also of what is off by default and of forms that are not the default.
#[must_use]
pub fn rows<T: Options>() -> Vec<Row> {
    let prefix = if T::NAME.is_empty() { 0 } else { T::NAME.len() + 1 };
    let mut table = Table { prefix, rows: Vec::new() };
    visit_over(&mut T::base(), &T::base(), &mut table);
    table.rows
}

/// Rows as a Markdown table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = "| option | type | range | default | what it is, and why that default |\n".to_owned();
    text.push_str("|---|---|---|---|---|\n");
    for Row { option, kind, range, default, what, why } in rows {
        let space = if why.is_empty() { "" } else { " " };
        // Writing into a text does not fail.
        let _ok = writeln!(text, "| `{option}` | {kind} | {range} | {default} | {what}{space}{why} |");
    }
    text
}

struct Table {
    /// What of a path is the options' own name.
    prefix: usize,
    rows: Vec<Row>,
}

impl Table {
    fn name(&self, path: &str) -> String {
        path.get(self.prefix..).unwrap_or(path).to_owned()
    }
}

fn shown(default: Option<Datum>) -> String {
    default.map_or_else(|| "required".to_owned(), |default| default.to_string())
}

impl Visitor for Table {
    fn field(&mut self, field: &Field, _: Datum) -> Option<Datum> {
        let Field { what, why, .. } = *field;
        let (option, kind, range) = (self.name(&field.path), field.kind.as_str(), field.allowed());
        let default = field.follows.map_or_else(|| shown(field.default), |name| format!("`{name}`"));
        self.rows.push(Row { option, kind, range, default, what, why });
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        let Group { what, why, .. } = *group;
        // A form has no line of its own: that of the choice names it.
        if group.form != Form::Taken {
            let default = if group.state().is_some() { shown(group.default) } else { String::new() };
            self.rows.push(Row {
                option: self.name(&group.path),
                kind: "group",
                range: group.written(),
                default,
                what,
                why,
            });
        }
        Enter::Each
    }

    fn leave(&mut self) {}
}
