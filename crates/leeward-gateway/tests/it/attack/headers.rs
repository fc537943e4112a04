//! Headers by which the gateway speaks, and headers about the connection: none of them is a client's to say or to take away.

use super::case::{Area, HIDDEN, Setup, Table, get, seen};

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Headers);
    spoofed(&mut table);
    nominated(&mut table);
    hosts(&mut table);
    cookies(&mut table);
    table
}

/// A client that makes up the gateway's own cookie chooses nothing but where it falls, and no service sees it.
fn cookies(table: &mut Table) {
    table.setup = Setup::Sticky;
    let good = "Cookie: side=00000000000000ff\r\n";
    table
        .passes("own-cookie-comes-back", get("/side", good), [seen("GET /side", &[], "")])
        .header("set-cookie", None);
    for (name, line) in [
        ("own-cookie-of-another-form", "Cookie: a=b; side=../../etc/passwd"),
        ("own-cookie-with-capitals", "Cookie: side=00000000000000FF; a=b"),
        ("own-cookie-too-long", "Cookie: side=00000000000000ff00000000000000ff; a=b"),
        ("own-cookie-empty", "Cookie: a=b; side="),
        ("own-cookie-twice", "Cookie: side=00000000000000ff; a=b; side=00000000000000fe"),
        ("own-cookie-in-two-lines", "Cookie: side=00000000000000ff; a=b\r\nCookie: side=00000000000000fe"),
        ("own-cookie-with-spaces", "Cookie: side = 00000000000000ff ;a=b"),
    ] {
        table.passes(name, get("/side", &format!("{line}\r\n")), [seen("GET /side", &["cookie: a=b"], "")]);
    }
}

/// Headers that never arrive, in whatever spelling.
fn spoofed(table: &mut Table) {
    for (name, line) in [
        ("user-id", "X-User-Id: admin"),
        ("user-role", "X-User-Role: admin"),
        ("user-context", "X-User-Context: {}"),
        ("user-of-another-kind", "X-User-Anything: 1"),
        ("assertion", "X-Leeward-Assertion: a.b.c"),
        ("forwarded-for", "X-Forwarded-For: 6.6.6.6"),
        ("forwarded-host", "X-Forwarded-Host: evil"),
        ("forwarded-proto", "X-Forwarded-Proto: https"),
        ("forwarded-port", "X-Forwarded-Port: 1"),
        ("forwarded-prefix", "X-Forwarded-Prefix: //evil"),
        ("forwarded-standard", "Forwarded: for=6.6.6.6;host=evil"),
        ("real-ip", "X-Real-IP: 6.6.6.6"),
        ("client-ip", "X-Client-IP: 6.6.6.6"),
        ("service-name", "X-Service-Name: orders"),
        ("deadline", "X-Deadline-Ms: 999999999"),
        ("retry-attempt", "X-Retry-Attempt: 9"),
        ("priority", "X-Priority: critical"),
        ("gateway-timestamp", "X-Gateway-Timestamp: 1"),
        ("original-url", "X-Original-URL: /admin"),
        ("rewrite-url", "X-Rewrite-URL: /admin"),
        ("original-uri", "X-Original-URI: /admin"),
        ("method-override", "X-HTTP-Method-Override: DELETE"),
        ("method-override-short", "X-Method-Override: DELETE"),
        ("method-override-microsoft", "X-HTTP-Method: DELETE"),
        ("user-id-with-underscores", "X_User_Id: admin"),
        ("user-id-with-points", "X.User.Id: admin"),
        ("user-id-with-one-underscore", "x-user_id: admin"),
        ("user-id-with-odd-separators", "X!User~Id: admin"),
        ("forwarded-for-with-underscores", "X_Forwarded_For: 6.6.6.6"),
        ("assertion-with-underscores", "x_leeward_assertion: a.b.c"),
        ("user-id-with-two-hyphens", "X--User-Id: admin"),
        ("user-id-with-hyphen-before", "-X-User-Id: admin"),
        ("user-id-with-underscore-behind", "X-User-Id_: admin"),
        ("host-alias", "HOST_: evil"),
        ("authorization-alias", "AUTHORIZATION_: a"),
        ("cookie-alias", "_Cookie: a=b"),
        ("upgrade-alias", "Proxy_Connection: keep-alive"),
        ("proxy-for-cgi", "Proxy: http://evil:3128"),
        ("te", "TE: gzip"),
        ("keep-alive", "Keep-Alive: timeout=1000"),
        ("proxy-connection", "Proxy-Connection: keep-alive"),
        ("proxy-authorization", "Proxy-Authorization: Basic YTpi"),
        ("trailer", "Trailer: X-User-Id"),
        ("upgrade-alone", "Upgrade: h2c"),
    ] {
        table.passes(name, get("/a", &format!("{line}\r\n")), [seen("GET /a", &[], "")]);
    }
    let te = seen("GET /a", &["te: trailers", "connection: te"], "");
    table.passes("te-of-trailers", get("/a", "TE: trailers, gzip\r\nConnection: TE\r\n"), [te]);
    let twice = "X-User-Id: admin\r\nx_user_id: admin\r\nX-USER-ID: admin\r\n";
    table.passes("user-id-in-three-spellings", get("/a", twice), [seen("GET /a", &[], "")]);
    let ids = "X-Request-Id: a b\r\nX-Correlation-Id: {}\r\nTraceparent: 00-0-0-0\r\n";
    table.passes("ids-that-cannot-be-logged", get("/a", ids), [seen("GET /a", &[], "")]);
    let twice = "X-Request-Id: a\r\nX-Request-Id: b\r\n";
    table.passes("request-id-twice", get("/a", twice), [seen("GET /a", &[], "")]);
    let kept = "X-Username: u\r\nH_ost: h\r\nX-User: u\r\nX-Kept: 1\r\nx-kept: 2\r\nCookie: a=b\r\n";
    table.passes(
        "headers-of-the-client-stay",
        get("/a", kept),
        [seen(
            "GET /a",
            &["x-username: u", "h_ost: h", "x-user: u", "x-kept: 1", "x-kept: 2", "cookie: a=b"],
            "",
        )],
    );
}

