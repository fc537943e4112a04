//! What can go wrong with a bus.

use crate::{envelope, pattern};

/// Why a bus refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be understood.
    #[error("bus URL `{url}` is not understood: use `memory:`, `sqlite:PATH` or `leeward://host:port`")]
    Url {
        /// What was given.
        url: String,
    },
    /// The URL names a broker for which this build has no backend.
    #[error(
        "this build has no {backend} backend for events; use `memory:`, `sqlite:PATH` or `leeward://host:port`"
    )]
    Backend {
        /// The broker.
        backend: &'static str,
    },
    /// The bus holds as much as it may, because a group does not acknowledge. Nothing of the batch was stored.
    #[error(
        "the bus holds {held_bytes} of at most {limit_bytes} bytes that some group has not acknowledged; nothing was published"
    )]
    Full {
        /// What it holds.
        held_bytes: u64,
        /// What it may hold.
        limit_bytes: u64,
    },
    /// One of the events is no event that a bus takes. Nothing of the batch was stored.
    #[error(transparent)]
    Event(#[from] envelope::Error),
    /// More in one batch than a bus takes.
    #[error("a batch of {events} events and {bytes} bytes: at most {PUBLISH_EVENTS_MAX} events and {PUBLISH_BYTES_MAX} bytes are taken", PUBLISH_EVENTS_MAX = super::PUBLISH_EVENTS_MAX, PUBLISH_BYTES_MAX = super::PUBLISH_BYTES_MAX)]
    Batch {
        /// Events in the batch.
        events: usize,
        /// Their size together.
        bytes: usize,
    },
    /// A pattern of the subscription was refused.
    #[error(transparent)]
    Pattern(#[from] pattern::Error),
    /// The group's name was refused.
    #[error(
        "`{group}` is no group name: use dot-separated segments of letters, digits, `_` and `-`, such as `catalog.stock`"
    )]
    Group {
        /// What was given.
        group: String,
    },
    /// More groups than a bus keeps.
    #[error("the bus has {limit} groups, which is the most it keeps: remove one that is no longer used")]
    Groups {
        /// The bound.
        limit: usize,
    },
    /// Somebody else subscribed for the group: the newest subscriber of a group is the only one.
    #[error("group `{group}` has a newer subscriber; a group has one at a time")]
    Superseded {
        /// The group.
        group: String,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
    /// The bus's own file failed.
    #[error("the bus's file: {0}")]
    Store(#[from] leeward_store::Error),
    /// The process that owns the bus cannot be reached, or does not answer in time. A publish may have happened.
    #[error("the bus at {owner} cannot be reached: {detail}")]
    Unavailable {
        /// Its host and port.
        owner: String,
        /// The reason.
        detail: String,
    },
    /// The owner of the bus does not accept the token.
    #[error("the bus at {owner} does not accept the token: give both processes the same one")]
    Unauthorised {
        /// Its host and port.
        owner: String,
    },
    /// The owner of the bus answered something that this version does not understand.
    #[error("the bus at {owner} answered {status}: {detail}")]
    Refused {
        /// Its host and port.
        owner: String,
        /// The HTTP status.
        status: u16,
        /// The start of its answer.
        detail: String,
    },
}

impl Error {
    /// Whether the same call can succeed after a while without anybody changing it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Unavailable { .. } => true,
            Self::Store(cause) => cause.is_temporary(),
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The brokers that a bus URL may name, whether or not this build can use them.
pub(super) fn of_scheme(scheme: &str) -> Option<Error> {
    let backend = match scheme {
        "amqp" | "amqps" => "RabbitMQ",
        "nats" | "tls" => "NATS",
        "kafka" => "Kafka",
        _ => return None,
    };
    Some(Error::Backend { backend })
}
