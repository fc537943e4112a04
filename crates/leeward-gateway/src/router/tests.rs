#![allow(clippy::unwrap_used, reason = "tests")]

use http::header::{self, HeaderName};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What a configuration says of a route.
#[derive(Clone, Debug)]
struct Takes {
    hosts: Vec<Host>,
    pattern: Pattern,
    methods: Methods,
    conditions: Conditions,
}

impl Takes {
    fn new(path: &str) -> Self {
        let (pattern, conditions) = (Pattern::parse(path, false).unwrap(), Conditions::default());
        Self { hosts: Vec::new(), pattern, methods: Methods::ANY, conditions }
    }

    fn exact(path: &str) -> Self {
        Self { pattern: Pattern::parse(path, true).unwrap(), ..Self::new(path) }
    }

    fn hosts(self, hosts: &[&str]) -> Self {
        Self { hosts: hosts.iter().map(|host| Host::parse(host).unwrap()).collect(), ..self }
    }

    fn methods(self, names: &[&str]) -> Self {
        Self { methods: names.iter().fold(Methods::NONE, |set, name| set.with(name).unwrap()), ..self }
    }

    fn when(mut self, on: On, test: Test) -> Self {
        let all = self.conditions.iter().cloned().chain([Condition { on, test }]).collect();
        self.conditions = Conditions::new(all);
        self
    }

    fn entry(&self) -> Entry<'_> {
        let Self { hosts, pattern, methods, conditions } = self;
        Entry { hosts, pattern, methods: *methods, conditions }
    }
}

fn router(routes: &[Takes]) -> Router {
    Router::new(routes.iter().map(Takes::entry))
}

fn header(name: &'static str) -> On {
    On::Header(Name(HeaderName::from_static(name)))
}

fn find(router: &Router, method: Method, path: &str) -> Match {
    asked(router, method, "localhost", path, &[])
}

