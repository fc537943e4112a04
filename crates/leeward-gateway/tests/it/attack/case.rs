//! What a case of the attack matrix is, and the words that the tables are written in.

use std::time::Duration;

/// Which part of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Area {
    Framing,
    Headers,
    Path,
    Address,
    Token,
    Algorithm,
    Key,
    Password,
    Cors,
    Exhaustion,
}

impl Area {
    pub(crate) const ALL: [Self; 10] = [
        Self::Framing,
        Self::Headers,
        Self::Path,
        Self::Address,
        Self::Token,
        Self::Algorithm,
        Self::Key,
        Self::Password,
        Self::Cors,
        Self::Exhaustion,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::Headers => "headers",
            Self::Path => "path",
            Self::Address => "address",
            Self::Token => "token",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Password => "password",
            Self::Cors => "cors",
            Self::Exhaustion => "exhaustion",
        }
    }
}

/// In front of which gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// One route, and everything but the size of bodies at its default.
    Plain,
    /// `/admin` and `/mine` need a user, `/strip` is stripped.
    Guarded,
    /// The same, with tokens of three issuers.
    Issuers,
    /// As guarded, with tokens and API keys.
    Keyed,
    /// As guarded, with tokens, and names with passwords.
    Named,
    /// As guarded, with `unsafe_keep_encoded_slash`.
    KeptSlash,
    /// Behind proxies: the client's own address and 10.0.0.0/8 are trusted.
    Proxied,
    /// The same, with lists of addresses.
    Listed,
    /// CORS for `https://shop.example`, with credentials.
    Pages,
    /// CORS for everybody.
    AnyPage,
    /// `/side` has a cookie of the gateway's own that keeps a client at one service.
    Sticky,
    /// Small sizes and short times.
    Small,
    /// Short times.
    Hasty,
}

impl Setup {
    pub(crate) const ALL: [Self; 13] = [
        Self::Plain,
        Self::Guarded,
        Self::Issuers,
        Self::Keyed,
        Self::Named,
        Self::KeptSlash,
        Self::Proxied,
        Self::Listed,
        Self::Pages,
        Self::AnyPage,
        Self::Sticky,
        Self::Small,
        Self::Hasty,
    ];
}

/// What the client does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
}

/// What must become of it.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// One answer that names the rule or the code. Not one byte reaches the upstream, beside the requests that came before it.
    Refused { after: Vec<String>, status: u16, why: &'static str },
    /// The same for a body that turns out to be none when some of it is on its way already: what the upstream saw has no end.
    Cut { status: u16, why: &'static str },
    /// The gateway answers by itself; nothing reaches the upstream.
    Answered { status: u16 },
    /// Exactly these requests reach the upstream, each is answered, and the connection is in step after them.
    Passes(Vec<String>),
    /// The connection is closed without an answer, and nothing reaches the upstream.
    Closed,
    /// The answer begins, and the client is cut off before its end.
    BrokenOff,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Stable: the docs and whoever looks for it name it.
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Expected,
    /// Headers of the first answer: the value that it must have, or that it must not be there.
    pub(crate) headers: Vec<(&'static str, Option<&'static str>)>,
}

impl Case {
    pub(crate) fn header(&mut self, name: &'static str, value: Option<&'static str>) -> &mut Self {
        self.headers.push((name, value));
        self
    }
}

/// What a client may send: one write, or several with pauses.
pub(crate) trait Input {
    fn steps(self) -> Vec<Step>;
}

impl Input for &str {
    fn steps(self) -> Vec<Step> {
        vec![Step::Send(self.as_bytes().to_vec())]
    }
}

impl Input for String {
    fn steps(self) -> Vec<Step> {
        vec![Step::Send(self.into_bytes())]
    }
}

impl Input for Vec<u8> {
    fn steps(self) -> Vec<Step> {
        vec![Step::Send(self)]
    }
}

impl<const N: usize> Input for &[u8; N] {
    fn steps(self) -> Vec<Step> {
        vec![Step::Send(self.to_vec())]
    }
}

impl Input for Vec<Step> {
    fn steps(self) -> Vec<Step> {
        self
    }
}

/// The cases of one area, in the order of the docs.
#[derive(Debug)]
pub(crate) struct Table {
    /// Of the cases that are added from now on.
    pub(crate) setup: Setup,
    pub(crate) cases: Vec<Case>,
}

impl Table {
    pub(crate) fn new(area: Area) -> Self {
        let setup = match area {
            Area::Framing | Area::Headers => Setup::Plain,
            Area::Path | Area::Token => Setup::Guarded,
            Area::Algorithm => Setup::Issuers,
            Area::Key => Setup::Keyed,
            Area::Password => Setup::Named,
            Area::Address => Setup::Proxied,
            Area::Cors => Setup::Pages,
            Area::Exhaustion => Setup::Small,
        };
        Self { setup, cases: Vec::new() }
    }

    fn add(&mut self, name: &'static str, input: impl Input, expected: Expected) -> &mut Case {
        let setup = self.setup;
        self.cases.push(Case { name, setup, steps: input.steps(), expected, headers: Vec::new() });
        self.cases.last_mut().expect("just added")
    }

    pub(crate) fn refused(&mut self, name: &'static str, input: impl Input, status: u16, why: &'static str) {
        self.add(name, input, Expected::Refused { after: Vec::new(), status, why });
    }

    pub(crate) fn refused_after(
        &mut self,
        name: &'static str,
        input: impl Input,
        after: impl IntoIterator<Item = String>,
        status: u16,
        why: &'static str,
    ) {
        self.add(name, input, Expected::Refused { after: after.into_iter().collect(), status, why });
    }

    pub(crate) fn cut(&mut self, name: &'static str, input: impl Input, status: u16, why: &'static str) {
        self.add(name, input, Expected::Cut { status, why });
    }

    pub(crate) fn passes(
        &mut self,
        name: &'static str,
        input: impl Input,
        seen: impl IntoIterator<Item = String>,
    ) -> &mut Case {
        self.add(name, input, Expected::Passes(seen.into_iter().collect()))
    }

    pub(crate) fn answered(&mut self, name: &'static str, input: impl Input, status: u16) -> &mut Case {
        self.add(name, input, Expected::Answered { status })
    }

    pub(crate) fn closed(&mut self, name: &'static str, input: impl Input) {
        self.add(name, input, Expected::Closed);
    }

    pub(crate) fn broken_off(&mut self, name: &'static str, input: impl Input) {
        self.add(name, input, Expected::BrokenOff);
    }
}

/// A request that a case hides behind another one. It is never served.
pub(crate) const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: t\r\n\r\n";

/// A GET with these header lines, each with its end.
pub(crate) fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n{lines}\r\n")
}

/// A POST to `/a`.
pub(crate) fn post(lines: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: t\r\n{lines}\r\n{body}")
}

/// A POST of a body in chunks.
pub(crate) fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// What the upstream sees: the lines are the client's, sorted; what the gateway adds has been checked and left out.
pub(crate) fn seen(method_and_target: &str, lines: &[&str], body: &str) -> String {
    let mut sorted = lines.to_vec();
    sorted.sort_unstable();
    let lines: String = sorted.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method_and_target} HTTP/1.1\r\n{lines}\r\n{body}")
}
