use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_runtime::{Failure, Stage, Stop, Tasks};
use tokio::time::Instant;

const BUDGET: Duration = Duration::from_secs(8);

/// A list of what happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A task that takes `secs` to stop and then notes its name.
fn polite(tasks: &Tasks, diary: &Diary, stage: Stage, name: &'static str, secs: u64) {
    let diary = diary.clone();
    tasks.spawn(stage, name, move |stop| async move {
        stop.requested().await;
        tokio::time::sleep(Duration::from_secs(secs)).await;
        diary.note(name);
    });
}

fn stuck(tasks: &Tasks, stage: Stage, name: &'static str) {
    tasks.spawn(stage, name, |_stop| std::future::pending::<()>());
}

#[tokio::test(start_paused = true)]
async fn stages_stop_in_order_whatever_the_order_of_spawning() {
    let (tasks, diary) = (Tasks::new(), Diary::default());
    polite(&tasks, &diary, Stage::Store, "db", 0);
    polite(&tasks, &diary, Stage::Work, "relay", 1);
    polite(&tasks, &diary, Stage::Edge, "listener", 1);
    polite(&tasks, &diary, Stage::Serve, "connection", 1);
    assert_eq!(tasks.running(), ["listener", "connection", "relay", "db"]);
    let report = tasks.shutdown(BUDGET).await;
    assert_eq!(diary.entries(), ["listener", "connection", "relay", "db"]);
    assert_eq!((report.stopped, report.is_clean()), (4, true));
    assert!(tasks.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stuck_task_is_aborted_and_named_and_leaves_the_stores_their_time() {
    let (tasks, diary) = (Tasks::new(), Diary::default());
    stuck(&tasks, Stage::Edge, "stuck.edge");
    polite(&tasks, &diary, Stage::Serve, "connection", 0);
    stuck(&tasks, Stage::Work, "stuck.work");
    polite(&tasks, &diary, Stage::Store, "db", 0);
    let start = Instant::now();
    let report = tasks.shutdown(BUDGET).await;
    assert_eq!(report.abandoned, ["stuck.edge", "stuck.work"]);
    assert_eq!(report.stopped, 2);
    assert_eq!(diary.entries(), ["connection", "db"]);
    assert!(start.elapsed() <= BUDGET, "{:?}", start.elapsed());
    assert_eq!(report.to_string(), "2 tasks stopped, 2 abandoned: stuck.edge, stuck.work");
}

#[tokio::test(start_paused = true)]
async fn what_an_aborted_task_held_is_dropped_before_the_next_stage_stops() {
    struct Guard(Diary);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let (tasks, diary) = (Tasks::new(), Diary::default());
    let guard = Guard(diary.clone());
    tasks.spawn(Stage::Work, "stuck", move |_stop| async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    polite(&tasks, &diary, Stage::Store, "db", 0);
    tasks.shutdown(BUDGET).await;
    assert_eq!(diary.entries(), ["dropped", "db"]);
}

#[tokio::test]
async fn the_failure_of_an_ordinary_task_stops_nothing() {
    let tasks = Tasks::new();
    tasks.spawn(Stage::Work, "panics", |_stop| panics("on purpose"));
    tasks.spawn(Stage::Work, "errs", |_stop| async { Err::<(), _>("on purpose") });
    while !tasks.running().is_empty() {
        tokio::task::yield_now().await;
    }
    let none = tokio::time::timeout(Duration::ZERO, tasks.failure()).await;
    assert!(none.is_err());
    assert!(tasks.shutdown(BUDGET).await.is_clean());
}

#[tokio::test]
async fn a_panic_is_logged_as_an_error_with_the_tasks_name_and_its_message() {
    // The first thread to come by an event decides by its own subscriber whether anybody listens: hence every thread has one.
    let everybody = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    tracing::subscriber::set_global_default(everybody).unwrap();
    let paper = Paper::default();
    let writer = paper.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let tasks = Tasks::new();
    tasks.child("orders").spawn(Stage::Serve, "http.connection", |_stop| panics("on purpose"));
    while !tasks.running().is_empty() {
        tokio::task::yield_now().await;
    }
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" ERROR ")).collect();
    let [line] = lines[..] else { panic!("one line of an error in {text:?}") };
    assert!(line.contains("task=\"orders.http.connection\" panic=on purpose"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_ends_early_is_reported_with_its_reason() {
    type Spawn = fn(&Tasks);
    let table: [(&str, Spawn); 3] = [
        ("panicked: on purpose", |tasks| {
            tasks.spawn_critical(Stage::Work, "engine", |_stop| panics("on purpose"));
        }),
        ("no space left", |tasks| {
            tasks.spawn_critical(Stage::Work, "engine", |_stop| async { Err::<(), _>("no space left") });
        }),
        ("returned before it was asked to stop", |tasks| {
            tasks.spawn_critical(Stage::Work, "engine", |_stop| async {});
        }),
    ];
    for (reason, spawn) in table {
        let tasks = Tasks::new();
        // Also a failure inside a child is the process's.
        spawn(&tasks.child("orders"));
        let expected = Failure { task: "orders.engine".into(), reason: reason.into() };
        for _kept in 0..2 {
            // Virtual time: without a failure the limit passes at once.
            assert_eq!(tokio::time::timeout(BUDGET, tasks.failure()).await, Ok(expected.clone()));
        }
    }
}

#[tokio::test]
async fn a_critical_task_that_was_asked_to_stop_has_not_failed() {
    let tasks = Tasks::new();
    tasks.spawn_critical(Stage::Work, "engine", |stop| async move { stop.requested().await });
    assert!(tasks.shutdown(BUDGET).await.is_clean());
    assert!(tokio::time::timeout(Duration::ZERO, tasks.failure()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_child_stops_alone_and_with_its_parent() {
    let (tasks, diary) = (Tasks::new(), Diary::default());
    let (orders, users) = (tasks.child("orders"), tasks.child("users"));
    polite(&orders, &diary, Stage::Work, "orders", 0);
    polite(&users, &diary, Stage::Work, "users", 0);
    polite(&tasks, &diary, Stage::Edge, "listener", 0);
    assert_eq!(tasks.running(), ["listener", "orders.orders", "users.users"]);
    orders.shutdown(BUDGET).await;
    assert_eq!(diary.entries(), ["orders"]);
    assert_eq!(tasks.running(), ["listener", "users.users"]);
    let report = tasks.shutdown(BUDGET).await;
    assert_eq!(report.stopped, 2);
    assert_eq!(diary.entries(), ["orders", "listener", "users"]);
}

#[tokio::test]
async fn nothing_starts_in_a_stage_that_has_stopped() {
    let tasks = Tasks::new();
    let child = tasks.child("late");
    tasks.shutdown(BUDGET).await;
    tasks.spawn(Stage::Work, "late", |_stop| panics("must not run"));
    child.spawn(Stage::Work, "later", |_stop| panics("must not run"));
    assert!(tasks.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hold_keeps_its_stage_open_until_it_is_dropped() {
    let (tasks, diary) = (Tasks::new(), Diary::default());
    let hold = tasks.hold(Stage::Serve, "core.0");
    polite(&tasks, &diary, Stage::Store, "db", 0);
    let of_thread = diary.clone();
    let thread = tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            runtime.block_on(hold.stop().requested());
            of_thread.note("core");
            drop(hold);
        }
    });
    let report = tasks.shutdown(BUDGET).await;
    thread.await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(diary.entries(), ["core", "db"]);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_twice_is_harmless() {
    let tasks = Tasks::new();
    stuck(&tasks, Stage::Work, "stuck");
    assert_eq!(tasks.shutdown(BUDGET).await.abandoned, ["stuck"]);
    assert!(tasks.shutdown(BUDGET).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_manual_stop_interrupts_what_runs_under_it() {
    let (stopper, stop) = Stop::manual();
    assert_eq!(stop.or(async { 5 }).await, Some(5));
    let waiting = stop.clone();
    let waiter = async move { waiting.or(std::future::pending::<()>()).await };
    let ((), interrupted) = tokio::join!(async { stopper.request() }, waiter);
    assert_eq!(interrupted, None);
    assert!(stop.is_requested());
    assert!(!Stop::never().is_requested());
}

/// Panics where a task's output must be `()`.
async fn panics(message: &str) {
    panic!("{message}");
}