/// `Connection` takes away what the client sent, never what the gateway adds or what makes the message.
fn nominated(table: &mut Table) {
    for (name, options) in [
        ("nominates-user-id", "X-User-Id"),
        ("nominates-client-address", "X-Client-IP, X-Forwarded-For, X-Real-IP"),
        ("nominates-host-and-proto", "X-Forwarded-Host, X-Forwarded-Proto"),
        ("nominates-the-deadline", "close-not, X-Deadline-Ms, X-Service-Name"),
        ("nominates-the-trace", "Traceparent, X-Request-Id, X-Correlation-Id, X-Gateway-Timestamp"),
        ("nominates-the-host", "Host"),
        ("nominates-itself", "Connection, keep-alive"),
        ("nominates-nothing", ", ,,"),
        ("nominates-what-is-no-name", "a b, \"x\", (y)"),
    ] {
        table.passes(name, get("/a", &format!("Connection: {options}\r\n")), [seen("GET /a", &[], "")]);
    }
    let gone = "Connection: X-Gone\r\nConnection: x-also\r\nX-Gone: 1\r\nX-Also: 1\r\nX-Left: 1\r\n";
    table.passes("nominated-headers-go", get("/a", gone), [seen("GET /a", &["x-left: 1"], "")]);
    let message = "POST /a HTTP/1.1\r\nHost: t\r\nConnection: Content-Length, Content-Type, Authorization, Cookie\r\nContent-Type: a/b\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\nContent-Length: 3\r\n\r\nabc";
    table.passes(
        "nominates-the-message",
        message,
        [seen(
            "POST /a",
            &["content-length: 3", "content-type: a/b", "cookie: a=b", "authorization: Basic YTpi"],
            "abc",
        )],
    );
    let coding = "POST /a HTTP/1.1\r\nHost: t\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    table.passes("nominates-the-coding", coding, [seen("POST /a", &["transfer-encoding: chunked"], "abc")]);
}

