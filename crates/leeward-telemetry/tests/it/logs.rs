use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use leeward_resilience::FastRng;
use leeward_telemetry::Correlation;
use leeward_telemetry::logs::{self, Format, LogOptions};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Paper {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// What is written while `act` runs.
fn written(format: Format, filter: &str, act: impl FnOnce()) -> String {
    let paper = Paper::default();
    let options = LogOptions { format, filter: filter.to_owned(), colour: None };
    let subscriber = logs::subscriber(&options, paper.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = paper.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn correlation() -> Correlation {
    Correlation { correlation_id: "order-17".into(), ..Correlation::new_root(&FastRng::seeded(3)) }
}

#[test]
fn a_json_line_is_flat_and_carries_the_ids() {
    let work = correlation().caused_by("event-9");
    let text = written(Format::Json, "info", || {
        work.clone().sync_scope(|| {
            let _step = tracing::info_span!("step", step = "capture", attempt = 1).entered();
            tracing::warn!(
                attempt = 2,
                slow = true,
                ratio = 0.5,
                level = "high",
                "payment is \"slow\"\nvery"
            );
        });
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["correlation_id"], "order-17");
    assert_eq!(line["causation_id"], "event-9");
    assert_eq!(line["trace_id"], format!("{:032x}", work.trace.trace_id()));
    assert_eq!(line["step"], "capture");
    assert_eq!(line["attempt"], 2, "the innermost value stands");
    assert_eq!(line["slow"], true);
    assert_eq!(line["ratio"], 0.5);
    assert_eq!(line["message"], "payment is \"slow\"\nvery");
    assert_eq!((&line["level"], &line["field_level"]), (&"WARN".into(), &"high".into()));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(line["target"].as_str().unwrap().contains("logs"));
    assert!(text.starts_with("{\"timestamp\""));
}

#[test]
fn a_human_line_carries_the_ids_too() {
    let text = written(Format::Human, "info", || {
        let _step = tracing::info_span!("step", step = "capture").entered();
        correlation().sync_scope(|| tracing::info!(amount = 5, "paid"));
        tracing::info!("outside");
    });
    let (inside, outside) = text.split_once('\n').unwrap();
    for part in [" INFO ", "logs: paid amount=5 step=\"capture\" correlation_id=order-17 trace_id="] {
        assert!(inside.contains(part), "{part} in {inside}");
    }
    assert!(outside.contains("outside") && !outside.contains("order-17"), "{outside}");
    assert!(!text.contains('\u{1b}'), "no colours unless asked for: {text:?}");
}

#[tokio::test]
async fn the_ids_stay_with_their_future_across_awaits() {
    let paper = Paper::default();
    let options = LogOptions { format: Format::Json, ..LogOptions::default() };
    let _logs = tracing::subscriber::set_default(logs::subscriber(&options, paper.clone()).unwrap());
    let work = |id: &'static str| {
        let work = Correlation { correlation_id: id.into(), ..correlation() };
        work.scope(async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                tracing::info!(of = id, "step");
            }
        })
    };
    tokio::join!(work("one"), work("two"));
    let bytes = paper.0.lock().unwrap().clone();
    let lines: Vec<Value> =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line["of"] == line["correlation_id"]), "{lines:?}");
}

#[test]
fn the_filter_decides_and_a_bad_one_says_so() {
    let text = written(Format::Json, "warn", || {
        tracing::info!("quiet");
        tracing::warn!("loud");
    });
    assert!(!text.contains("quiet") && text.contains("loud"), "{text}");
    let options = LogOptions { filter: "a=b=c".to_owned(), ..LogOptions::default() };
    let error = logs::subscriber(&options, io::sink).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("`a=b=c` is not a log filter"), "{error}");
}

#[test]
fn set_up_twice_is_an_error() {
    let guard = logs::init(&LogOptions { filter: "off".to_owned(), ..LogOptions::default() }).unwrap();
    let second = logs::init(&LogOptions::default());
    assert!(matches!(second, Err(logs::Error::AlreadySetUp(_))));
    drop(guard);
}
