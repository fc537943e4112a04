#![allow(clippy::unwrap_used, reason = "tests")]

use leeward_discovery::registry::Registry as _;
use leeward_runtime::Env;

use super::*;

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
