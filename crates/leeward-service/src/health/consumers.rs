//! Whether the events that come to this service are handled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leeward_events::Bus;
use leeward_events::bus::{GroupLag, Position};
use leeward_events::status::{self, GroupStatus};
use leeward_resilience::{Clock, Instant};
use leeward_store::Db;
use parking_lot::Mutex;

use super::{Check, Reading};

/// A group that has events before it and acknowledges none for this long is stuck. One that works acknowledges twice a
/// second; a restart, or a database that is busy for a while, is over before.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// The groups whose consumers are in `db`, and `own`, which those are that have handled nothing yet: no dead letters, and
/// no group that stands still. It gates nothing: requests can be served while events wait, but somebody has to look.
pub fn consumers(db: Db, bus: Bus, own: Vec<Arc<str>>, clock: Arc<dyn Clock>) -> Check {
    let (own, progress): (Arc<[_]>, _) = (own.into(), Arc::new(Mutex::new(Progress::default())));
    let check = Check::new("consumers", move || {
        let (db, bus, own) = (db.clone(), bus.clone(), Arc::clone(&own));
        let (clock, progress) = (Arc::clone(&clock), Arc::clone(&progress));
        async move {
            match groups(&db, &bus, &own).await {
                Ok(groups) => progress.lock().reading(&groups, clock.now()),
                Err(error) => Reading::down(error.to_string()),
            }
        }
    });
    check.informative()
}

/// All groups of the database, and our own that it does not know yet since they have handled nothing.
async fn groups(db: &Db, bus: &Bus, own: &[Arc<str>]) -> Result<Vec<GroupStatus>, status::Error> {
    let mut groups = status::groups(db, bus).await?;
    let known = |group: &str| groups.iter().any(|known| known.group == group);
    if own.iter().all(|group| known(group)) {
        return Ok(groups);
    }
    let mut unknown = bus.lag().await?;
    unknown.retain(|lag| own.contains(&lag.group) && !known(&lag.group));
    groups.extend(unknown.into_iter().map(|lag| GroupStatus {
        group: lag.group.to_string(),
        lag: Some(lag),
        parked: 0,
        dead: 0,
        oldest_parked_ms: None,
    }));
    Ok(groups)
}

/// How far each group was, and since when it has not moved. Bounded by the number of groups.
#[derive(Debug, Default)]
struct Progress(HashMap<String, (Position, Instant)>);

impl Progress {
    fn reading(&mut self, groups: &[GroupStatus], now: Instant) -> Reading {
        self.0.retain(|name, _| groups.iter().any(|group| group.group == *name));
        let mut wrong = Vec::new();
        for group in groups {
            let name = &group.group;
            if group.dead > 0 {
                wrong.push(format!("{name}: {} dead letters", group.dead));
            }
            let Some(lag) = &group.lag else { continue };
            let still = self.stands_still(name, lag, now);
            if still > STUCK_AFTER {
                let (behind, for_s) = (lag.behind, still.as_secs());
                wrong.push(format!("{name}: {behind} events wait, none was handled for {for_s} s"));
            }
        }
        let reading = if wrong.is_empty() {
            let behind: u64 =
                groups.iter().filter_map(|group| group.lag.as_ref()).map(|lag| lag.behind).sum();
            Reading::up(format!("{} groups, {behind} events wait", groups.len()))
        } else {
            Reading::degraded(wrong.join("; "))
        };
        reading.threshold(format!(
            "degraded with a dead letter, or when a group stands still for more than {} s",
            STUCK_AFTER.as_secs()
        ))
    }

    /// For how long the group has had events before it and acknowledged none.
    fn stands_still(&mut self, name: &str, lag: &GroupLag, now: Instant) -> Duration {
        match self.0.get(name) {
            Some((at, since)) if *at == lag.acknowledged && lag.behind > 0 => {
                now.saturating_duration_since(*since)
            }
            _ => {
                self.0.insert(name.to_owned(), (lag.acknowledged, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_events::bus::{self, Start};
    use leeward_events::{Consumer, Envelope, Patterns};
    use leeward_resilience::ManualClock;
    use leeward_runtime::Tasks;
    use leeward_store::Options;

    use super::super::State;
    use super::*;

    fn event(id: &str) -> Envelope {
        Envelope {
            id: id.into(),
            source: "test".into(),
            kind: "thing.happened".into(),
            subject: "t".into(),
            time_ms: 0,
            version: 1,
            traceparent: None,
            correlation_id: "c".into(),
            causation_id: None,
            log_seq: None,
            data: serde_json::value::RawValue::NULL.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_group_that_stands_still_degrades_the_check() {
        let db = Db::open("sqlite::memory:", Options::default()).await.unwrap();
        Consumer::migrate(&db).await.unwrap();
        let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
        let patterns = Patterns::new(["thing.happened"]).unwrap();
        let mut group = bus.subscribe("stock.things", patterns, Start::Beginning).await.unwrap();
        let clock = ManualClock::new();
        let check = consumers(db, bus.clone(), vec!["stock.things".into()], Arc::new(clock.clone()));
        let state = async || check.run().await.state;

        clock.advance(STUCK_AFTER * 2);
        assert_eq!(state().await, State::Up, "nothing waits, however long");
        bus.publish(vec![event("e-1"), event("e-2")]).await.unwrap();
        assert_eq!(state().await, State::Up, "it has just come");
        clock.advance(STUCK_AFTER);
        assert_eq!(state().await, State::Up);
        clock.advance(Duration::from_secs(1));
        let reading = check.run().await;
        assert_eq!(
            (reading.state, &*reading.value),
            (State::Degraded, "stock.things: 2 events wait, none was handled for 31 s")
        );
        let batch = group.next_batch(1).await.unwrap();
        group.acknowledge(batch.through).await.unwrap();
        assert_eq!(state().await, State::Up, "it moves, though one still waits");
        clock.advance(STUCK_AFTER + Duration::from_secs(1));
        assert_eq!(state().await, State::Degraded, "and stands again");
    }

    #[tokio::test]
    async fn a_database_that_is_gone_turns_the_check_red() {
        let db = Db::open("sqlite::memory:", Options::default()).await.unwrap();
        let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
        let check = consumers(db.clone(), bus, Vec::new(), Arc::new(ManualClock::new()));
        db.close().await;
        assert_eq!(check.run().await.state, State::Down);
    }
}
