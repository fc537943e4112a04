//! Names and passwords that are none, stand where none belongs, or try to get to a service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::case::{Area, Table, get, seen};
use crate::callers::{ANNA, GONE};
use crate::rig::token;

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Password);
    presented(&mut table);
    refused(&mut table);
    table
}

fn login(text: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(text))
}

fn presented(table: &mut Table) {
    let anna = seen(
        "GET /mine",
        &[
            "x-user-id: basic:anna",
            "x-user-role: deploy",
            "x-user-context: {\"permissions\":[],\"roles\":[\"deploy\"],\"sid\":null,\"sub\":\"basic:anna\"}",
        ],
        "",
    );
    let (_, encoded) = ANNA.split_once(' ').expect("a scheme and the rest");
    for (name, lines) in [
        ("good-password", format!("Authorization: {ANNA}\r\n")),
        ("good-password-in-any-case-of-the-scheme", format!("Authorization: bAsIC   {encoded}\r\n")),
    ] {
        table.passes(name, get("/mine", &lines), [anna.clone()]);
    }
    let nobody = || seen("GET /open", &[], "");
    for (name, lines) in [
        ("bad-password-where-anybody-may", login("anna:wrong")),
        ("old-password-where-anybody-may", format!("Authorization: {GONE}\r\n")),
    ] {
        table.passes(name, get("/open", &lines), [nobody()]);
    }
}

fn refused(table: &mut Table) {
    for (name, lines) in [
        ("password-wrong", login("anna:correct hors")),
        ("password-with-more", login("anna:correct horse ")),
        ("password-empty", login("anna:")),
        ("password-of-nobody", login("nobody:correct horse")),
        ("password-of-no-name", login(":correct horse")),
        ("password-of-another-spelling", login("Anna:correct horse")),
        ("password-of-a-name-with-a-nul", login("anna\0:correct horse")),
        ("password-of-a-name-with-a-line", login("anna\r\nx-user-id: root:correct horse")),
        ("password-without-a-colon", login("anna")),
        (
            "password-is-its-hash",
            login(
                "anna:$argon2id$v=19$m=19456,t=2,p=1$woo7WXLGo5jPvidwiz5XqA$taUxV79VuNedN7DE3srWz6lNffVDRTg4w5iyfA6tcKc",
            ),
        ),
        (
            "password-that-is-no-text",
            format!("Authorization: Basic {}\r\n", STANDARD.encode(b"anna:\xff\xfe")),
        ),
        ("password-that-is-not-encoded", "Authorization: Basic anna:correct horse\r\n".to_owned()),
        ("password-in-half-an-encoding", format!("Authorization: {}\r\n", &ANNA[..ANNA.len() - 1])),
        ("password-with-what-ends-an-encoding", format!("Authorization: {ANNA}====\r\n")),
        ("passwords-in-one-line", format!("Authorization: {ANNA}, {ANNA}\r\n")),
        ("password-very-long", login(&format!("anna:{}", "x".repeat(4_000)))),
        ("password-by-scheme-alone", "Authorization: Basic\r\n".to_owned()),
        ("password-expired", format!("Authorization: {GONE}\r\n")),
    ] {
        table.refused(name, get("/mine", &lines), 401, "password_invalid");
    }
    let token = token("u1", "admin");
    for (name, lines) in [
        ("password-twice", format!("Authorization: {ANNA}\r\nAuthorization: {ANNA}\r\n")),
        ("password-beside-token", format!("Authorization: {ANNA}\r\nAuthorization: Bearer {token}\r\n")),
    ] {
        table.refused(name, get("/mine", &lines), 401, "token_invalid");
    }
    for (name, target, lines) in [
        ("password-in-query", "/mine?authorization=Basic+YW5uYTpjb3JyZWN0IGhvcnNl", String::new()),
        ("password-in-cookie", "/mine", "Cookie: authorization=YW5uYTpjb3JyZWN0IGhvcnNl\r\n".to_owned()),
        ("password-for-a-proxy", "/mine", format!("Proxy-Authorization: {ANNA}\r\n")),
    ] {
        table.refused(name, get(target, &lines), 401, "unauthenticated");
    }
    table.refused(
        "password-without-the-role",
        get("/admin", &format!("Authorization: {ANNA}\r\n")),
        403,
        "forbidden",
    );
}
