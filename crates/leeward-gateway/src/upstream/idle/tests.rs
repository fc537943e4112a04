#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::net::{TcpListener, TcpStream};

use super::super::Stream;
use super::*;

/// A connection, and its other end.
async fn connection(authority: &str, since_s: u64) -> (Idle, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (other, _) = listener.accept().await.unwrap();
    let since = Instant::from_nanos(since_s * 1_000_000_000);
    let link = Link::new(Stream::Plain(stream), authority);
    (Idle { link, under: None, since, idle_timeout: Duration::from_secs(10) }, other)
}

#[tokio::test]
async fn the_table_of_idle_connections_is_bounded_in_both_directions() {
    let mut idle = Idles::default();
    let most = Bounds { endpoints: 2, connections: 100 };
    let mut others = Vec::new();
    for (authority, since_s) in [("a", 100), ("a", 101), ("a", 102), ("b", 105), ("c", 106), ("d", 107)] {
        let (one, other) = connection(authority, since_s).await;
        idle.put_within(one, 2, most);
        others.push(other);
    }
    let mut kept: Vec<_> = idle.by.iter().map(|(authority, all)| (&**authority, all.len())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [("a", 2), ("b", 1)], "there is no room for others, and the oldest went");
    // What is of no use makes room: those to `a` are too old by now.
    let (one, other) = connection("e", 113).await;
    idle.put_within(one, 2, most);
    others.push(other);
    let mut kept: Vec<_> = idle.by.keys().map(|authority| &**authority).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["b", "e"]);
}

#[tokio::test]
async fn the_connections_of_all_endpoints_are_bounded() {
    let mut idle = Idles::default();
    let most = Bounds { endpoints: 10, connections: 3 };
    let mut others = Vec::new();
    for (authority, since_s) in [("a", 100), ("b", 101), ("a", 102), ("c", 103), ("a", 104), ("b", 105)] {
        let (one, other) = connection(authority, since_s).await;
        idle.put_within(one, 10, most);
        others.push(other);
    }
    let kept = |idle: &Idles| {
        let all = |connections: &Vec<Idle>| connections.iter().map(|one| one.since).collect::<Vec<_>>();
        let mut kept: Vec<_> =
            idle.by.iter().map(|(authority, them)| (authority.to_string(), all(them))).collect();
        kept.sort_unstable();
        kept
    };
    let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
    // No room for another endpoint; of the others the oldest went.
    assert_eq!(kept(&idle), [("a".to_owned(), vec![at(102), at(104)]), ("b".to_owned(), vec![at(105)])]);
    assert_eq!(idle.count, 3);
    let taken = idle.take("a", None, (at(106), Look::Now)).is_some();
    assert!(taken && idle.count == 2, "{idle:?}");
    // Those to `a` are too old by now, and those to `b` are not.
    idle.sweep(at(114));
    assert_eq!((kept(&idle).len(), idle.count), (1, 1));
    assert!(idle.take("b", None, (at(120), Look::Now)).is_none());
    assert_eq!(idle.count, 0);
    // What is empty has no room either where there is none.
    let (one, other) = connection("b", 121).await;
    idle.put_within(one, 10, Bounds { connections: 0, ..most });
    assert_eq!(idle.count, 0);
    others.push(other);
}
