//! What is on the path of every request takes no memory.
#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use http::{HeaderMap, Method};
use leeward_gateway::router::{Ask, Match, Router};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) >= 1);
}

const ROUTES: &str = "
routes:
  - {path: /, service: \"http://127.0.0.1:1\"}
  - {path: \"/a/{b}/c\", service: \"http://127.0.0.1:1\", hosts: [shop.example, \"*.example\"]}
  - path: /a/{b}/c
    service: http://127.0.0.1:1
    hosts: [\"*.example\"]
    methods: [GET]
    match: {headers: {x-beta: {prefix: \"1\"}}, query: {v: a b}, cookies: {side: green}}
";

#[test]
fn a_route_is_found_without_memory() {
    let config = crate::rig::parse(ROUTES);
    let router = Router::new(config.routes.iter().map(leeward_gateway::config::Route::entry));
    let mut headers = HeaderMap::new();
    headers.insert("x-beta", "17".parse().unwrap());
    headers.insert("cookie", "a=1; side=green".parse().unwrap());
    let query = Some("a=1&%76=a+b");
    let cases = [
        (Some("shop.EXAMPLE."), "/a/7/c/d", Match::Route(1)),
        (Some("a.b.example"), "/a/7/c", Match::Route(2)),
        (Some("a.example"), "/b", Match::None),
        (Some("[2001:db8::0:1]"), "/a/7/c", Match::Route(0)),
        (None, "/", Match::Route(0)),
    ];
    for (host, path, expected) in cases {
        let ask = Ask { method: &Method::GET, host, path, query, headers: &headers, is_preflight: false };
        let mut found = Match::None;
        assert_eq!(allocations(|| found = router.find(&ask)), 0, "{host:?}{path}");
        assert_eq!(found, expected, "{host:?}{path}");
    }
}
