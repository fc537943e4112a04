//! What a program's own event type must say about itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A typed event: something that happened, named in the past tense, owned by one service.
///
/// ```
/// use leeward_events::Event;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct OrderPlaced { order_id: String, total_minor: i64 }
///
/// impl Event for OrderPlaced {
///     const TYPE: &'static str = "order.placed";
///     const VERSION: u32 = 1;
///     fn key(&self) -> String { self.order_id.clone() }
/// }
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind: dot-separated segments of letters, digits, `_` and `-` (see [`Pattern`](crate::Pattern)).
    const TYPE: &'static str;

    /// The version of the data's form, from 1. Adding an optional field keeps it; anything that an older reader would
    /// misread raises it, and [`Event::decode`] then reads the older forms too.
    const VERSION: u32;

    /// The key whose events are delivered in order: most often the id of the thing that changed. Never empty.
    fn key(&self) -> String;

    /// Reads the data of an event that was written in version `version`.
    ///
    /// The default reads every version up to [`Event::VERSION`] as this type and refuses a newer one, which this program
    /// cannot know. A type with several incompatible versions overrides it.
    ///
    /// # Errors
    /// [`DecodeError`]: the event cannot be read by this program, however often it is tried.
    fn decode(version: u32, data: &str) -> Result<Self, DecodeError> {
        if version > Self::VERSION {
            return Err(DecodeError::Newer { kind: Self::TYPE, found: version, known: Self::VERSION });
        }
        serde_json::from_str(data)
            .map_err(|cause| DecodeError::Data { kind: Self::TYPE, detail: cause.to_string() })
    }
}

/// Why the data of an event could not be read. Trying again does not help: the event becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event was written by a newer program.
    #[error(
        "{kind} is at version {found}, this program reads up to {known}: deploy the reader first, then replay"
    )]
    Newer {
        /// The event's kind.
        kind: &'static str,
        /// The version in the envelope.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The data is not what the type expects.
    #[error("data of {kind} cannot be read: {detail}")]
    Data {
        /// The event's kind.
        kind: &'static str,
        /// What the parser says; no value of the data is in it beyond what the parser quotes.
        detail: String,
    },
}
