//! The page of all options of a service.

use leeward_gateway::config::ServicePolicy;
use leeward_resilience::config::reference::{Row, rows, table};
use leeward_runtime::Env;

/// Set, the test writes the file instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/service-options.md");

const HEAD: &str = "\
# Options of a service

What a service, and `policies.services.NAME`, may say beside where it is (`urls` or `dns`), how it is spoken to (`protocol`, `tls`,
[services](upstreams.md)), what `balance: ring_hash` goes by (`hash_on`, [balancing](balancing.md)) and what is known of it (`facts`, `calls`,
[lint](lint.md)). What each policy does, and in which order, is in [traffic policies](traffic.md).

- A route may have `retry`, `hedge`, `throttle`, `circuit_breaker`, `adaptive`, `concurrency_limit` and `attempt_timeout` for itself, with the
  same options and the same defaults.
- What a policy leaves out, and no named policy says, is the default below. A policy whose default is `on` is switched off by `off`; one that is `off` is
  switched on by its options, or by `on`. An attempt always has a time: `attempt_timeout` has neither.
- Durations are written as `250ms`, `5s`, `1m`, shares as `80%` or `0.8`, sizes as `64KiB`.
- While `retry` is on, hedges draw on `retry.budget`, and `hedge.budget` is not used.
- Where nothing is said of `adaptive`, its `limit_max` is what `concurrency_limit` lets through, and there is none at 5 or less.
- `abandoned_after` of a policy has no effect here: it follows from `attempt_timeout`.
";

#[test]
fn the_docs_list_every_option() {
    let mut rows = rows::<ServicePolicy>();
    rows.retain(|row| !row.option.ends_with(".abandoned_after"));
    for row in rows.iter().filter(|row| !row.default.is_empty()) {
        assert!(row.why.ends_with('.'), "no reason for {} of {}", row.default, row.option);
    }
    let (groups, plain): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_of_group);
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway options::the_docs`. -->\n\n{HEAD}\n{}",
        table(&plain)
    );
    for own in groups.chunk_by(|one, other| top(one) == top(other)) {
        text.push_str(&format!("\n## {}\n\n{}", top(&own[0]), table(own)));
    }
    if Env::process().get(WRITE).is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap_or_default(), text, "write it anew: {WRITE}=1");
}

fn top(row: &Row) -> &str {
    row.option.split('.').next().unwrap()
}

fn is_of_group(row: &Row) -> bool {
    row.kind == "group" || row.option.contains('.')
}
