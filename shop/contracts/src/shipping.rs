//! Shipping: one shipment an order.

use serde::{Deserialize, Serialize};

use crate::inventory::StockLine;
use crate::{OrderId, ShipmentId, UserId};

/// `command.shipping.create_shipment`: send the goods to the customer. Key: the order.
///
/// Repeated for the same order it answers with the shipment that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateShipment {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// The goods.
    pub lines: Vec<StockLine>,
}

/// The reply to [`CreateShipment`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentOpened {
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// The code to track it by, which tells nothing about the customer.
    pub tracking_code: String,
}

/// `shipment.created`: goods of an order are on their way, and leave the stock for good. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentCreated {
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// The code to track it by.
    pub tracking_code: String,
    /// The goods: the inventory turns their reservation into an issue.
    pub lines: Vec<StockLine>,
}
