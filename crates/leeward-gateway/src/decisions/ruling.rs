//! What decided: an option, and the values that were held against it.

use serde::Serialize;

use crate::config::Config;
use crate::refusal::code;

/// Values of one ruling: each policy has fewer.
const VALUES_MAX: usize = 8;

/// A value that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// A count, a number of bytes, or milliseconds: the name says which.
    Number(u64),
    /// One of the words of this crate.
    Word(&'static str),
}

/// An option, wherever a request's route and service have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setting {
    /// At the top of the file.
    Top(&'static str),
    /// Of the route.
    Route(&'static str),
    /// Of the route where it has one, else at the top.
    RouteOrTop(&'static str, &'static str),
    /// Of the service.
    Service(&'static str),
}

/// The option that decided, and what it decided by.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    pub(crate) setting: Setting,
    values: Vec<(&'static str, Value)>,
}

impl Ruling {
    pub(crate) fn by(setting: Setting) -> Self {
        Self { setting, values: Vec::new() }
    }

    pub(crate) fn number(mut self, name: &'static str, value: impl TryInto<u64>) -> Self {
        if self.values.len() < VALUES_MAX {
            self.values.push((name, Value::Number(value.try_into().unwrap_or(u64::MAX))));
        }
        self
    }

    pub(crate) fn word(mut self, name: &'static str, value: &'static str) -> Self {
        if self.values.len() < VALUES_MAX {
            self.values.push((name, Value::Word(value)));
        }
        self
    }

    pub(crate) fn values(&self) -> &[(&'static str, Value)] {
        &self.values
    }
}

impl Setting {
    /// The option behind a code, where the refusal itself names none.
    pub(crate) fn behind(refused: &'static str) -> Option<Self> {
        Some(match refused {
            code::HEAD_TOO_LARGE => Self::Top("limits.head"),
            code::HEAD_TIMEOUT => Self::Top("limits.head_timeout"),
            code::BODY_TIMEOUT => Self::Top("limits.body_timeout"),
            code::TOO_LARGE => Self::RouteOrTop("body", "limits.body"),
            code::BAD_PATH => Self::Top("unsafe_keep_encoded_slash"),
            code::ADDRESS_REFUSED => Self::RouteOrTop("allow", "allow"),
            code::NOT_FOUND | code::METHOD_NOT_ALLOWED => Self::Top("routes"),
            code::UNAUTHENTICATED
            | code::TOKEN_INVALID
            | code::TOKEN_EXPIRED
            | code::TOKEN_REVOKED
            | code::FORBIDDEN => Self::Route("access"),
            code::KEYS_UNAVAILABLE => Self::Top("jwt"),
            code::REVOCATIONS_STALE => Self::Top("revocation.stale_after"),
            code::CERTIFICATE_REQUIRED => Self::Route("client_certificate"),
            code::DEADLINE_EXCEEDED => Self::RouteOrTop("deadline", "limits.deadline"),
            code::UNAVAILABLE | code::UPSTREAM_INVALID => Self::Service("urls"),
            _ => return None,
        })
    }

    /// The option's path, as `services.orders.circuit_breaker`. `None` where the request had no route or service.
    pub(crate) fn path(self, config: &Config, route: Option<usize>, service: Option<&str>) -> Option<String> {
        Some(match self {
            Self::Top(name) => name.to_owned(),
            Self::Route(name) => format!("routes[{}].{name}", route?),
            Self::RouteOrTop(own, top) => {
                let own = route.map(|route| format!("routes[{route}].{own}"));
                own.filter(|path| config.origins.of(path).is_some()).unwrap_or_else(|| top.to_owned())
            }
            Self::Service(name) => format!("services.{}.{name}", service?),
        })
    }
}
