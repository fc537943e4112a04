//! What finding a route costs: nanoseconds a lookup among 5,000 routes of mixed kinds.

use std::time::Instant;

use http::header::HeaderName;
use http::{HeaderMap, Method};
use leeward_gateway::router::{
    Ask, Condition, Conditions, Entry, Host, Match, Methods, Name, On, Pattern, Router, Test,
};

/// Routes of the table.
const ROUTES: usize = 5_000;
/// Of these with a host of their own,
const OF_HOSTS: usize = 2_000;
/// with a wildcard,
const OF_WILDCARDS: usize = 500;
/// with a prefix that many share,
const OF_PREFIXES: usize = 1_200;
/// with parameters,
const OF_TEMPLATES: usize = 400;
/// for which there is a twin with a condition;
const OF_TWINS: usize = 400;
/// ways in which the path of the worst case may go. The rest is filled up.
const WAYS: usize = 64;
/// Lookups between two looks at the clock.
const BATCH: usize = 1_000;
/// Batches of each kind; the figure is their median.
const BATCHES: usize = 200;

/// A kind of request, and what one costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// What is looked up.
    pub(crate) kind: &'static str,
    /// Median nanoseconds of a lookup.
    pub(crate) nanos: f64,
}

/// What a route takes.
struct Takes {
    hosts: Vec<Host>,
    pattern: Pattern,
    conditions: Conditions,
}

/// A request to look up.
struct Asked {
    host: String,
    path: String,
    headers: HeaderMap,
    is_known: bool,
}

impl Asked {
    fn new(host: &str, path: String) -> Self {
        Self { host: host.to_owned(), path, headers: HeaderMap::new(), is_known: true }
    }

    fn unknown(host: &str, path: String) -> Self {
        Self { is_known: false, ..Self::new(host, path) }
    }
}

/// Every kind alone, and `mixed`: all of them in turn.
///
/// # Errors
/// A lookup that did not find what it should.
pub(crate) fn run() -> Result<Vec<Cost>, String> {
    let table = table()?;
    let router = Router::new(table.iter().map(|takes| Entry {
        hosts: &takes.hosts,
        pattern: &takes.pattern,
        methods: Methods::ANY,
        conditions: &takes.conditions,
    }));
    let kinds = kinds();
    let mut costs = Vec::with_capacity(kinds.len() + 1);
    for (kind, asked) in &kinds {
        costs.push(Cost { kind, nanos: measure(&router, &asked.iter().collect::<Vec<_>>())? });
    }
    // The worst case is made to be bad, and no part of a mix.
    let mixed = (0..BATCH).filter_map(|at| {
        let (_, asked) = &kinds[at % (kinds.len() - 1)];
        asked.get(at * 7 % asked.len())
    });
    costs.push(Cost { kind: "mixed", nanos: measure(&router, &mixed.collect::<Vec<_>>())? });
    Ok(costs)
}

fn measure(router: &Router, asked: &[&Asked]) -> Result<f64, String> {
    let mut nanos = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let started = Instant::now();
        let mut found = 0;
        for at in 0..BATCH {
            // A stride, so that no two lookups in a row share their part of the tree.
            let asked = asked[at * 31 % asked.len()];
            let ask = Ask {
                method: &Method::GET,
                host: Some(&asked.host),
                path: &asked.path,
                query: None,
                headers: &asked.headers,
                is_preflight: false,
            };
            let is_found = matches!(std::hint::black_box(router.find(&ask)), Match::Route(_));
            found += usize::from(is_found == asked.is_known);
        }
        nanos.push(started.elapsed().as_nanos() as f64 / BATCH as f64);
        if found != BATCH {
            return Err(format!(
                "{} of {BATCH} lookups found something else than they should",
                BATCH - found
            ));
        }
    }
    nanos.sort_by(f64::total_cmp);
    Ok(nanos[BATCHES / 2])
}

