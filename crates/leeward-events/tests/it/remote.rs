//! The bus of another process: tokens, outages, end to end.

use std::net::SocketAddr;
use std::sync::Arc;

use leeward_events::bus::{self, Bus, Error, Start, Token};
use leeward_events::{Consumer, Patterns};
use leeward_runtime::{Stage, Tasks};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::{Changed, World, changed, effect, serve};

async fn owner(tasks: &Tasks) -> (Bus, SocketAddr) {
    let bus = Bus::open("memory:", bus::Options::default(), tasks).await.unwrap();
    let address = serve(tasks, bus.router(Token::new("secret"))).await;
    (bus, address)
}

async fn client(tasks: &Tasks, address: SocketAddr, token: &str) -> Bus {
    let options = bus::Options::default().token(Token::new(token));
    Bus::open(&format!("leeward://{address}"), options, tasks).await.unwrap()
}

/// A way to the owner that can be cut: connections are forwarded to the address of the moment, or refused without one.
struct Way {
    to: Arc<Mutex<Option<SocketAddr>>>,
    cut: watch::Sender<()>,
    address: SocketAddr,
}

impl Way {
    async fn new(tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, cut) = (Arc::new(Mutex::new(None)), watch::Sender::new(()));
        let (forward_to, cuts, forwards) = (to.clone(), cut.clone(), tasks.clone());
        tasks.spawn(Stage::Edge, "test.way", |_| async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let Some(far): Option<SocketAddr> = *forward_to.lock() else { continue };
                let mut cut = cuts.subscribe();
                forwards.spawn(Stage::Edge, "test.forward", |_| async move {
                    tokio::select! {
                        () = forward(near, far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { to, cut, address }
    }

    fn lead_to(&self, address: Option<SocketAddr>) {
        *self.to.lock() = address;
        self.cut.send_replace(());
    }
}

async fn forward(mut near: TcpStream, far: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(far).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_everywhere() {
    let tasks = Tasks::new();
    let (_owner, address) = owner(&tasks).await;
    for token in ["", "secre", "secret2", "Secret"] {
        let bus = client(&tasks, address, token).await;
        let envelope = bus.publish_messages(vec![message("x")]).await;
        assert!(matches!(envelope, Err(Error::Unauthorised { .. })), "{envelope:?}");
        assert!(matches!(bus.lag().await, Err(Error::Unauthorised { .. })));
        let mut group = bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
        assert!(matches!(group.next_batch(1).await, Err(Error::Unauthorised { .. })));
    }
    let none = Bus::open(&format!("leeward://{address}"), bus::Options::default(), &tasks).await.unwrap();
    assert!(matches!(none.lag().await, Err(Error::Unauthorised { .. })));
    assert!(client(&tasks, address, "secret").await.lag().await.unwrap().is_empty());
}

fn message(id: &str) -> bus::Message {
    let json = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"a.b"}}"#);
    bus::Message::from_json(json.into()).unwrap()
}

#[tokio::test]
async fn urls_that_are_none_are_refused() {
    for url in
        ["", "memory", "memory:x", "sqlite:", "leeward://", "leeward:host:1", "leeward://host", "mqtt://a:1"]
    {
        let opened = Bus::open(url, bus::Options::default(), &Tasks::new()).await;
        assert!(matches!(opened, Err(Error::Url { .. } | Error::Store(_))), "{url}: {opened:?}");
    }
    for (url, backend) in [("amqp://a", "RabbitMQ"), ("nats://a:1", "NATS"), ("kafka://a:1", "Kafka")] {
        let refused = Bus::open(url, bus::Options::default(), &Tasks::new()).await.unwrap_err();
        assert!(refused.to_string().contains(backend), "{refused}");
    }
}

#[tokio::test]
async fn a_subscriber_goes_on_after_the_way_was_cut_and_after_the_owner_was_replaced() {
    let tasks = Tasks::new();
    let way = Way::new(&tasks).await;
    let (first, first_address) = owner(&tasks).await;
    let bus = client(&tasks, way.address, "secret").await;
    let mut group = bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();

    // Nobody is there yet.
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), group.next_batch(1));
    assert!(waiting.await.is_err());
    assert!(matches!(bus.publish_messages(vec![message("0")]).await, Err(Error::Unavailable { .. })));
    way.lead_to(Some(first_address));
    first.publish_messages(vec![message("1"), message("2")]).await.unwrap();
    let id_of = |batch: &bus::Batch| batch.deliveries[0].envelope().unwrap().id.to_string();
    assert_eq!(id_of(&group.next_batch(1).await.unwrap()), "1");

    way.lead_to(Some(first_address));
    let batch = group.next_batch(1).await.unwrap();
    assert_eq!(id_of(&batch), "2", "what was not handed out comes again, what was does not");
    way.lead_to(Some(first_address));
    first.publish_messages(vec![message("2b")]).await.unwrap();
    let batch = group.next_batch(1).await.unwrap();
    assert_eq!(id_of(&batch), "2b");
    assert_eq!(first.lag().await.unwrap()[0].behind, 3, "what was handed out is not done: nobody said so");
    group.acknowledge(batch.through).await.unwrap();
    assert_eq!(first.lag().await.unwrap()[0].behind, 0);

    let (second, second_address) = owner(&tasks).await;
    second.publish_messages(vec![message("3")]).await.unwrap();
    way.lead_to(Some(second_address));
    let batch = group.next_batch(1).await.unwrap();
    assert_eq!(id_of(&batch), "3");
    assert_ne!(Some(&batch.bus), first.subscribe("other", Patterns::all(), Start::Now).await.unwrap().bus());
}

/// An owner whose first stream breaks in the middle of a line, behind a good one, in one piece.
#[tokio::test]
async fn what_came_whole_before_a_stream_broke_is_neither_lost_nor_doubled() {
    use axum::extract::RawQuery;
    let tasks = Tasks::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let starts = asked.clone();
    let stream = move |RawQuery(query): RawQuery| async move {
        let query = query.unwrap_or_default();
        let first = starts.lock().is_empty();
        starts.lock().push(query);
        let event = |position: u32| {
            let body = String::from_utf8(message(&position.to_string()).body().to_vec()).unwrap();
            format!("{{\"position\":{position},\"event\":{body}}}\n")
        };
        let opening = |after: u32| format!("{{\"bus\":\"b\",\"session\":7,\"after\":{after}}}\n");
        if first { opening(0) + &event(1) + "{\"position\":oops\n" } else { opening(1) + &event(2) }
    };
    let router = axum::Router::new().route("/bus/v1/groups/g/events", axum::routing::get(stream));
    let bus = client(&tasks, serve(&tasks, router).await, "secret").await;
    let mut group = bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    for expected in ["1", "2"] {
        let batch = group.next_batch(10).await.unwrap();
        let ids: Vec<_> = batch.deliveries.iter().map(|one| one.envelope().unwrap().id.to_string()).collect();
        assert_eq!(ids, [expected]);
    }
    assert!(asked.lock()[1].ends_with("start=resume:b:1&takes_on=true"), "{:?}", asked.lock());
}

#[tokio::test]
async fn a_consumer_acknowledges_to_the_bus_that_is_there_now() {
    let mut world = World::new().await;
    let way = Way::new(&world.tasks).await;
    let (first, first_address) = owner(&world.tasks).await;
    let (second, second_address) = owner(&world.tasks).await;
    way.lead_to(Some(first_address));
    world.bus = client(&world.tasks, way.address, "secret").await;
    let consumer =
        world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap();
    let consumer = world.start_consumer(consumer);
    world.publish(&(0..50).map(|number| changed("k", number)).collect::<Vec<_>>()).await;
    world.wait_effects(50).await;
    while first.lag().await.unwrap()[0].behind > 0 {
        tokio::task::yield_now().await;
    }
    way.lead_to(Some(second_address));
    second.publish_messages(vec![bus::Message::new(&event(50)).unwrap()]).await.unwrap();
    world.wait_effects(51).await;
    while second.lag().await.unwrap()[0].behind > 0 {
        tokio::task::yield_now().await;
    }
    consumer.stop().await;
}

fn event(number: i64) -> leeward_events::Envelope {
    let cause = crate::world::cause();
    leeward_events::Envelope::new(&changed("k", number), format!("e-{number}"), "elsewhere", 0, &cause)
        .unwrap()
}

#[tokio::test]
async fn outbox_to_consumer_over_a_bus_that_comes_and_goes() {
    let mut world = World::new().await;
    let way = Way::new(&world.tasks).await;
    let (_owner, address) = owner(&world.tasks).await;
    world.bus = client(&world.tasks, way.address, "secret").await;
    let consumer = Consumer::builder("tests.effects", world.db.clone(), world.bus.clone())
        .on::<Changed>(async |tx, received| effect(tx, &received).await)
        .build()
        .unwrap();
    let consumer = world.start_consumer(consumer);
    let relay = world.start_relay();
    let mut expected = Vec::new();
    for round in 0..6 {
        let events: Vec<_> = (0..30).map(|number| changed("k", round * 30 + number)).collect();
        way.lead_to((round % 2 == 1).then_some(address));
        world.append(events.clone()).await;
        expected.extend(events);
    }
    way.lead_to(Some(address));
    assert_eq!(world.wait_effects(expected.len()).await, expected);
    relay.stop().await;
    consumer.stop().await;
}
