//! Holds samples against the golden files.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shop_contracts::{EVENTS, orders, provider, returns};

/// The files seen so far, and every difference found.
#[derive(Default)]
pub(crate) struct Golden {
    seen: BTreeSet<String>,
    wrong: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    /// `sample` must read and write as `tests/golden/NAME.json` says.
    pub(crate) fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        &mut self,
        name: &str,
        sample: &T,
    ) {
        assert!(self.seen.insert(name.to_owned()), "{name} is checked twice");
        let written = serde_json::to_value(sample).unwrap();
        let path = folder().join(format!("{name}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            self.wrong.push(format!("{name}.json is missing; the sample is\n{written:#}"));
            return;
        };
        let golden: Value = serde_json::from_str(&text).unwrap();
        if golden != written {
            self.wrong.push(format!("{name}.json differs from the sample, which is\n{written:#}"));
        }
        match serde_json::from_value::<T>(golden) {
            Ok(read) if read == *sample => {}
            Ok(read) => self.wrong.push(format!("{name}.json reads as {read:?}")),
            Err(error) => self.wrong.push(format!("{name}.json does not read: {error}")),
        }
    }
}

#[test]
fn every_wire_type_is_pinned() {
    let mut golden = Golden::default();
    crate::samples::all(&mut golden);
    assert!(golden.wrong.is_empty(), "{}", golden.wrong.join("\n\n"));

    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".json").to_owned())
        .collect();
    assert_eq!(files, golden.seen, "files and samples are the same set");
    for (kind, _) in EVENTS {
        assert!(golden.seen.contains(*kind), "the event {kind} has no golden file");
    }
}

#[test]
fn a_difference_is_found() {
    let mut golden = Golden::default();
    golden.check("product.removed", &orders::PutCartItem { quantity: 1 });
    golden.check("no-such-file", &orders::PutCartItem { quantity: 1 });
    assert_eq!(golden.wrong.len(), 3, "differs, does not read, is missing: {:?}", golden.wrong);
}

#[test]
fn requests_refuse_unknown_fields_and_events_ignore_them() {
    let priced = r#"{"payment_token":"tok_visa","unit_price":1}"#;
    assert!(serde_json::from_str::<orders::CheckoutRequest>(priced).is_err());
    assert!(serde_json::from_str::<returns::RequestReturn>(r#"{"order_id":"o","refund":1}"#).is_err());
    assert!(serde_json::from_str::<provider::Faults>(r#"{"eror_rate":1}"#).is_err());
    let event = r#"{"order_id":"o","user_id":"u","code":"c","return_id":"r","later":true}"#;
    assert!(serde_json::from_str::<returns::ReturnRefused>(event).is_ok());
}

#[test]
fn event_types_are_unique() {
    let kinds: BTreeSet<_> = EVENTS.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), EVENTS.len());
}
