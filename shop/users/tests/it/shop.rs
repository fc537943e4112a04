//! The service with one administrator, and what clients do with it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use shop_testbed::{Answer, Site, User, World, user};
use shop_users::{AUDIENCE, ISSUER, Role, SeedUser};

pub(crate) const ADMIN_EMAIL: &str = "admin@shop.example";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) async fn shop() -> (World, Site) {
    let world = World::new().await;
    let site = open(&world).await;
    (world, site)
}

/// The service over whatever data the world has for it.
pub(crate) async fn open(world: &World) -> Site {
    let admin = SeedUser {
        email: ADMIN_EMAIL.into(),
        password: PASSWORD.into(),
        name: "Alex".into(),
        role: Role::Admin,
    };
    let service = shop_users::build(world.kit(shop_users::NAME).await, vec![admin]).await.unwrap();
    world.serve(service).await
}

/// Registers a customer with this address; gives them as the gateway presents them.
pub(crate) async fn register(site: &Site, email: &str) -> User {
    let body = json!({ "email": email, "password": PASSWORD, "name": "Anna" });
    let profile = site.post("/auth/register").json(&body).send().await.expect(201).json();
    user(profile["user_id"].as_str().unwrap())
}

pub(crate) async fn login(site: &Site, email: &str, password: &str) -> Answer {
    site.post("/auth/login").json(&json!({ "email": email, "password": password })).send().await
}

/// A pair of tokens of a new session.
pub(crate) async fn session(site: &Site, email: &str) -> Value {
    login(site, email, PASSWORD).await.expect(200).json()
}

pub(crate) async fn refresh(site: &Site, tokens: &Value) -> Answer {
    site.post("/auth/refresh").json(&json!({ "refresh_token": tokens["refresh_token"] })).send().await
}

pub(crate) async fn logout(site: &Site, tokens: &Value) -> Answer {
    site.post("/auth/logout").json(&json!({ "refresh_token": tokens["refresh_token"] })).send().await
}

/// What the access token says, checked by the published keys as a gateway does it; none when no key fits.
pub(crate) async fn claims(site: &Site, tokens: &Value) -> Option<Value> {
    let token = tokens["access_token"].as_str().unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let keys = site.get("/.well-known/jwks.json").send().await.expect(200).json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid.as_str())?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    Some(jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims)
}
