//! `leeward check`, `lint` and `explain` as a script meets them: exit codes, what goes to which stream, no gateway needed.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::run;

const GOOD: &str = "\
limits: {body: 1KiB}
admin: {token: \"env:TOKEN\"}
services:
  orders: {urls: [\"http://127.0.0.1:4001\"]}
routes:
  - {path: /orders, service: orders, methods: [GET, POST]}
";

/// Two mistakes, at two lines.
const WRONG: &str = "\
listn: 127.0.0.1:8080
routes:
  - {path: /orders, service: orders}
";

/// An error and a warning of lint, and no mistake.
const UNWISE: &str = "\
trusted_proxies: [0.0.0.0/0]
unsafe_trust_any_proxy: true
services:
  orders: {urls: [\"http://127.0.0.1:4001\"]}
  nobody: {}
routes:
  - {path: /orders, service: orders}
";

const SECRET: &str = "a-secret-that-nobody-prints";

/// A folder with these configurations; none is called `leeward.yaml`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("good.yaml", GOOD), ("wrong.yaml", WRONG), ("unwise.yaml", UNWISE)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// What was said, after an exit code of `code`; the other stream is empty, and no secret is on either.
fn said(folder: &Path, code: i32, args: &[&str]) -> String {
    let (got, said, complaint) = run(folder, &[("TOKEN", SECRET)], args);
    assert_eq!(got, Some(code), "{args:?}: {said}{complaint}");
    assert!(!said.contains(SECRET) && !complaint.contains(SECRET), "{args:?}: {said}{complaint}");
    let (said, silent) = if code == 2 { (complaint, said) } else { (said, complaint) };
    assert_eq!(silent, "", "{args:?}");
    said
}

#[test]
fn check_says_that_a_file_is_right_or_everything_that_is_wrong() {
    let folder = folder();
    let check = |code, file| said(folder.path(), code, &["check", file]);
    assert_eq!(check(0, "good.yaml"), "good.yaml: 1 service, no mistakes\n");
    assert_eq!(check(0, "unwise.yaml"), "unwise.yaml: 2 services, no mistakes\n");
    let report = check(2, "wrong.yaml");
    assert!(report.starts_with("leeward: wrong.yaml:1:1: listn: unknown key"), "{report}");
    assert!(report.contains("did you mean: listen"), "{report}");
    assert!(report.contains("wrong.yaml:3:"), "all mistakes at once: {report}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_whoever_reads_it() {
    let folder = folder();
    for args in [&["check", "gone.yaml"][..], &["lint", "gone.yaml"], &["explain", "gone.yaml"]] {
        let complaint = said(folder.path(), 2, args);
        assert!(complaint.starts_with("leeward: ") && complaint.contains("gone.yaml"), "{complaint}");
    }
    // Without a name it is `leeward.yaml` here, which is not there.
    for args in [&["check"][..], &["lint"], &["explain"], &["explain", "GET", "/"]] {
        let complaint = said(folder.path(), 2, args);
        assert!(complaint.contains("leeward.yaml"), "{args:?}: {complaint}");
    }
    // A folder is none, and neither is a file that is no text.
    std::fs::write(folder.path().join("bytes.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    for file in [".", "bytes.yaml"] {
        let complaint = said(folder.path(), 2, &["check", file]);
        assert!(complaint.contains(file), "{complaint}");
    }
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let folder = folder();
    for (args, says) in [
        (&["check", "good.yaml", "wrong.yaml"][..], "unexpected argument 'wrong.yaml'"),
        (&["check", "--json"], "unexpected argument '--json'"),
        (&["lint", "--level", "loud"], "[possible values: note, warning, error]"),
        (&["explain", "GET", "/", "more"], "explain"),
        (&["explain", "good.yaml", "--config", "wrong.yaml"], "two files: good.yaml and --config wrong.yaml"),
        (&["explain", "good.yaml", "-H", "a: b"], "a header belongs to a request"),
        (&["chekc"], "'check'"),
    ] {
        let complaint = said(folder.path(), 2, args);
        assert!(complaint.contains(says), "{args:?}: {complaint}");
    }
}

#[test]
fn lint_counts_what_it_shows() {
    let folder = folder();
    let lint = |code, args: &[&str]| said(folder.path(), code, &[&["lint"], args].concat());
    let quiet = lint(0, &["good.yaml"]);
    assert!(quiet.starts_with("good.yaml: 0 errors, 0 warnings, "), "{quiet}");
    let found = lint(1, &["unwise.yaml"]);
    assert!(found.contains("unwise.yaml:1:") && found.contains("error[trusts-everyone]"), "{found}");
    assert!(found.contains("warning[service-unused]") && !found.contains("note["), "{found}");
    assert!(found.contains("unwise.yaml: 1 errors, 1 warnings, "), "{found}");
    let errors = lint(1, &["unwise.yaml", "--level", "error"]);
    assert!(errors.contains("error[trusts-everyone]") && !errors.contains("warning["), "{errors}");
    // Notes count where they are asked for.
    let notes = lint(1, &["good.yaml", "--level", "note"]);
    assert!(notes.contains("note[") && !notes.contains("--level note shows all"), "{notes}");
    assert_eq!(lint(0, &["good.yaml", "--level", "error", "--json"]).trim(), "[]");
}

#[test]
fn lint_is_for_programs_too() {
    let folder = folder();
    let text = said(folder.path(), 1, &["lint", "unwise.yaml", "--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let of =
        |key: &str| list.as_array().unwrap().iter().map(|it| it[key].as_str().unwrap().to_owned()).collect();
    let (mut ids, severities): (Vec<String>, Vec<String>) = (of("id"), of("severity"));
    ids.sort();
    assert_eq!(ids, ["service-unused", "trusts-everyone"], "{text}");
    assert!(severities.contains(&"error".to_owned()) && severities.contains(&"warning".to_owned()), "{text}");
    // A file with mistakes has no findings: it is not valid JSON's business, but the report's.
    let complaint = said(folder.path(), 2, &["lint", "wrong.yaml", "--json"]);
    assert!(complaint.starts_with("leeward: wrong.yaml:1:1: listn"), "{complaint}");
}

#[test]
fn explain_prints_a_configuration_that_parses_back() {
    let folder = folder();
    let printed = said(folder.path(), 0, &["explain", "good.yaml"]);
    assert!(printed.contains("env:TOKEN") && printed.contains("attempt_timeout:"), "{printed}");
    assert_eq!(said(folder.path(), 0, &["explain", "--config", "good.yaml"]), printed);
    std::fs::write(folder.path().join("leeward.yaml"), &printed).unwrap();
    assert_eq!(said(folder.path(), 0, &["explain"]), printed, "of `leeward.yaml` here, it prints the same");
}

#[test]
fn explain_tells_what_becomes_of_a_request() {
    let folder = folder();
    let explain =
        |args: &[&str]| said(folder.path(), 0, &[&["explain", "--config", "good.yaml"], args].concat());
    let passes = explain(&["GET", "/orders/7"]);
    assert!(passes.contains("to orders") && passes.contains("good.yaml:6"), "{passes}");
    assert!(!passes.contains("REFUSED"), "{passes}");
    // Whatever becomes of the request, the question was answered.
    for (args, code) in [
        (&["GET", "/nowhere"][..], "404 not_found"),
        (&["DELETE", "/orders"], "405 method_not_allowed"),
        (&["POST", "/orders", "-H", "Content-Length: 1025"], "413 payload_too_large"),
        (&["GET", "/orders/%2F"], "400 bad_path"),
        (&["GET", "/orders", "-H", "no header"], "400 malformed_request"),
    ] {
        let told = explain(args);
        assert!(told.contains("REFUSED") && told.contains(code), "{args:?}: {told}");
    }
}

#[test]
fn diff_has_an_exit_code_for_same_other_and_unreadable() {
    let folder = folder();
    let diff = |code, args: &[&str]| said(folder.path(), code, &[&["diff"], args].concat());
    let printed = said(folder.path(), 0, &["explain", "good.yaml"]);
    std::fs::write(folder.path().join("printed.yaml"), printed).unwrap();
    assert_eq!(
        diff(0, &["good.yaml", "printed.yaml"]),
        "both mean the same\n",
        "with all defaults written out"
    );
    let other = GOOD.replace("1KiB", "2KiB").replace("[GET, POST]", "[GET]").replace("4001", "4002");
    std::fs::write(folder.path().join("other.yaml"), other).unwrap();
    let text = diff(1, &["good.yaml", "other.yaml"]);
    for part in [
        "  + GET, HEAD /orders (other.yaml:6:5)",
        "  - GET, HEAD, POST /orders (good.yaml:6:5)",
        "limits.body: 1KiB (good.yaml:1:16) -> 2KiB (other.yaml:1:16); 1 routes go by it",
        "urls: [http://127.0.0.1:4001] (good.yaml:4:",
        "405 method_not_allowed",
        "taken: all of it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_str(&diff(1, &["good.yaml", "other.yaml", "--json"])).unwrap();
    assert_eq!((&json["same"], &json["reload"]["taken"]), (&Value::Bool(false), &Value::Bool(true)));
    let json: Value = serde_json::from_str(&diff(0, &["good.yaml", "good.yaml", "--json"])).unwrap();
    assert_eq!(json["same"], true);
    let complaint = diff(2, &["wrong.yaml", "gone.yaml"]);
    assert!(complaint.contains("wrong.yaml:1:1: listn") && complaint.contains("gone.yaml"), "{complaint}");
    assert!(diff(2, &["good.yaml"]).contains("<NEW>"));
}
