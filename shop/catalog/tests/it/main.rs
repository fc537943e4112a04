//! The catalog over real HTTP and a real bus.
#![allow(clippy::unwrap_used, reason = "tests")]

mod shelf;

use serde_json::{Value, json};
use shop_catalog::{Category, Draft};
use shop_contracts::catalog::{ProductChanged, ProductRemoved};
use shop_contracts::expectations::{ORDERS_OF_CATALOG, Saved};
use shop_contracts::{Currency, Money};
use shop_testbed::{Site, World, check_contract, check_events, check_expectations, everything, user};

fn draft(id: &str, name: &str, category: &str) -> Draft {
    Draft {
        product_id: id.into(),
        name: name.into(),
        description: format!("{name}, made to last 100%."),
        category_id: category.into(),
        price: Money::new(1_250, Currency::EUR),
    }
}

async fn open(world: &World) -> Site {
    let category = |id: &str| Category { category_id: id.into(), name: id.to_uppercase() };
    let products = vec![
        draft("kettle", "Kettle, steel", "kitchen"),
        draft("lamp-oak", "Lamp, oak", "lighting"),
        draft("lamp-steel", "Lamp, steel", "lighting"),
    ];
    let kit = world.kit(shop_catalog::NAME).await;
    let service =
        shop_catalog::build(kit, vec![category("kitchen"), category("lighting")], products).await.unwrap();
    world.serve(service).await
}

async fn shop() -> (World, Site) {
    let world = World::new().await;
    let site = open(&world).await;
    (world, site)
}

async fn found(site: &Site, query: &str) -> Vec<String> {
    site.get(&format!("/products{query}")).send().await.expect(200).column("product_id")
}

fn written(name: &str, category: &str, price: i64) -> Value {
    json!({ "name": name, "category_id": category, "price": { "amount_minor": price, "currency": "EUR" } })
}

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let (world, site) = shop().await;
    check_contract(&site).await;
    let known = Saved::default().with("product", "kettle");
    check_expectations(&site, ORDERS_OF_CATALOG, &world.peer("orders").await, &known).await;
    world.stop().await;
}

#[tokio::test]
async fn a_search_takes_words_category_and_pages() {
    let (world, site) = shop().await;
    for (query, expected) in [
        ("", vec!["kettle", "lamp-oak", "lamp-steel"]),
        ("?search=STEEL", vec!["kettle", "lamp-steel"]),
        ("?search=steel%20lamp", vec!["lamp-steel"]),
        ("?search=100%25", vec!["kettle", "lamp-oak", "lamp-steel"]),
        ("?search=l%25p", vec![]),
        ("?search=l_mp", vec![]),
        ("?category=lighting", vec!["lamp-oak", "lamp-steel"]),
        ("?category=lighting&search=oak", vec!["lamp-oak"]),
        ("?limit=2", vec!["kettle", "lamp-oak"]),
        ("?limit=2&after=lamp-oak", vec!["lamp-steel"]),
    ] {
        assert_eq!(found(&site, query).await, expected, "{query}");
    }
    site.get("/products?search=a+b+c+d+e+f+g+h+i").send().await.refused(422, "invalid");
    let categories = site.get("/categories?limit=1").send().await.expect(200);
    assert_eq!(
        (categories.column("category_id"), &categories.json()["next"]),
        (vec!["kitchen".into()], &"kitchen".into())
    );
    world.stop().await;
}

#[tokio::test]
async fn administrators_write_and_every_change_is_told() {
    let (world, site) = shop().await;
    let admin = everything(&site, "u-admin");
    let sofa =
        site.post("/products").by(&admin).json(&written("Sofa", "kitchen", 9_900)).send().await.expect(201);
    let id = sofa.json()["product_id"].as_str().unwrap().to_owned();
    let path = format!("/products/{id}");
    site.put(&path).by(&admin).json(&written("Sofa, red", "kitchen", 8_900)).send().await.expect(200);
    let (told, _) =
        world.heard(|told: &ProductChanged| told.product_id.as_str() == id && told.version == 2).await;
    assert_eq!((told.price.amount_minor, &*told.name), (8_900, "Sofa, red"));
    let mut hidden = written("Sofa, red", "kitchen", 8_900);
    hidden["active"] = false.into();
    site.put(&path).by(&admin).json(&hidden).send().await.expect(200);
    assert!(found(&site, "?search=sofa").await.is_empty());

    site.delete(&path).by(&admin).send().await.expect(204);
    let (removed, _) = world.heard(|told: &ProductRemoved| told.product_id.as_str() == id).await;
    assert_eq!(removed.version, 4);
    site.get(&path).send().await.refused(404, "not_found");
    site.delete(&path).by(&admin).send().await.refused(404, "not_found");
    site.put(&path).by(&admin).json(&hidden).send().await.refused(404, "not_found");
    assert_eq!(check_events(&world, &["product."]).await, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_product_that_breaks_a_rule_is_refused() {
    let (world, site) = shop().await;
    let admin = everything(&site, "u-admin");
    for wrong in [
        written("", "kitchen", 100),
        written("Sofa", "kitchen", 0),
        written("Sofa", "kitchen", 100_000_001),
        written("Sofa", "garden", 100),
    ] {
        site.post("/products").by(&admin).json(&wrong).send().await.refused(422, "invalid");
    }
    let right = written("Sofa", "kitchen", 100);
    site.post("/products").by(&user("u-anna")).json(&right).send().await.refused(403, "forbidden");
    let category = json!({ "name": "Garden" });
    site.put("/categories/Garden!").by(&admin).json(&category).send().await.refused(422, "invalid");
    site.put("/categories/garden").by(&admin).json(&category).send().await.expect(200);
    site.post("/products").by(&admin).json(&written("Spade", "garden", 100)).send().await.expect(201);
    world.stop().await;
}

#[tokio::test]
async fn first_products_are_made_once_even_when_all_were_removed() {
    let (world, site) = shop().await;
    let admin = everything(&site, "u-admin");
    for id in found(&site, "").await {
        site.delete(&format!("/products/{id}")).by(&admin).send().await.expect(204);
    }
    world.halt(shop_catalog::NAME).await;
    assert!(found(&open(&world).await, "").await.is_empty());
    world.stop().await;
}
