//! The JSON form of an envelope is a promise to programs in other languages and to files written earlier: a golden file pins it.

use leeward_events::{DecodeError, Envelope, Event, envelope};
use leeward_resilience::FastRng;
use leeward_telemetry::{Correlation, TraceContext};
use serde::{Deserialize, Serialize};

const GOLDEN: &str = include_str!("golden/envelope.json");

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total_minor: i64,
}

impl Event for OrderPlaced {
    const TYPE: &'static str = "order.placed";
    const VERSION: u32 = 2;
    fn key(&self) -> String {
        self.order_id.clone()
    }
}

fn placed() -> OrderPlaced {
    OrderPlaced { order_id: "o-17".into(), total_minor: 1999 }
}

fn envelope() -> Envelope {
    let cause = Correlation {
        correlation_id: "c-1".into(),
        causation_id: Some("01945c1e-7c00-7000-8000-000000000000".into()),
        trace: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap(),
    };
    let id = "01945c1e-7c00-7000-8000-000000000001";
    Envelope::new(&placed(), id, "orders", 1_769_850_300_250, &cause).unwrap()
}

#[test]
fn the_json_is_the_golden_file() {
    let json = String::from_utf8(envelope().to_json().unwrap()).unwrap();
    assert_eq!(json, GOLDEN.trim_end());
    assert_eq!(serde_json::to_string(&envelope()).unwrap(), GOLDEN.trim_end());
}

#[test]
fn the_golden_file_is_read_back() {
    let read: Envelope = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(read.decode::<OrderPlaced>().unwrap(), placed());
    assert_eq!((read.time_ms, read.version, read.log_seq), (1_769_850_300_250, 2, None));
    assert_eq!(read.to_json().unwrap(), GOLDEN.trim_end().as_bytes());
    let next = read.correlation(&FastRng::seeded(1));
    assert_eq!((&*next.correlation_id, next.causation_id.as_deref()), ("c-1", Some(&*read.id)));
    assert_eq!(next.trace.header_value(), read.traceparent.as_deref().unwrap());
}

#[test]
fn an_event_of_another_program_needs_only_what_the_standard_requires() {
    let least =
        r#"{"type":"a.b","source":"//elsewhere","id":"7","specversion":"1.0","unknown":[1,{"x":"}"}]}"#;
    let event = Envelope::parse(least.as_bytes()).unwrap();
    assert_eq!(
        (&*event.subject, &*event.correlation_id, event.version, event.data.get()),
        ("7", "7", 1, "null")
    );
    assert!(event.traceparent.is_none());
    assert_eq!(&*event.correlation(&FastRng::seeded(1)).correlation_id, "7");
}

#[test]
fn what_is_no_event_says_why() {
    let with =
        |from: &str, to: &str| Envelope::parse(GOLDEN.trim_end().replace(from, to).as_bytes()).unwrap_err();
    let attribute = |error: envelope::Error| match error {
        envelope::Error::Attribute { attribute, .. } => attribute,
        other => panic!("{other:?}"),
    };
    assert_eq!(attribute(with("\"1.0\"", "\"0.3\"")), "specversion");
    assert_eq!(attribute(with("order.placed", "order placed")), "type");
    assert_eq!(attribute(with("\"source\":\"orders\"", "\"source\":\"\"")), "source");
    assert_eq!(attribute(with("2026-01-31T", "2026-02-31T")), "time");
    assert_eq!(attribute(with("o-17\",\"time", &format!("{}\",\"time", "k".repeat(257)))), "subject");
    assert!(matches!(with("\"source\":\"orders\",", ""), envelope::Error::Syntax { .. }));
    assert!(matches!(
        with("o-17\"", &format!("{}\"", "x".repeat(300_000))),
        envelope::Error::TooLarge { .. }
    ));
}

#[test]
fn a_newer_form_of_the_data_is_refused_and_an_older_one_read() {
    let mut event = envelope();
    event.version = 1;
    assert!(event.decode::<OrderPlaced>().is_ok());
    event.version = 3;
    let refused = event.decode::<OrderPlaced>().unwrap_err();
    assert_eq!(refused, DecodeError::Newer { kind: "order.placed", found: 3, known: 2 });
}
