//! The list of all cases in the docs, and what must hold for all of them together.

use std::collections::BTreeMap;
use std::fmt::Write;

use leeward_gateway::h1::Rule;
use leeward_gateway::refusal::code;

use super::case::{Area, Case, Expected};
use super::{answers, cases};

/// Set, the test writes the file instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md");

/// What becomes of a case, and the rule or code that says so.
fn outcome(case: &Case) -> (String, &'static str) {
    match &case.expected {
        Expected::Refused { status, why, .. } => (format!("refused, {status}"), why),
        Expected::Cut { status, why } => (format!("refused on its way, {status}"), why),
        Expected::Answered { status } => (format!("answered here, {status}"), ""),
        Expected::Passes(_) => ("passes in one form".to_owned(), ""),
        Expected::Closed => ("closed".to_owned(), ""),
        Expected::BrokenOff => ("broken off".to_owned(), ""),
    }
}

fn answer_outcome(expected: &answers::Expected) -> (String, &'static str) {
    match expected {
        answers::Expected::Bad => ("refused, 502".to_owned(), code::UPSTREAM_INVALID),
        answers::Expected::Passes { status, .. } => (format!("passes in one form, {status}"), ""),
        answers::Expected::Cut => ("broken off".to_owned(), ""),
    }
}

fn row(text: &mut String, name: &str, outcome: (String, &str), test: &str) {
    let why = if outcome.1.is_empty() { String::new() } else { format!("`{}`", outcome.1) };
    writeln!(text, "| `{name}` | {} | {why} | `{test}` |", outcome.0).unwrap();
}

const HEAD: &str = "\n| case | what becomes of it | rule or code | test |\n|---|---|---|---|\n";

fn text() -> String {
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway attack::docs`. -->\n\n# Attacks\n\n\
         What can be sent to the gateway, or answered to it, so that it or somebody behind it does what nobody meant, and what \
         becomes of it. Refused: one answer names the rule or the code, the connection ends where the end of the message is in doubt, \
         and no byte reaches the service. Refused on its way: a body turns out to be none while it passes, and the service never sees an \
         end. Passes in one form: the service sees exactly what the case says, written anew.\n"
    );
    for area in Area::ALL {
        let name = area.name();
        let cases = cases(area);
        write!(text, "\n## {name} ({} cases)\n{HEAD}", cases.len()).unwrap();
        for case in &cases {
            row(&mut text, case.name, outcome(case), &format!("attack::{name}_cases"));
        }
    }
    let answers = answers::cases();
    write!(text, "\n## answers of services ({} cases)\n\nEach over plain connections and over TLS (`attack::answers::answers_cases_over_tls`); what is wrong with answers over HTTP/2 alone is in `attack::frames`.\n{HEAD}", answers.len()).unwrap();
    for case in &answers {
        row(&mut text, case.name, answer_outcome(&case.expected), "attack::answers::answers_cases");
    }
    text.push_str("\n## Rules\n\n| rule | status | cases |\n|---|---|---|\n");
    let by_rule = by_rule();
    for rule in Rule::ALL {
        let cases = by_rule.get(rule.name()).cloned().unwrap_or_default();
        let cases: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
        writeln!(text, "| `{}` | {} | {} |", rule.name(), rule.status().as_u16(), cases.join(", ")).unwrap();
    }
    text
}

/// Cases by the rule or code that refuses them.
fn by_rule() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut by_rule: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in Area::ALL.into_iter().flat_map(cases) {
        by_rule.entry(outcome(&case).1).or_default().push(case.name);
    }
    by_rule
}

#[test]
fn the_list_in_the_docs_is_up_to_date() {
    #[allow(clippy::disallowed_methods, reason = "the way to ask a test for its file")]
    let writes = std::env::var_os(WRITE).is_some();
    if writes {
        std::fs::write(FILE, text()).unwrap();
    }
    let docs = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(docs == text(), "docs/attacks.md is not up to date: run this test with {WRITE}=1");
}

#[test]
fn each_rule_has_a_case_and_each_case_a_rule_that_exists() {
    let by_rule = by_rule();
    for rule in Rule::ALL {
        assert!(by_rule.contains_key(rule.name()), "no case breaks {}", rule.name());
    }
    for why in by_rule.keys().filter(|why| !why.is_empty()) {
        let is_rule = Rule::ALL.iter().any(|rule| rule.name() == *why);
        assert!(
            is_rule || code::ALL.iter().any(|(code, _)| code == why),
            "{why} is neither a rule nor a code"
        );
    }
    for case in Area::ALL.into_iter().flat_map(cases) {
        let (Expected::Refused { status, why, .. } | Expected::Cut { status, why }) = case.expected else {
            continue;
        };
        if let Some(rule) = Rule::ALL.iter().find(|rule| rule.name() == why) {
            assert_eq!(rule.status().as_u16(), status, "{}", case.name);
        }
    }
}

#[test]
fn names_of_cases_are_stable_and_unique() {
    let answers = answers::cases();
    let all = Area::ALL.into_iter().flat_map(cases).map(|case| case.name);
    let mut names: Vec<&str> = all.chain(answers.iter().map(|case| case.name)).collect();
    let count = names.len();
    assert!(count >= 600, "only {count} cases are left");
    for name in &names {
        let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        assert!(name.bytes().all(kebab), "{name}");
    }
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
