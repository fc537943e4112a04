//! Pages of other origins: what they may call, and what the answer tells their browser.

use super::case::{Area, Setup, Table, get, seen};

const ALLOW: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";
const METHODS: &str = "access-control-allow-methods";

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Cors);
    let from = |origin: &str| get("/a", &format!("Origin: {origin}\r\n"));
    let seen_from = |origin: &str| [seen("GET /a", &[&format!("origin: {origin}")], "")];
    let shop = "https://shop.example";
    table
        .passes("origin-of-the-list", from(shop), seen_from(shop))
        .header(ALLOW, Some(shop))
        .header(CREDENTIALS, Some("true"))
        .header("vary", Some("origin"));
    for (name, origin) in [
        ("origin-null", "null"),
        ("origin-with-suffix", "https://shop.example.evil"),
        ("origin-with-prefix", "https://evilshop.example"),
        ("origin-of-a-name-below", "https://evil.shop.example"),
        ("origin-of-another-scheme", "http://shop.example"),
        ("origin-with-port", "https://shop.example:8443"),
        ("origin-with-default-port", "https://shop.example:443"),
        ("origin-with-slash", "https://shop.example/"),
        ("origin-with-point-behind", "https://shop.example."),
        ("origin-with-user", "https://shop.example@evil"),
        ("origin-in-upper-case", "HTTPS://SHOP.EXAMPLE"),
        ("origin-list", "https://shop.example https://evil.example"),
        ("origin-list-with-comma", "https://shop.example, https://evil.example"),
        ("origin-star", "*"),
        ("origin-with-dot-as-letter", "https://shopxexample"),
        ("origin-with-foreign-byte", "https://shop.example\u{e9}"),
    ] {
        let line = origin.bytes().map(char::from).collect::<String>();
        table
            .passes(name, from(origin), seen_from(&line))
            .header(ALLOW, None)
            .header(CREDENTIALS, None)
            .header("vary", Some("origin"));
    }
    let two = "Origin: https://shop.example\r\nOrigin: https://evil.example\r\n";
    let seen_two = seen("GET /a", &["origin: https://shop.example", "origin: https://evil.example"], "");
    table.passes("origin-twice", get("/a", two), [seen_two]).header(ALLOW, None);
    table
        .passes("no-origin", get("/a", ""), [seen("GET /a", &[], "")])
        .header(ALLOW, None)
        .header("vary", Some("origin"));
    preflights(&mut table);
    table.setup = Setup::AnyPage;
    table
        .passes(
            "any-page-without-credentials",
            from("https://evil.example"),
            seen_from("https://evil.example"),
        )
        .header(ALLOW, Some("*"))
        .header(CREDENTIALS, None);
    table
        .passes("any-page-null", from("null"), seen_from("null"))
        .header(ALLOW, Some("*"))
        .header(CREDENTIALS, None);
    table
}

fn preflights(table: &mut Table) {
    let shop = "https://shop.example";
    let preflight = |path: &str, origin: &str, more: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: t\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n{more}\r\n"
        )
    };
    table
        .answered("preflight-of-the-list", preflight("/a", shop, ""), 204)
        .header(ALLOW, Some(shop))
        .header("vary", Some("origin"));
    for (name, origin) in [("preflight-null", "null"), ("preflight-with-suffix", "https://shop.example.evil")]
    {
        table.answered(name, preflight("/a", origin, ""), 204).header(ALLOW, None).header(METHODS, None);
    }
    let headers = "Access-Control-Request-Headers: x-user-id, x-leeward-assertion\r\n";
    table.answered("preflight-for-guarded-headers", preflight("/a", shop, headers), 204).header(
        "access-control-allow-headers",
        Some("authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-correlation-id, x-request-id"),
    );
    table.refused("preflight-of-a-bad-path", preflight("/a%2fb", shop, ""), 400, "bad_path");
}
