//! What consumers expect of their providers, as data that runs against the real provider.
//!
//! A scenario is a list of requests, each with what its answer must at least be: an answer may have more fields than a
//! consumer knows, and must not lack one that it reads. `"<string>"`, `"<integer>"` and `"<any>"` stand for a value of
//! that kind. What an answer holds can be saved (`"save": {"id": "/payment_id"}`) and used further on as `${id}`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What orders expects of the catalog. `${product}` is a product that the catalog sells.
pub const ORDERS_OF_CATALOG: &str = include_str!("../expectations/orders-of-catalog.json");

/// What the checkout expects of payments.
pub const ORDERS_OF_PAYMENTS: &str = include_str!("../expectations/orders-of-payments.json");

/// What payments expects of the provider.
pub const PAYMENTS_OF_PROVIDER: &str = include_str!("../expectations/payments-of-provider.json");

/// What the catalog expects of the inventory, whose log it builds its shelf from. At least two levels were announced.
pub const CATALOG_OF_INVENTORY: &str = include_str!("../expectations/catalog-of-inventory.json");

/// What the gateway expects of users.
pub const GATEWAY_OF_USERS: &str = include_str!("../expectations/gateway-of-users.json");

/// What the consumers of events read of them: each event's type, and the least that its data must be.
pub const EVENTS: &str = include_str!("../expectations/events.json");

/// A list of steps that belong together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

/// A request, and what its answer must at least be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The Idempotency-Key, if the request has one.
    #[serde(default)]
    pub key: Option<String>,
    /// The body, if the request has one.
    #[serde(default)]
    pub body: Option<Value>,
    /// The answer's status.
    pub status: u16,
    /// The least that the answer's body must be.
    #[serde(default)]
    pub answer: Value,
    /// What to save of the answer: a name and the JSON pointer of the value.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

/// What a consumer reads of an event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// The event's type.
    pub kind: String,
    /// Who reads it: the services that subscribe to it, and no others.
    pub consumers: Vec<String>,
    /// The least that its data must be.
    pub data: Value,
}

/// The scenarios of a file.
///
/// # Errors
/// Where the file is not as this module describes it.
pub fn scenarios(file: &str) -> Result<Vec<Scenario>, serde_json::Error> {
    serde_json::from_str(file)
}

/// The expected events of [`EVENTS`] that `service` publishes: those whose type starts with one of `prefixes`.
///
/// # Errors
/// Where the file is not as this module describes it.
pub fn events(prefixes: &[&str]) -> Result<Vec<ExpectedEvent>, serde_json::Error> {
    let all: Vec<ExpectedEvent> = serde_json::from_str(EVENTS)?;
    Ok(all.into_iter().filter(|event| prefixes.iter().any(|prefix| event.kind.starts_with(prefix))).collect())
}

/// Values saved from answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved(BTreeMap<String, String>);

impl Saved {
    /// The same with a value that the test knows beforehand.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// `text` with every `${name}` replaced.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }

    /// `value` with every `${name}` in its texts replaced.
    #[must_use]
    pub fn fill_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_in(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), self.fill_in(member))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Saves what `step` says of `answer`.
    pub fn save(&mut self, step: &Step, answer: &Value) {
        for (name, pointer) in &step.save {
            let value = answer.pointer(pointer).cloned().unwrap_or_default();
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.0.insert(name.clone(), text);
        }
    }
}

/// Where `actual` is less than `expected`: the first place and what is wrong there.
#[must_use]
pub fn mismatch(expected: &Value, actual: &Value) -> Option<String> {
    differ("", expected, actual)
}

fn differ(at: &str, expected: &Value, actual: &Value) -> Option<String> {
    let wrong =
        || Some(format!("{}: expected {expected}, found {actual}", if at.is_empty() { "/" } else { at }));
    match (expected, actual) {
        (Value::String(kind), _) if kind == "<any>" => None,
        (Value::String(kind), actual) if kind == "<string>" => {
            if actual.is_string() {
                None
            } else {
                wrong()
            }
        }
        (Value::String(kind), actual) if kind == "<integer>" => {
            if actual.is_i64() {
                None
            } else {
                wrong()
            }
        }
        (Value::Null, _) if at.is_empty() => None,
        (Value::Object(members), Value::Object(found)) => members.iter().find_map(|(name, member)| {
            differ(&format!("{at}/{name}"), member, found.get(name).unwrap_or(&Value::Null))
        }),
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => {
            let pairs = items.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(place, (item, found))| differ(&format!("{at}/{place}"), item, found))
        }
        (expected, actual) if expected == actual => None,
        _ => wrong(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_may_be_more_and_never_less() {
        let expected = json!({"id": "<string>", "status": "captured", "lines": [{"n": "<integer>"}]});
        let more = json!({"id": "x", "status": "captured", "lines": [{"n": 1, "m": 2}], "other": true});
        assert_eq!(mismatch(&expected, &more), None);
        for (less, place) in [
            (json!({"status": "captured", "lines": [{"n": 1}]}), "/id"),
            (json!({"id": 1, "status": "captured", "lines": [{"n": 1}]}), "/id"),
            (json!({"id": "x", "status": "voided", "lines": [{"n": 1}]}), "/status"),
            (json!({"id": "x", "status": "captured", "lines": []}), "/lines"),
            (json!({"id": "x", "status": "captured", "lines": [{"n": 1.5}]}), "/lines/0/n"),
        ] {
            assert!(mismatch(&expected, &less).unwrap().starts_with(place), "{less}");
        }
    }

    #[test]
    fn the_files_are_read_and_their_events_exist() {
        for file in [
            ORDERS_OF_CATALOG,
            ORDERS_OF_PAYMENTS,
            PAYMENTS_OF_PROVIDER,
            CATALOG_OF_INVENTORY,
            GATEWAY_OF_USERS,
        ] {
            assert!(!scenarios(file).unwrap().is_empty());
        }
        let known: Vec<_> = crate::EVENTS.iter().map(|(kind, _)| *kind).collect();
        for event in events(&[""]).unwrap() {
            assert!(known.contains(&event.kind.as_str()), "{}", event.kind);
            assert!(!event.consumers.is_empty(), "{} has no reader", event.kind);
        }
    }

    #[test]
    fn saved_values_are_filled_in() {
        let step = Step {
            method: "GET".into(),
            path: "/".into(),
            key: None,
            body: None,
            status: 200,
            answer: Value::Null,
            save: BTreeMap::from([("id".into(), "/payment/id".into())]),
        };
        let mut saved = Saved::default();
        saved.save(&step, &json!({"payment": {"id": "p-1"}}));
        assert_eq!(saved.fill("/payments/${id}"), "/payments/p-1");
        assert_eq!(saved.fill_in(&json!({"a": ["${id}"]})), json!({"a": ["p-1"]}));
    }
}
