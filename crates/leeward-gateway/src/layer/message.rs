//! A request and an answer as layers see them: heads, without what only the gateway may say.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::body::Download;
use crate::config::{may_change_of_request, may_change_of_response};
use crate::jwt::Subject;
use crate::refusal::Refusal;

/// A header that is the gateway's, the codec's or a secret's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` may be changed by no layer: it is about framing, identity or the gateway")]
pub struct NotYours(pub HeaderName);

/// A request that is on its way to a service.
pub struct Ask {
    method: Method,
    path: Box<str>,
    query: Option<Box<str>>,
    route: Arc<str>,
    client: IpAddr,
    subject: Option<Arc<Subject>>,
    headers: HeaderMap,
}

/// Without the query and the headers' values: a log is no place for a client's secrets.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("route", &self.route)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Ask {
    pub(crate) fn new(
        head: &mut Parts,
        path: &str,
        route: &Arc<str>,
        client: IpAddr,
        subject: Option<&Arc<Subject>>,
    ) -> Self {
        Self {
            method: head.method.clone(),
            path: path.into(),
            query: head.uri.query().map(Box::from),
            route: Arc::clone(route),
            client,
            subject: subject.cloned(),
            headers: std::mem::take(&mut head.headers),
        }
    }

    pub(super) fn into_headers(self) -> HeaderMap {
        self.headers
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The canonical path, as the client asks for it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, as it came.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The id of its route.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The client's address.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The user of its token, where one was checked.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.subject.as_ref().map(|subject| &*subject.id)
    }

    /// The roles of that user.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        let roles = self.subject.as_ref().and_then(|subject| subject.role_header.to_str().ok());
        roles
            .into_iter()
            .flat_map(|roles| roles.split(','))
            .map(str::trim)
            .filter(|role| !role.is_empty())
            .collect()
    }

    /// Its headers, as the client sent them, without those that clients may not send.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Puts a header in the place of whatever had its name.
    ///
    /// # Errors
    /// [`NotYours`].
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), NotYours> {
        change(&mut self.headers, may_change_of_request, name, Some(value))
    }

    /// Takes a header away.
    ///
    /// # Errors
    /// [`NotYours`].
    pub fn remove_header(&mut self, name: HeaderName) -> Result<(), NotYours> {
        change(&mut self.headers, may_change_of_request, name, None)
    }
}

fn change(
    headers: &mut HeaderMap,
    may_change: fn(&str) -> bool,
    name: HeaderName,
    value: Option<HeaderValue>,
) -> Result<(), NotYours> {
    if !may_change(name.as_str()) {
        return Err(NotYours(name));
    }
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
    Ok(())
}

/// An answer, of a service or of a layer. A service's body is still on its way.
pub struct Answer(pub(super) Response<Download>);

/// Without the headers, which may set a cookie.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.0.status()).finish_non_exhaustive()
    }
}

impl Answer {
    /// An answer of the layer's own. A status of the hundreds ends no exchange: in its place stands 500.
    #[must_use]
    pub fn new(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let mut answer = Response::new(Download::Own(Some(body.into())));
        let ends = !status.is_informational();
        *answer.status_mut() = if ends { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Self(answer)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Its headers. The gateway's own are added later.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// Puts a header in the place of whatever had its name.
    ///
    /// # Errors
    /// [`NotYours`].
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), NotYours> {
        change(self.0.headers_mut(), may_change_of_response, name, Some(value))
    }

    /// Takes a header away.
    ///
    /// # Errors
    /// [`NotYours`].
    pub fn remove_header(&mut self, name: HeaderName) -> Result<(), NotYours> {
        change(self.0.headers_mut(), may_change_of_response, name, None)
    }
}

/// Why the gateway answers by itself. A layer may look at it, and hands it on or answers in its place.
#[derive(Debug)]
pub struct Refused(pub(super) Refusal);

impl Refused {
    /// The status that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// One of [`refusal::code`](crate::refusal::code).
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }
}
