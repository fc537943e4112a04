//! What the policies do as span events: names and attribute keys as OpenTelemetry has them, made without allocating.

use std::time::Duration;

use super::Event;
use crate::fault::Fault;
use crate::outcome::Rejected;

/// A breaker changed its state.
pub const BREAKER_CHANGED: &str = "leeward.breaker.changed";
/// A policy refused a call.
pub const REJECTED: &str = "leeward.rejected";
/// A policy in shadow mode would have refused a call.
pub const WOULD_REJECT: &str = "leeward.would_reject";
/// Another attempt follows a failure.
pub const RETRYING: &str = "leeward.retrying";
/// Another attempt would have followed.
pub const WOULD_RETRY: &str = "leeward.would_retry";
/// A failure was not retried, since the budget was spent.
pub const RETRY_BUDGET_EXHAUSTED: &str = "leeward.retry_budget_exhausted";
/// An attempt was cut short.
pub const ATTEMPT_TIMEOUT: &str = "leeward.attempt_timeout";
/// An attempt would have been cut short.
pub const WOULD_TIME_OUT: &str = "leeward.would_time_out";
/// A hedge was sent.
pub const HEDGED: &str = "leeward.hedged";
/// A hedge would have been sent.
pub const WOULD_HEDGE: &str = "leeward.would_hedge";
/// A hedge had the first good answer.
pub const HEDGE_WON: &str = "leeward.hedge_won";
/// A hedge was not sent, since the budget was spent.
pub const HEDGE_REFUSED: &str = "leeward.hedge_refused";
/// A cache gave an answer.
pub const CACHE_ANSWERED: &str = "leeward.cache.answered";
/// A cache would have given an answer.
pub const WOULD_ANSWER: &str = "leeward.would_answer";
/// The store of a shared rate limit gave no answer.
pub const RATE_STORE_UNAVAILABLE: &str = "leeward.rate_store_unavailable";
/// An adaptive limit found another value.
pub const ADAPTIVE_LIMIT_CHANGED: &str = "leeward.adaptive_limit.changed";
/// Priority shedding changed its level.
pub const SHED_LEVEL_CHANGED: &str = "leeward.shed_level.changed";
/// A fallback was asked for a substitute.
pub const FELL_BACK: &str = "leeward.fell_back";
/// A fallback would have been asked for a substitute.
pub const WOULD_FALL_BACK: &str = "leeward.would_fall_back";
/// A fault was injected.
pub const FAULT_INJECTED: &str = "leeward.fault_injected";
/// A fault would have been injected.
pub const WOULD_FAULT: &str = "leeward.would_fault";
/// Other options came into force.
pub const RECONFIGURED: &str = "leeward.reconfigured";
/// Keyed policies forgot a key.
pub const KEY_EVICTED: &str = "leeward.key_evicted";
/// Keyed breakers began or ceased to let everything pass.
pub const PANIC_CHANGED: &str = "leeward.breaker.panic_changed";

