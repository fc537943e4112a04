//! Where an order can go from where it stands: pure and total.

use shop_contracts::orders::OrderStatus;

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is paid and its shipment exists.
    Confirm,
    /// It came to nothing.
    Cancel,
}

/// A step that the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {} cannot take {event:?}", .status.as_str())]
pub(crate) struct Illegal {
    pub(crate) status: OrderStatus,
    pub(crate) event: Event,
}

/// Where an order in `status` stands after `event`. Confirmed and cancelled are final.
pub(crate) const fn next(status: OrderStatus, event: Event) -> Result<OrderStatus, Illegal> {
    match (status, event) {
        (OrderStatus::Placed, Event::Confirm) => Ok(OrderStatus::Confirmed),
        (OrderStatus::Placed, Event::Cancel) => Ok(OrderStatus::Cancelled),
        (OrderStatus::Confirmed | OrderStatus::Cancelled, Event::Confirm | Event::Cancel) => {
            Err(Illegal { status, event })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use OrderStatus as S;
        let table = [
            (S::Placed, Event::Confirm, Some(S::Confirmed)),
            (S::Placed, Event::Cancel, Some(S::Cancelled)),
            (S::Confirmed, Event::Confirm, None),
            (S::Confirmed, Event::Cancel, None),
            (S::Cancelled, Event::Confirm, None),
            (S::Cancelled, Event::Cancel, None),
        ];
        assert_eq!(table.len(), S::ALL.len() * 2);
        for (status, event, expected) in table {
            assert_eq!(next(status, event).ok(), expected, "{status:?} {event:?}");
        }
    }
}
