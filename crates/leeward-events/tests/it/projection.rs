//! A projection follows events, and a rebuild from the log gives the same table, whatever happens meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use leeward_events::projection::{
    Form, LocalLog, LogError, LogFuture, LogSource, Mode, RebuildError, Report,
};
use leeward_events::{HandlerError, Projection};
use leeward_store::params;

use crate::world::{Changed, World, changed};

/// The last number and the count of changes of each key.
fn projection(world: &World) -> Projection {
    Projection::builder("tests.latest", world.db.clone(), "latest")
        .schema(&[
            "CREATE TABLE {table} (event_key TEXT PRIMARY KEY, number INTEGER NOT NULL, changes INTEGER NOT NULL) STRICT",
            "CREATE INDEX {table}_number ON {table} (number)",
        ])
        .digest(
            "SELECT event_key, number || '/' || changes FROM {table} WHERE event_key > $1 ORDER BY event_key LIMIT $2",
        )
        .on::<Changed>(async |tx, table, received| {
            let event = received.event;
            if event.number < 0 {
                return Err(HandlerError::Poison("negative".into()));
            }
            let sql = table.sql(
                "INSERT INTO {table} (event_key, number, changes) VALUES ($1, $2, 1)
                 ON CONFLICT (event_key) DO UPDATE SET number = excluded.number, changes = changes + 1",
            );
            tx.execute(&sql, params![event.key, event.number]).await?;
            tx.wake("effects");
            Ok(())
        })
        .build()
        .unwrap()
}

const CHANGES: &str = "SELECT COALESCE(SUM(changes), 0) FROM latest";

fn some(from: i64) -> Vec<Changed> {
    (from..from + 50).map(|number| changed(&format!("k{}", number % 5), number)).collect()
}

fn log(world: &World) -> LocalLog {
    LocalLog::new(world.db.clone(), world.outbox.clone())
}

#[tokio::test]
async fn a_rebuilt_table_equals_the_live_one_and_goes_on() {
    let world = World::new().await;
    let projection = projection(&world);
    assert_eq!(projection.open().await.unwrap(), Form::Current);
    let consumer = world.start_consumer(projection.consumer(world.bus.clone()).build().unwrap());
    let relay = world.start_relay();
    world.append(some(0)).await;
    world.wait_count(CHANGES, 50).await;
    for round in 1..4 {
        let report = projection.rebuild(&log(&world), Mode::Replace).await.unwrap();
        assert!(report.swapped && report.rebuilt == report.live, "{report:?}");
        assert_eq!((report.equal, report.rebuilt.rows), (Some(true), 5));
        world.append(some(round * 50)).await;
        world.wait_count(CHANGES, (round + 1) * 50).await;
    }
    let tables = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'latest%'";
    assert_eq!(world.count(tables).await, 1, "no shadow is left");
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn under_load_no_event_is_lost_or_doubled_by_a_swap() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    let consumer = world.start_consumer(projection.consumer(world.bus.clone()).build().unwrap());
    let relay = world.start_relay();
    let load = async {
        for round in 0..30 {
            world.append(some(round * 50)).await;
        }
    };
    let rebuilds = async {
        let mut reports: Vec<Report> = Vec::new();
        for _ in 0..5 {
            reports.push(projection.rebuild(&log(&world), Mode::Replace).await.unwrap());
        }
        reports
    };
    let ((), reports) = tokio::join!(load, rebuilds);
    assert!(reports.iter().all(|report| report.swapped && report.equal != Some(false)), "{reports:?}");
    world.wait_count(CHANGES, 1500).await;
    // Whatever the bus still had was passed over or applied by now.
    let report = projection.rebuild(&log(&world), Mode::Compare).await.unwrap();
    assert_eq!((report.equal, report.swapped, report.events), (Some(true), false, 1500));
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn what_a_rebuild_has_read_is_passed_over_when_the_bus_brings_it() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    world.append(some(0)).await;
    let report = projection.rebuild(&log(&world), Mode::Replace).await.unwrap();
    assert_eq!((report.events, report.equal, report.swapped), (50, None, true));
    let consumer = projection.consumer(world.bus.clone()).build().unwrap();
    let metrics = consumer.metrics().clone();
    let consumer = world.start_consumer(consumer);
    let relay = world.start_relay();
    world.append(some(50)).await;
    while metrics.applied.get() < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.count(CHANGES).await, 100);
    relay.stop().await;
    consumer.stop().await;
}

/// At the end of the log, one more event is appended, and given the time to reach the live table.
struct Moving<'a> {
    world: &'a World,
    ends: AtomicU32,
}

impl LogSource for Moving<'_> {
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_> {
        Box::pin(async move {
            let page = log(self.world).page(after_seq, events_max).await?;
            // The second end is the one for which the consumer is held.
            if page.entries.is_empty() && self.ends.fetch_add(1, Ordering::SeqCst) == 1 {
                self.world.append(vec![changed("late", 1)]).await;
                let arrived =
                    self.world.wait_count("SELECT COUNT(*) FROM latest WHERE event_key = 'late'", 1);
                let arrived = tokio::time::timeout(std::time::Duration::from_millis(100), arrived).await;
                assert!(arrived.is_err(), "the consumer holds still between the end of the log and the swap");
            }
            Ok(page)
        })
    }
}

