//! Every kind of finding: what it is, why it matters, what to do, with a configuration that brings it up and one beside it that does not.

use super::Severity;

/// A kind of finding.
#[derive(PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name, which stays.
    pub id: &'static str,
    /// How much it matters in most cases.
    pub severity: Severity,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// The part of a configuration that brings it up.
    pub fires: &'static str,
    /// The same part without it.
    pub quiet: &'static str,
}

/// All of them: those of one service, of the graph, of routes, of the edge.
pub static RULES: [&Rule; 35] = [
    &TIMEOUT_INVERSION,
    &ATTEMPTS_OVER_DEADLINE,
    &WINDOW_TOO_SHORT,
    &NEVER_REACHED,
    &UNPROTECTED,
    &AMPLIFICATION,
    &RETRY_NOT_IDEMPOTENT,
    &CALL_CIRCLE,
    &IDLE_OUTLIVES,
    &HEDGE_OF_ONE,
    &LIMIT_TIMES_REPLICAS,
    &TLS_UNVERIFIED,
    &TLS_IN_PART,
    &GRPC_OVER_HTTP1,
    &SERVICE_UNUSED,
    &POLICY_UNUSED,
    &DRAIN_TOO_SHORT,
    &QUEUE_TOO_LONG,
    &HEALTH_TOO_SLOW,
    &NO_COPIES,
    &FALLBACK_SHARES_FATE,
    &FALLBACK_FOR_WRITES,
    &METHOD_NOT_PASSED_ON,
    &STAR_IN_PATH,
    &SHARE_OF_NOTHING,
    &ACCESS_WIDER,
    &TOKEN_UNCHECKED,
    &UNSAFE_OPTION,
    &ADMIN_REACHABLE,
    &TRUSTS_EVERYONE,
    &CORS_WITHOUT_TLS,
    &KEYS_EXPIRE,
    &KEYS_IN_CLEAR,
    &ADDRESS_BEHIND_PROXY,
    &NO_LIMIT,
];

/// What the policies' own lint finds and has no name here.
pub(super) static OTHER: Rule = Rule {
    id: "policies",
    severity: Severity::Warning,
    what: "Options of a service's policies do not fit together.",
    why: "Policies that do not fit each other do something else than each of them says.",
    fix: "Change one of the options that are named.",
    fires: "",
    quiet: "",
};

