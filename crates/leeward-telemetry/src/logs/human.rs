use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::correlation::Correlation;

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Time, level, target, message and fields, then the fields of the spans around and the ids of the work,
/// which are long and seldom looked at.
#[derive(Debug)]
pub(super) struct HumanLine;

impl<S, N> FormatEvent<S, N> for HumanLine
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
        let (dim, plain) = if line.has_ansi_escapes() { (DIM, PLAIN) } else { ("", "") };
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        line.write_str(dim)?;
        SystemTime.format_time(&mut line)?;
        let colour = if line.has_ansi_escapes() { colour(level) } else { "" };
        // Padded by hand: `Level` does not pad itself.
        write!(line, "{plain} {colour}{:>5}{plain} {dim}{target}:{plain} ", level.as_str())?;
        cx.format_fields(line.by_ref(), event)?;
        line.write_str(dim)?;
        for span in cx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
            if !fields.is_empty() {
                write!(line, " {fields}")?;
            }
        }
        Correlation::with_current(|work| {
            write!(line, " correlation_id={} trace_id={:032x}", work.correlation_id, work.trace.trace_id())?;
            work.causation_id.iter().try_for_each(|id| write!(line, " causation_id={id}"))
        })?;
        writeln!(line, "{plain}")
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG | Level::TRACE => "\u{1b}[34m",
    }
}
