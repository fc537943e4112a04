//! Every event and command of the shop with its type, version and key, in one table.

use leeward_events::Event;
use leeward_service::Command;

use crate::{catalog, inventory, orders, payments, returns, shipping, users};

macro_rules! registry {
    (events { $($event:path: $kind:literal v $version:literal by $key:ident;)* }
     commands { $($command:path: $asked:literal v $form:literal by $about:ident -> $reply:path;)* }) => {
        $(impl Event for $event {
            const TYPE: &'static str = $kind;
            const VERSION: u32 = $version;

            fn key(&self) -> String {
                self.$key.as_str().to_owned()
            }
        })*

        $(impl Event for $command {
            const TYPE: &'static str = $asked;
            const VERSION: u32 = $form;

            fn key(&self) -> String {
                self.$about.as_str().to_owned()
            }
        }

        impl Command for $command {
            type Reply = $reply;
        })*

        /// The type of every event of the shop, with its version.
        pub const EVENTS: &[(&str, u32)] = &[$(($kind, $version)),*];

        /// The type of every command of the shop, with its version.
        pub const COMMANDS: &[(&str, u32)] = &[$(($asked, $form)),*];
    };
}

registry! {
    events {
        catalog::ProductChanged: "product.changed" v 1 by product_id;
        catalog::ProductRemoved: "product.removed" v 1 by product_id;
        inventory::StockReserved: "stock.reserved" v 1 by order_id;
        inventory::StockReleased: "stock.released" v 1 by order_id;
        inventory::StockChanged: "stock.changed" v 1 by product_id;
        inventory::ReturnReceived: "return.received" v 1 by return_id;
        inventory::StockReturned: "stock.returned" v 1 by return_id;
        inventory::StockReturnUndone: "stock.return_undone" v 1 by return_id;
        orders::OrderPlaced: "order.placed" v 1 by order_id;
        orders::OrderConfirmed: "order.confirmed" v 1 by order_id;
        orders::OrderCancelled: "order.cancelled" v 1 by order_id;
        payments::PaymentAuthorised: "payment.authorised" v 1 by order_id;
        payments::PaymentCaptured: "payment.captured" v 1 by order_id;
        payments::PaymentVoided: "payment.voided" v 1 by order_id;
        payments::PaymentRefunded: "payment.refunded" v 1 by return_id;
        payments::PaymentRefundRefused: "payment.refund_refused" v 1 by return_id;
        shipping::ShipmentCreated: "shipment.created" v 1 by order_id;
        returns::ReturnRequested: "return.requested" v 1 by return_id;
        returns::ReturnCompleted: "return.completed" v 1 by return_id;
        returns::ReturnRefused: "return.refused" v 1 by return_id;
        users::UserRegistered: "user.registered" v 1 by user_id;
        users::UserErased: "user.erased" v 1 by user_id;
        users::UserPreferencesChanged: "user.preferences_changed" v 1 by user_id;
        users::TokenRevoked: "token.revoked" v 1 by user_id;
    }
    commands {
        inventory::ReserveStock: "command.inventory.reserve_stock" v 1 by order_id -> inventory::StockReservation;
        inventory::ReleaseStock: "command.inventory.release_stock" v 1 by order_id -> inventory::StockRelease;
        shipping::CreateShipment: "command.shipping.create_shipment" v 1 by order_id -> shipping::ShipmentOpened;
    }
}