/// Keys of the attributes.
pub mod keys {
    /// The name of the handle or the pipeline: what an observer was told beside the event.
    pub const NAME: &str = "leeward.policy.name";
    /// The policy: one of the `NAME` constants of the policy modules.
    pub const POLICY: &str = "leeward.policy";
    /// Why it refused: [`Reason::as_str`](crate::Reason::as_str).
    pub const REASON: &str = "leeward.reason";
    /// The version of the options.
    pub const VERSION: &str = "leeward.options.version";
    /// When it is worth trying again, in milliseconds.
    pub const RETRY_AFTER_MS: &str = "leeward.retry_after_ms";
    /// State, limit or level before.
    pub const FROM: &str = "leeward.from";
    /// State, limit or level after.
    pub const TO: &str = "leeward.to";
    /// The number of an attempt.
    pub const ATTEMPT: &str = "leeward.attempt";
    /// A wait before an attempt, in milliseconds.
    pub const DELAY_MS: &str = "leeward.delay_ms";
    /// A timeout, in milliseconds.
    pub const TIMEOUT_MS: &str = "leeward.timeout_ms";
    /// Where an answer came from.
    pub const SOURCE: &str = "leeward.cache.source";
    /// Whether a call passed.
    pub const ALLOWED: &str = "leeward.allowed";
    /// Why a substitute was asked for.
    pub const CAUSE: &str = "leeward.cause";
    /// Whether there was one.
    pub const ANSWERED: &str = "leeward.answered";
    /// What went wrong on purpose.
    pub const FAULT: &str = "leeward.fault";
    /// What was waited on purpose, in milliseconds.
    pub const LATENCY_MS: &str = "leeward.fault.latency_ms";
    /// Whether a key had something to forget.
    pub const BUSY: &str = "leeward.key.busy";
    /// Whether everything passes.
    pub const PANICKING: &str = "leeward.panicking";
    /// Keys whose breaker is not closed.
    pub const OPEN: &str = "leeward.keys.open";
    /// All keys.
    pub const KEYS: &str = "leeward.keys";
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A word.
    Str(&'static str),
    /// A number.
    U64(u64),
    /// A fraction, of milliseconds mostly.
    F64(f64),
    /// Yes or no.
    Bool(bool),
}

/// The most attributes that one event has.
const ATTRIBUTES_MAX: usize = 4;

/// An [`Event`] as it is added to a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanEvent {
    /// One of the constants of this module.
    pub name: &'static str,
    attributes: [(&'static str, Value); ATTRIBUTES_MAX],
    len: usize,
}

impl SpanEvent {
    const fn new(name: &'static str) -> Self {
        Self { name, attributes: [("", Value::Bool(false)); ATTRIBUTES_MAX], len: 0 }
    }

    /// The attributes, each with one of the [`keys`].
    #[must_use]
    pub fn attributes(&self) -> &[(&'static str, Value)] {
        &self.attributes[..self.len]
    }

    fn with(mut self, key: &'static str, value: Value) -> Self {
        self.attributes[self.len] = (key, value);
        self.len += 1;
        self
    }

    fn word(self, key: &'static str, value: &'static str) -> Self {
        self.with(key, Value::Str(value))
    }

    fn number(self, key: &'static str, value: u32) -> Self {
        self.with(key, Value::U64(value.into()))
    }

    fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Value::Bool(value))
    }

    fn ms(self, key: &'static str, value: impl Into<Option<Duration>>) -> Self {
        match value.into() {
            Some(duration) => self.with(key, Value::F64(duration.as_secs_f64() * 1000.0)),
            None => self,
        }
    }

    fn rejected(self, rejected: &Rejected) -> Self {
        self.word(keys::POLICY, rejected.policy)
            .word(keys::REASON, rejected.reason.as_str())
            .number(keys::VERSION, rejected.version)
            .ms(keys::RETRY_AFTER_MS, rejected.retry_after)
    }

    fn fault(self, latency: Option<Duration>, fault: Option<Fault>) -> Self {
        let this = self.ms(keys::LATENCY_MS, latency);
        match fault {
            Some(fault) => this.word(keys::FAULT, fault.as_str()),
            None => this,
        }
    }
}

impl Event {
    /// The name of its span event: one of the constants of [`span_events`](self).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BreakerChanged { .. } => BREAKER_CHANGED,
            Self::Rejected(_) => REJECTED,
            Self::WouldReject(_) => WOULD_REJECT,
            Self::Retrying { .. } => RETRYING,
            Self::WouldRetry { .. } => WOULD_RETRY,
            Self::RetryBudgetExhausted => RETRY_BUDGET_EXHAUSTED,
            Self::AttemptTimeout { .. } => ATTEMPT_TIMEOUT,
            Self::WouldTimeOut { .. } => WOULD_TIME_OUT,
            Self::Hedged { .. } => HEDGED,
            Self::WouldHedge { .. } => WOULD_HEDGE,
            Self::HedgeWon => HEDGE_WON,
            Self::HedgeRefused => HEDGE_REFUSED,
            Self::CacheAnswered { .. } => CACHE_ANSWERED,
            Self::WouldAnswer { .. } => WOULD_ANSWER,
            Self::RateStoreUnavailable { .. } => RATE_STORE_UNAVAILABLE,
            Self::AdaptiveLimitChanged { .. } => ADAPTIVE_LIMIT_CHANGED,
            Self::ShedLevelChanged { .. } => SHED_LEVEL_CHANGED,
            Self::FellBack { .. } => FELL_BACK,
            Self::WouldFallBack { .. } => WOULD_FALL_BACK,
            Self::FaultInjected { .. } => FAULT_INJECTED,
            Self::WouldFault { .. } => WOULD_FAULT,
            Self::Reconfigured { .. } => RECONFIGURED,
            Self::KeyEvicted { .. } => KEY_EVICTED,
            Self::PanicChanged { .. } => PANIC_CHANGED,
        }
    }

    /// Whether a policy in shadow mode says what it would have done.
    #[must_use]
    pub const fn is_shadow(&self) -> bool {
        matches!(
            self,
            Self::WouldReject(_)
                | Self::WouldRetry { .. }
                | Self::WouldTimeOut { .. }
                | Self::WouldHedge { .. }
                | Self::WouldAnswer { .. }
                | Self::WouldFallBack { .. }
                | Self::WouldFault { .. }
        )
    }

    /// The event as it is added to a span.
    #[must_use]
    pub fn span_event(&self) -> SpanEvent {
        let event = SpanEvent::new(self.name());
        match self {
            Self::BreakerChanged { from, to } => {
                event.word(keys::FROM, from.as_str()).word(keys::TO, to.as_str())
            }
            Self::Rejected(rejected) | Self::WouldReject(rejected) => event.rejected(rejected),
            Self::Retrying { attempt, delay }
            | Self::WouldRetry { attempt, delay }
            | Self::Hedged { attempt, delay }
            | Self::WouldHedge { attempt, delay } => {
                event.number(keys::ATTEMPT, *attempt).ms(keys::DELAY_MS, *delay)
            }
            Self::AttemptTimeout { after } | Self::WouldTimeOut { after } => {
                event.ms(keys::TIMEOUT_MS, *after)
            }
            Self::RetryBudgetExhausted | Self::HedgeWon | Self::HedgeRefused => event,
            Self::CacheAnswered { from } | Self::WouldAnswer { from } => {
                event.word(keys::SOURCE, from.as_str())
            }
            Self::RateStoreUnavailable { allowed } => event.flag(keys::ALLOWED, *allowed),
            Self::AdaptiveLimitChanged { from, to } | Self::ShedLevelChanged { from, to } => {
                event.number(keys::FROM, *from).number(keys::TO, *to)
            }
            Self::FellBack { cause, answered } => {
                event.word(keys::CAUSE, cause.as_str()).flag(keys::ANSWERED, *answered)
            }
            Self::WouldFallBack { cause } => event.word(keys::CAUSE, cause.as_str()),
            Self::FaultInjected { latency, fault } | Self::WouldFault { latency, fault } => {
                event.fault(*latency, *fault)
            }
            Self::Reconfigured { policy, version } => {
                event.word(keys::POLICY, policy).number(keys::VERSION, *version)
            }
            Self::KeyEvicted { busy } => event.flag(keys::BUSY, *busy),
            Self::PanicChanged { panicking, open, keys } => event
                .flag(self::keys::PANICKING, *panicking)
                .number(self::keys::OPEN, *open)
                .number(self::keys::KEYS, *keys),
        }
    }
}
