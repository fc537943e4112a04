//! What handlers, consumers and the saga work with.

use std::sync::Arc;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_saga::Sagas;
use leeward_service::Client;
use leeward_store::Db;

use crate::history::History;

/// The state of the handlers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
    pub(crate) sagas: Sagas,
    pub(crate) history: History,
    pub(crate) catalog: Client,
    pub(crate) clock: Arc<dyn Clock>,
}
