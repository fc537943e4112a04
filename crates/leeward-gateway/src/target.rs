//! Who answers a route's requests, and what changes on their way: services, redirects, fixed answers, rewritten paths.

mod template;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, StatusCode};

pub use self::template::{Template, TemplateError};
use crate::headers::as_read_by_all;
use crate::path::{self, EncodedSlash};
use crate::router::Pattern;
use crate::split::Split;

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A service.
    Service(Arc<str>),
    /// One of several services.
    Split(Split),
    /// The gateway, with another place to go to.
    Redirect(Redirect),
    /// The gateway, with what the configuration says.
    Respond(Respond),
}

impl Target {
    /// The services among which the answer is to be had.
    pub fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, several) = match self {
            Self::Service(name) => (Some(name), &[][..]),
            Self::Split(split) => (None, &*split.arms),
            Self::Redirect(_) | Self::Respond(_) => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(|arm| &arm.service))
    }

    /// The option that says it.
    #[must_use]
    pub const fn option(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Split(Split { delivery: Some(_), .. }) => "delivery",
            Self::Split(_) => "split",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Split(split) => split.fmt(f),
            Self::Redirect(redirect) => write!(f, "{} {}", redirect.status.as_u16(), redirect.to),
            Self::Respond(respond) => write!(f, "{} of the configuration", respond.status.as_u16()),
        }
    }
}

/// The statuses that a redirect may have.
pub const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Another place to go to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// Where.
    pub to: Location,
    /// One of [`REDIRECTS`]. Default 307: the method stays, and no browser remembers it for ever.
    pub status: StatusCode,
    /// Whether the query goes along. Default: yes.
    pub keeps_query: bool,
}

/// A place: a path of the same host, or one of another host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// As it was written.
    pub text: Box<str>,
    /// `https://shop.example.org:8443`, with `None` in place of the host for that of the request; `None`: the same scheme and host.
    pub origin: Option<Origin>,
    /// The path; `None`: the request's own.
    pub path: Option<Template>,
}

/// Scheme and authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host; `None`: the request's.
    pub host: Option<Box<str>>,
    /// `:8443`, or nothing.
    pub port: Box<str>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Stands for the host of the request.
pub const HOST: &str = "{host}";

impl Location {
    /// Reads `/path`, `https://host/path` or `https://{host}`.
    ///
    /// # Errors
    /// What is none of these.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, TemplateError> {
        let with = |origin, path| Ok(Self { text: text.into(), origin, path });
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            Some(_) => return Err(TemplateError::Scheme),
            None => return with(None, Some(Template::parse(text, pattern)?)),
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let path = if path.is_empty() { None } else { Some(Template::parse(path, pattern)?) };
        let (host, port) = match authority.strip_prefix(HOST) {
            Some(port) => (None, port),
            None => {
                let host = crate::router::without_port(authority);
                (Some(Box::from(host)), &authority[host.len()..])
            }
        };
        let digits = port.strip_prefix(':');
        let is_port =
            port.is_empty() || digits.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let is_host = |host: &str| !host.contains('*') && crate::router::Host::parse(host).is_ok();
        if !is_port || !host.as_deref().is_none_or(is_host) {
            return Err(TemplateError::Host);
        }
        with(Some(Origin { scheme, host, port: port.into() }), path)
    }

    /// Whether it says where the request's own host is.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.host.is_none())
    }

    fn write(&self, host: Option<&str>, path: &str, slash: EncodedSlash) -> Result<String, path::Error> {
        let mut to = String::new();
        if let Some(origin) = &self.origin {
            to.push_str(origin.scheme);
            to.push_str("://");
            to.push_str(origin.host.as_deref().or(host).unwrap_or_default());
            to.push_str(&origin.port);
        }
        match &self.path {
            Some(template) => to.push_str(&template.rewritten(path, slash)?),
            None => to.push_str(path),
        }
        Ok(to)
    }
}

impl Redirect {
    /// `Location` for a request; `None` when it would be no header.
    ///
    /// # Errors
    /// A path that would not be canonical.
    pub(crate) fn location(
        &self,
        host: Option<&str>,
        path: &str,
        query: Option<&str>,
        slash: EncodedSlash,
    ) -> Result<Option<HeaderValue>, path::Error> {
        let mut to = self.to.write(host, path, slash)?;
        if let Some(query) = query.filter(|_| self.keeps_query) {
            to.push('?');
            to.push_str(query);
        }
        Ok(HeaderValue::try_from(to).ok())
    }
}

/// A fixed answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Respond {
    /// 200 to 599.
    pub status: StatusCode,
    /// What it says. Default: nothing.
    pub body: Bytes,
    /// What that is. Default `text/plain; charset=utf-8`.
    pub content_type: HeaderValue,
}

/// The default of [`Respond::content_type`].
pub const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What is changed of a request before a service gets it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rewrite {
    /// Stands in the place of the segments that the route's path names; what is below them stays.
    pub path: Option<Template>,
    /// The `Host` that the service gets. Default: the endpoint's own address.
    pub host: Option<NewHost>,
}

impl Rewrite {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A `Host` for the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewHost {
    /// As the client sent it.
    Clients,
    /// This one.
    Fixed(HeaderValue),
}

impl NewHost {
    pub(crate) fn of(&self, client: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Clients => client.cloned(),
            Self::Fixed(host) => Some(host.clone()),
        }
    }
}

impl fmt::Display for NewHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => f.write_str(HOST),
            Self::Fixed(host) => f.write_str(host.to_str().unwrap_or_default()),
        }
    }
}

/// What is done to the headers of a message, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// These go.
    pub remove: Vec<http::HeaderName>,
    /// These stand in the place of whatever had their names.
    pub set: Vec<(http::HeaderName, HeaderValue)>,
    /// These come beside whatever has their names.
    pub add: Vec<(http::HeaderName, HeaderValue)>,
}

impl Changes {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether they are about a header, of which this is the name as every reader spells it.
    pub(crate) fn name(&self, plain: &str) -> bool {
        let with_value = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(with_value).any(|named| as_read_by_all(named.as_str()) == plain)
    }

    /// Makes them.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}
