//! What administrators do: lists, roles, the audit log.

use serde_json::json;
use shop_contracts::users::TokenRevoked;
use shop_testbed::{Site, User, everything, user};

use crate::shop::{ADMIN_EMAIL, claims, refresh, register, session, shop};

async fn set_role(site: &Site, by: &User, of: &str, role: &str) -> shop_testbed::Answer {
    site.put(&format!("/users/{of}/role")).by(by).json(&json!({ "role": role })).send().await
}

#[tokio::test]
async fn accounts_are_listed_page_by_page() {
    let (world, site) = shop().await;
    let admin = everything(&site, "u-admin");
    for number in 0..4 {
        register(&site, &format!("user-{number}@shop.example")).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = site.get(&format!("/users?limit=2{after}")).by(&admin).send().await.expect(200);
        seen.extend(page.column("email"));
        match page.json()["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..4).map(|number| format!("user-{number}@shop.example")).collect();
    assert_eq!(seen[0], ADMIN_EMAIL);
    assert_eq!(seen[1..], expected);
    site.get("/users").by(&user("u-anna")).send().await.refused(403, "forbidden");
    world.stop().await;
}

#[tokio::test]
async fn a_new_role_ends_the_sessions_that_carry_the_old_one() {
    let (world, site) = shop().await;
    let (admin, anna) = (everything(&site, "u-admin"), register(&site, "anna@shop.example").await);
    let before = session(&site, "anna@shop.example").await;
    set_role(&site, &admin, &anna.id, "admin").await.expect(204);
    let (told, _) = world.heard(|told: &TokenRevoked| told.user_id.as_str() == &*anna.id).await;
    assert_eq!(told.token_id, None);
    refresh(&site, &before).await.refused(401, "refresh_refused");
    let after = claims(&site, &session(&site, "anna@shop.example").await).await.unwrap();
    assert_eq!(after["role"], "admin");
    assert!(after["permissions"].as_array().unwrap().contains(&"catalog:write".into()));

    set_role(&site, &admin, &anna.id, "admin").await.expect(204);
    assert_eq!(world.said::<TokenRevoked>().len(), 1, "no change, no revocation");
    set_role(&site, &admin, "u-nobody", "admin").await.refused(404, "not_found");
    set_role(&site, &admin, &anna.id, "emperor").await.refused(422, "invalid");
    set_role(&site, &user("u-anna"), &anna.id, "admin").await.refused(403, "forbidden");
    world.stop().await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (world, site) = shop().await;
    let admin = everything(&site, "u-admin");
    let list = site.get("/users").by(&admin).send().await.expect(200);
    let alex = list.column("user_id").remove(0);
    set_role(&site, &admin, &alex, "customer").await.refused(409, "conflict");
    site.delete("/users/me").by(&user(&alex)).send().await.refused(409, "conflict");
    let anna = register(&site, "anna@shop.example").await;
    set_role(&site, &admin, &anna.id, "admin").await.expect(204);
    set_role(&site, &admin, &alex, "customer").await.expect(204);
    world.stop().await;
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_to_whom() {
    let (world, site) = shop().await;
    let (admin, anna) = (everything(&site, "u-admin"), register(&site, "anna@shop.example").await);
    set_role(&site, &admin, &anna.id, "admin").await.expect(204);
    site.post("/users/keys/rotate").by(&admin).send().await.expect(200);
    let stolen = session(&site, "anna@shop.example").await;
    refresh(&site, &stolen).await.expect(200);
    refresh(&site, &stolen).await.refused(401, "refresh_refused");
    site.delete("/users/me").by(&anna).send().await.expect(204);

    let log = site.get("/users/audit").by(&admin).send().await.expect(200);
    let expected = [
        "user.erased",
        "session.reuse_detected",
        "key.rotated",
        "role.changed",
        "user.registered",
        "user.registered",
    ];
    assert_eq!(log.column("action"), expected);
    let changed = &log.json()["items"][3];
    assert_eq!((&changed["actor"], changed["subject"].as_str()), (&"u-admin".into(), Some(&*anna.id)));
    assert!(!String::from_utf8_lossy(&log.body).contains('@'));

    let page = site.get("/users/audit?limit=2").by(&admin).send().await.expect(200);
    let next = format!("/users/audit?limit=2&after={}", page.json()["next"].as_str().unwrap());
    let next = site.get(&next).by(&admin).send().await.expect(200);
    assert_eq!(next.column("action"), expected[2..4]);
    site.get("/users/audit?after=x").by(&admin).send().await.refused(400, "malformed");
    world.stop().await;
}

#[tokio::test]
async fn roles_are_listed_with_what_they_may_do() {
    let (world, site) = shop().await;
    let roles = site.get("/users/roles").by(&everything(&site, "u-admin")).send().await.expect(200).json();
    assert_eq!((&roles[0]["role"], &roles[1]["role"]), (&"customer".into(), &"admin".into()));
    assert!(!roles[0]["permissions"].as_array().unwrap().contains(&"users:write".into()));
    world.stop().await;
}
