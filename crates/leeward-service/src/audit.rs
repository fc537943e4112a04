//! Calls every route of a running service with every wrong identity, and reports where the answer is not what the route
//! table says: for the tests of whoever builds services.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;

use crate::access::Access;
use crate::api::RouteInfo;
use crate::client::Transport;
use crate::identity::{ASSERTION_HEADER, Identity, KeyError, Minter, Principal, User};

/// An answer is read to this length; only its status counts.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// With whom to call.
#[derive(Debug)]
pub struct Audit {
    /// The service's name, as its audience.
    pub service: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Signs as the gateway, which the service knows.
    pub gateway: Minter,
    /// Signs as a service that the directory knows and no route names.
    pub outsider: Minter,
    /// Milliseconds since 1970.
    pub now_unix_ms: i64,
}

/// A route that let somebody in, or kept somebody out, against its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which route.
    pub route: RouteInfo,
    /// Who called.
    pub caller: &'static str,
    /// What it answered; 0 when it did not.
    pub status: u16,
    /// What the table says.
    pub expected: Expected,
}

/// What the table says about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this status.
    Status(u16),
    /// Anything but 401 and 403, such as an answer or a complaint about the request itself.
    LetIn,
}

/// A caller by name, and its assertion.
type Presented = (&'static str, Option<http::HeaderValue>);

impl Audit {
    /// Calls all `routes`. Where a caller is to be let in, only `GET` is tried, so that nothing is changed.
    ///
    /// # Errors
    /// When no assertion can be made.
    pub async fn run(&self, routes: &[RouteInfo]) -> Result<Vec<Breach>, KeyError> {
        let transport = Transport::new();
        let callers = self.callers()?;
        let mut breaches = Vec::new();
        for route in routes {
            for (caller, assertion) in &callers {
                let expected = expected(route.access, caller);
                if expected == Expected::LetIn && route.method != Method::GET {
                    continue;
                }
                let status = self.call(&transport, route, assertion.as_ref()).await;
                if !expected.fits(status) {
                    breaches.push(Breach { route: route.clone(), caller, status, expected });
                }
            }
        }
        Ok(breaches)
    }

    fn callers(&self) -> Result<Vec<Presented>, KeyError> {
        let user = Principal::User(User::new("audit"));
        let forger = Minter::new(Identity::ephemeral(self.gateway.identity().name())?);
        let stranger = Minter::new(Identity::ephemeral("audit-stranger")?);
        let sign = |minter: &Minter, principal: &Principal, audience: &str| {
            minter.mint(principal, audience, self.now_unix_ms).map(Some)
        };
        Ok(vec![
            (NOBODY, None),
            (USER, sign(&self.gateway, &user, &self.service)?),
            (OUTSIDER, sign(&self.outsider, &Principal::Service, &self.service)?),
            ("a user's assertion for another service", sign(&self.gateway, &user, "audit-other")?),
            (
                "a service that says it is an operator",
                sign(&self.outsider, &Principal::Operator, &self.service)?,
            ),
            ("a forged gateway", sign(&forger, &Principal::Operator, &self.service)?),
            ("an unknown issuer", sign(&stranger, &user, &self.service)?),
        ])
    }

    async fn call(
        &self,
        transport: &Transport,
        route: &RouteInfo,
        assertion: Option<&http::HeaderValue>,
    ) -> u16 {
        let body = if route.method == Method::GET { Bytes::new() } else { Bytes::from_static(b"{}") };
        let request = Request::builder()
            .method(&route.method)
            .uri(format!("http://{}{}", self.address, filled(route.path)))
            .header(header::CONTENT_TYPE, "application/json");
        let request =
            assertion.into_iter().fold(request, |request, value| request.header(ASSERTION_HEADER, value));
        let Ok(request) = request.body(Full::new(body)) else { return 0 };
        transport.exchange(request, ANSWER_BYTES_MAX).await.map_or(0, |answer| answer.status.as_u16())
    }
}

const NOBODY: &str = "nobody";
const USER: &str = "a user without roles";
const OUTSIDER: &str = "a service that is not named";

fn expected(access: Access, caller: &str) -> Expected {
    match (access, caller) {
        (Access::Anyone, NOBODY | USER | OUTSIDER)
        | (Access::User, USER)
        | (Access::AnyService, OUTSIDER) => Expected::LetIn,
        (_, USER | OUTSIDER) => Expected::Status(403),
        // Nobody where somebody is needed, and whoever is not who they say they are, wherever that is.
        _ => Expected::Status(401),
    }
}

impl Expected {
    fn fits(self, status: u16) -> bool {
        match self {
            Self::Status(expected) => status == expected,
            Self::LetIn => !matches!(status, 0 | 401 | 403),
        }
    }
}

/// The path with a value for each parameter.
fn filled(template: &str) -> String {
    let segments =
        template.split('/').map(|segment| if segment.starts_with('{') { "audit" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
