use crate::world::{ANNA, World};
async fn scrape(addr: std::net::SocketAddr) -> (f64, f64) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut s = tokio::net::TcpStream::connect(addr).await.unwrap();
    s.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut t = String::new();
    s.read_to_string(&mut t).await.unwrap();
    let get = |n: &str| {
        t.lines().find(|l| l.starts_with(n)).unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    (get("leeward_db_commits{"), get("leeward_db_transactions{"))
}
#[tokio::test]
async fn measure() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.confirmed(ANNA, "warm", "tok_visa").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let before = [scrape(world.orders).await, scrape(world.payments).await];
    for i in 0..20 {
        world.put(ANNA, "p-1", 1).await;
        world.put(ANNA, "p-1", 2).await;
        assert_eq!(
            world
                .checkout(ANNA, &format!("k{i}"), serde_json::json!({"payment_token":"tok_visa"}))
                .await
                .status,
            202
        );
        world.hear("order.confirmed").await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let after = [scrape(world.orders).await, scrape(world.payments).await];
    for (b, a) in before.iter().zip(after) {
        eprintln!("commits/order {} tx/order {}", (a.0 - b.0) / 20.0, (a.1 - b.1) / 20.0);
    }
    world.stop().await;
}
