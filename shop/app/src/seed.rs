//! What a new shop has on its shelves, and who can log in.

use shop_catalog::{Category, Draft};
use shop_contracts::{CategoryId, Currency, Money, ProductId};
use shop_users::{Role, SeedUser};

/// The customer that a new shop starts with. The password is public: it is a demonstration's.
pub const CUSTOMER_EMAIL: &str = "customer@shop.example";
/// See [`CUSTOMER_EMAIL`].
pub const CUSTOMER_PASSWORD: &str = "customer-demo";
/// The administrator that a new shop starts with.
pub const ADMIN_EMAIL: &str = "admin@shop.example";
/// See [`CUSTOMER_EMAIL`].
pub const ADMIN_PASSWORD: &str = "admin-demo";

/// How many of each product lie on the shelf of a new shop.
pub const ON_HAND: i64 = 1_000_000;

/// Id and name of each category, its things, and the lowest price of one in minor units.
const CATEGORIES: &[(&str, &str, &[&str], i64)] = &[
    (
        "lighting",
        "Lighting",
        &["Desk lamp", "Floor lamp", "Lantern", "Candle holder", "Reading light"],
        1_290,
    ),
    ("kitchen", "Kitchen", &["Kettle", "Frying pan", "Chopping board", "Bread knife", "Teapot"], 990),
    ("garden", "Garden", &["Watering can", "Spade", "Flower pot", "Bird feeder", "Hose reel"], 790),
    ("office", "Office", &["Notebook", "Fountain pen", "Desk tray", "Stapler", "Book stand"], 390),
    ("outdoor", "Outdoor", &["Tent", "Sleeping bag", "Rucksack", "Water bottle", "Head torch"], 1_990),
];

/// What each thing comes in: one product a thing and finish.
const FINISHES: &[(&str, i64)] = &[
    ("oak", 400),
    ("walnut", 600),
    ("steel", 300),
    ("brass", 500),
    ("slate", 200),
    ("copper", 550),
    ("linen", 100),
    ("birch", 250),
];

/// The categories of a new shop.
#[must_use]
pub fn categories() -> Vec<Category> {
    CATEGORIES
        .iter()
        .map(|(id, name, ..)| Category { category_id: CategoryId::from(*id), name: (*name).into() })
        .collect()
}

/// The products of a new shop: 200, with ids that say what they are.
#[must_use]
pub fn products() -> Vec<Draft> {
    let mut products = Vec::new();
    for (category, _, things, price) in CATEGORIES {
        for (step, thing) in (0_i64..).zip(*things) {
            for (finish, extra) in FINISHES {
                let id = format!("{}-{finish}", thing.to_lowercase().replace(' ', "-"));
                products.push(Draft {
                    product_id: ProductId::from(id),
                    name: format!("{thing}, {finish}"),
                    description: format!("{thing} in {finish}, made to last and to be repaired."),
                    category_id: CategoryId::from(*category),
                    price: Money::new(price + step * 250 + extra, Currency::EUR),
                });
            }
        }
    }
    products
}

/// The stock of a new shop.
#[must_use]
pub fn stock() -> Vec<(ProductId, i64)> {
    products().into_iter().map(|product| (product.product_id, ON_HAND)).collect()
}

/// The accounts of a new shop.
#[must_use]
pub fn users() -> Vec<SeedUser> {
    let user = |email: &str, password: &str, name: &str, role| SeedUser {
        email: email.into(),
        password: password.into(),
        name: name.into(),
        role,
    };
    vec![
        user(CUSTOMER_EMAIL, CUSTOMER_PASSWORD, "Casey", Role::Customer),
        user(ADMIN_EMAIL, ADMIN_PASSWORD, "Alex", Role::Admin),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn a_new_shop_has_200_different_products() {
        let ids: BTreeSet<_> = super::products().into_iter().map(|product| product.product_id).collect();
        assert_eq!(ids.len(), 200);
        assert!(
            ids.iter().all(|id| id.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        );
    }
}
