//! Command and reply over the bus: one service asks another to do something and is told what became of it.
//!
//! The command goes out with the transaction that decided to send it ([`send`]): a saga's journal row and the command commit
//! together or not at all. The participant's handler ([`ConsumerBuilder::on_command`](crate::ConsumerBuilder::on_command))
//! changes its rows and gives the reply, which is appended to its outbox in the same transaction. The requester's consumer
//! ([`ConsumerBuilder::replies_to`](crate::ConsumerBuilder::replies_to)) turns the reply into the saga's signal in the
//! transaction of its inbox. No reply in time means that the outcome is unknown, and the command goes out again under the
//! same key.
//!
//! So a handler sees a key more than once, as another event: it must then have the effect once, and answer the same again.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use leeward_events::{DecodeError, Envelope, Event, HandlerError, Outbox, Received, envelope, outbox};
use leeward_saga::Sagas;
use leeward_store::Tx;
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Something a service is asked to do. Its [`Event::TYPE`] is `command.SERVICE.NAME`, its key the thing it is about.
pub trait Command: Event {
    /// What becomes of it, refusals by business rules included.
    type Reply: Serialize + serde::de::DeserializeOwned + Send + 'static;
}

/// The version of the form of replies.
const REPLY_VERSION: u32 = 1;

/// The kind of the replies to a requester.
pub(crate) fn reply_kind(requester: &str) -> String {
    format!("reply.{requester}")
}

/// A command on its way: with the key it is asked under, and whom to answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Sent<C> {
    key: Arc<str>,
    reply_to: Arc<str>,
    command: Box<RawValue>,
    #[serde(skip)]
    subject: String,
    #[serde(skip)]
    of: PhantomData<fn() -> C>,
}

impl<C: Command> Event for Sent<C> {
    const TYPE: &'static str = C::TYPE;
    const VERSION: u32 = C::VERSION;

    fn key(&self) -> String {
        self.subject.clone()
    }
}

/// Sends a command in the caller's transaction, under the key by which its reply finds back:
/// [`StepCx::key`](leeward_saga::StepCx::key). Gives the id of the event.
///
/// The reply goes to the service whose outbox this is.
///
/// # Errors
/// Those of [`Outbox::append`]: give the transaction up.
pub async fn send<C: Command>(
    tx: &mut Tx,
    into: &Outbox,
    command: &C,
    key: &str,
    cause: &Correlation,
) -> Result<Arc<str>, outbox::Error> {
    let encode = |error: serde_json::Error| envelope::Error::Encode { detail: error.to_string() };
    let sent = Sent::<C> {
        key: key.into(),
        reply_to: Arc::clone(into.source()),
        command: serde_json::value::to_raw_value(command).map_err(encode)?,
        subject: command.key(),
        of: PhantomData,
    };
    into.append(tx, &sent, cause).await
}

/// A command as its handler gets it.
#[derive(Debug, Clone)]
pub struct Commanded<C> {
    /// The command.
    pub event: C,
    /// The key it is asked under: the same for all events that must have one effect together.
    pub key: Arc<str>,
    /// What came around it.
    pub envelope: Arc<Envelope>,
    correlation: Correlation,
}

impl<C> Commanded<C> {
    /// What to hand on to everything that follows: the same correlation, caused by this command.
    #[must_use]
    pub fn correlation(&self) -> &Correlation {
        &self.correlation
    }
}

impl<C: Command> Commanded<C> {
    /// The command, and whom to answer.
    pub(crate) fn open(received: Received<Sent<C>>) -> Result<(Self, Arc<str>), DecodeError> {
        let correlation = received.correlation().clone();
        let Received { event: Sent { key, reply_to, command, .. }, envelope, .. } = received;
        let event = C::decode(envelope.version, command.get())?;
        Ok((Self { event, key, envelope, correlation }, reply_to))
    }

    /// What the answer carries of the command.
    pub(crate) fn answer(&self, outbox: &Outbox, reply_to: &str, time_ms: i64) -> Envelope {
        Envelope {
            id: outbox.new_id(),
            source: Arc::clone(outbox.source()),
            kind: reply_kind(reply_to).into(),
            subject: Arc::clone(&self.envelope.subject),
            time_ms,
            version: REPLY_VERSION,
            traceparent: Some(self.correlation.trace.header_value().into()),
            correlation_id: Arc::clone(&self.correlation.correlation_id),
            causation_id: self.correlation.causation_id.clone(),
            log_seq: None,
            data: RawValue::NULL.to_owned(),
        }
    }
}

/// A reply as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Reply<'a, R> {
    pub(crate) key: &'a str,
    pub(crate) command: &'static str,
    pub(crate) reply: R,
}

/// A reply as its requester reads it.
#[derive(Debug, Deserialize)]
struct Replied<'a> {
    /// Borrowed unless it is escaped, as some writers do with a `/`.
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    reply: &'a RawValue,
}

/// Hands a reply to the saga that waits for it.
pub(crate) async fn deliver(tx: &mut Tx, sagas: &Sagas, received: &Received<()>) -> Result<(), HandlerError> {
    let envelope = &received.envelope;
    let poison = |error: &dyn std::fmt::Display| HandlerError::Poison(error.to_string());
    if envelope.version > REPLY_VERSION {
        return Err(poison(&"the reply is of a newer version than this program reads"));
    }
    let replied: Replied<'_> = serde_json::from_str(envelope.data.get()).map_err(|error| poison(&error))?;
    let payload = replied.reply.get().as_bytes();
    match sagas.reply(tx, &replied.key, &envelope.id, payload).await {
        Ok(_stored_or_known) => Ok(()),
        Err(leeward_saga::Error::Store(cause)) => Err(HandlerError::Store(cause)),
        Err(error) => Err(poison(&error)),
    }
}
