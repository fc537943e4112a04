//! How far a delivery is, and what an order makes of it: the pure part.

use serde::{Deserialize, Serialize};

use crate::split::WHOLE;

/// How a candidate takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By and by: it has any share.
    Canary,
    /// At one moment: it has nothing, or everything.
    BlueGreen,
}

impl Kind {
    /// How they are written.
    pub const ALL: [(&str, Self); 2] = [("canary", Self::Canary), ("blue_green", Self::BlueGreen)];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blue_green",
        }
    }

    /// Whether a candidate may have this share, in hundredths of a percent.
    #[must_use]
    pub const fn allows(self, share: u32) -> bool {
        match self {
            Self::Canary => share <= WHOLE,
            Self::BlueGreen => share == 0 || share == WHOLE,
        }
    }
}

/// What an operator wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The candidate gets this share, in hundredths of a percent.
    Share(u32),
    /// The candidate gets everything.
    Promote,
    /// The candidate gets nothing.
    Abort,
}

/// Why an order changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Somebody else was there in between.
    #[error("the delivery was moved in between: it is at version {version} now")]
    Moved {
        /// The version that it has.
        version: u64,
    },
    /// It does not say from where.
    #[error("`expected` is missing: the version that the order is for, as `GET /v1/delivery` says it")]
    Unexpected,
    /// No candidate of this kind has such a share.
    #[error("{} takes {}", .0.as_str(), match .0 { Kind::Canary => "shares from 0% to 100%", Kind::BlueGreen => "0% or 100%" })]
    Share(Kind),
}

/// How far a delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    /// The candidate's share, in hundredths of a percent.
    pub(crate) share: u32,
    /// One more with each order.
    pub(crate) version: u64,
    pub(crate) since_ms: i64,
}

impl State {
    /// The state after an order. Who stops a delivery need not know how far it is.
    pub(crate) fn after(
        self,
        kind: Kind,
        order: Order,
        expected: Option<u64>,
        now_ms: i64,
    ) -> Result<Self, Refused> {
        match expected {
            Some(expected) if expected != self.version => {
                return Err(Refused::Moved { version: self.version });
            }
            None if order != Order::Abort => return Err(Refused::Unexpected),
            _ => {}
        }
        let share = match order {
            Order::Share(share) => share,
            Order::Promote => WHOLE,
            Order::Abort => 0,
        };
        if !kind.allows(share) {
            return Err(Refused::Share(kind));
        }
        Ok(Self { share, version: self.version + 1, since_ms: now_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_moves_the_state_or_says_why_not() {
        let state = State { share: 500, version: 7, since_ms: 1 };
        let moved = |share| Ok(State { share, version: 8, since_ms: 2 });
        for (kind, order, expected, result) in [
            (Kind::Canary, Order::Share(0), Some(7), moved(0)),
            (Kind::Canary, Order::Share(10_000), Some(7), moved(10_000)),
            (Kind::Canary, Order::Share(10_001), Some(7), Err(Refused::Share(Kind::Canary))),
            (Kind::Canary, Order::Promote, Some(7), moved(10_000)),
            (Kind::Canary, Order::Abort, Some(7), moved(0)),
            (Kind::Canary, Order::Abort, None, moved(0)),
            (Kind::Canary, Order::Abort, Some(6), Err(Refused::Moved { version: 7 })),
            (Kind::Canary, Order::Share(1), Some(8), Err(Refused::Moved { version: 7 })),
            (Kind::Canary, Order::Share(1), None, Err(Refused::Unexpected)),
            (Kind::Canary, Order::Promote, None, Err(Refused::Unexpected)),
            (Kind::BlueGreen, Order::Share(1), Some(7), Err(Refused::Share(Kind::BlueGreen))),
            (Kind::BlueGreen, Order::Share(10_000), Some(7), moved(10_000)),
            (Kind::BlueGreen, Order::Promote, Some(7), moved(10_000)),
        ] {
            assert_eq!(state.after(kind, order, expected, 2), result, "{kind:?} {order:?} {expected:?}");
        }
    }
}
