#![allow(clippy::unwrap_used, reason = "tests")]

use leeward_discovery::registry::Registry as _;
use leeward_resilience::{Instant, Mode, Priority};
use leeward_runtime::Env;

use super::*;
use crate::life::Core;

/// A registry whose answer was on its way, and comes now.
struct Late(Option<Endpoint>);

impl leeward_discovery::Registry for Late {
    fn source(&self) -> String {
        "late".to_owned()
    }

    async fn next(&mut self) -> Result<Vec<Endpoint>, Unavailable> {
        match self.0.take() {
            Some(endpoint) => Ok(vec![endpoint]),
            None => std::future::pending().await,
        }
    }
}

fn config(one: &str) -> Config {
    // Nobody answers there.
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\ncores: 1\ndns: {{servers: [\"127.0.0.1:9\"]}}\nservices:\n  one: {{{one}}}\nroutes: [{{path: /, service: one}}]\n"
    );
    Config::parse("a.yaml", &text, &Env::default()).unwrap()
}

#[tokio::test]
async fn an_answer_that_comes_late_changes_nothing_about_what_is_said_now() {
    let tasks = Tasks::new();
    let gateway = Gateway::builder(config("dns: \"one.test.:9\"")).start(&tasks).await.unwrap();
    let before = gateway.published.current();
    let lookups = before.lookups.clone().unwrap();
    gateway.reload(&config("urls: [\"http://127.0.0.1:1\"]")).unwrap();

    let late = Late(Some(Endpoint::parse("http://127.0.0.2:2").unwrap()));
    assert_eq!(late.source(), "late");
    let stop = Tasks::new().stop(Stage::Work);
    let (directory, rng) = (&before.directory, &*before.rng);
    let taken = lookups.each[0].0.run(late, directory, rng, &stop);
    tokio::time::timeout(std::time::Duration::from_secs(5), taken).await.unwrap();
    let endpoints = directory.upstream("one").endpoints();
    let urls: Vec<String> = endpoints.iter().map(|one| one.endpoint.url().to_string()).collect();
    assert_eq!(urls, ["http://127.0.0.1:1/"]);
    let _report = tasks.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_file_that_an_operator_had_read_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leeward.yaml");
    std::fs::write(&path, "first").unwrap();
    let (tasks, first) = (Tasks::new(), reload::Stamp::at(&path));
    // Who writes while it is read: what stands there then was not read.
    let (written, read) = (path.clone(), config("urls: [\"http://127.0.0.1:1\"]"));
    let source = Source::new(&path, move || {
        std::fs::write(&written, "another, and longer")?;
        Ok(read.clone())
    });
    let gateway = Gateway::builder(config("urls: [\"http://127.0.0.1:1\"]")).source(source);
    let gateway = gateway.start(&tasks).await.unwrap();
    assert_eq!(gateway.reloader.seen(), None);
    gateway.read_again(Cause::Operator).await.unwrap();
    assert_eq!(gateway.reloader.seen(), Some(first));
    assert_ne!(gateway.reloader.seen(), Some(reload::Stamp::at(&path)));
    let _report = tasks.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn tables_that_are_not_in_force_are_kept_until_nobody_has_them() {
    let tasks = Tasks::new();
    let gateway = Gateway::builder(config("urls: [\"http://127.0.0.1:1\"]")).start(&tasks).await.unwrap();
    let held = gateway.published.current();
    let tables = Arc::downgrade(&held);
    gateway.reload(&config("urls: [\"http://127.0.0.1:2\"]")).unwrap();
    gateway.reloader.sweep();
    assert!(gateway.reloader.has_retired(), "somebody has them");
    drop(held);
    // The one core has nothing to do, and has them until it is stopped.
    let _report = tasks.shutdown(std::time::Duration::from_secs(5)).await;
    gateway.reloader.sweep();
    assert!(!gateway.reloader.has_retired());
    assert!(tables.upgrade().is_none());
}

/// What a reload says of `shed` is in force on a core from its next request on, and what the core has seen of itself stays.
#[tokio::test]
async fn another_shed_is_in_force_from_the_reload_on() {
    let ms = std::time::Duration::from_millis;
    let shed = |value: &str| {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\ncores: 1\nshed: {value}\nroutes: [{{path: /, service: \"http://127.0.0.1:9\"}}]\n"
        );
        Config::parse("a.yaml", &text, &Env::default()).unwrap()
    };
    let test = async {
        let tasks = Tasks::new();
        let gateway = Gateway::builder(shed("{target: 20ms}")).start(&tasks).await.unwrap();
        let first = Core::new(gateway.published.current(), Arc::default());
        let now = first.overload.probes(ms(30), Instant::from_nanos(1_000_000_000), ms(300));
        assert!(first.overload.judge(Priority::Low, now).is_err());
        let reloaded = |core: &Core, value: &str| {
            gateway.reload(&shed(value)).unwrap();
            core.after(gateway.published.current())
        };
        let patient = reloaded(&first, "{target: 40ms}");
        assert_eq!(patient.overload.judge(Priority::Low, now), Ok(()), "30 ms are less than 40 ms");
        let strict = reloaded(&patient, "{target: 10ms, mode: shadow}");
        // Without another probe: that the core is behind is known.
        let late = strict.overload.judge(Priority::Normal, now).unwrap_err();
        assert_eq!((late.delay, late.allowed, late.mode), (ms(30), ms(20), Mode::Shadow));
        let off = reloaded(&strict, "off");
        assert_eq!(off.overload.judge(Priority::Low, now), Ok(()));
        let on = reloaded(&off, "{target: 20ms}");
        assert!(on.overload.judge(Priority::Low, now).is_err());
        // Where the endpoints are those of before, `shed` alone is what changes.
        let changes = gateway.reload(&shed("off")).unwrap();
        assert_eq!(changes.options, ["shed"]);
        let _report = tasks.shutdown(std::time::Duration::from_secs(5)).await;
    };
    // A core has tasks of its own.
    tokio::task::LocalSet::new().run_until(test).await;
}
