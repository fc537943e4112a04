//! What a request leaves behind for whoever asks later why it went as it did.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::Core;
use super::parse::host_name_of;
use super::trip::Trip;
use crate::decisions::{Attempts, Book, Decision, Fallback, Kept, Refused, Setting, Text};
use crate::incoming::Incoming;
use crate::refusal::{Refusal, Stage};

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
        let Some(kept) = self.why_kept(core, book, refusal.as_ref()) else { return };
        let shared = &*core.shared;
        let instead = self.fell_back.get_mut();
        let fallback = instead.as_deref().map(|how| Fallback {
            cause: how.cause.as_str(),
            service: how.service.map(|at| Arc::clone(&shared.services[at].name)),
        });
        // The reason stays that of the service which failed.
        let refusal = instead.map_or(refusal, |how| how.refusal.take());
        let route = self.route_state(shared);
        let service = self.service(shared).map(|service| Arc::clone(&service.name));
        let witness = &self.witness;
        book.keep(Decision {
            kept,
            request_id: self.request_id,
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
            fallback,
            refused: refusal.map(|refusal| self.refused(core, refusal, service.as_deref())),
            service,
            attempts: std::mem::take(&mut self.witness.attempts),
        });
    }

    fn why_kept(&self, core: &Core, book: &Book, refusal: Option<&Refusal>) -> Option<Kept> {
        if let Some(refusal) = refusal {
            // One like the other, and many: they would leave no room for those that differ.
            let is_one_of_many = refusal.stage == Stage::Overload && refusal.ruling.is_none();
            return (!is_one_of_many).then_some(Kept::Refused);
        }
        if self.fell_back.get().is_some() {
            return Some(Kept::Fallback);
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
