//! What two pipelines have in common.

use super::PipelineOptions;

/// A policy with a state, which a pipeline may [share](super::PipelineBuilder::sharing) with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Retry, hedging, and the budget that both draw on.
    Retries,
    /// The throttle.
    Throttle,
    /// The breaker.
    Breaker,
    /// The rate limit.
    RateLimit,
    /// The limit that adapts.
    Adaptive,
    /// The fixed limit.
    Concurrency,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Retries, Self::Throttle, Self::Breaker, Self::RateLimit, Self::Adaptive, Self::Concurrency];

    /// The options with those of another pipeline for this part.
    pub(super) fn taken(self, from: &PipelineOptions, options: PipelineOptions) -> PipelineOptions {
        let from = from.clone();
        match self {
            Self::Retries => PipelineOptions { retry: from.retry, hedge: from.hedge, ..options },
            Self::Throttle => PipelineOptions { throttle: from.throttle, ..options },
            Self::Breaker => PipelineOptions { breaker: from.breaker, ..options },
            Self::RateLimit => PipelineOptions { rate_limit: from.rate_limit, ..options },
            Self::Adaptive => PipelineOptions { adaptive: from.adaptive, ..options },
            Self::Concurrency => PipelineOptions { concurrency: from.concurrency, ..options },
        }
    }
}
