//! `leeward keys`: what it makes is what a gateway takes.

use std::io::Write;

use crate::process::{Process, get, run, run_with, send};

#[test]
fn a_new_key_opens_what_its_line_allows() {
    let folder = tempfile::tempdir().unwrap();
    let (code, line, key) = run(folder.path(), &[], &["keys", "new", "ci", "role:deploy"]);
    let (line, key) = (line.trim_end(), key.trim_end());
    assert_eq!(code, Some(0));
    assert!(key.starts_with("lwk_") && key.len() == 47, "{key}");
    assert!(line.starts_with("ci ") && line.ends_with(" role:deploy") && !line.contains(key), "{line}");
    let (_, _, other) = run(folder.path(), &[], &["keys", "new", "ci"]);
    assert_ne!(other.trim_end(), key);

    let mut file = std::fs::File::create(folder.path().join("callers.keys")).unwrap();
    writeln!(file, "{line}").unwrap();
    let text = "listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\napi_keys: {file: callers.keys}\n\
        routes: [{path: /, access: \"role:deploy\", respond: {status: 200, body: in}}]\n";
    std::fs::write(folder.path().join("leeward.yaml"), text).unwrap();
    let gateway = Process::start(folder.path(), &[], &["gateway"]);
    let edge = gateway.address("gateway");
    assert!(get(edge, "/").starts_with("HTTP/1.1 401"));
    let answer = send(edge, "/", &format!("x-api-key: {key}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("in"), "{answer}");
    gateway.terminate();
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn a_wrong_word_makes_no_key() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["keys", "new", "ci", "rolle:deploy"][..],
        &["keys", "new", "a b"],
        &["keys", "new", "a", "expires:soon"],
    ] {
        let (code, line, complaint) = run(folder.path(), &[], args);
        assert_eq!((code, line.as_str()), (Some(2), ""), "{args:?}");
        assert!(
            complaint.starts_with("leeward: no key was made: ") && !complaint.contains("lwk_"),
            "{complaint}"
        );
    }
}

#[test]
fn a_password_comes_from_standard_input_and_stays_out_of_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let (code, line, _) =
        run_with(folder.path(), &["keys", "password", "anna", "role:desk"], "correct horse\n");
    assert_eq!(code, Some(0));
    assert!(line.starts_with("anna $argon2id$v=19$") && line.ends_with(" role:desk\n"), "{line}");
    let (code, line, complaint) = run_with(folder.path(), &["keys", "password", "anna"], "short\n");
    assert_eq!((code, line.as_str()), (Some(2), ""));
    assert!(complaint.contains("8 bytes at least") && !complaint.contains("short"), "{complaint}");
}
