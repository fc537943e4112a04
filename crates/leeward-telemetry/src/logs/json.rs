use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::correlation::Correlation;

/// Spans keep their fields as a JSON object each.
pub(super) type Fields = JsonFields;

/// The names that a line uses itself; a field of such a name is written with `field_` before it.
const OURS: [&str; 3] = ["timestamp", "level", "target"];

/// One flat JSON object an event: the ids of the work, the fields of the spans around it, outermost first,
/// then its own; of two with one name the inner one stands.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        Correlation::with_current(|work| {
            fields.insert("correlation_id".to_owned(), (*work.correlation_id).into());
            fields.insert("trace_id".to_owned(), format!("{:032x}", work.trace.trace_id()).into());
            fields.extend(work.causation_id.iter().map(|id| ("causation_id".to_owned(), Value::from(&**id))));
            Ok(())
        })?;
        for span in cx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let written = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
            if let Ok(Value::Object(more)) = serde_json::from_str(written) {
                fields.extend(more.into_iter().map(|(name, value)| (ours_apart(&name), value)));
            }
        }
        event.record(&mut Own(&mut fields));
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        write!(
            line,
            r#"{{"timestamp":"{timestamp}","level":"{}","target":"{}""#,
            metadata.level(),
            metadata.target()
        )?;
        if let Some(message) = fields.remove("message") {
            write!(line, r#","message":{message}"#)?;
        }
        for (name, value) in fields {
            write!(line, ",{}:{value}", Value::String(name))?;
        }
        writeln!(line, "}}")
    }
}

fn ours_apart(name: &str) -> String {
    if OURS.contains(&name) { format!("field_{name}") } else { name.to_owned() }
}

/// Collects the event's own fields.
struct Own<'m>(&'m mut Map<String, Value>);

impl Own<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(ours_apart(field.name()), value.into());
    }
}

impl Visit for Own<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
