//! What a host says about one service.

use std::path::PathBuf;
use std::sync::Arc;

use leeward_discovery::Directory;
use leeward_events::{Bus, Dedupe};
use leeward_resilience::{Clock, FastRng, Rng, TokioClock};
use leeward_runtime::Tasks;

use crate::client::Transport;
use crate::health;
use crate::identity::Issuers;
use crate::inbound::InboundOptions;

/// What a host says about one service. Start from [`KitOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct KitOptions {
    /// The service's name: in assertions, headers, metrics, the directory.
    pub name: Arc<str>,
    /// The folder for its database and its key. Several services may share one.
    pub data: PathBuf,
    /// The database; `sqlite:DATA/NAME.db` when none is given.
    pub database_url: Option<String>,
    /// How the database is opened.
    pub database: leeward_store::Options,
    /// Where the other services are.
    pub peers: Directory,
    /// Where events go and come from.
    pub bus: Bus,
    /// What remembers handled events in place of the [`Inbox`](leeward_events::Inbox).
    pub dedupe: Option<Arc<dyn Dedupe>>,
    /// Who owns the service's tasks. Each service takes a child of it, with its name as the prefix.
    pub tasks: Tasks,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter and ids.
    pub rng: Arc<dyn Rng>,
    /// The connections to other services. Services of one process share them.
    pub transport: Transport,
    /// Whether an operator may inject faults.
    pub allow_faults: bool,
    /// Whose assertions count at all. Default: everybody's in the directory. A host whose directory also says where outside
    /// parties are must name its own.
    pub issuers: Issuers,
    /// Who may speak for an operator and say which roles a user has: the gateway, where both prove who they are.
    pub gateways: Vec<Arc<str>>,
    /// The inbound stack.
    pub inbound: InboundOptions,
    /// Above this the memory check degrades.
    pub memory_degraded_bytes: u64,
}

impl KitOptions {
    /// A service of this name with its data in `data`, and defaults for the rest.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, data: impl Into<PathBuf>, peers: Directory, bus: Bus) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            database_url: None,
            database: leeward_store::Options::default(),
            peers,
            bus,
            dedupe: None,
            tasks: Tasks::new(),
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
            transport: Transport::new(),
            allow_faults: false,
            issuers: Issuers::Directory,
            gateways: vec!["gateway".into()],
            inbound: InboundOptions::default(),
            memory_degraded_bytes: health::MEMORY_DEGRADED_BYTES,
        }
    }
}
