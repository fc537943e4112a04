use crate::http::send;
use crate::world::{ANNA, World};
#[tokio::test]
async fn measure() {
    let world = World::new().await;
    for i in 0..5 {
        world.confirmed(ANNA, &format!("w{i}"), "tok_visa").await;
    }
    let path = world._folder.path().to_owned();
    let _ = path;
    for addr in [world.orders, world.payments] {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut s = tokio::net::TcpStream::connect(addr).await.unwrap();
        s.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut t = String::new();
        s.read_to_string(&mut t).await.unwrap();
        for l in t.lines().filter(|l| {
            l.contains("store") || l.contains("commit") || l.contains("saga") || l.contains("transactions")
        }) {
            eprintln!("{l}");
        }
    }
    let _ = send;
    world.stop().await;
}
