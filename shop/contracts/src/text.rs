//! The text of the enums that also stand in database columns: the same as in JSON, which a test holds against it.

use crate::orders::OrderStatus;
use crate::payments::{OperationKind, PaymentStatus};
use crate::provider::Verdict;
use crate::returns::ReturnStatus;
use crate::users::Channel;

macro_rules! texts {
    ($($name:ident { $($variant:ident = $text:literal),* $(,)? })*) => {
        $(impl $name {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The text, as it stands in JSON and in databases.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What `text` stands for.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn texts_are_those_of_the_json() {
                $(for variant in $name::ALL {
                    let json = serde_json::to_value(variant).unwrap();
                    assert_eq!(json, serde_json::Value::from(variant.as_str()));
                    assert_eq!($name::parse(variant.as_str()), Some(*variant));
                }
                assert_eq!($name::parse("no such text"), None);)*
            }
        }
    };
}

texts! {
    OrderStatus { Placed = "placed", Confirmed = "confirmed", Cancelled = "cancelled" }
    PaymentStatus {
        Authorising = "authorising",
        Authorised = "authorised",
        Declined = "declined",
        Capturing = "capturing",
        Captured = "captured",
        Voiding = "voiding",
        Voided = "voided",
    }
    Channel { Email = "email", Sms = "sms", Push = "push" }
    OperationKind { Authorise = "authorise", Capture = "capture", Void = "void", Refund = "refund" }
    Verdict { Approved = "approved", Declined = "declined", Refused = "refused" }
    ReturnStatus {
        Requested = "requested",
        Received = "received",
        Restocked = "restocked",
        RefundRefused = "refund_refused",
        Completed = "completed",
        Refused = "refused",
    }
}
