//! The way of one operation, faults included.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http::StatusCode;
use leeward_resilience::Clock;
use leeward_runtime::Stop;
use leeward_store::Db;
use serde::Serialize;
use shop_contracts::provider::{Faults, Operation};

use crate::answer::Refusal;
use crate::faults::Switches;
use crate::ledger::{self, Done, Order, Request};
use crate::verdict::TOKEN_SLOW;

/// How long a lost reply keeps its connection: past the patience of any caller, and not for ever.
const LOST_REPLY_HOLD: Duration = Duration::from_secs(60);

/// Everything that an operation needs. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) switches: Switches,
    pub(crate) faults_allowed: bool,
    pub(crate) slow_reply: Duration,
    pub(crate) stop: Stop,
}

impl Desk {
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// Carries the operation out and answers, unless a fault has it otherwise.
    pub(crate) async fn perform(&self, key: String, request: Request) -> Result<Operation, Refusal> {
        let fate = self.switches.roll();
        if fate.refused {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "refused",
                "no operations are taken now",
            ));
        }
        self.wait(Duration::from_millis(fate.latency_ms)).await;
        if fate.error {
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "error",
                "the operation was not carried out",
            ));
        }

        let slow = matches!(&request, Request::Authorise(authorise) if authorise.token == TOKEN_SLOW);
        let request_hash = hash(&request);
        let (now_ms, refunds_refused) = (self.clock.unix_ms(), fate.refunds_refused);
        let order = Order { key, request, request_hash, refunds_refused, now_ms };
        let done = self.db.write(async move |tx| ledger::carry_out(tx, order).await).await?;

        if fate.reply_lost {
            self.wait(LOST_REPLY_HOLD).await;
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "reply_lost", "the reply was lost"));
        }
        match done {
            Done::New(operation) => {
                if slow {
                    self.wait(self.slow_reply).await;
                }
                Ok(operation)
            }
            Done::Known(operation) => Ok(operation),
            Done::KeyReused => Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "this key stands for another request",
            )),
        }
    }

    /// What became of the operation with this key.
    pub(crate) async fn find(&self, key: String) -> Result<Option<Operation>, Refusal> {
        let fate = self.switches.roll();
        if fate.refused {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "refused",
                "no questions are answered now",
            ));
        }
        self.wait(Duration::from_millis(fate.latency_ms)).await;
        let entry = self.db.read(async move |tx| ledger::by_key(tx, &key).await).await?;
        Ok(entry.map(|entry| entry.operation))
    }

    pub(crate) fn faults(&self) -> Faults {
        self.switches.get()
    }

    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), Refusal> {
        if !self.faults_allowed {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "faults_not_allowed",
                "started without leave for faults",
            ));
        }
        self.switches
            .set(faults)
            .map_err(|detail| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail))
    }

    /// Waits, but not past a stop.
    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            let _stopped = self.stop.or(tokio::time::sleep(time)).await;
        }
    }
}

/// SHA-256 over the kind and the fields of `request`, in hexadecimal digits.
fn hash(request: &Request) -> String {
    let (kind, body) = match request {
        Request::Authorise(it) => ("authorise", json(it)),
        Request::Capture(it) => ("capture", json(it)),
        Request::Void(it) => ("void", json(it)),
        Request::Refund(it) => ("refund", json(it)),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kind.as_bytes());
    context.update(&[0]);
    context.update(&body);
    context.finish().as_ref().iter().flat_map(|byte| hex(*byte)).collect()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn hex(byte: u8) -> [char; 2] {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    [digit(byte >> 4), digit(byte & 15)]
}
