//! The checks that every service has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leeward_events::{Bus, Outbox};
use leeward_resilience::Clock;
use leeward_store::{Db, ReadTx, params};

use super::{Check, Reading, State};

/// Below this much free space a disk is degraded: an operator still has time.
pub const DISK_DEGRADED_BYTES: u64 = 512 * MIB;
/// Below this much it is down: databases are about to refuse writes.
pub const DISK_DOWN_BYTES: u64 = 64 * MIB;
/// The resident memory above which a process is degraded, unless it is told otherwise.
pub const MEMORY_DEGRADED_BYTES: u64 = 1_024 * MIB;
/// The share of the writer's queue above which the database is degraded.
const QUEUE_DEGRADED: u64 = 1_024;

/// An event that waits in the outbox for longer than this does not leave.
const OUTBOX_DEGRADED: Duration = Duration::from_secs(30);

const MIB: u64 = 1024 * 1024;

/// The service's database: answers a read, and does not fall behind with its writes.
pub fn database(db: Db) -> Check {
    Check::new("database", move || {
        let db = db.clone();
        async move {
            let answer = db.read(async |tx: &mut ReadTx| tx.query_one("SELECT 1", params![]).await).await;
            match answer {
                Ok(_one) => queue_reading(db.stats().queued),
                Err(error) => Reading::down(error.to_string()),
            }
        }
    })
}

fn queue_reading(queued: u64) -> Reading {
    let value = format!("{queued} transactions waiting");
    let reading = if queued > QUEUE_DEGRADED { Reading::degraded(value) } else { Reading::up(value) };
    reading.threshold(format!("degraded above {QUEUE_DEGRADED}"))
}

/// The bus: reachable, and our own events leave. It gates nothing, since the outbox holds events until the bus is back.
pub fn bus(bus: Bus, outbox: Outbox, clock: Arc<dyn Clock>) -> Check {
    let check = Check::new("bus", move || {
        let (bus, outbox, clock) = (bus.clone(), outbox.clone(), Arc::clone(&clock));
        async move {
            match bus.lag().await {
                Ok(_groups) => outbox_reading(outbox.status().oldest_age(clock.unix_ms())),
                Err(error) => Reading::down(error.to_string()),
            }
        }
    });
    check.informative()
}

fn outbox_reading(oldest: Duration) -> Reading {
    let value = format!("oldest event waits {} ms", oldest.as_millis());
    let reading = if oldest > OUTBOX_DEGRADED { Reading::degraded(value) } else { Reading::up(value) };
    reading.threshold(format!("degraded above {} ms", OUTBOX_DEGRADED.as_millis()))
}

/// Free space on the disk that holds `folder`.
pub fn disk(folder: PathBuf) -> Check {
    disk_with(folder, DISK_DEGRADED_BYTES, DISK_DOWN_BYTES)
}

/// [`disk`] with its thresholds.
pub fn disk_with(folder: PathBuf, degraded_bytes: u64, down_bytes: u64) -> Check {
    Check::new("disk", move || {
        let reading = match free_bytes(&folder) {
            Ok(free) => below(free, degraded_bytes, down_bytes),
            Err(error) => Reading::down(error.to_string()),
        };
        async move { reading }
    })
}

fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    // What an ordinary process may still use, not what root could.
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn below(free: u64, degraded_bytes: u64, down_bytes: u64) -> Reading {
    let value = format!("{} MiB free", free / MIB);
    let state = match free {
        free if free < down_bytes => State::Down,
        free if free < degraded_bytes => State::Degraded,
        _ => State::Up,
    };
    Reading { state, value: value.into(), threshold: "".into() }.threshold(format!(
        "degraded below {} MiB, down below {} MiB",
        degraded_bytes / MIB,
        down_bytes / MIB
    ))
}

/// Resident memory of the process. It degrades only: taking traffic away from all replicas at once would make it worse.
pub fn memory(degraded_bytes: u64) -> Check {
    Check::new("memory", move || {
        let reading = match resident_bytes() {
            Some(resident) => {
                let value = format!("{} MiB resident", resident / MIB);
                let reading =
                    if resident > degraded_bytes { Reading::degraded(value) } else { Reading::up(value) };
                reading.threshold(format!("degraded above {} MiB", degraded_bytes / MIB))
            }
            None => Reading::up("not known on this system"),
        };
        async move { reading }
    })
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_store::Options;

    use super::*;

    #[tokio::test]
    async fn the_database_check_turns_red_when_the_database_is_gone() {
        let db = Db::open("sqlite::memory:", Options::default()).await.unwrap();
        let check = database(db.clone());
        assert_eq!(check.run().await.state, State::Up);
        db.close().await;
        assert_eq!(check.run().await.state, State::Down);
    }

    #[test]
    fn a_long_queue_degrades_the_database() {
        assert_eq!(queue_reading(1_024).state, State::Up);
        assert_eq!(queue_reading(1_025).state, State::Degraded);
    }

    #[tokio::test]
    async fn the_bus_check_turns_red_when_the_bus_is_not_there() {
        let (tasks, clock) = (leeward_runtime::Tasks::new(), Arc::new(leeward_resilience::TokioClock));
        let outbox = Outbox::new("orders", clock.clone());
        let options = leeward_events::bus::Options::default();
        let here = Bus::open("memory:", options.clone(), &tasks).await.unwrap();
        assert_eq!(bus(here, outbox.clone(), clock.clone()).run().await.state, State::Up);
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let options = options.token(leeward_events::bus::Token::new("t"));
        let gone = Bus::open(&format!("leeward://{closed}"), options, &tasks).await.unwrap();
        assert_eq!(bus(gone, outbox, clock).run().await.state, State::Down);
    }

    #[test]
    fn events_that_do_not_leave_degrade_the_bus() {
        assert_eq!(outbox_reading(Duration::from_secs(30)).state, State::Up);
        assert_eq!(outbox_reading(Duration::from_secs(31)).state, State::Degraded);
    }

    #[tokio::test]
    async fn the_disk_check_turns_red_when_space_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let state =
            async |degraded, down| disk_with(folder.path().to_owned(), degraded, down).run().await.state;
        assert_eq!(state(1, 1).await, State::Up);
        assert_eq!(state(u64::MAX, 1).await, State::Degraded);
        assert_eq!(state(u64::MAX, u64::MAX).await, State::Down);
        assert_eq!(disk(folder.path().join("gone")).run().await.state, State::Down);
    }

    #[tokio::test]
    async fn the_memory_check_turns_red_above_its_bound() {
        assert_eq!(memory(u64::MAX).run().await.state, State::Up);
        assert_eq!(memory(1).run().await.state, State::Degraded);
    }
}
