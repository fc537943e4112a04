//! Whose request it is: the rightmost address that no trusted proxy wrote. The client of these cases is a trusted proxy itself.

use super::case::{Area, Setup, Table, get, seen};

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Address);
    for (name, lines, client) in [
        ("rightmost-is-the-client", "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"),
        (
            "trusted-hops-are-walked-over",
            "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.9, 10.0.0.8\r\n",
            "1.2.3.4",
        ),
        (
            "lines-are-one-list",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.0.0.9\r\n",
            "1.2.3.4",
        ),
        ("trusted-address-forged-on-the-left", "X-Forwarded-For: 127.0.0.1, 1.2.3.4\r\n", "1.2.3.4"),
        ("only-trusted-hops", "X-Forwarded-For: 10.0.0.7, 10.0.0.8\r\n", "10.0.0.7"),
        ("nonsense-ends-the-walk", "X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.9\r\n", "10.0.0.9"),
        ("empty-entry-ends-the-walk", "X-Forwarded-For: 6.6.6.6, , 10.0.0.9\r\n", "10.0.0.9"),
        ("with-port", "X-Forwarded-For: 6.6.6.6, 1.2.3.4:5678\r\n", "1.2.3.4"),
        ("ipv6", "X-Forwarded-For: 6.6.6.6, 2001:db8::1\r\n", "2001:db8::1"),
        ("ipv6-in-brackets", "X-Forwarded-For: 6.6.6.6, [2001:db8::1]:80\r\n", "2001:db8::1"),
        ("ipv4-within-ipv6", "X-Forwarded-For: 6.6.6.6, ::ffff:1.2.3.4\r\n", "1.2.3.4"),
        ("trusted-ipv4-within-ipv6", "X-Forwarded-For: 1.2.3.4, ::ffff:10.0.0.9\r\n", "1.2.3.4"),
        ("blanks-around", "X-Forwarded-For: 6.6.6.6 ,\t1.2.3.4 \r\n", "1.2.3.4"),
    ] {
        table.passes(name, get("/a", lines), [from(client)]);
    }
    for (name, lines) in [
        ("nonsense-alone", "X-Forwarded-For: nonsense\r\n"),
        ("octal-address-is-none", "X-Forwarded-For: 0177.0.0.1\r\n"),
        ("number-is-no-address", "X-Forwarded-For: 16909060\r\n"),
        ("hexadecimal-is-no-address", "X-Forwarded-For: 0x01020304\r\n"),
        ("short-address-is-none", "X-Forwarded-For: 1.2\r\n"),
        ("address-with-text-behind", "X-Forwarded-For: 1.2.3.4evil\r\n"),
        ("address-in-quotes", "X-Forwarded-For: \"1.2.3.4\"\r\n"),
        ("network-is-no-address", "X-Forwarded-For: 1.2.3.4/8\r\n"),
        ("zone-is-no-address", "X-Forwarded-For: fe80::1%eth0\r\n"),
        ("foreign-bytes", "X-Forwarded-For: 1.2.3.4\u{e9}\r\n"),
        ("address-empty", "X-Forwarded-For:\r\n"),
        ("underscores-are-not-believed", "X_Forwarded_For: 1.2.3.4\r\n"),
        ("real-ip-is-not-believed", "X-Real-IP: 1.2.3.4\r\n"),
        ("client-ip-is-not-believed", "X-Client-IP: 1.2.3.4\r\n"),
        ("forwarded-is-not-believed", "Forwarded: for=1.2.3.4\r\n"),
        ("cloud-headers-are-not-believed", "X-Forwarded-Client-IP: 1.2.3.4\r\n"),
    ] {
        table.passes(name, get("/a", lines), [seen("GET /a", &[], "")]);
    }
    let many = format!("X-Forwarded-For: 6.6.6.6, 1.2.3.4{}\r\n", ", 10.0.0.9".repeat(32));
    table.passes("chain-of-33-hops", get("/a", &many), [from("10.0.0.9")]);
    let nominated = "Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n";
    table.passes("nominated-is-still-read", get("/a", nominated), [from("1.2.3.4")]);
    table.setup = Setup::Plain;
    for (name, lines) in [
        ("untrusted-peer-says-nothing", "X-Forwarded-For: 1.2.3.4\r\n"),
        ("untrusted-peer-says-loopback", "X-Forwarded-For: 127.0.0.2\r\n"),
        ("untrusted-peer-says-many", "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-For: 9.9.9.9\r\n"),
    ] {
        table.passes(name, get("/a", lines), [seen("GET /a", &[], "")]);
    }
    lists(&mut table);
    table
}

/// Whatever is written around it, one address is held against the lists.
fn lists(table: &mut Table) {
    table.setup = Setup::Listed;
    for (name, address) in [
        ("not-among-the-allowed", "8.8.8.8"),
        ("denied-among-the-allowed", "1.2.3.66"),
        ("denied-written-as-ipv6", "::ffff:1.2.3.66"),
        ("denied-written-as-ipv6-in-hexadecimal", "::ffff:102:342"),
        ("denied-network-is-written-as-ipv6", "1.2.3.200"),
        ("denied-with-port", "1.2.3.66:80"),
        ("denied-behind-a-forged-one", "1.2.3.4, 1.2.3.66, 10.0.0.9"),
        ("ipv6-not-among-the-allowed", "2001:db9::1"),
        ("ipv6-denied-among-the-allowed", "[2001:db8:6::1]:80"),
        ("only-trusted-hops-not-among-the-allowed", "10.0.0.7"),
    ] {
        table.refused(name, get("/a", &format!("X-Forwarded-For: {address}\r\n")), 403, "address_refused");
    }
    let health = get("/health", "X-Forwarded-For: 8.8.8.8\r\n");
    table.refused("health-of-one-who-may-not-come", health, 403, "address_refused");
    let nowhere = get("/nowhere/../a", "X-Forwarded-For: 8.8.8.8\r\n");
    table.refused("by-another-spelling-of-the-path", nowhere, 403, "address_refused");
    for (name, address) in
        [("allowed", "1.2.3.4"), ("allowed-last-of-a-range", "1.2.3.127"), ("ipv6-allowed", "2001:db8::1")]
    {
        let client = from(address);
        table.passes(name, get("/a", &format!("X-Forwarded-For: {address}\r\n")), [client]);
    }
}

fn from(client: &str) -> String {
    let lines = [format!("x-client-ip: {client}"), format!("x-forwarded-for: {client}")];
    seen("GET /a", &[&lines[0], &lines[1]], "")
}