#[tokio::test]
async fn an_event_between_the_end_of_the_log_and_the_swap_is_not_lost() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    let consumer = world.start_consumer(projection.consumer(world.bus.clone()).build().unwrap());
    let relay = world.start_relay();
    world.append(some(0)).await;
    world.wait_count(CHANGES, 50).await;
    let moving = Moving { world: &world, ends: AtomicU32::new(0) };
    let report = projection.rebuild(&moving, Mode::Replace).await.unwrap();
    assert!(report.swapped && moving.ends.load(Ordering::SeqCst) >= 2, "{report:?}");
    world.wait_count(CHANGES, 51).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_table_that_drifted_is_noticed_and_replaced() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    let consumer = world.start_consumer(projection.consumer(world.bus.clone()).build().unwrap());
    let relay = world.start_relay();
    world.append(some(0)).await;
    world.wait_count(CHANGES, 50).await;
    let spoil = "UPDATE latest SET number = number + 1 WHERE event_key = 'k3'";
    world.db.write(async move |tx| tx.execute(spoil, params![]).await).await.unwrap();
    let compared = projection.rebuild(&log(&world), Mode::Compare).await.unwrap();
    assert_eq!((compared.equal, compared.swapped), (Some(false), false));
    let replaced = projection.rebuild(&log(&world), Mode::Replace).await.unwrap();
    assert_eq!((replaced.equal, replaced.swapped), (Some(false), true));
    let compared = projection.rebuild(&log(&world), Mode::Compare).await.unwrap();
    assert_eq!(compared.equal, Some(true));
    relay.stop().await;
    consumer.stop().await;
}

/// Fails at the n-th page.
struct Broken {
    log: LocalLog,
    pages: AtomicU32,
}

impl LogSource for Broken {
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_> {
        if self.pages.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Box::pin(async { Err(LogError("away".into())) });
        }
        self.log.page(after_seq, events_max)
    }
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_the_table_as_it_was() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    let consumer = world.start_consumer(projection.consumer(world.bus.clone()).build().unwrap());
    let relay = world.start_relay();
    world.append((0..4).flat_map(|round| some(round * 50)).collect()).await;
    world.wait_count(CHANGES, 200).await;
    let broken = Broken { log: log(&world), pages: AtomicU32::new(1) };
    assert!(matches!(projection.rebuild(&broken, Mode::Replace).await, Err(RebuildError::Log(_))));
    assert_eq!(world.count(CHANGES).await, 200);

    // An event that no handler takes stops the rebuild, and is a dead letter of the consumer.
    world.append(vec![changed("k1", -1)]).await;
    world.wait_count("SELECT COUNT(*) FROM parked", 1).await;
    let failed = projection.rebuild(&log(&world), Mode::Replace).await;
    assert!(matches!(failed, Err(RebuildError::Handler { seq: 201, .. })), "{failed:?}");
    assert_eq!(world.count(CHANGES).await, 200);
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_log_that_is_cut_is_refused() {
    let world = World::new().await;
    let projection = projection(&world);
    projection.open().await.unwrap();
    world.append(some(0)).await;
    let cut = "DELETE FROM outbox WHERE seq < 10";
    world.db.write(async move |tx| tx.execute(cut, params![]).await).await.unwrap();
    let refused = projection.rebuild(&log(&world), Mode::Replace).await;
    assert!(matches!(refused, Err(RebuildError::LogCut { oldest_seq: 10, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_changed_definition_is_outdated_until_it_is_rebuilt() {
    let world = World::new().await;
    projection(&world).open().await.unwrap();
    world.append(some(0)).await;
    let newer = Projection::builder("tests.latest", world.db.clone(), "latest")
        .schema(&["CREATE TABLE {table} (event_key TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT"])
        .digest(
            "SELECT event_key, '' || number FROM {table} WHERE event_key > $1 ORDER BY event_key LIMIT $2",
        )
        .on::<Changed>(async |tx, table, received| {
            let sql = table.sql("INSERT OR REPLACE INTO {table} (event_key, number) VALUES ($1, $2)");
            tx.execute(&sql, params![received.event.key, received.event.number]).await?;
            Ok(())
        })
        .build()
        .unwrap();
    assert_eq!(newer.open().await.unwrap(), Form::Outdated);
    let report = newer.rebuild(&log(&world), Mode::Replace).await.unwrap();
    assert_eq!((report.equal, report.swapped, report.rebuilt.rows), (None, true, 5));
    assert_eq!(newer.open().await.unwrap(), Form::Current);
    // The consumer passes over what the rebuild has read.
    let consumer = newer.consumer(world.bus.clone()).build().unwrap();
    let metrics = consumer.metrics().clone();
    let consumer = world.start_consumer(consumer);
    let relay = world.start_relay();
    while metrics.applied.get() < 50 {
        tokio::task::yield_now().await;
    }
    let compared = newer.rebuild(&log(&world), Mode::Compare).await.unwrap();
    assert_eq!(compared.equal, Some(true));
    relay.stop().await;
    consumer.stop().await;
}

#[test]
fn mistakes_in_a_definition_are_typed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let db = runtime
        .block_on(leeward_store::Db::open("sqlite::memory:", leeward_store::Options::default()))
        .unwrap();
    use leeward_events::projection::BuildError;
    let build = |group: &str, table| {
        Projection::builder(group, db.clone(), table)
            .schema(&["CREATE TABLE {table} (a TEXT)"])
            .digest("SELECT a, a FROM {table}")
            .on::<Changed>(async |_, _, _| Ok(()))
    };
    assert!(build("g", "t").build().is_ok());
    assert!(matches!(build("a g", "t").build(), Err(BuildError::Group(_))));
    assert!(matches!(build("g", "t; DROP").build(), Err(BuildError::Table(_))));
    assert!(matches!(build("g", "t").schema(&[]).build(), Err(BuildError::Missing(_))));
    assert!(matches!(
        build("g", "t").on::<Changed>(async |_, _, _| Ok(())).build(),
        Err(BuildError::Twice(_))
    ));
}
