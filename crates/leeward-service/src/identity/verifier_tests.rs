#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use leeward_resilience::ManualClock;
use parking_lot::Mutex;

use super::*;
use crate::identity::{Identity, KeySource, Minter, PublicKeys, User};

/// Peers whose keys stand in a map.
#[derive(Debug, Default)]
struct Peers {
    keys: Mutex<HashMap<String, PublicKeys>>,
    fetches: AtomicU32,
    down: AtomicBool,
}

impl KeySource for Arc<Peers> {
    fn knows(&self, issuer: &str) -> bool {
        self.keys.lock().contains_key(issuer)
    }

    fn fetch(
        &self,
        issuer: Arc<str>,
    ) -> Pin<Box<dyn Future<Output = Result<PublicKeys, FetchError>> + Send + '_>> {
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.down.load(Ordering::SeqCst) {
                return Err(FetchError::Unreachable("down".into()));
            }
            Ok(self.keys.lock()[&*issuer].clone())
        })
    }
}

struct World {
    clock: ManualClock,
    peers: Arc<Peers>,
    verifier: Verifier,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let peers = Arc::new(Peers::default());
        let keys = PeerKeys::new(Arc::new(Arc::clone(&peers)), Arc::new(clock.clone()));
        let verifier = Verifier::new("orders", vec!["gateway".into()], keys, Arc::new(clock.clone()));
        Self { clock, peers, verifier }
    }

    fn publish(&self, name: &str) -> Minter {
        let identity = Identity::ephemeral(name).unwrap();
        self.peers.keys.lock().insert(name.to_owned(), identity.public_keys().clone());
        Minter::new(identity)
    }

    async fn verify(&self, minter: &Minter, principal: &Principal, audience: &str) -> Result<Caller, Error> {
        let token = minter.mint(principal, audience, self.clock.unix_ms()).unwrap();
        self.verifier.verify(token.as_bytes()).await
    }

    fn fetches(&self) -> u32 {
        self.peers.fetches.load(Ordering::SeqCst)
    }
}

fn anna() -> Principal {
    Principal::User(User::new("u-1").with_role("admin").with_permission("catalog:write"))
}

#[tokio::test]
async fn what_is_minted_is_what_is_verified() {
    let world = World::new();
    let gateway = world.publish("gateway");
    for principal in [anna(), Principal::Service, Principal::Operator] {
        let caller = world.verify(&gateway, &principal, "orders").await.unwrap();
        assert_eq!(*caller.principal(), principal);
        assert_eq!(caller.issuer(), "gateway");
    }
    assert_eq!(world.fetches(), 1, "one fetch serves all");
}

#[tokio::test]
async fn a_relayed_user_has_neither_roles_nor_permissions() {
    let world = World::new();
    let catalog = world.publish("catalog");
    let caller = world.verify(&catalog, &anna(), "orders").await.unwrap();
    assert_eq!(*caller.principal(), Principal::User(User::new("u-1")));
}

#[tokio::test]
async fn a_token_for_another_service_is_refused() {
    let world = World::new();
    let gateway = world.publish("gateway");
    assert!(matches!(world.verify(&gateway, &anna(), "payments").await, Err(Error::WrongAudience)));
}

#[tokio::test]
async fn only_named_issuers_speak_for_an_operator() {
    let world = World::new();
    let catalog = world.publish("catalog");
    let refused = world.verify(&catalog, &Principal::Operator, "orders").await;
    assert!(matches!(refused, Err(Error::NotAnOperator)));
}

#[tokio::test]
async fn a_cached_assertion_dies_with_its_exp() {
    let world = World::new();
    let gateway = world.publish("gateway");
    let token = gateway.mint(&anna(), "orders", world.clock.unix_ms()).unwrap();
    assert!(world.verifier.verify(token.as_bytes()).await.is_ok());
    world.clock.advance(Duration::from_secs(58));
    assert!(world.verifier.verify(token.as_bytes()).await.is_ok());
    world.clock.advance(Duration::from_secs(2));
    assert!(matches!(world.verifier.verify(token.as_bytes()).await, Err(Error::Expired)));
}

