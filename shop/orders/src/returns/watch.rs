//! Following a return through what inventory and payments say about it.

use leeward_events::Outbox;
use leeward_store::Tx;
use leeward_telemetry::Correlation;
use shop_contracts::ReturnId;
use shop_contracts::returns::{ReturnCompleted, ReturnRefused, ReturnStatus};

use super::book::{self, Moved};
use super::status::Event;
use crate::Error;

/// How many returns are overdue.
pub(crate) const OVERDUE_METRIC: &str = "shop_returns_overdue";

/// Moves the return on, and tells when it has ended.
pub(crate) async fn follow(
    tx: &mut Tx,
    outbox: &Outbox,
    return_id: &ReturnId,
    event: Event,
    refusal: Option<&str>,
    cause: &Correlation,
    now_ms: i64,
) -> Result<(), Error> {
    let moved = book::advance(tx, return_id.as_str(), event, refusal, now_ms).await?;
    let Some(Moved { user_id, entry }) = moved else { return Ok(()) };
    match entry.status {
        ReturnStatus::Completed => {
            let (return_id, order_id, refund) = (entry.return_id, entry.order_id, entry.refund);
            outbox.append(tx, &ReturnCompleted { return_id, order_id, user_id, refund }, cause).await?;
        }
        ReturnStatus::Refused => {
            let (return_id, order_id) = (entry.return_id, entry.order_id);
            let code = entry.refusal.unwrap_or_else(|| "refund_refused".into());
            outbox.append(tx, &ReturnRefused { return_id, order_id, user_id, code }, cause).await?;
        }
        ReturnStatus::Requested
        | ReturnStatus::Received
        | ReturnStatus::Restocked
        | ReturnStatus::RefundRefused => {}
    }
    Ok(())
}