fn asked(router: &Router, method: Method, host: &str, target: &str, lines: &[(&str, &str)]) -> Match {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = map(lines);
    let ask = Ask { method: &method, host: Some(host), path, query, headers: &headers, is_preflight: false };
    router.find(&ask)
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn the_longest_pattern_on_segment_boundaries_decides() {
    let router = router(&[
        Takes::new("/api"),
        Takes::new("/api/orders"),
        Takes::new("/api/orders/{id}/lines"),
        Takes::exact("/api/orders/mine"),
        Takes::new("/tracking/{code}").methods(&["GET"]),
    ]);
    for (path, want) in [
        ("/api", Match::Route(0)),
        ("/api/orders-old", Match::Route(0)),
        ("/api/orders", Match::Route(1)),
        ("/api/orders/", Match::Route(1)),
        ("/api/orders/7", Match::Route(1)),
        ("/api/orders/7/lines/2", Match::Route(2)),
        ("/api/orders/mine", Match::Route(3)),
        ("/api/orders/mine/lines", Match::Route(2)),
        ("/tracking/AB12", Match::Route(4)),
        ("/tracking", Match::None),
        ("/", Match::None),
        ("/ap", Match::None),
    ] {
        assert_eq!(find(&router, Method::GET, path), want, "{path}");
    }
}

#[test]
fn a_method_never_falls_through_to_a_shorter_pattern() {
    let routes = [
        Takes::new("/"),
        Takes::new("/products").methods(&["GET"]),
        Takes::new("/products").methods(&["POST"]),
    ];
    let router = router(&routes);
    assert_eq!(find(&router, Method::GET, "/products/1"), Match::Route(1));
    assert_eq!(find(&router, Method::HEAD, "/products/1"), Match::Route(1));
    assert_eq!(find(&router, Method::POST, "/products"), Match::Route(2));
    let Match::Method(allow) = find(&router, Method::DELETE, "/products/1") else { panic!("405") };
    assert_eq!(allow.to_string(), "GET, HEAD, POST");
    assert_eq!(find(&router, Method::DELETE, "/other"), Match::Route(0));
    assert_eq!(
        find(&router, Method::TRACE, "/other"),
        Match::Method(Methods::ANY),
        "never, also where any method goes"
    );
}

#[test]
fn a_named_method_goes_before_any() {
    let router = router(&[Takes::new("/a"), Takes::new("/a").methods(&["POST"])]);
    assert_eq!(find(&router, Method::POST, "/a"), Match::Route(1));
    assert_eq!(find(&router, Method::GET, "/a"), Match::Route(0));
}

#[test]
fn the_most_specific_host_owns_the_request() {
    let router = router(&[
        Takes::new("/"),
        Takes::new("/a").hosts(&["shop.example.org", "[2001:db8::1]"]),
        Takes::new("/").hosts(&["*.example.org"]),
        Takes::new("/").hosts(&["*.eu.example.org"]),
    ]);
    for (host, path, want) in [
        ("shop.example.org", "/a", Match::Route(1)),
        ("SHOP.example.org.", "/a", Match::Route(1)),
        ("[2001:db8:0::1]", "/a", Match::Route(1)),
        ("shop.example.org", "/b", Match::None),
        ("other.example.org", "/b", Match::Route(2)),
        ("a.b.example.org", "/b", Match::Route(2)),
        ("a.eu.example.org", "/b", Match::Route(3)),
        ("eu.example.org", "/b", Match::Route(2)),
        ("example.org", "/b", Match::Route(0)),
        ("elsewhere", "/b", Match::Route(0)),
        (".example.org", "/b", Match::Route(0)),
    ] {
        assert_eq!(asked(&router, Method::GET, host, path, &[]), want, "{host}{path}");
    }
    let ask = Ask {
        method: &Method::GET,
        host: None,
        path: "/",
        query: None,
        headers: &map(&[]),
        is_preflight: false,
    };
    assert_eq!(router.find(&ask), Match::Route(0));
}

#[test]
fn conditions_choose_between_routes_of_one_path() {
    let exact = |text: &str| Test::Exact(text.into());
    let router = router(&[
        Takes::new("/"),
        Takes::new("/a"),
        Takes::new("/a").when(header("x-beta"), Test::Present),
        Takes::new("/a").when(header("x-beta"), exact("1")),
        Takes::new("/a").when(header("x-beta"), exact("1")).when(On::Query("v".into()), exact("2")),
        Takes::new("/a").when(On::Cookie("side".into()), Test::Prefix("gr".into())),
        Takes::new("/b").when(header("x-key"), exact("1")),
    ]);
    for (target, lines, want) in [
        ("/a", &[][..], Match::Route(1)),
        ("/a", &[("x-beta", "2")], Match::Route(2)),
        ("/a", &[("x-beta", "1")], Match::Route(3)),
        ("/a?v=1", &[("x-beta", "1")], Match::Route(3)),
        ("/a?v=2", &[("x-beta", "1")], Match::Route(4)),
        ("/a?v=2&v=2", &[("x-beta", "1")], Match::Route(3)),
        ("/a", &[("cookie", "side=green")], Match::Route(5)),
        ("/a", &[("cookie", "side=green"), ("x-beta", "1")], Match::Route(3)),
        ("/a", &[("cookie", "side=blue")], Match::Route(1)),
        // Never to `/`, which may be open to anyone.
        ("/b/c", &[], Match::Unmet),
        ("/b/c", &[("x-key", "1"), ("x-key", "1")], Match::Unmet),
        ("/b/c", &[("x-key", "1")], Match::Route(6)),
    ] {
        assert_eq!(asked(&router, Method::GET, "a", target, lines), want, "{target} {lines:?}");
    }
    let ask = Ask {
        method: &Method::GET,
        host: None,
        path: "/b",
        query: None,
        headers: &map(&[]),
        is_preflight: true,
    };
    assert_eq!(router.find(&ask), Match::Route(6), "a preflight cannot know");
}

fn takes() -> impl Strategy<Value = Takes> {
    let segment = select(vec!["a", "b", "{x}"]);
    let path = prop::collection::vec(segment, 0..4).prop_map(|parts| numbered(&parts));
    let hosts = prop::collection::vec(select(vec!["a.x", "b.a.x", "*.x", "*.a.x"]), 0..3);
    let methods = prop_oneof![3 => Just(vec![]), 2 => prop::sample::subsequence(vec!["GET", "POST"], 1..=2)];
    let test = prop_oneof![
        select(vec!["1", "12"]).prop_map(|text| Test::Exact(text.into())),
        Just(Test::Prefix("1".into())),
        Just(Test::Present),
        Just(Test::Absent),
    ];
    let on = select(vec![header("x-a"), header("x-b"), On::Query("q".into()), On::Cookie("c".into())]);
    let conditions = prop::collection::vec((on, test), 0..3);
    (path, any::<bool>(), hosts, methods, conditions).prop_map(|(path, exact, hosts, methods, conditions)| {
        let mut takes = if exact { Takes::exact(&path) } else { Takes::new(&path) }.hosts(&hosts);
        if !methods.is_empty() {
            takes = takes.methods(&methods);
        }
        conditions.into_iter().fold(takes, |takes, (on, test)| takes.when(on, test))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The tree and the scan of all routes give the same word on every request.
    #[test]
    fn the_tree_decides_as_the_scan_does(
        routes in prop::collection::vec(takes(), 0..12),
        host in prop::option::of(select(vec!["a.x", "A.x.", "b.a.x", "c.a.x", "x", "y"])),
        parts in prop::collection::vec(select(vec!["a", "b", "c"]), 0..5),
        query in prop::option::of(select(vec!["q=1", "q=12", "q=1&q=1", "q", "p=1"])),
        lines in prop::collection::vec((select(vec!["x-a", "x-b"]), select(vec!["1", "12", "2"])), 0..3),
        cookie in prop::option::of(select(vec!["c=1", "c=13; d=1", "d=1"])),
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::TRACE]),
        is_preflight in any::<bool>(),
    ) {
        let path = format!("/{}", parts.join("/"));
        let mut headers = map(&lines);
        if let Some(cookie) = cookie {
            headers.insert(header::COOKIE, cookie.parse().unwrap());
        }
        let ask = Ask { method: &method, host, path: &path, query, headers: &headers, is_preflight };
        let entries: Vec<Entry<'_>> = routes.iter().map(Takes::entry).collect();
        let verdicts = scan(&entries, &ask);
        prop_assert_eq!(verdicts.len(), routes.len());
        let taken = verdicts.iter().position(|verdict| *verdict == Verdict::Taken);
        let is_unmet = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Condition(_)));
        let methods: Vec<Methods> = verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Method(methods) => Some(*methods),
            _ => None,
        }).collect();
        let expected = match taken {
            Some(index) => Match::Route(index),
            None if is_unmet => Match::Unmet,
            None if methods.is_empty() => Match::None,
            None => Match::Method(methods.into_iter().fold(Methods::NONE, Methods::union)),
        };
        for ways_a_node in [0, 2, WAYS_A_NODE] {
            let router = Router::within(entries.iter().copied(), ways_a_node);
            prop_assert_eq!(router.find(&ask), expected, "{} ways a node", ways_a_node);
        }
    }

    /// The same for paths whose every segment may be a literal or a parameter, which is where nodes are laid over each other.
    #[test]
    fn nodes_for_several_decide_as_the_scan_does(
        patterns in prop::collection::vec(
            (prop::collection::vec(select(vec!["a", "b", "{x}"]), 0..7), any::<bool>()), 0..40),
        paths in prop::collection::vec(prop::collection::vec(select(vec!["a", "b", "c"]), 0..8), 1..20),
    ) {
        let routes: Vec<Takes> = patterns.iter().map(|(parts, exact)| {
            let path = numbered(parts);
            if *exact { Takes::exact(&path) } else { Takes::new(&path) }
        }).collect();
        let entries: Vec<Entry<'_>> = routes.iter().map(Takes::entry).collect();
        let headers = map(&[]);
        for ways_a_node in [0, 2, WAYS_A_NODE, 1_000] {
            let router = Router::within(entries.iter().copied(), ways_a_node);
            for parts in &paths {
                let path = format!("/{}", parts.join("/"));
                let ask = Ask {
                    method: &Method::GET, host: None, path: &path, query: None, headers: &headers, is_preflight: false,
                };
                let taken = scan(&entries, &ask).iter().position(|verdict| *verdict == Verdict::Taken);
                let expected = taken.map_or(Match::None, Match::Route);
                prop_assert_eq!(router.find(&ask), expected, "{} with {} ways a node", path, ways_a_node);
            }
        }
    }
}

