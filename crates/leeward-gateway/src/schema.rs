//! A JSON schema of the configuration, for editors: `leeward schema`.
//!
//! It is made of what the reader of the configuration asks for when it reads a document that only listens, so that names, types, ranges
//! and choices are those that are accepted. What a schema cannot say (that a service exists, that two options go together) `leeward check`
//! says.

use std::collections::BTreeMap;

use leeward_runtime::config::{Bounds, Form, Shape, Shapes, describe};
use serde_json::{Map, Value, json};

use crate::config;

/// The dialect that editors read.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d))+$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$";
const PERCENTAGE: &str = r"^[0-9]+(\.[0-9]+)?%$";
const RATE: &str = r"^[0-9]+/([0-9]+(\.[0-9]+)?)?(us|ms|s|m|h|d)$";

/// What may stand at each place of a configuration.
#[must_use]
pub fn shapes() -> Shapes {
    describe(|root| drop(config::read(root)))
}

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let shapes = shapes();
    let mut schema = Place::of(&shapes).schema();
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), DIALECT.into());
        members.insert("title".to_owned(), "Leeward gateway".into());
    }
    schema
}

/// A place, with what is below it.
#[derive(Default)]
struct Place<'s> {
    shape: Option<&'s Shape>,
    /// Keys by their names, `*` for names of the user's choice, and `[]` for the items of a list.
    below: BTreeMap<&'s str, Place<'s>>,
}

impl<'s> Place<'s> {
    fn of(shapes: &'s Shapes) -> Self {
        let mut root = Self::default();
        for (path, shape) in shapes {
            let mut place = &mut root;
            for step in steps(path) {
                place = place.below.entry(step).or_default();
            }
            place.shape = Some(shape);
        }
        root
    }

    fn schema(&self) -> Value {
        let mut forms: Vec<Value> = Vec::new();
        let told = self.shape.map_or(&[][..], |shape| &shape.forms);
        let is_map = |form: &Form| matches!(form, Form::Map | Form::OneOf | Form::Names);
        if !told.iter().any(is_map) && self.below.keys().any(|key| *key != "[]") {
            forms.push(self.map(&Form::Map));
        }
        forms.extend(told.iter().map(|form| self.form(form)));
        let mut schema = match (forms.pop(), forms.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                forms.push(last);
                json!({"anyOf": forms})
            }
            // Somebody looks whether it is there, and nobody reads it.
            (None, _) => json!({}),
        };
        if let (Some(shape), Value::Object(members)) = (self.shape, &mut schema) {
            describe_by(shape, members);
        }
        schema
    }

    fn form(&self, form: &Form) -> Value {
        match form {
            Form::Map | Form::OneOf | Form::Names => self.map(form),
            Form::List => json!({"type": "array", "items": self.items()}),
            Form::Texts => json!({"anyOf": [scalar(), {"type": "array", "items": scalar()}]}),
            Form::Text => scalar(),
            Form::Flag => json!({"enum": [true, false, "true", "false"]}),
            Form::Whole(bounds) => number("integer", bounds),
            Form::Number(bounds) => number("number", bounds),
            Form::Duration(_) => json!({"type": "string", "pattern": DURATION}),
            Form::Size(_) => json!({"type": "string", "pattern": SIZE}),
            Form::Percentage(_) => json!({"type": "string", "pattern": PERCENTAGE}),
            Form::Share(_) => json!({"anyOf": [
                {"type": "string", "pattern": PERCENTAGE},
                {"type": "number", "minimum": 0, "maximum": 1},
            ]}),
            Form::Rate => json!({"type": "string", "pattern": RATE}),
            Form::Choice(words) => choice(words),
            Form::Secret => json!({"type": "string", "pattern": "^(env|file):."}),
            Form::Written(..) | Form::Short(_) => scalar(),
        }
    }

    fn items(&self) -> Value {
        self.below.get("[]").map_or_else(|| json!({}), Place::schema)
    }

    fn map(&self, form: &Form) -> Value {
        let named = self.below.iter().filter(|(key, _)| !matches!(**key, "*" | "[]"));
        let properties: Map<String, Value> =
            named.clone().map(|(key, place)| ((*key).to_owned(), place.schema())).collect();
        let is_required = |place: &Place<'_>| place.shape.is_some_and(|shape| shape.required);
        let required: Vec<&str> =
            named.filter(|(_, place)| is_required(place)).map(|(key, _)| *key).collect();
        let others = self.below.get("*").map_or(Value::Bool(false), Place::schema);
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": others});
        if *form == Form::OneOf {
            (schema["minProperties"], schema["maxProperties"]) = (1.into(), 1.into());
        } else if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}

/// `routes[].path` in its steps: `routes`, `[]`, `path`. A key that is no plain word is written as `["*"]`.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        let (step, after) = if let Some(items) = rest.strip_prefix("[]") {
            ("[]", items)
        } else if let Some(quoted) = rest.strip_prefix("[\"") {
            quoted.split_once("\"]")?
        } else {
            rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
        };
        rest = after;
        (!step.is_empty()).then_some(step)
    })
}

/// A value that is written without more about its form: YAML takes `5` for a number and `on` for a word.
fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

fn choice(words: &[String]) -> Value {
    // `1.3` without quotes is a number to an editor.
    let typed = words.iter().filter_map(|word| serde_json::from_str::<Value>(word).ok());
    json!({"enum": words.iter().map(|word| Value::from(&**word)).chain(typed).collect::<Vec<_>>()})
}

fn number(kind: &str, bounds: &Bounds) -> Value {
    let mut schema = json!({ "type": kind });
    let read = |text: &str| serde_json::from_str::<serde_json::Number>(text).ok();
    if let Some(least) = read(&bounds.least) {
        schema[if bounds.above { "exclusiveMinimum" } else { "minimum" }] = least.into();
    }
    if let Some(most) = bounds.most.as_deref().and_then(read) {
        schema["maximum"] = most.into();
    }
    schema
}

/// What it is, why its default is what it is, and what is allowed.
fn describe_by(shape: &Shape, members: &mut Map<String, Value>) {
    let mut text: Vec<String> =
        [shape.what, shape.why].iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect();
    for form in &shape.forms {
        match form {
            Form::Duration(bounds)
            | Form::Size(bounds)
            | Form::Percentage(bounds)
            | Form::Share(bounds)
            | Form::Whole(bounds)
            | Form::Number(bounds) => text.push(format!("Allowed: {}.", bounds.allowed)),
            Form::Written(_, allowed) => text.push(format!("Allowed: {allowed}.")),
            Form::Short(written) => text.push(format!("Short form: {written}.")),
            Form::Secret => text.push("A reference, `env:NAME` or `file:PATH`.".to_owned()),
            _ => {}
        }
    }
    if let Some(default) = &shape.default {
        text.push(format!("Default: {default}."));
    }
    if let Some(env) = &shape.env {
        text.push(format!("The environment variable {env} wins."));
    }
    if !text.is_empty() {
        members.insert("description".to_owned(), text.join(" ").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_steps() {
        let all = |path| steps(path).collect::<Vec<_>>();
        assert_eq!(all("routes[].path"), ["routes", "[]", "path"]);
        assert_eq!(all("services.*.urls"), ["services", "*", "urls"]);
        assert_eq!(all("behind[\"*\"].calls"), ["behind", "*", "calls"]);
        assert_eq!(all("a[][].b"), ["a", "[]", "[]", "b"]);
        assert!(all("").is_empty());
    }
}
