//! Whether the payment provider answers.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Deadline;
use leeward_service::Kit;
use leeward_service::health::{Check, Reading};
use leeward_telemetry::Correlation;

use crate::provider::{CallCx, PaymentProvider};

/// The check's name.
pub(crate) const CHECK: &str = "provider";

/// No payment has this key, so that asking for it changes nothing and shows what a payment would meet.
const KEY: &str = "payments/health";

/// The provider must answer within this. It is nearer than the check's own end, so that the reading can say what happened.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The provider: asked what became of a payment that never was, the same way as for a payment that is in doubt. It gates
/// nothing: without the provider orders are still taken, and wait.
pub(crate) fn provider(kit: &Kit, provider: Arc<dyn PaymentProvider>) -> Check {
    // Not the kit itself, which holds the checks.
    let (clock, rng) = (Arc::clone(&kit.clock), Arc::clone(&kit.rng));
    let check = Check::new(CHECK, move || {
        let (clock, correlation) = (Arc::clone(&clock), Correlation::new_root(&*rng));
        let provider = Arc::clone(&provider);
        async move {
            let asked_at = clock.now();
            let cx = CallCx { correlation, deadline: Deadline::after(asked_at, PATIENCE) };
            let reading = match provider.find(KEY, &cx).await {
                Ok(_nothing) => {
                    let took = clock.now().saturating_duration_since(asked_at);
                    Reading::up(format!("answered after {} ms", took.as_millis()))
                }
                Err(error) => Reading::down(error.to_string()),
            };
            reading.threshold(format!("down without an answer within {} ms", PATIENCE.as_millis()))
        }
    });
    check.informative()
}
