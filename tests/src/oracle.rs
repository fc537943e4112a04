//! The oracle: whether what all parties wrote down fits together.
//!
//! It stands outside of everything it judges. It reads the services' databases as files and the provider's ledger over the
//! provider's own API, once the shop has come to rest, and asks no service what it thinks.
//!
//! - Every order that got its 202 exists and has ended, confirmed or cancelled.
//! - A confirmed order has one payment, one invoice, one shipment, one issue of its goods, one capture at the provider, and
//!   its customer one message of each kind; a cancelled one has left nothing behind: what was set aside for it is voided.
//! - An order whose card hands nothing over is cancelled.
//! - What lies on the shelves is what was put there, less what was shipped, plus what came back.
//! - The money that the provider took, less what it gave back, is what confirmed orders cost, less completed returns.

pub mod books;
mod claims;
mod rules;

use std::fmt;

pub use books::Books;
pub use claims::Claims;
pub use rules::judge;

use crate::shop::Shop;

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The shop comes to rest: no saga, event or level is left under way, stuck or given up.
    Rest,
    /// A client was answered as the API says.
    Answer,
    /// What was accepted exists, once, and has ended.
    Accepted,
    /// Payments and invoices agree with the orders.
    Payment,
    /// The provider's ledger agrees with the orders, and charged once.
    Provider,
    /// Reservations, movements and levels agree with the orders.
    Stock,
    /// Shipments agree with the orders.
    Shipment,
    /// Customers heard what happened, once.
    Message,
    /// Read models agree with what they are made of.
    ReadModel,
    /// Returned goods and money agree.
    Return,
    /// No money came from nowhere or went nowhere.
    Money,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What exactly.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

impl Shop {
    /// Waits for rest, then gives all that does not fit.
    pub async fn violations(&self, claims: &Claims) -> Vec<Violation> {
        let restless = self.quiet().await.err();
        let books = Books::read(self).await;
        let unrest = restless.map(|detail| Violation { rule: Rule::Rest, detail });
        unrest.into_iter().chain(judge(&books, claims)).collect()
    }

    /// Waits for rest, and panics with all that does not fit.
    pub async fn must_agree(&self, claims: &Claims) {
        let violations = self.violations(claims).await;
        assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), listed(&violations));
    }
}

/// The first of many, a line each.
#[must_use]
pub fn listed(violations: &[Violation]) -> String {
    const SHOWN_MAX: usize = 40;
    violations.iter().take(SHOWN_MAX).map(|violation| format!("  {violation}\n")).collect()
}
