//! Which service of a split a request belongs to: pins, and what keeps a client where it is.

use std::collections::BTreeMap;

use crate::pki::{Pki, connect};
use crate::rig::{Answer, Rig, Upstream};

struct Both {
    rig: Rig,
    one: [Upstream; 2],
    two: Upstream,
}

impl Both {
    /// `one` has two endpoints and `two` has one; the route `/a` has these options.
    async fn start(route: &str) -> Self {
        let (one, two) = ([Upstream::start().await, Upstream::start().await], Upstream::start().await);
        let rig = Rig::start(&yaml(&one, &two, route)).await;
        Self { rig, one, two }
    }

    fn reload(&self, route: &str) {
        self.rig.reload(&yaml(&self.one, &self.two, route)).unwrap();
    }

    /// Which service answers a request with these headers.
    async fn ask(&self, headers: &[(&str, &str)], target: &str) -> Answer {
        let request = headers
            .iter()
            .fold(self.rig.request("GET", target), |request, (name, value)| request.header(*name, *value));
        self.rig.send(request, "").await
    }

    async fn service(&self, headers: &[(&str, &str)], target: &str) -> String {
        self.ask(headers, target).await.header("x-service-name").to_owned()
    }
}

fn yaml(one: &[Upstream; 2], two: &Upstream, route: &str) -> String {
    format!(
        "rate_limits: {{address: \"off\"}}\nservices:\n  one: {{urls: [\"{}\", \"{}\"]}}\n  two: {{urls: [\"{}\"]}}\n\
         routes:\n  - {{path: /a, {route}}}\n",
        one[0].url(),
        one[1].url(),
        two.url()
    )
}

#[tokio::test]
async fn the_first_pin_that_fits_decides_whatever_the_shares_are() {
    let pins = "pin: [{service: two, headers: {x-version: \"2\"}}, {service: two, query: {v: {prefix: b}}, cookies: {beta: {present: true}}}, \
                {service: one, headers: {x-version: {present: true}}}]";
    let both = Both::start(&format!("split: {{one: 0, two: 0, \"http://127.0.0.1:1\": 1}}, {pins}")).await;
    for (headers, target, expected) in [
        (&[("x-version", "2")][..], "/a", "two"),
        (&[("x-version", "3")], "/a", "one"),
        (&[("x-version", "2"), ("x-version", "2")], "/a", "one"),
        (&[("cookie", "a=b; beta=")], "/a?v=b1", "two"),
        (&[("x-version", "1"), ("cookie", "beta=1")], "/a?v=b1", "two"),
        (&[("cookie", "beta=1")], "/a", "127.0.0.1:1"),
        (&[], "/a?v=b", "127.0.0.1:1"),
    ] {
        assert_eq!(both.service(headers, target).await, expected, "{headers:?} {target}");
    }
}

#[tokio::test]
async fn a_client_stays_with_its_service_and_its_endpoint_and_only_the_share_that_moves_moves() {
    let both = Both::start("split: {one: 80%, two: 20%}, sticky: header x-tenant").await;
    let tenants: Vec<String> = (0..200).map(|number| format!("tenant-{number}")).collect();
    let homes = async || {
        let mut homes = BTreeMap::new();
        for tenant in &tenants {
            let answer = both.ask(&[("x-tenant", tenant)], "/a").await;
            homes.insert(tenant.clone(), (answer.header("x-service-name").to_owned(), answer.seen("host")));
        }
        homes
    };
    let (first, again) = (homes().await, homes().await);
    assert_eq!(first, again);
    let at = |homes: &BTreeMap<String, (String, String)>, service: &str| {
        homes.values().filter(|(name, _)| name == service).count()
    };
    // What hashes say is the same in every run.
    assert!((20..=60).contains(&at(&first, "two")), "{} of 200, with a share of 20 %", at(&first, "two"));
    assert!(both.one.iter().all(|endpoint| endpoint.hits() > 100), "both endpoints have tenants");

    both.reload("split: {one: 60%, two: 40%}, sticky: header x-tenant");
    let after = homes().await;
    let moved = |from: &str, to: &str| {
        let moves = first.iter().filter(|(tenant, (home, _))| home == from && after[*tenant].0 == to);
        moves.count()
    };
    assert!((20..=60).contains(&moved("one", "two")), "{}", moved("one", "two"));
    assert_eq!(moved("two", "one"), 0);
    for (tenant, home) in &first {
        if home.0 == after[tenant].0 {
            assert_eq!(*home, after[tenant], "{tenant}: its endpoint too");
        }
    }
}

#[tokio::test]
async fn an_address_is_a_key_and_one_without_a_key_is_dealt_out() {
    let both = Both::start("split: {one: 1, two: 1}, sticky: client_address").await;
    let first = both.service(&[], "/a").await;
    for _ in 0..20 {
        assert_eq!(both.service(&[], "/a").await, first);
    }
    both.reload("split: {one: 1, two: 1}, deal: turns, sticky: cookie sid");
    let mut met = BTreeMap::<String, usize>::new();
    for _ in 0..10 {
        *met.entry(both.service(&[("cookie", "sid=")], "/a").await).or_default() += 1;
    }
    assert_eq!(met.into_values().collect::<Vec<_>>(), [5, 5]);
    let kept = both.service(&[("cookie", "sid=7")], "/a").await;
    for _ in 0..5 {
        assert_eq!(both.service(&[("cookie", "b=1; sid=7")], "/a").await, kept);
    }
}

#[tokio::test]
async fn a_client_gets_a_cookie_once_and_no_service_sees_it() {
    let route = "split: {one: 1, two: 1}, sticky: {set_cookie: side, max_age: 1h}, stale_if_error: 1m";
    let both = Both::start(route).await;
    let mut homes = BTreeMap::<String, usize>::new();
    for _ in 0..24 {
        let first = both.ask(&[], "/a").await;
        let (cookie, attributes) = first.header("set-cookie").split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
        let again = both.ask(&[("cookie", &format!("lang=de; {cookie}"))], "/a").await;
        assert!(!again.headers.contains_key("set-cookie"), "it has one: {again:?}");
        assert_eq!(again.seen("cookie"), "lang=de");
        assert_eq!(again.header("x-service-name"), first.header("x-service-name"));
        assert_eq!(again.seen("host"), first.seen("host"));
        *homes.entry(first.header("x-service-name").to_owned()).or_default() += 1;
    }
    assert_eq!(homes.len(), 2, "new clients spread: {homes:?}");
    // A request that has nothing but that cookie is like any other: copies are for it too.
    let made = "side=00000000000000aa";
    assert_eq!(both.ask(&[("cookie", made)], "/a").await.status, 200);
    for service in both.one.iter().chain([&both.two]) {
        service.fail(true);
    }
    let stale = both.ask(&[("cookie", made)], "/a").await;
    assert_eq!((stale.status, stale.header("x-leeward-stale")), (200, "true"));
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_tls_alone() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let certificate = pki.put("one", &pki.server(&["one.example"]));
    let yaml = format!(
        "listen:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n        - {certificate}\n\
         routes:\n  - {{path: /, split: {{\"{}\": 1}}, sticky: {{set_cookie: side}}}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let trusting = std::sync::Arc::new(pki.trusting(None, &["http/1.1"]));
    let mut stream = connect(rig.gateway.addr(), &trusting, "one.example").await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    let _how_it_closes = stream.read_to_string(&mut said).await;
    let line =
        said.lines().find(|line| line.starts_with("set-cookie: side=")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{line}");
}
