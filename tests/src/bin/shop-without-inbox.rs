//! The shop with one protection left out, to show that it would be missed: consumers forget what they have handled.

use std::process::ExitCode;
use std::sync::Arc;

use leeward::Parts;
use leeward_events::inbox::DedupeFuture;
use leeward_events::{Dedupe, Envelope};
use leeward_store::Tx;

fn main() -> ExitCode {
    leeward::main(Parts { dedupe: Some(Arc::new(Forgetful)), ..Parts::default() })
}

/// To whom every event is new.
#[derive(Debug)]
struct Forgetful;

impl Dedupe for Forgetful {
    fn first_time<'a>(&'a self, _: &'a mut Tx, _: &'a str, _: &'a Envelope) -> DedupeFuture<'a, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }
}
