//! What the service's consumers expect of it, played against the real one.

use http::Method;
use leeward_events::Envelope;
use serde_json::Value;
use shop_contracts::expectations::{self, Saved};

use crate::peer::Peer;
use crate::site::Site;
use crate::world::World;

/// Panics unless `site` answers the scenarios of `file` as their consumer, `peer`, expects.
pub async fn check_expectations(site: &Site, file: &str, peer: &Peer, known: &Saved) {
    let scenarios = expectations::scenarios(file).unwrap();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        let mut saved = known.clone();
        for (place, step) in scenario.steps.iter().enumerate() {
            let method: Method = step.method.parse().unwrap();
            let call = site.request(method, &saved.fill(&step.path)).by_peer(peer);
            let call = match &step.body {
                Some(body) => call.json(&saved.fill_in(body)),
                None => call,
            };
            let answer = call.send().await;
            let (at, body) = (format!("{}, step {}", scenario.name, place + 1), answer.json());
            assert_eq!(answer.status.as_u16(), step.status, "{at}: {body}");
            assert_eq!(expectations::mismatch(&saved.fill_in(&step.answer), &body), None, "{at}: {body}");
            saved.save(step, &body);
        }
    }
}

/// Panics unless each event that others read of this service, of the types with one of `prefixes`, was said in this world, in
/// the form that they expect. Gives how many types that were.
pub async fn check_events(world: &World, prefixes: &[&str]) -> usize {
    let expected = expectations::events(prefixes).unwrap();
    for event in &expected {
        let of_kind = |envelope: &Envelope| {
            let data = || serde_json::from_str::<Value>(envelope.data.get()).unwrap();
            (*envelope.kind == *event.kind).then(data)
        };
        let data = world.find(&event.kind, of_kind).await;
        assert_eq!(expectations::mismatch(&event.data, &data), None, "{}", event.kind);
    }
    expected.len()
}