#[tokio::test]
async fn an_assertion_is_reused_for_half_a_minute() {
    let world = World::new();
    let gateway = world.publish("gateway");
    let mint =
        |principal: &Principal, audience| gateway.mint(principal, audience, world.clock.unix_ms()).unwrap();
    let first = mint(&anna(), "orders");
    assert_ne!(first, mint(&anna(), "payments"));
    assert_ne!(first, mint(&Principal::User(User::new("u-1")), "orders"), "other roles, other assertion");
    world.clock.advance(Duration::from_secs(29));
    assert_eq!(first, mint(&anna(), "orders"));
    world.clock.advance(Duration::from_secs(2));
    assert_ne!(first, mint(&anna(), "orders"));
}

#[tokio::test]
async fn a_forged_or_tampered_token_is_refused() {
    let world = World::new();
    let gateway = world.publish("gateway");
    let forger = Minter::new(Identity::ephemeral("gateway").unwrap());
    assert!(matches!(world.verify(&forger, &anna(), "orders").await, Err(Error::BadSignature)));

    let token = gateway.mint(&anna(), "orders", world.clock.unix_ms()).unwrap();
    let mut bytes = token.as_bytes().to_vec();
    let last = bytes.len() - 10;
    bytes[last] = if bytes[last] == b'A' { b'B' } else { b'A' };
    assert!(world.verifier.verify(token.as_bytes()).await.is_ok());
    assert!(matches!(world.verifier.verify(&bytes).await, Err(Error::BadSignature)));

    for nonsense in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(matches!(world.verifier.verify(nonsense.as_bytes()).await, Err(Error::Malformed(_))));
    }
    assert!(matches!(world.verifier.verify(&[b'a'; 5_000]).await, Err(Error::Malformed("too long"))));
}

#[tokio::test]
async fn a_life_longer_than_a_minute_is_refused() {
    let world = World::new();
    let gateway = world.publish("gateway");
    let now_s = world.clock.unix_ms() / 1_000;
    let sign = |iat: i64, exp: i64| {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(gateway.identity().kid().to_owned());
        let claims = Claims { iss: "gateway".into(), aud: "orders".into(), iat, exp, act: None };
        jsonwebtoken::encode(&header, &claims, gateway.identity().signing()).unwrap()
    };
    for (iat, exp) in [(now_s, now_s + 61), (now_s + 6, now_s + 60), (now_s, i64::MAX), (i64::MIN, now_s + 1)]
    {
        let refused = world.verifier.verify(sign(iat, exp).as_bytes()).await;
        assert!(matches!(refused, Err(Error::ImplausibleTimes)), "{iat}..{exp}: {refused:?}");
    }
    assert!(world.verifier.verify(sign(now_s + 5, now_s + 60).as_bytes()).await.is_ok());
}

#[tokio::test]
async fn a_rotated_key_is_fetched_but_not_at_every_try() {
    let world = World::new();
    let old = world.publish("gateway");
    assert!(world.verify(&old, &anna(), "orders").await.is_ok());
    let new = world.publish("gateway");
    // Within the least interval nobody is asked again: made-up key ids must not become load on the issuer.
    assert!(matches!(world.verify(&new, &anna(), "orders").await, Err(Error::BadSignature)));
    assert_eq!(world.fetches(), 1);
    world.clock.advance(Duration::from_secs(6));
    assert!(world.verify(&new, &anna(), "orders").await.is_ok());
    assert_eq!(world.fetches(), 2);
    assert!(matches!(world.verify(&old, &Principal::Service, "orders").await, Err(Error::BadSignature)));
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let world = World::new();
    let gateway = world.publish("gateway");
    let users: Vec<_> = (0..50).map(|n| Principal::User(User::new(format!("u-{n}")))).collect();
    let all = users.iter().map(|user| world.verify(&gateway, user, "orders"));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn an_unknown_issuer_costs_nothing_and_a_silent_one_is_transient() {
    let world = World::new();
    let stranger = Minter::new(Identity::ephemeral("stranger").unwrap());
    let refused = world.verify(&stranger, &anna(), "orders").await.unwrap_err();
    assert!(matches!(refused, Error::Keys(FetchError::UnknownIssuer)) && !refused.is_transient());
    assert_eq!(world.fetches(), 0);

    let gateway = world.publish("gateway");
    world.peers.down.store(true, Ordering::SeqCst);
    assert!(world.verify(&gateway, &anna(), "orders").await.unwrap_err().is_transient());
    world.peers.down.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_millis(300));
    assert!(world.verify(&gateway, &anna(), "orders").await.is_ok());
}
