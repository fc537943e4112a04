//! Request bodies with a limit, and responses that hold a permit.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Limited;
use leeward_resilience::concurrency::Permit;

use crate::extract::too_large;
use crate::problem::Problem;

/// The request with its body bounded by `bytes_max`.
pub(super) fn bounded(request: Request, bytes_max: usize) -> Result<Request, Problem> {
    let declared: Option<u64> =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match declared {
        Some(length) if u64::try_from(bytes_max).is_ok_and(|max| length > max) => Err(too_large()),
        // The HTTP parser never hands on more than what is declared.
        Some(_) => Ok(request),
        None if request.body().is_end_stream() => Ok(request),
        None => Ok(request.map(|body| Body::new(Limited::new(body, bytes_max)))),
    }
}

/// The response, with `permit` given back when its body has ended or nobody reads it any more.
pub(super) fn holding(permit: Option<Permit>, response: Response) -> Response {
    // A body that is already there goes out by itself; most are.
    if permit.is_none() || response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| Body::new(Holding { body, _permit: permit }))
}

struct Holding {
    body: Body,
    _permit: Option<Permit>,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
