//! Whether a policy acts, or only says what it would do.
//!
//! **Rule.** A policy in shadow learns from every outcome and decides as if it acted; only the decision has no effect. Which
//! calls it would have refused, repeated or cut short the observer hears. Every policy's options have a mode.
//!
//! In shadow mode a policy keeps its state (windows, permits, levels, budgets) as if it acted, so that what it says is what it
//! would do. What an accessor counts as done (hedges sent, answers given, calls touched) is only what was done: the rest
//! are the [`Event`](crate::Event)s for which [`Event::is_shadow`](crate::Event::is_shadow) holds.
//!
//! Trade-off: a shadow sees the traffic of a process in which it does not act. What it would have refused was sent, and goes on
//! to count; a breaker in shadow therefore opens and recovers on other numbers than one that keeps the calls away.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Call, Class, Mode, Pipeline, Timeout};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let watched = Timeout { after: Duration::from_millis(50), mode: Mode::Shadow };
//! let pipeline = Pipeline::builder("search").attempt_timeout(watched).build()?;
//! let slow = async |_| {
//!     tokio::time::sleep(Duration::from_millis(80)).await;
//!     Ok::<_, &str>("found")
//! };
//! assert_eq!(pipeline.call(Call::REPLAYABLE, slow, |_| Class::Success).await, Ok("found"));
//! # Ok(())
//! # }
//! ```

use std::fmt;

/// Every policy that can refuse, repeat, replace or cut short a call has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It acts. The default.
    #[default]
    Enforced,
    /// It counts and decides as if it acted, tells the observer what it would have done, and lets the call pass: for
    /// trying out a policy, or other options for one, on real traffic.
    Shadow,
}

impl Mode {
    /// The name in configurations, metrics and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Shadow => "shadow",
        }
    }

    /// Whether it only watches.
    #[must_use]
    pub const fn is_shadow(self) -> bool {
        matches!(self, Self::Shadow)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
