//! Logs to standard error, for people or as JSON lines.
//!
//! Every line written inside [`Correlation::scope`](crate::Correlation::scope) carries its ids, and the
//! fields of the
//! `tracing` spans around it if there are any. A JSON line is flat:
//!
//! ```json
//! {"timestamp":"...","level":"WARN","target":"orders","message":"payment is slow","correlation_id":"...","trace_id":"...","attempt":2}
//! ```
//!
//! Lines pass through a bounded queue to a thread of their own, so that whoever logs never waits for a slow
//! terminal or pipe. When the queue is full, lines are dropped and a line says how many.

mod human;
mod json;
mod queue;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use self::human::HumanLine;
use self::json::{Fields, JsonLine};
use self::queue::Queue;

pub use self::queue::{LINES_MAX, LogGuard};

/// Who reads the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// People at a terminal.
    #[default]
    Human,
    /// Programs: one JSON object a line.
    Json,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Who reads the logs.
    pub format: Format,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`: `info`, or
    /// `warn,leeward_saga=debug`. Default `info`.
    pub filter: String,
    /// Colours in the human format. Default: when standard error is a terminal.
    pub colour: Option<bool>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: Format::Human, filter: "info".to_owned(), colour: None }
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error(
        "`{filter}` is not a log filter: {reason}; write a level, such as `info`, or `info,leeward_saga=debug`"
    )]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The writing thread cannot be started.
    #[error("cannot start the log writer: {0}")]
    Thread(#[source] io::Error),
    /// Logging was set up before.
    #[error("logging is set up already")]
    AlreadySetUp(#[source] TryInitError),
}

/// Sets up logging for the process, panics included.
///
/// Lines are written until the guard is dropped, which waits up to a second for those still queued: keep it
/// until the end of `main`.
///
/// # Errors
/// See [`Error`].
pub fn init(options: &LogOptions) -> Result<LogGuard, Error> {
    let (queue, guard) = Queue::start(io::stderr()).map_err(Error::Thread)?;
    let is_coloured = options.colour.unwrap_or_else(|| io::stderr().is_terminal());
    boxed(options, is_coloured, queue)?.try_init().map_err(Error::AlreadySetUp)?;
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(location = panic.location().map(tracing::field::display), "panic: {panic}");
        // Where logging is filtered to nothing the message must not be lost.
        if !tracing::enabled!(tracing::Level::ERROR) {
            default_hook(panic);
        }
    }));
    Ok(guard)
}

/// What [`init`] installs, writing to `writer`: for a test that looks at its logs.
///
/// # Errors
/// [`Error::Filter`].
pub fn subscriber<W>(options: &LogOptions, writer: W) -> Result<impl Subscriber + Send + Sync, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    boxed(options, options.colour.unwrap_or(false), writer)
}

fn boxed<W>(
    options: &LogOptions,
    is_coloured: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&options.filter);
    let filter = filter
        .map_err(|error| Error::Filter { filter: options.filter.clone(), reason: error.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match options.format {
        Format::Human => Box::new(registry.with(layer.with_ansi(is_coloured).event_format(HumanLine))),
        Format::Json => {
            Box::new(registry.with(layer.with_ansi(false).fmt_fields(Fields::new()).event_format(JsonLine)))
        }
    })
}
