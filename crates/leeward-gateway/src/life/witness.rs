//! What a request leaves behind for whoever asks later why it went as it did.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::Core;
use super::parse::host_name_of;
use super::trip::Trip;
use crate::decisions::{Attempts, Book, Decision, Kept, Refused, Setting, Text};
use crate::incoming::Incoming;
use crate::refusal::Refusal;

/// What is remembered of a request from its beginning; nothing where no decisions are kept.
#[derive(Default, Debug)]
pub(super) struct Witness {
    uri: Uri,
    host: Option<HeaderValue>,
    pub(super) attempts: Attempts,
}

impl Witness {
    /// Looks on. `None` is what is no request.
    pub(super) fn begin(core: &Core, request: Option<&Request<Incoming>>) -> Self {
        if core.book.is_none() {
            return Self::default();
        }
        let attempts = Attempts::new(true);
        let Some(request) = request else { return Self { attempts, ..Self::default() } };
        let host = request.headers().get(header::HOST).cloned();
        Self { uri: request.uri().clone(), host, attempts }
    }
}

impl Trip {
    /// Keeps what was decided, if it is worth keeping or one of the sample.
    pub(super) fn testify(
        &mut self,
        core: &Core,
        status: StatusCode,
        took: Duration,
        refusal: Option<Refusal>,
    ) {
        let Some(book) = &core.book else { return };
        let Some(kept) = self.why_kept(core, book, refusal.is_some()) else { return };
        let shared = &*core.shared;
        let route = self.route_state(shared);
        let service = self.service(shared).map(|service| Arc::clone(&service.name));
        let witness = &self.witness;
        book.keep(Decision {
            kept,
            request_id: Text::from(self.request_id.to_str().unwrap_or_default()),
            unix_ms: shared.clock.unix_ms(),
            took,
            client: self.client,
            method: self.method,
            host: Text::from(host_name_of(witness.host.as_ref(), &witness.uri).unwrap_or_default()),
            path: Text::from(witness.uri.path()),
            route: route.map(|route| Arc::clone(&route.config.id)),
            route_at: route.map(|route| Arc::clone(&route.config.origin)),
            status: status.as_u16(),
            epoch: shared.version.epoch,
            refused: refusal.map(|refusal| self.refused(core, refusal, service.as_deref())),
            service,
            attempts: std::mem::take(&mut self.witness.attempts),
        });
    }

    fn why_kept(&self, core: &Core, book: &Book, is_refused: bool) -> Option<Kept> {
        if is_refused {
            return Some(Kept::Refused);
        }
        if self.witness.attempts.is_noteworthy() {
            return Some(Kept::Attempts);
        }
        let sample = book.sample();
        (sample > 0.0 && core.shared.rng.unit_f64() < sample).then_some(Kept::Sample)
    }

    fn refused(&self, core: &Core, refusal: Refusal, service: Option<&str>) -> Refused {
        let config = &core.shared.config;
        let ruling = refusal.ruling.map(|ruling| Arc::new(*ruling));
        let setting = ruling.as_ref().map(|ruling| ruling.setting);
        let setting = setting.or_else(|| Setting::behind(refusal.code));
        let option = setting.and_then(|setting| setting.path(config, self.route_number(), service));
        Refused {
            stage: refusal.stage,
            code: refusal.code,
            detail: Text::from(&*refusal.detail),
            rule: refusal.rule,
            retry_after: refusal.retry_after,
            ruling,
            origin: option.as_ref().and_then(|option| config.origins.of(option)).cloned(),
            option: option.map(Arc::from),
        }
    }
}
