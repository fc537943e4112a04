//! The shop with one protection left out, to show that it would be missed: the payment provider gets a fresh key with every
//! call, and so cannot tell a repeated charge from a second one.

use std::process::ExitCode;
use std::sync::Arc;

use leeward::Parts;
use shop_payments::{Answer, CallCx, Charge, HttpProvider, PaymentProvider, Receipt};

fn main() -> ExitCode {
    leeward::main(Parts { provider: |http| Arc::new(Keyless(http)), ..Parts::default() })
}

/// A client that does not let a charge be recognised.
#[derive(Debug)]
struct Keyless(HttpProvider);

impl PaymentProvider for Keyless {
    fn submit<'a>(&'a self, _key: &'a str, charge: &'a Charge, cx: &'a CallCx) -> Answer<'a, Receipt> {
        Box::pin(async move { self.0.submit(&uuid::Uuid::new_v4().to_string(), charge, cx).await })
    }

    fn find<'a>(&'a self, _key: &'a str, _cx: &'a CallCx) -> Answer<'a, Option<Receipt>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
