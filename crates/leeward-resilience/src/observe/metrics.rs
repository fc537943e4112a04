//! Names of the metrics that an [`Observer`](super::Observer) should feed, so that every Leeward process calls them the
//! same. Those of hedging, caching, fallbacks and faults are in the modules of these policies.

/// Gauge `{policy}`: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.
pub const BREAKER_STATE: &str = "leeward_breaker_state";
/// Counter `{policy, to}`: changes of a breaker's state.
pub const BREAKER_TRANSITIONS: &str = "leeward_breaker_transitions_total";
/// Counter `{policy, kind}`: calls that a policy refused.
pub const REJECTIONS: &str = "leeward_policy_rejections_total";
/// Counter `{policy, event}`: what policies in shadow mode would have done, by [`Event::name`](super::Event::name).
pub const SHADOWED: &str = "leeward_policy_shadowed_total";
/// Counter `{policy}`: attempts after the first one.
pub const RETRIES: &str = "leeward_retries_total";
/// Counter `{policy}`: failures that were not retried since the retry budget was spent.
pub const RETRY_BUDGET_EXHAUSTED: &str = "leeward_retry_budget_exhausted_total";
/// Counter `{policy}`: attempts that the attempt timeout cut short.
pub const ATTEMPT_TIMEOUTS: &str = "leeward_attempt_timeouts_total";
/// Counter `{policy, allowed}`: calls about which the store of a shared rate limit gave no answer.
pub const RATE_STORE_UNAVAILABLE: &str = "leeward_rate_store_unavailable_total";
/// Gauge `{policy}`: the limit that an adaptive limit found.
pub const ADAPTIVE_LIMIT: &str = "leeward_adaptive_limit";
/// Gauge `{policy}`: the level of priority shedding, in eighths of a class; 0 sheds nothing.
pub const SHED_LEVEL: &str = "leeward_shed_level";
/// Gauge `{policy}`: permits of a concurrency limit that are taken, from `in_flight()`.
pub const CONCURRENCY_IN_FLIGHT: &str = "leeward_concurrency_in_flight";
/// Gauge `{policy}`: calls in the queue of a concurrency limit, from `waiting()`.
pub const CONCURRENCY_WAITING: &str = "leeward_concurrency_waiting";
/// Gauge `{policy, kind}`: the version of the options in force.
pub const OPTIONS_VERSION: &str = "leeward_policy_options_version";
/// Gauge `{policy}`: keys that keyed policies know.
pub const KEYS: &str = "leeward_policy_keys";
/// Counter `{policy, busy}`: keys that keyed policies forgot to make room.
pub const KEY_EVICTIONS: &str = "leeward_policy_key_evictions_total";
/// Gauge `{policy}`: 1 while keyed breakers let everything pass.
pub const PANICKING: &str = "leeward_breaker_panicking";
