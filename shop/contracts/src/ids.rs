//! Identifiers: UUIDs of version 7 as text, one type each, so that no order id is passed for a payment id.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, example = "01939f3c-7d5e-7a3b-9c40-2f1f0a6b8c01")]
        pub struct $name(String);

        impl $name {
            /// A fresh id: time-ordered, so that an index over it grows at its end.
            #[must_use]
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().hyphenated().to_string())
            }

            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text of the id, by value.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A customer or an administrator.
    UserId,
    /// A product of the catalog, and the same thing on a shelf.
    ProductId,
    /// A category of the catalog.
    CategoryId,
    /// An order; also the id of its checkout saga.
    OrderId,
    /// A payment of one order.
    PaymentId,
    /// A shipment of one order.
    ShipmentId,
    /// A return of goods of one order.
    ReturnId,
}
