//! API keys that are none, are presented twice, or try to get to a service.

use super::case::{Area, Table, get, seen};
use crate::callers::{CI, OLD, PARTNER};
use crate::rig::token;

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Key);
    presented(&mut table);
    refused(&mut table);
    table
}

fn mine(lines: &str) -> String {
    get("/mine", lines)
}

fn ci(target: &str) -> String {
    seen(
        &format!("GET {target}"),
        &[
            "x-user-id: key:ci",
            "x-user-role: deploy",
            "x-user-context: {\"permissions\":[],\"roles\":[\"deploy\"],\"sid\":null,\"sub\":\"key:ci\"}",
        ],
        "",
    )
}

/// It stays here, whatever it is called.
fn presented(table: &mut Table) {
    for (name, lines) in [
        ("good-key", format!("X-Api-Key: {CI}\r\n")),
        ("good-key-by-scheme", format!("Authorization: ApiKey {CI}\r\n")),
        ("good-key-by-scheme-in-any-case", format!("Authorization: aPIkEY   {CI}\r\n")),
        (
            "good-key-beside-other-spellings",
            format!("X-Api-Key: {CI}\r\nX_Api_Key: {CI}\r\nx.api.key: a\r\n"),
        ),
    ] {
        table.passes(name, mine(&lines), [ci("/mine")]);
    }
    let nobody = |target: &str| seen(&format!("GET {target}"), &[], "");
    for (name, lines) in [
        ("bad-key-where-anybody-may", format!("X-Api-Key: {}\r\n", CI.to_uppercase())),
        ("old-key-where-anybody-may", format!("X-Api-Key: {OLD}\r\n")),
        ("key-in-another-spelling-where-anybody-may", format!("X_Api_Key: {CI}\r\n")),
    ] {
        table.passes(name, get("/open", &lines), [nobody("/open")]);
    }
}

fn refused(table: &mut Table) {
    let token = token("u1", "admin");
    for (name, lines) in [
        ("key-with-another-case", format!("X-Api-Key: {}\r\n", CI.to_uppercase())),
        ("key-cut", format!("X-Api-Key: {}\r\n", &CI[..CI.len() - 1])),
        ("key-with-more", format!("X-Api-Key: {CI}0\r\n")),
        ("key-empty", "X-Api-Key:\r\n".to_owned()),
        ("key-is-its-hash", format!("X-Api-Key: {}\r\n", crate::callers::CI_HASH)),
        ("key-is-the-id", "X-Api-Key: ci\r\n".to_owned()),
        ("key-very-long", format!("X-Api-Key: {}\r\n", "k".repeat(4_000))),
        ("key-twice", format!("X-Api-Key: {CI}\r\nX-Api-Key: {CI}\r\n")),
        ("keys-of-two", format!("X-Api-Key: {CI}\r\nX-Api-Key: {PARTNER}\r\n")),
        ("keys-in-one-line", format!("X-Api-Key: {CI}, {PARTNER}\r\n")),
        ("key-with-foreign-byte", format!("X-Api-Key: {CI}\u{e9}\r\n")),
        ("key-by-scheme-empty", "Authorization: ApiKey\r\n".to_owned()),
        ("key-by-scheme-quoted", format!("Authorization: ApiKey \"{CI}\"\r\n")),
    ] {
        table.refused(name, mine(&lines), 401, "key_invalid");
    }
    table.refused("key-expired", mine(&format!("X-Api-Key: {OLD}\r\n")), 401, "key_expired");
    for (name, target, lines) in [
        ("key-in-query", format!("/mine?x-api-key={CI}&api_key={CI}"), String::new()),
        ("key-in-cookie", "/mine".to_owned(), format!("Cookie: x-api-key={CI}\r\n")),
        ("key-in-another-spelling", "/mine".to_owned(), format!("X_Api_Key: {CI}\r\n")),
        ("key-nominated", "/mine".to_owned(), format!("Connection: X-Api-Key\r\nX-Api-Key: {CI}\r\n")),
        ("key-by-another-scheme", "/mine".to_owned(), format!("Authorization: Basic {CI}\r\n")),
    ] {
        table.refused(name, get(&target, &lines), 401, "unauthenticated");
    }
    table.refused("key-as-token", mine(&format!("Authorization: Bearer {CI}\r\n")), 401, "token_invalid");
    for (name, target) in [("key-beside-token", "/mine"), ("key-beside-token-where-anybody-may", "/open")] {
        let both = format!("X-Api-Key: {CI}\r\nAuthorization: Bearer {token}\r\n");
        table.refused(name, get(target, &both), 400, "two_speakers");
    }
    let twice = format!("X-Api-Key: {CI}\r\nAuthorization: ApiKey {PARTNER}\r\n");
    table.refused("key-beside-key-by-scheme", mine(&twice), 400, "two_speakers");
    let by_scheme = format!("Authorization: ApiKey {CI}\r\nAuthorization: Bearer {token}\r\n");
    table.refused("key-by-scheme-beside-token", mine(&by_scheme), 401, "token_invalid");
    table.refused("key-without-the-role", get("/admin", &format!("X-Api-Key: {CI}\r\n")), 403, "forbidden");
}
