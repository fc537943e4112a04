#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A connection, and its other end.
async fn connection(since_s: u64) -> (Idle, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (other, _) = listener.accept().await.unwrap();
    let since = Instant::from_nanos(since_s * 1_000_000_000);
    let link = Link::new(Stream::Plain(stream));
    (Idle { link, under: None, since, idle_timeout: Duration::from_secs(10) }, other)
}

#[tokio::test]
async fn the_table_of_idle_connections_is_bounded_in_both_directions() {
    let mut idle = Table::default();
    let mut others = Vec::new();
    for (authority, since_s) in [("a", 100), ("a", 101), ("a", 102), ("b", 105), ("c", 106), ("d", 107)] {
        let (one, other) = connection(since_s).await;
        put(&mut idle, authority.into(), one, (2, 2));
        others.push(other);
    }
    let mut kept: Vec<_> = idle.iter().map(|(authority, all)| (&**authority, all.len())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [("a", 2), ("b", 1)], "there is no room for others, and the oldest went");
    // What is of no use makes room: those to `a` are too old by now.
    let (one, other) = connection(113).await;
    put(&mut idle, "e".into(), one, (2, 2));
    others.push(other);
    let mut kept: Vec<_> = idle.keys().map(|authority| &**authority).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["b", "e"]);
}
