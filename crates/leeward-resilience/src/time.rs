//! Time as an argument: an [`Instant`] that any clock can make, and the [`Clock`] that makes it.

use std::fmt::Debug;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A point in monotonic time: nanoseconds since an arbitrary origin.
///
/// Unlike `std::time::Instant` it can be built from a number, so that policies run on virtual time, and it is 8 bytes,
/// so that a policy can keep one in an atomic. Instants of different clocks must not be compared. Arithmetic saturates:
/// 584 years fit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// Later than any clock goes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero when `earlier` is the later one.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` before, at least the origin.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds, at most `u64::MAX`.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    // 64 bits do: `as_nanos` multiplies in 128, on the path of every call.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// Where a shell takes the time from, to hand it to the pure cores.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Wall-clock time in milliseconds since 1970, for what is stored or shown. It may jump.
    fn unix_ms(&self) -> i64;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn unix_ms(&self) -> i64 {
        (**self).unix_ms()
    }
}

/// The clock of a running process: tokio time, which a test can pause, and the system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

/// The origin lies this far before the first use, since a paused runtime may be somewhat behind real time.
const ORIGIN_MARGIN: Duration = Duration::from_secs(3600);

/// The one origin of all `TokioClock`s of the process, so that their instants can be compared.
fn origin() -> tokio::time::Instant {
    static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the clock that everything else takes its time from"
        )]
        let now = std::time::Instant::now();
        now.checked_sub(ORIGIN_MARGIN).unwrap_or(now).into()
    })
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::ZERO + tokio::time::Instant::now().saturating_duration_since(origin())
    }

    fn unix_ms(&self) -> i64 {
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the clock that everything else takes its time from"
        )]
        let now = std::time::SystemTime::now();
        let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until a test moves it. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at one second after the origin, so that a test can look back a little.
    #[must_use]
    pub fn new() -> Self {
        Self { nanos: Arc::new(AtomicU64::new(1_000_000_000)) }
    }

    /// Moves the time on.
    pub fn advance(&self, duration: Duration) {
        self.nanos.fetch_add(nanos(duration), Ordering::SeqCst);
    }
}

/// 2026-01-01T00:00:00Z: wall-clock time of a [`ManualClock`] at its origin.
const MANUAL_UNIX_MS: i64 = 1_767_225_600_000;

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.nanos.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> i64 {
        let elapsed_ms = self.nanos.load(Ordering::SeqCst) / 1_000_000;
        MANUAL_UNIX_MS.saturating_add(i64::try_from(elapsed_ms).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ZERO.saturating_sub(Duration::from_secs(1)), Instant::ZERO);
        assert_eq!(Instant::ZERO.saturating_duration_since(late), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_follows_paused_time() {
        let before = TokioClock.now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(TokioClock.now().saturating_duration_since(before), Duration::from_secs(90));
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new();
        let (before, wall) = (clock.now(), clock.unix_ms());
        assert_eq!(clock.now(), before);
        clock.clone().advance(Duration::from_millis(1500));
        assert_eq!(clock.now().saturating_duration_since(before), Duration::from_millis(1500));
        assert_eq!(clock.unix_ms() - wall, 1500);
    }
}
