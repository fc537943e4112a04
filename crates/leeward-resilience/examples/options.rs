//! The reference of all options as Markdown: `cargo run -p leeward-resilience --example options >
//! crates/leeward-resilience/docs/options.md` brings the one in the docs up to date, which a test demands.

use leeward_resilience::cache::Memory;
use leeward_resilience::config::reference::{Row, rows, table};
use leeward_resilience::{
    Adaptive, Breaker, Cache, Concurrency, Fallback, Faults, Hedge, PipelineOptions, RateLimit, Retry,
    SharedRate, Shed, SlidingWindow, Throttle, Timeout,
};

/// The whole reference.
pub(crate) fn text() -> String {
    // What is below a policy stands in the policy's own table.
    let is_top = |row: &Row| !row.option.contains('.');
    let top: Vec<Row> = rows::<PipelineOptions>().into_iter().filter(is_top).collect();
    let tables = [
        ("Breaker", rows::<Breaker>()),
        ("Retry", rows::<Retry>()),
        ("Hedge", rows::<Hedge>()),
        ("Timeout", rows::<Timeout>()),
        ("Fallback", rows::<Fallback>()),
        ("Cache", rows::<Cache>()),
        ("Memory of a cache", rows::<Memory>()),
        ("RateLimit", rows::<RateLimit>()),
        ("SlidingWindow", rows::<SlidingWindow>()),
        ("SharedRate", rows::<SharedRate>()),
        ("Concurrency", rows::<Concurrency>()),
        ("Adaptive", rows::<Adaptive>()),
        ("Throttle", rows::<Throttle>()),
        ("Shed", rows::<Shed>()),
        ("Faults", rows::<Faults>()),
        ("PipelineOptions", top),
    ];
    let mut text = "<!-- Made by `cargo run -p leeward-resilience --example options`. -->\n".to_owned();
    for (name, rows) in tables {
        text.push_str(&format!("\n## {name}\n\n{}", table(&rows)));
    }
    text
}

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
pub(crate) fn main() {
    print!("{}", text());
}