/// The routes: hosts with a few each, wildcards, long prefixes that many share, templates, and paths with a twin for a header.
fn table() -> Result<Vec<Takes>, String> {
    let mut table = Vec::with_capacity(ROUTES);
    for at in 0..OF_HOSTS {
        table.push(takes(
            &[&format!("shop{}.example.org", at % 100)],
            &format!("/api/r{}/{{id}}/lines", at / 100),
        )?);
    }
    for at in 0..OF_WILDCARDS {
        table.push(takes(&[&format!("*.eu{}.example.org", at % 25)], &format!("/api/r{}", at / 25))?);
    }
    for at in 0..OF_PREFIXES {
        table.push(takes(&[], &format!("/platform/services/v{}/team{}/service{at}", at % 4, at % 40))?);
    }
    for at in 0..OF_TEMPLATES {
        table.push(takes(&[], &format!("/tenants/{{tenant}}/p{}/items/{{item}}/k{at}", at % 20))?);
    }
    for at in 0..OF_TWINS {
        let path = format!("/tagged/t{at}");
        table.push(takes(&[], &path)?);
        let on = On::Header(Name(HeaderName::from_static("x-beta")));
        let conditions = Conditions::new(vec![Condition { on, test: Test::Exact("1".into()) }]);
        table.push(Takes { conditions, ..takes(&[], &path)? });
    }
    // Every segment may be a literal or a parameter: a path that fails at its end is tried in all the ways.
    for ways in 0..WAYS {
        let part = |at: usize| if ways >> at & 1 == 0 { "/same".to_owned() } else { format!("/{{p{at}}}") };
        table.push(takes(&[], &format!("/worst{}/end", (0..6).map(part).collect::<String>()))?);
    }
    let filler = ROUTES.saturating_sub(table.len());
    for at in 0..filler {
        table.push(takes(&[], &format!("/more/m{at}"))?);
    }
    Ok(table)
}

fn takes(hosts: &[&str], path: &str) -> Result<Takes, String> {
    let pattern = Pattern::parse(path, false).map_err(|error| format!("{path}: {error}"))?;
    let hosts = hosts.iter().map(|host| Host::parse(host).map_err(|error| format!("{host}: {error}")));
    Ok(Takes { hosts: hosts.collect::<Result<_, _>>()?, pattern, conditions: Conditions::default() })
}

fn kinds() -> Vec<(&'static str, Vec<Asked>)> {
    let each = |count: usize, make: &dyn Fn(usize) -> Asked| (0..count).map(make).collect::<Vec<_>>();
    vec![
        (
            "host",
            each(OF_HOSTS, &|at| {
                Asked::new(&format!("shop{}.example.org", at % 100), format!("/api/r{}/7/lines/1", at / 100))
            }),
        ),
        (
            "wildcard",
            each(OF_WILDCARDS, &|at| {
                Asked::new(&format!("a.b.eu{}.example.org", at % 25), format!("/api/r{}/x", at / 25))
            }),
        ),
        (
            "prefix",
            each(OF_PREFIXES, &|at| {
                Asked::new("edge", format!("/platform/services/v{}/team{}/service{at}/x/y", at % 4, at % 40))
            }),
        ),
        (
            "template",
            each(OF_TEMPLATES, &|at| {
                Asked::new("edge", format!("/tenants/acme-{at}/p{}/items/{at}/k{at}", at % 20))
            }),
        ),
        (
            "header",
            each(OF_TWINS, &|at| {
                let mut asked = Asked::new("edge", format!("/tagged/t{at}"));
                asked.headers.insert("accept", http::HeaderValue::from_static("*/*"));
                asked
                    .headers
                    .insert("x-beta", http::HeaderValue::from_static(if at % 2 == 0 { "1" } else { "2" }));
                asked
            }),
        ),
        (
            "miss",
            each(1_000, &|at| Asked::unknown("shop7.example.org", format!("/api/r{}/7/lanes/{at}", at % 20))),
        ),
        (
            "miss-shared",
            each(1_000, &|at| {
                Asked::unknown("edge", format!("/platform/services/v{}/team{}/nothing{at}", at % 4, at % 40))
            }),
        ),
        (
            "worst",
            each(1, &|_| Asked::unknown("edge", "/worst/same/same/same/same/same/same/nothing".to_owned())),
        ),
    ]
}