/// A path of these segments, each parameter with a name of its own.
fn numbered(parts: &[&str]) -> String {
    let part = |(at, part): (usize, &&str)| part.replace('x', &format!("x{at}"));
    format!("/{}", parts.iter().enumerate().map(part).collect::<Vec<_>>().join("/"))
}

/// Every way in which `depth` segments are `same` or a parameter, with an end that none of them shares with another path.
fn all_ways(depth: usize) -> Vec<Takes> {
    let segment = |way: usize, at: usize| if way >> at & 1 == 0 { "same" } else { "{x}" };
    let path = |way| numbered(&(0..depth).map(|at| segment(way, at)).collect::<Vec<_>>()) + "/end";
    (0..1 << depth).map(|way| Takes::new(&path(way))).collect()
}

#[test]
fn ways_that_share_their_segments_are_one_way() {
    let routes = all_ways(6);
    let router = router(&routes);
    assert_eq!(router.any.parted(), 0, "no node is looked at twice");
    assert_eq!(find(&router, Method::GET, "/same/same/same/same/same/same/end"), Match::Route(0));
    assert_eq!(find(&router, Method::GET, "/same/same/no/same/same/same/end/x"), Match::Route(4));
    assert_eq!(find(&router, Method::GET, "/same/same/same/same/same/same/nothing"), Match::None);
}

#[test]
fn a_tree_does_not_grow_beyond_its_bound() {
    // One literal each, at another place: any of them may agree with a path, or not.
    const DEPTH: usize = 16;
    let path = |own: usize| (0..DEPTH).map(|at| if at == own { "same" } else { "{x}" }).collect::<Vec<_>>();
    let routes: Vec<Takes> = (0..DEPTH).map(|own| Takes::exact(&numbered(&path(own)))).collect();
    let router = router(&routes);
    assert!(router.any.parted() > 0, "all its nodes would be 65,536");
    assert!(router.any.len() < 5_000, "{} nodes", router.any.len());
    for own in 0..DEPTH {
        assert_eq!(find(&router, Method::GET, &path(own).join("/").replace("{x}", "o")), Match::Route(own));
    }
    assert_eq!(find(&router, Method::GET, &["o"; DEPTH].join("/")), Match::None);
}
