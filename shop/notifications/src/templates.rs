//! What messages say: one template an occasion and language, in three lengths.

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};
use shop_contracts::users::Channel;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occasion {
    /// There is a new account.
    Welcome,
    /// An order is paid and on its way.
    OrderConfirmed,
    /// An order came to nothing.
    OrderCancelled,
    /// Goods are on their way.
    Shipped,
    /// A return has ended well.
    ReturnCompleted,
    /// A return came to nothing.
    ReturnRefused,
}

impl Occasion {
    const fn kind(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::OrderConfirmed => "order_confirmed",
            Self::OrderCancelled => "order_cancelled",
            Self::Shipped => "shipped",
            Self::ReturnCompleted => "return_completed",
            Self::ReturnRefused => "return_refused",
        }
    }
}

/// What one occasion says in one language.
struct Text {
    occasion: Occasion,
    language: &'static str,
    subject: &'static str,
    /// For e-mail.
    long: &'static str,
    /// For text and push messages.
    short: &'static str,
}

/// What there is for every occasion, whatever else a user would like.
const FALLBACK: &str = "en";

const TEXTS: &[Text] = &[
    Text {
        occasion: Occasion::Welcome,
        language: "en",
        subject: "Welcome to the shop",
        long: "Your account is ready. You can order at once.",
        short: "Welcome to the shop.",
    },
    Text {
        occasion: Occasion::Welcome,
        language: "de",
        subject: "Willkommen im Laden",
        long: "Dein Konto ist bereit. Du kannst gleich bestellen.",
        short: "Willkommen im Laden.",
    },
    Text {
        occasion: Occasion::OrderConfirmed,
        language: "en",
        subject: "Your order {{ reference }} is confirmed",
        long: "Thank you. Your order {{ reference }} over {{ detail }} is paid and being packed.",
        short: "Order {{ reference }} confirmed: {{ detail }}.",
    },
    Text {
        occasion: Occasion::OrderConfirmed,
        language: "de",
        subject: "Deine Bestellung {{ reference }} ist angenommen",
        long: "Danke. Deine Bestellung {{ reference }} zu {{ detail }} ist bezahlt und wird gepackt.",
        short: "Bestellung {{ reference }} angenommen: {{ detail }}.",
    },
    Text {
        occasion: Occasion::OrderCancelled,
        language: "en",
        subject: "Your order {{ reference }} was cancelled",
        long: "We could not fulfil your order {{ reference }}: {{ detail }}. Nothing was charged.",
        short: "Order {{ reference }} cancelled: {{ detail }}.",
    },
    Text {
        occasion: Occasion::OrderCancelled,
        language: "de",
        subject: "Deine Bestellung {{ reference }} wurde storniert",
        long: "Wir konnten deine Bestellung {{ reference }} nicht liefern: {{ detail }}. Es wurde nichts abgebucht.",
        short: "Bestellung {{ reference }} storniert: {{ detail }}.",
    },
    Text {
        occasion: Occasion::Shipped,
        language: "en",
        subject: "Your order {{ reference }} is on its way",
        long: "Your order {{ reference }} is on its way. Track it with the code {{ detail }}.",
        short: "Order {{ reference }} shipped. Code: {{ detail }}.",
    },
    Text {
        occasion: Occasion::Shipped,
        language: "de",
        subject: "Deine Bestellung {{ reference }} ist unterwegs",
        long: "Deine Bestellung {{ reference }} ist unterwegs. Verfolge sie mit dem Code {{ detail }}.",
        short: "Bestellung {{ reference }} ist unterwegs. Code: {{ detail }}.",
    },
    Text {
        occasion: Occasion::ReturnCompleted,
        language: "en",
        subject: "Your return {{ reference }} is complete",
        long: "We have your goods, and {{ detail }} is on its way back to you.",
        short: "Return {{ reference }} complete: {{ detail }} refunded.",
    },
    Text {
        occasion: Occasion::ReturnCompleted,
        language: "de",
        subject: "Deine Retoure {{ reference }} ist abgeschlossen",
        long: "Wir haben deine Ware, und {{ detail }} ist auf dem Weg zu dir.",
        short: "Retoure {{ reference }} abgeschlossen: {{ detail }} erstattet.",
    },
    Text {
        occasion: Occasion::ReturnRefused,
        language: "en",
        subject: "Your return {{ reference }} was refused",
        long: "We could not complete your return {{ reference }}: {{ detail }}. The goods go back to you.",
        short: "Return {{ reference }} refused: {{ detail }}.",
    },
    Text {
        occasion: Occasion::ReturnRefused,
        language: "de",
        subject: "Deine Retoure {{ reference }} wurde abgelehnt",
        long: "Wir konnten deine Retoure {{ reference }} nicht annehmen: {{ detail }}. Die Ware geht wieder an dich.",
        short: "Retoure {{ reference }} abgelehnt: {{ detail }}.",
    },
];

/// A message, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which template.
    pub(crate) kind: &'static str,
    /// Its subject line.
    pub(crate) subject: String,
    /// Its text.
    pub(crate) body: String,
}

/// The templates, parsed once.
#[derive(Debug)]
pub(crate) struct Templates(Environment<'static>);

impl Templates {
    /// Parses all templates.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub(crate) fn new() -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for text in TEXTS.iter().flat_map(|text| [text.subject, text.long, text.short]) {
            // A text is its own name: nothing has to be put together to find it.
            environment.add_template(text, text)?;
        }
        Ok(Self(environment))
    }

    /// The message for an occasion, in the length that the channel takes, and in the language if there is a text in it.
    ///
    /// # Errors
    /// When a template names a value that there is none of.
    pub(crate) fn render(
        &self,
        occasion: Occasion,
        channel: Channel,
        language: &str,
        reference: &str,
        detail: &str,
    ) -> Result<Message, Error> {
        let text = text(occasion, language).or_else(|| text(occasion, FALLBACK));
        let text = text.ok_or_else(|| Error::new(ErrorKind::TemplateNotFound, occasion.kind()))?;
        let body = if channel == Channel::Email { text.long } else { text.short };
        let values = context! { reference, detail };
        let fill = |text: &str| self.0.get_template(text)?.render(&values);
        Ok(Message { kind: occasion.kind(), subject: fill(text.subject)?, body: fill(body)? })
    }
}

fn text(occasion: Occasion, language: &str) -> Option<&'static Text> {
    TEXTS.iter().find(|text| text.occasion == occasion && text.language == language)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_text_can_be_filled_in_for_every_channel() {
        let templates = Templates::new().unwrap();
        for Text { occasion, language, .. } in TEXTS {
            assert!(text(*occasion, FALLBACK).is_some(), "{occasion:?}");
            for channel in [Channel::Email, Channel::Sms, Channel::Push] {
                let message = templates.render(*occasion, channel, language, "o-1", "12.50 EUR").unwrap();
                assert_eq!(message.kind, occasion.kind());
                assert!(!message.body.is_empty() && !message.body.contains("{{"), "{message:?}");
            }
        }
    }

    #[test]
    fn values_and_language_are_put_in() {
        let templates = Templates::new().unwrap();
        let body = |language: &str| {
            templates.render(Occasion::Shipped, Channel::Sms, language, "o-1", "TRACK7").unwrap().body
        };
        assert_eq!(body("en"), "Order o-1 shipped. Code: TRACK7.");
        assert_eq!(body("de"), "Bestellung o-1 ist unterwegs. Code: TRACK7.");
        assert_eq!(body("xx"), body("en"));
    }
}
