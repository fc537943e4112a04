//! Which event makes which message.

use std::sync::Arc;

use leeward_events::{HandlerError, Received};
use leeward_resilience::Clock;
use leeward_store::Tx;
use shop_contracts::orders::{OrderCancelled, OrderConfirmed};
use shop_contracts::returns::{ReturnCompleted, ReturnRefused};
use shop_contracts::shipping::ShipmentCreated;
use shop_contracts::users::{UserErased, UserPreferencesChanged, UserRegistered};

use crate::mailbox::{self, Address, Wish};
use crate::templates::{Occasion, Templates};

/// Handlers with what they need.
#[derive(Clone, Debug)]
pub(crate) struct Handlers {
    pub(crate) templates: Arc<Templates>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a message is to say.
struct Word<'a> {
    occasion: Occasion,
    user_id: &'a str,
    reference: &'a str,
    detail: &'a str,
}

impl Handlers {
    /// Puts one message a wanted channel into the mailbox.
    async fn tell(&self, tx: &mut Tx, event_id: &str, word: Word<'_>) -> Result<(), HandlerError> {
        let Word { occasion, user_id, reference, detail } = word;
        let Wish { channels, language } = mailbox::wish(tx, user_id).await?;
        for channel in channels {
            let message = self.templates.render(occasion, channel, &language, reference, detail);
            let message = message.map_err(|error| HandlerError::Poison(error.to_string()))?;
            let to = Address { user_id, event_id, reference };
            mailbox::put(tx, to, channel, &message, self.clock.unix_ms()).await?;
        }
        Ok(())
    }

    pub(crate) async fn registered(
        &self,
        tx: &mut Tx,
        event: Received<UserRegistered>,
    ) -> Result<(), HandlerError> {
        let user_id = event.event.user_id.as_str();
        let word = Word { occasion: Occasion::Welcome, user_id, reference: user_id, detail: "" };
        self.tell(tx, &event.envelope.id, word).await
    }

    pub(crate) async fn preferred(
        &self,
        tx: &mut Tx,
        event: Received<UserPreferencesChanged>,
    ) -> Result<(), HandlerError> {
        Ok(mailbox::prefer(tx, &event.event).await?)
    }

    pub(crate) async fn erased(&self, tx: &mut Tx, event: Received<UserErased>) -> Result<(), HandlerError> {
        Ok(mailbox::erase(tx, event.event.user_id.as_str()).await?)
    }

    pub(crate) async fn confirmed(
        &self,
        tx: &mut Tx,
        event: Received<OrderConfirmed>,
    ) -> Result<(), HandlerError> {
        let OrderConfirmed { order_id, user_id, total, .. } = &event.event;
        let detail = total.to_string();
        let occasion = Occasion::OrderConfirmed;
        let word =
            Word { occasion, user_id: user_id.as_str(), reference: order_id.as_str(), detail: &detail };
        self.tell(tx, &event.envelope.id, word).await
    }

    pub(crate) async fn cancelled(
        &self,
        tx: &mut Tx,
        event: Received<OrderCancelled>,
    ) -> Result<(), HandlerError> {
        let OrderCancelled { order_id, user_id, reason, .. } = &event.event;
        let occasion = Occasion::OrderCancelled;
        let (reference, detail) = (order_id.as_str(), reason.detail.as_str());
        let word = Word { occasion, user_id: user_id.as_str(), reference, detail };
        self.tell(tx, &event.envelope.id, word).await
    }

    pub(crate) async fn shipped(
        &self,
        tx: &mut Tx,
        event: Received<ShipmentCreated>,
    ) -> Result<(), HandlerError> {
        let ShipmentCreated { order_id, user_id, tracking_code, .. } = &event.event;
        let (reference, detail) = (order_id.as_str(), tracking_code.as_str());
        let word = Word { occasion: Occasion::Shipped, user_id: user_id.as_str(), reference, detail };
        self.tell(tx, &event.envelope.id, word).await
    }

    pub(crate) async fn returned(
        &self,
        tx: &mut Tx,
        event: Received<ReturnCompleted>,
    ) -> Result<(), HandlerError> {
        let ReturnCompleted { return_id, user_id, refund, .. } = &event.event;
        let detail = refund.to_string();
        let occasion = Occasion::ReturnCompleted;
        let word =
            Word { occasion, user_id: user_id.as_str(), reference: return_id.as_str(), detail: &detail };
        self.tell(tx, &event.envelope.id, word).await
    }

    pub(crate) async fn return_refused(
        &self,
        tx: &mut Tx,
        event: Received<ReturnRefused>,
    ) -> Result<(), HandlerError> {
        let ReturnRefused { return_id, user_id, code, .. } = &event.event;
        let (reference, detail) = (return_id.as_str(), code.as_str());
        let word = Word { occasion: Occasion::ReturnRefused, user_id: user_id.as_str(), reference, detail };
        self.tell(tx, &event.envelope.id, word).await
    }
}
