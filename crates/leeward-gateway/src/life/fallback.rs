//! The outermost outbound policy: what a service said when it was well, for when it says nothing.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};

use super::Core;
use super::forward::Forward;
use crate::body::{Download, Tee};
use crate::shared::{RouteState, Service, Shared};
use crate::stale::{self, Copy};

const STALE: HeaderName = HeaderName::from_static("x-leeward-stale");
const WARNING: HeaderName = HeaderName::from_static("warning");

/// Begins a copy of the answer, if the route keeps copies and this one is worth it.
pub(super) fn tee(
    core: &Rc<Core>,
    route: &RouteState,
    forward: &Forward,
    head: &http::response::Parts,
) -> Option<Tee> {
    let key = forward.copy_key.as_ref()?;
    let shared = &core.shared;
    let age_max = route.config.stale_if_error?;
    let now = shared.clock.now();
    if !stale::may_keep(head.status, &head.headers) || !shared.stale.wants(key, now) {
        return None;
    }
    let (stale, key, headers) = (Arc::clone(&shared.stale), key.clone(), head.headers.clone());
    Some(Tee {
        copy: BytesMut::new(),
        bytes_max: stale.entry_bytes_max(),
        done: Box::new(move |body| stale.put(&key, &headers, body, age_max, now)),
    })
}

/// The fallback: what the service said when it was well.
pub(super) fn last_good_copy(
    shared: &Shared,
    route: &RouteState,
    service: &Service,
    forward: &Forward,
) -> Option<Response<Download>> {
    let now = shared.clock.now();
    let age_max = route.config.stale_if_error?;
    let copy = shared.stale.get(forward.copy_key.as_ref()?, age_max, now)?;
    let Copy { headers, body, stored_at } = &*copy;
    shared.metrics.stale.with([&*service.name]).inc();
    let mut response = Response::new(Download::Own(Some(body.clone())));
    *response.headers_mut() = headers.clone();
    let age = now.saturating_duration_since(*stored_at).as_secs();
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age));
    headers.insert(WARNING, HeaderValue::from_static("110 - \"Response is Stale\""));
    headers.insert(STALE, HeaderValue::from_static("true"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
