//! The table in the docs, written from the cases.

use std::fmt::Write;

use super::case::Seen;
use super::cases;

/// Set, the test writes the file instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");

fn shown(seen: &Seen) -> String {
    let mut text = seen.status.to_string();
    if !seen.code.is_empty() {
        write!(text, " [`{}`](problems/{}.md)", seen.code, seen.code).unwrap();
    }
    if seen.is_cut {
        text.push_str(", then a connection that ends too early");
    }
    match seen.asked {
        0 => text.push_str("; the service is not asked"),
        1 => {}
        times => write!(text, "; asked {times} times").unwrap(),
    }
    text
}

fn text() -> String {
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway faults::docs`. -->\n\n# Faults\n\n\
         What clients and operators see when something behind the gateway, or beneath it, fails. Each line is a test \
         (`faults::each_fault_is_seen_as_the_page_says`), with the defaults and one endpoint: where a service has several, an attempt that \
         is repeated goes to another one, and one bad endpoint is not seen at all. A 503 of the gateway says in `Retry-After` when to come \
         back. GET stands for what may be repeated, POST for what may not.\n\n\
         | what happens | GET | POST | how long it takes |\n|---|---|---|---|\n"
    );
    for case in cases() {
        let (get, post) = (shown(&case.expected.get), shown(&case.expected.post));
        writeln!(text, "| `{}`: {} | {get} | {post} | {} |", case.name, case.fault, case.bound).unwrap();
    }
    text.push_str("\nWhat shows it, after one GET:\n\n| | metrics, or health |\n|---|---|\n");
    for case in cases() {
        let lines: Vec<String> = case.expected.shown.iter().map(|line| format!("`{line}`")).collect();
        writeln!(text, "| `{}` | {} |", case.name, lines.join("<br>")).unwrap();
    }
    text
}

#[test]
fn the_table_in_the_docs_is_up_to_date() {
    #[allow(clippy::disallowed_methods, reason = "the way to ask a test for its file")]
    let writes = std::env::var_os(WRITE).is_some();
    if writes {
        std::fs::write(FILE, text()).unwrap();
    }
    let docs = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(docs == text(), "docs/faults.md is not up to date: run this test with {WRITE}=1");
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