pub(super) static TIMEOUT_INVERSION: Rule = Rule {
    id: "timeout-inversion",
    severity: Severity::Warning,
    what: "An inner wait is as long as, or longer than, the one around it.",
    why: "Whoever waits outside gives up first: what goes on inside is work for nobody, and its load stays.",
    fix: "Make the inner time shorter, or the outer one longer; hand the deadline down (`x-deadline-ms`) where the callee can read it.",
    fires: "
services:
  orders:
    attempt_timeout: 2s
    calls: {stock: {deadline: 3s}}
behind: {stock: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders:
    attempt_timeout: 2s
    calls: {stock: {deadline: 1s}}
behind: {stock: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static ATTEMPTS_OVER_DEADLINE: Rule = Rule {
    id: "attempts-over-deadline",
    severity: Severity::Warning,
    what: "The attempts together need more time than the deadline leaves. A note where only the last one is cut short.",
    why: "Retries that are configured and never sent protect from nothing.",
    fix: "Make the attempt timeout at most the deadline divided by the attempts, or retry less often.",
    fires: "
services: {orders: {attempt_timeout: 5s}}
routes: [{path: /, service: orders, deadline: 4s}]
",
    quiet: "
services: {orders: {attempt_timeout: 1300ms}}
routes: [{path: /, service: orders, deadline: 4s}]
",
};

pub(super) static WINDOW_TOO_SHORT: Rule = Rule {
    id: "window-too-short",
    severity: Severity::Warning,
    what: "A breaker or throttle looks back over less time than a call takes.",
    why: "Outcomes leave the window as they come in, so that it never holds enough of them to decide by.",
    fix: "Make the window several times as long as the slowest usual call (`facts.latency_p99`), or count calls (`window_calls`).",
    fires: "
services:
  orders: {facts: {latency_p99: 3s}, circuit_breaker: {window: 2s}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders: {facts: {latency_p99: 3s}, circuit_breaker: {window: 30s}}
routes: [{path: /, service: orders}]
",
};

pub(super) static NEVER_REACHED: Rule = Rule {
    id: "never-reached",
    severity: Severity::Warning,
    what: "An option can never come into play.",
    why: "It reads as a protection and is none.",
    fix: "Bring the option within reach of the one that hides it, or remove it.",
    fires: "
services:
  orders: {attempt_timeout: 2s, circuit_breaker: {slow_after: 3s}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders: {attempt_timeout: 2s, circuit_breaker: {slow_after: 500ms}}
routes: [{path: /, service: orders}]
",
};

pub(super) static UNPROTECTED: Rule = Rule {
    id: "unprotected",
    severity: Severity::Warning,
    what: "A policy is missing that another one relies on.",
    why: "Retries without a breaker go on while the service is down; an attempt that is only watched hangs until the deadline.",
    fix: "Switch on the policy that is named.",
    fires: "
services: {orders: {circuit_breaker: off}}
routes: [{path: /, service: orders}]
",
    quiet: "
services: {orders: {circuit_breaker: off, retry: off}}
routes: [{path: /, service: orders}]
",
};

pub(super) static AMPLIFICATION: Rule = Rule {
    id: "amplification",
    severity: Severity::Warning,
    what: "One request may become many at a service: retries of several hops multiply. An error above 16.",
    why: "An outage that the service would survive becomes one that it does not: the load grows as it fails.",
    fix: "Retry at one hop only, the one nearest to the service; services on Leeward's kit do so by themselves.",
    fires: "
services:
  orders:
    retry: {max_retries: 1}
    calls: {stock: {retries: 2}}
behind: {stock: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders:
    retry: off
    calls: {stock: {retries: 2}}
behind: {stock: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static RETRY_NOT_IDEMPOTENT: Rule = Rule {
    id: "retry-not-idempotent",
    severity: Severity::Error,
    what: "A call is repeated that is said not to be idempotent.",
    why: "A call whose answer was lost may have been executed: repeated, it happens twice.",
    fix: "Give the call an idempotency key and say so (`idempotent: true`), or do not repeat it. The gateway itself repeats only methods that are idempotent.",
    fires: "
services:
  orders:
    retry: off
    calls: {payments: {retries: 1, idempotent: false}}
behind: {payments: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders:
    retry: off
    calls: {payments: {retries: 1, idempotent: true}}
behind: {payments: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static CALL_CIRCLE: Rule = Rule {
    id: "call-circle",
    severity: Severity::Error,
    what: "Services call each other in a circle.",
    why: "When one is slow all of them wait for each other, and their limits fill up together.",
    fix: "Break the circle: by an event in place of one of the calls, or by a copy of the data that is asked for.",
    fires: "
services:
  orders: {calls: {users: {}}}
  users: {calls: {orders: {}}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders: {calls: {users: {}}}
  users: {calls: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static IDLE_OUTLIVES: Rule = Rule {
    id: "idle-outlives-keep-alive",
    severity: Severity::Error,
    what: "Idle connections are kept longer than the service keeps them (`facts.keep_alive`).",
    why: "The service closes a connection just as a request is sent on it: sporadic 502 that nobody can explain.",
    fix: "Make `idle_timeout` a few seconds shorter than the service's keep-alive.",
    fires: "
services:
  orders: {idle_timeout: 60s, facts: {keep_alive: 60s}}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders: {idle_timeout: 55s, facts: {keep_alive: 60s}}
routes: [{path: /, service: orders}]
",
};

pub(super) static HEDGE_OF_ONE: Rule = Rule {
    id: "hedge-of-one",
    severity: Severity::Note,
    what: "Slow attempts are hedged, and there is one endpoint.",
    why: "The second attempt waits behind the first, and doubles the load of what is slow.",
    fix: "Hedge where there are at least two endpoints.",
    fires: r#"
services:
  orders: {urls: ["http://127.0.0.1:1"], hedge: on}
routes: [{path: /, service: orders}]
"#,
    quiet: r#"
services:
  orders: {urls: ["http://127.0.0.1:1", "http://127.0.0.1:2"], hedge: on}
routes: [{path: /, service: orders}]
"#,
};

pub(super) static LIMIT_TIMES_REPLICAS: Rule = Rule {
    id: "limit-times-replicas",
    severity: Severity::Warning,
    what: "The limits of all gateways together (`facts.replicas`) are more than the service bears (`facts.concurrency`). A note for the rate limit of a route, which is each gateway's own as well.",
    why: "Limits are each gateway's own: with three replicas three times as much gets through.",
    fix: "Divide the limit by the replicas, with some room for one that is missing.",
    fires: "
services:
  orders: {concurrency_limit: {limit: 100}, facts: {concurrency: 200}}
facts: {replicas: 3}
routes: [{path: /, service: orders}]
",
    quiet: "
services:
  orders: {concurrency_limit: {limit: 60}, facts: {concurrency: 200}}
facts: {replicas: 3}
routes: [{path: /, service: orders}]
",
};

pub(super) static TLS_UNVERIFIED: Rule = Rule {
    id: "tls-unverified",
    severity: Severity::Error,
    what: "Anybody is believed to be a service.",
    why: "Encryption towards one who is not asked who they are keeps nobody out: whoever is on the way reads and changes everything.",
    fix: "Name who vouches for the service in `tls.ca`, and its name in `tls.server_name`.",
    fires: r#"
services:
  orders: {urls: ["https://10.0.0.5:4001"], tls: {unsafe_skip_verification: true}}
routes: [{path: /orders, service: orders}]
"#,
    quiet: r#"
services:
  orders: {urls: ["https://10.0.0.5:4001"], tls: {ca: services-ca.pem, server_name: orders.internal}}
routes: [{path: /orders, service: orders}]
"#,
};

pub(super) static TLS_IN_PART: Rule = Rule {
    id: "tls-in-part",
    severity: Severity::Warning,
    what: "A service is reached with encryption at some of its endpoints and without it at others.",
    why: "What must not be read on the way can be read on a part of the ways; which one a request takes is chance.",
    fix: "Use https:// for all of its `urls`.",
    fires: r#"
services:
  orders: {urls: ["https://10.0.0.5:4001", "http://10.0.0.6:4001"]}
routes: [{path: /orders, service: orders}]
"#,
    quiet: r#"
services:
  orders: {urls: ["https://10.0.0.5:4001", "https://10.0.0.6:4001"]}
routes: [{path: /orders, service: orders}]
"#,
};

pub(super) static GRPC_OVER_HTTP1: Rule = Rule {
    id: "grpc-over-http1",
    severity: Severity::Error,
    what: "A route of gRPC, by its path or its condition, leads to a service that is spoken to over HTTP/1.1.",
    why: "gRPC is spoken over HTTP/2 alone: every call fails. Without TLS both sides cannot agree on it, and HTTP/1.1 is the default.",
    fix: "Set `protocol: http2` of the service.",
    fires: "
services:
  orders: {urls: [\"http://127.0.0.1:50051\"]}
routes: [{path: /shop.v1.Orders, service: orders}]
",
    quiet: "
services:
  orders: {urls: [\"http://127.0.0.1:50051\"], protocol: http2}
routes: [{path: /shop.v1.Orders, service: orders}]
",
};

pub(super) static SERVICE_UNUSED: Rule = Rule {
    id: "service-unused",
    severity: Severity::Warning,
    what: "Nothing leads to a service.",
    why: "It is checked, watched and shown as if it mattered; or the route that should lead to it is missing.",
    fix: "Add the route, or remove the service. One that only other services call belongs to `behind`.",
    fires: "
services: {orders: {}, users: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static POLICY_UNUSED: Rule = Rule {
    id: "policy-unused",
    severity: Severity::Note,
    what: "No service and no route names a policy.",
    why: "Whoever changes it believes that something changes.",
    fix: "Name it (`policy:`), or remove it.",
    fires: "
policies: {services: {patient: {attempt_timeout: 8s}}}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
policies: {services: {patient: {attempt_timeout: 8s}}}
services: {orders: {policy: patient}}
routes: [{path: /, service: orders}]
",
};

pub(super) static DRAIN_TOO_SHORT: Rule = Rule {
    id: "drain-too-short",
    severity: Severity::Note,
    what: "Requests may take longer than a stop leaves them (`limits.drain`). A warning where not even one attempt fits.",
    why: "A deployment cuts requests that were going to succeed.",
    fix: "Make `limits.drain` as long as the longest deadline, and what stops the gateway wait longer still (`terminationGracePeriodSeconds`).",
    fires: "
limits: {drain: 5s, deadline: 10s}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
limits: {drain: 10s, deadline: 10s}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static QUEUE_TOO_LONG: Rule = Rule {
    id: "queue-too-long",
    severity: Severity::Warning,
    what: "A request may wait at the gateway's door as long as the shortest deadline.",
    why: "What was let in after its wait has no time left: the gateway works on requests that fail.",
    fix: "Make `concurrency_limit.max_wait` a small part of the shortest deadline.",
    fires: "
concurrency_limit: {max_wait: 1s}
services: {orders: {}}
routes: [{path: /, service: orders, deadline: 1s}]
",
    quiet: "
concurrency_limit: {max_wait: 50ms}
services: {orders: {}}
routes: [{path: /, service: orders, deadline: 1s}]
",
};

pub(super) static HEALTH_TOO_SLOW: Rule = Rule {
    id: "health-too-slow",
    severity: Severity::Warning,
    what: "Health checks take longer to find an endpoint down than an ejection lasts.",
    why: "The ejected endpoint is back among the others before a check has seen that it is still down, and requests find out.",
    fix: "Ask more often (`health.interval`).",
    fires: "
health: {interval: 10s}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
health: {interval: 2s}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static NO_COPIES: Rule = Rule {
    id: "no-copies",
    severity: Severity::Error,
    what: "A route answers from last good copies, and the store has no room for one.",
    why: "When the service fails there is no copy, although the route says so.",
    fix: "Give `stale.bytes` some room, or remove `stale_if_error`.",
    fires: "
stale: {bytes: 0B}
services: {orders: {}}
routes: [{path: /, service: orders, stale_if_error: 1h}]
",
    quiet: "
stale: {bytes: 1MiB}
services: {orders: {}}
routes: [{path: /, service: orders, stale_if_error: 1h}]
",
};

pub(super) static FALLBACK_SHARES_FATE: Rule = Rule {
    id: "fallback-shares-fate",
    severity: Severity::Warning,
    what: "The service of a fallback is at an endpoint of the service that it stands in for.",
    why: "What has just failed is asked once more under another name: no answer comes of it, and the outage gets more load.",
    fix: "Name a service of other endpoints, or let the gateway answer (`respond`).",
    fires: "
services:
  orders: {urls: [\"http://10.0.0.1:4001\", \"http://10.0.0.2:4001\"]}
  spare: {urls: [\"http://10.0.0.2:4001\"]}
routes: [{path: /, service: orders, fallback: {service: spare}}]
",
    quiet: "
services:
  orders: {urls: [\"http://10.0.0.1:4001\", \"http://10.0.0.2:4001\"]}
  spare: {urls: [\"http://10.0.0.3:4001\"]}
routes: [{path: /, service: orders, fallback: {service: spare}}]
",
};

pub(super) static FALLBACK_FOR_WRITES: Rule = Rule {
    id: "fallback-for-writes",
    severity: Severity::Warning,
    what: "A fixed answer that says success stands in for requests that change something.",
    why: "The client is told that its order, payment or change was taken, and nobody has it; or it was taken, and the client does not get the service's answer.",
    fix: "Name the methods that only read (`methods: [GET, HEAD]`) on the route with the fallback, or answer with a status of 4xx or 5xx.",
    fires: "
services: {orders: {}}
routes: [{path: /, service: orders, fallback: {respond: {status: 200, body: \"[]\"}}}]
",
    quiet: "
services: {orders: {}}
routes: [{path: /, service: orders, methods: [GET, HEAD], fallback: {respond: {status: 200, body: \"[]\"}}}]
",
};

pub(super) static STAR_IN_PATH: Rule = Rule {
    id: "star-in-path",
    severity: Severity::Warning,
    what: "A path has a segment with a `*`, which stands for itself and for nothing else.",
    why: "A path takes everything below it as it is: with `/orders/*` nothing but that very text is found, and `/orders/7` is answered 404.",
    fix: "Leave the `*` out: `/orders` takes what is below it, `/orders/{id}/lines` any one segment.",
    fires: "
services: {orders: {}}
routes: [{path: /orders/*, service: orders}]
",
    quiet: "
services: {orders: {}}
routes: [{path: /orders, service: orders}]
",
};

pub(super) static METHOD_NOT_PASSED_ON: Rule = Rule {
    id: "method-not-passed-on",
    severity: Severity::Note,
    what: "A route with few methods lies below one that takes more.",
    why: "The longest path decides: a request with another method is answered 405 there, and never handed on to the shorter path.",
    fix: "Add a route for the other methods on the same path, if they should pass.",
    fires: "
services: {orders: {}}
routes:
  - {path: /, service: orders}
  - {path: /orders, service: orders, methods: [GET]}
",
    quiet: "
services: {orders: {}}
routes:
  - {path: /, service: orders}
  - {path: /orders, service: orders}
",
};

pub(super) static SHARE_OF_NOTHING: Rule = Rule {
    id: "share-of-nothing",
    severity: Severity::Note,
    what: "A service of a split gets no request.",
    why: "It is checked, watched and shown, and nobody finds out whether it works.",
    fix: "Give it a share or a pin, or take it out of the split.",
    fires: "
services: {orders: {}, next: {}}
routes: [{path: /, split: {orders: 100%, next: 0%}}]
",
    quiet: "
services: {orders: {}, next: {}}
routes: [{path: /, split: {orders: 99%, next: 1%}}]
",
};

pub(super) static ACCESS_WIDER: Rule = Rule {
    id: "access-wider-below",
    severity: Severity::Note,
    what: "A route lets in more than the one that its path lies below.",
    why: "Who reads the upper rule believes that everything below it is protected.",
    fix: "If it is meant, say so in a comment; else give it the same `access`.",
    fires: "
jwt: {service: orders}
services: {orders: {}}
routes:
  - {path: /admin, service: orders, access: user}
  - {path: /admin/export, service: orders}
",
    quiet: "
jwt: {service: orders}
services: {orders: {}}
routes:
  - {path: /admin, service: orders, access: user}
  - {path: /admin/export, service: orders, access: user}
",
};

pub(super) static TOKEN_UNCHECKED: Rule = Rule {
    id: "token-unchecked",
    severity: Severity::Warning,
    what: "A route for anyone sends tokens on to the service.",
    why: "Nothing says that such a token is good: a service that believes it believes anybody.",
    fix: "Set `access: user`, or leave `forward_token` out and let the service go by the gateway's assertion.",
    fires: "
jwt: {service: orders}
services: {orders: {}}
routes: [{path: /, service: orders, forward_token: true}]
",
    quiet: "
jwt: {service: orders}
services: {orders: {}}
routes: [{path: /, service: orders, forward_token: true, access: user}]
",
};

pub(super) static UNSAFE_OPTION: Rule = Rule {
    id: "unsafe-option",
    severity: Severity::Warning,
    what: "An option that takes a protection away is on.",
    why: "What the gateway does without being asked is the safe thing; each `unsafe_` option is a hole that somebody wanted once.",
    fix: "Remove it, or say in a comment who needs it and until when. The page on hardening says what each of them lets happen.",
    fires: "
unsafe_keep_encoded_slash: true
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
unsafe_keep_encoded_slash: false
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static ADMIN_REACHABLE: Rule = Rule {
    id: "admin-reachable",
    severity: Severity::Warning,
    what: "The admin API listens on more than loopback.",
    why: "Whoever can listen in on the way has the operators' token: it can break circuits and drain the gateway.",
    fix: "Listen on loopback and reach it by a tunnel, or on a network of operators alone.",
    fires: r#"
admin: {listen: "10.0.0.1:9900", unsafe_beyond_loopback: true, token: "env:PATH"}
services: {orders: {}}
routes: [{path: /, service: orders}]
"#,
    quiet: r#"
admin: {listen: "127.0.0.1:9900", token: "env:PATH"}
services: {orders: {}}
routes: [{path: /, service: orders}]
"#,
};

pub(super) static TRUSTS_EVERYONE: Rule = Rule {
    id: "trusts-everyone",
    severity: Severity::Error,
    what: "`trusted_proxies` or `explain_to` has a network that is every address.",
    why: "A client that is believed about its own address has no limit by address, and passes address lists; hints tell attackers what to try.",
    fix: "Name the networks of the proxies, or of the operators.",
    fires: "
trusted_proxies: [0.0.0.0/0]
unsafe_trust_any_proxy: true
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
trusted_proxies: [10.0.0.0/8]
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static CORS_WITHOUT_TLS: Rule = Rule {
    id: "cors-without-tls",
    severity: Severity::Warning,
    what: "Pages that come without encryption may act as the user.",
    why: "Whoever is on the way can put a script into such a page, and it has the user's cookies.",
    fix: "Give the origin as https://.",
    fires: r#"
cors: {origins: ["http://shop.example"], credentials: true, unsafe_plain_origins: true}
services: {orders: {}}
routes: [{path: /, service: orders}]
"#,
    quiet: r#"
cors: {origins: ["https://shop.example"], credentials: true}
services: {orders: {}}
routes: [{path: /, service: orders}]
"#,
};

pub(super) static KEYS_EXPIRE: Rule = Rule {
    id: "keys-expire",
    severity: Severity::Warning,
    what: "Keys are fetched less often than they stay good when that fails.",
    why: "One failed fetch, and every user is refused until the next.",
    fix: "Make `jwt.stale_if_error` several times `jwt.refresh`.",
    fires: "
jwt: {service: orders, refresh: 1h, stale_if_error: 30m}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
jwt: {service: orders, refresh: 1h, stale_if_error: 6h}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static KEYS_IN_CLEAR: Rule = Rule {
    id: "keys-in-clear",
    severity: Severity::Warning,
    what: "Keys that tokens are checked with come from a service on another machine without encryption.",
    why: "Who is on the way puts in keys of their own, and is whoever they like from then on.",
    fix: "Let the service be reached over `https://` (or `tls` beside `dns`), or give its keys by `jwt.keys`.",
    fires: "
jwt: {service: users}
services: {users: {urls: [\"http://10.0.0.5:4001\"]}}
routes: [{path: /, service: users}]
",
    quiet: "
jwt: {service: users}
services: {users: {urls: [\"https://10.0.0.5:4001\"]}}
routes: [{path: /, service: users}]
",
};

pub(super) static ADDRESS_BEHIND_PROXY: Rule = Rule {
    id: "address-behind-proxy",
    severity: Severity::Note,
    what: "Requests are limited by address, the gateway listens on an inner address, and no proxy is trusted.",
    why: "Behind a proxy every client has the proxy's address: one limit for all of them, which any of them can use up.",
    fix: "Name the proxy's network in `trusted_proxies`, or, where nothing stands in front, go on.",
    fires: "
listen: 10.0.0.1:8080
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
listen: 10.0.0.1:8080
trusted_proxies: [10.0.0.0/8]
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};

pub(super) static NO_LIMIT: Rule = Rule {
    id: "no-limit",
    severity: Severity::Note,
    what: "Requests are not limited by address, or not by user.",
    why: "One client that loops takes what is there for all.",
    fix: "Set a limit that no honest client meets.",
    fires: "
trusted_proxies: [10.0.0.0/8]
rate_limits: {address: off}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
    quiet: "
trusted_proxies: [10.0.0.0/8]
rate_limits: {address: 10000/s}
services: {orders: {}}
routes: [{path: /, service: orders}]
",
};