/// One host, and it chooses nothing.
fn hosts(table: &mut Table) {
    for (name, lines) in [
        ("host-missing", ""),
        ("host-twice", "Host: t\r\nHost: evil\r\n"),
        ("host-twice-the-same", "Host: t\r\nHost: t\r\n"),
        ("host-empty", "Host: \r\n"),
        ("host-with-path", "Host: t/a\r\n"),
        ("host-with-user", "Host: t@evil\r\n"),
        ("host-with-space", "Host: t evil\r\n"),
        ("host-list", "Host: t, evil\r\n"),
        ("host-with-query", "Host: t?a\r\n"),
        ("host-with-fragment", "Host: t#a\r\n"),
        ("host-with-escape", "Host: t%2eevil\r\n"),
        ("host-with-back-slash", "Host: t\\evil\r\n"),
        ("host-with-quote", "Host: t\"><script>\r\n"),
        ("host-with-foreign-byte", "Host: t\u{e9}\r\n"),
        ("host-is-url", "Host: http://t\r\n"),
        ("host-is-port-alone", "Host: :80\r\n"),
        ("host-with-port-of-letters", "Host: t:evil\r\n"),
        ("host-with-two-ports", "Host: t:80:81\r\n"),
        ("host-with-port-too-large", "Host: t:65536\r\n"),
        ("host-with-open-bracket", "Host: [::1\r\n"),
        ("host-with-bracket-behind", "Host: t]\r\n"),
        ("host-in-brackets-is-no-address", "Host: [t]\r\n"),
        ("host-with-text-behind-brackets", "Host: [::1]t\r\n"),
    ] {
        table.refused(name, format!("GET /a HTTP/1.1\r\n{lines}\r\n{HIDDEN}"), 400, "bad_host");
    }
    let absolute = |host: &str| format!("GET http://t/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let without = "GET http://t/a HTTP/1.1\r\n\r\n";
    table.refused("absolute-form-without-host-header", without.to_owned() + HIDDEN, 400, "bad_host");
    table.refused("absolute-form-of-another-host", absolute("evil") + HIDDEN, 400, "bad_host");
    table.refused("absolute-form-of-another-port", absolute("t:81") + HIDDEN, 400, "bad_host");
    table.passes(
        "absolute-form-of-the-same-host",
        absolute("T"),
        [seen("GET /a", &["x-forwarded-host: T"], "")],
    );
    // Whatever the host says, the request goes to the route's service under the service's own name.
    for (name, host) in [
        ("host-of-somebody-else", "169.254.169.254"),
        ("host-of-the-admin-side", "127.0.0.1:9900"),
        ("host-of-ipv6", "[::1]:80"),
        ("host-with-point-behind", "t."),
    ] {
        let request = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        table.passes(name, request, [seen("GET /a", &[&format!("x-forwarded-host: {host}")], "")]);
    }
    let elsewhere = "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
    table.passes(
        "absolute-form-of-somebody-else",
        elsewhere,
        [seen("GET /latest", &["x-forwarded-host: 169.254.169.254"], "")],
    );
    table.passes("admin-paths-are-the-services", get("/v1/limits", ""), [seen("GET /v1/limits", &[], "")]);
    table.passes("http-1.0-without-host", "GET /a HTTP/1.0\r\n\r\n", [seen("GET /a", &[], "")]);
    table.refused("trace", "TRACE /a HTTP/1.1\r\nHost: t\r\n\r\n", 405, "method_not_allowed");
    table.refused(
        "trace-that-may-go-no-further",
        "TRACE /a HTTP/1.1\r\nHost: t\r\nMax-Forwards: 0\r\n\r\n",
        405,
        "method_not_allowed",
    );
    let options = |hops: &str| format!("OPTIONS /a HTTP/1.1\r\nHost: t\r\nMax-Forwards: {hops}\r\n\r\n");
    table.answered("options-that-may-go-no-further", options("0"), 204);
    table.passes("options-that-may-go-further", options("1"), [seen("OPTIONS /a", &["max-forwards: 0"], "")]);
    table.passes(
        "max-forwards-means-nothing-to-get",
        get("/a", "Max-Forwards: 0\r\n"),
        [seen("GET /a", &["max-forwards: 0"], "")],
    );
    table.refused("options-star", "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n", 400, "bad_target");
}
