//! Rate limits on the path of a request, and the headers by which a client can keep to them.
//!
//! Headers: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers, one item a limit that applied,
//! and `Retry-After` on a 429.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;
use leeward_resilience::rate::{self, Decision, KeyedRateLimiter, RateLimit};
use leeward_resilience::{Clock, ConfigErrors, Instant};

use crate::decisions::{Ruling, Setting};
use crate::lines::Answering;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::Pending;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Limits that one request can meet: by address, by user, and the route's own.
const LIMITS_MAX: usize = 3;
/// What all of them say as a rule, in bytes: room for it is made at once.
const STATE_BYTES: usize = 96;

/// One limit with the text that describes it.
pub(crate) struct Limiter<K> {
    name: &'static str,
    policy: Box<str>,
    limit: RateLimit,
    /// Who has used how much: that outlives the configuration.
    inner: Arc<KeyedRateLimiter<K>>,
}

impl<K> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The limit by address.
pub(crate) type ByAddress = Limiter<IpAddr>;
/// A limit by user, or by address where anyone may come.
pub(crate) type ByName = Limiter<Arc<str>>;

impl<K: std::hash::Hash + Eq + Clone + Send + 'static> Limiter<K> {
    pub(crate) fn new(
        name: &'static str,
        limit: &RateLimit,
        keys_max: usize,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigErrors> {
        let inner = KeyedRateLimiter::with(rate::NAME, limit, keys_max, Arc::clone(clock), None)?;
        Ok(Self { name, policy: limit.policy_item(name).into(), limit: *limit, inner: Arc::new(inner) })
    }

    /// The same limit under another configuration: what each key has used up stays used up.
    pub(crate) fn after(&self, limit: &RateLimit, pending: &mut Pending) -> Result<Self, ConfigErrors> {
        if self.limit != *limit {
            limit.validate()?;
            let (inner, limit) = (Arc::clone(&self.inner), *limit);
            pending.add(move || inner.reconfigure(&limit));
        }
        let policy = limit.policy_item(self.name).into();
        Ok(Self { name: self.name, policy, limit: *limit, inner: Arc::clone(&self.inner) })
    }

    /// Counts the request and notes what the client should know.
    pub(crate) fn check<Q>(&self, key: &Q, now: Instant, seen: &mut Seen) -> Result<(), Refusal>
    where
        K: std::borrow::Borrow<Q>,
        Q: ?Sized + std::hash::Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let decision = self.inner.check(key, now);
        seen.note(self.name, &self.policy, &decision);
        if decision.allowed {
            return Ok(());
        }
        let detail = format!("more requests than the limit by {} allows", self.name);
        let setting = match self.name {
            "address" => Setting::Top("rate_limits.address"),
            "principal" => Setting::Top("rate_limits.principal"),
            "password" => Setting::Top("basic.attempts"),
            _ => Setting::Route("rate_limit"),
        };
        let ruling = Ruling::by(setting)
            .number("limit", decision.limit)
            .number("period_ms", decision.period.as_millis())
            .number("burst", self.limit.burst.get())
            .number("remaining", decision.remaining);
        Err(Refusal::new(http::StatusCode::TOO_MANY_REQUESTS, code::RATE_LIMITED, Stage::RateLimit, detail)
            .retry_after(decision.retry_after)
            .hint("rate_limits or basic.attempts in the configuration, or the route's rate_limit")
            .ruled(ruling))
    }

    /// Takes back what [`Limiter::check`] has just counted for the key.
    pub(crate) fn give_back(&self, key: &K) {
        self.inner.give_back(key);
    }

    /// Keys that are remembered now.
    pub(crate) fn keys(&self) -> usize {
        self.inner.keys()
    }
}

/// What the limits of one request said.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    count: usize,
    state: String,
    policy: String,
}

impl Seen {
    fn note(&mut self, name: &str, policy: &str, decision: &Decision) {
        if self.count == LIMITS_MAX {
            return;
        }
        if self.count > 0 {
            self.state.push_str(", ");
            self.policy.push_str(", ");
        } else {
            self.state.reserve(STATE_BYTES);
            self.policy.reserve(STATE_BYTES);
        }
        self.count += 1;
        decision.push_state_item(name, &mut self.state);
        self.policy.push_str(policy);
    }

    /// Puts what was noted on the response.
    pub(crate) fn write(&self, answer: &mut Answering<'_>) {
        if self.count > 0 {
            answer.say_text(&RATELIMIT, &self.state);
            answer.say_text(&RATELIMIT_POLICY, &self.policy);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::num::NonZeroU32;

    use http::HeaderMap;

    use leeward_resilience::rate::whole_seconds;

    use super::*;
    use crate::lines::Lines;

    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

    fn limiter(limit: &RateLimit) -> ByName {
        let clock: Arc<dyn Clock> = Arc::new(leeward_resilience::TokioClock);
        Limiter::new("principal", limit, 100, &clock).unwrap()
    }

    #[test]
    fn the_headers_say_what_is_left_and_when_it_is_free_again() {
        let limit = RateLimit::per_minute(NonZeroU32::new(2).unwrap());
        let limiter = limiter(&limit);
        let mut headers = HeaderMap::new();
        let mut seen = Seen::default();
        limiter.check("u1", NOW, &mut seen).unwrap();
        let mut answer = Answering::new(&mut headers, Lines::default());
        seen.write(&mut answer);
        answer.into_lines().put_into(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"principal\";q=2;w=60");
        assert_eq!(headers["ratelimit"], "\"principal\";r=1;t=30");

        let mut seen = Seen::default();
        limiter.check("u1", NOW, &mut seen).unwrap();
        let refusal = limiter.check("u1", NOW, &mut seen).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (429, "rate_limited"));
        assert_eq!(refusal.retry_after.map(whole_seconds), Some(30));
        limiter.check("u2", NOW, &mut seen).unwrap();
    }

    #[test]
    fn nothing_is_said_where_nothing_is_limited() {
        let mut headers = HeaderMap::new();
        let mut answer = Answering::new(&mut headers, Lines::default());
        Seen::default().write(&mut answer);
        assert!(answer.into_lines().as_bytes().is_empty() && headers.is_empty());
    }
}
