use std::borrow::Cow;
use std::sync::Arc;

use leeward_resilience::{Clock, Instant};
use tokio::sync::mpsc;

use super::{SpanKind, Value};
use crate::metrics::Counter;
use crate::trace::TraceContext;

/// The queue of finished spans between the code that makes them and the task that exports them. A clone is
/// another end of the same queue.
///
/// Recording never waits: when the queue is full the span is dropped and counted.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Finished>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    sampling: Sampling,
    counts: Counts,
}

pub(crate) type Receiver = mpsc::Receiver<Finished>;

/// What became of spans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) recorded: Counter,
    pub(crate) dropped: Counter,
}

/// Which traces are recorded: those that are sampled and whose id falls under the share. Deciding by the
/// trace id makes every process decide alike, so a trace is whole or absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    /// Traces whose id's lower half is below this are recorded; all of them at `u64::MAX`.
    below: u64,
}

impl Sampling {
    /// `share` from 0 (nothing) to 1 (all).
    pub(crate) fn share(share: f64) -> Self {
        if share >= 1.0 {
            return Self { below: u64::MAX };
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the cast saturates at both ends, and a share needs no more than 52 bits"
        )]
        let below = (share.max(0.0) * u64::MAX as f64) as u64;
        Self { below }
    }

    fn takes(self, context: &TraceContext) -> bool {
        let low_half = u64::try_from(context.trace_id() & u128::from(u64::MAX)).unwrap_or_default();
        context.is_sampled() && (self.below == u64::MAX || low_half < self.below)
    }
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) context: TraceContext,
    /// None for the first span of a trace.
    pub(crate) parent_span_id: Option<u64>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    pub(crate) service: Arc<str>,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) attributes_dropped: u32,
    pub(crate) error: Option<String>,
}

impl Recorder {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        sampling: Sampling,
        counts: Counts,
        queue_spans: usize,
    ) -> (Self, Receiver) {
        let (queue, receiver) = mpsc::channel(queue_spans);
        (Self { shared: Arc::new(Shared { clock, sampling, counts }), queue }, receiver)
    }

    pub(crate) fn samples(&self, context: &TraceContext) -> bool {
        self.shared.sampling.takes(context)
    }

    pub(crate) fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    pub(crate) fn record(&self, span: Finished) {
        let counter = match self.queue.try_send(span) {
            Ok(()) => &self.shared.counts.recorded,
            Err(_full_or_closed) => &self.shared.counts.dropped,
        };
        counter.inc();
    }
}
