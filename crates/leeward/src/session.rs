//! The first order as a shell session. README prints the same.

use shop_app::seed::{CUSTOMER_EMAIL, CUSTOMER_PASSWORD};

/// The session against the API at `api`. It needs `curl` and `sed`.
pub(crate) fn text(api: &str) -> String {
    format!(
        r#"API={api}
TOKEN=$(curl -s $API/auth/login -H 'content-type: application/json' \
  -d '{{"email":"{CUSTOMER_EMAIL}","password":"{CUSTOMER_PASSWORD}"}}' \
  | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -s "$API/products?search=lamp&limit=3"; echo
curl -s -X PUT $API/cart/items/desk-lamp-oak -H "authorization: Bearer $TOKEN" \
  -H 'content-type: application/json' -d '{{"quantity":2}}'; echo
ORDER=$(curl -s $API/checkout -H "authorization: Bearer $TOKEN" \
  -H 'content-type: application/json' -H "idempotency-key: first-order-$$" \
  -d '{{"payment_token":"tok_visa"}}' | sed 's/.*"order_id":"\([^"]*\)".*/\1/')
sleep 1; curl -s $API/orders/$ORDER -H "authorization: Bearer $TOKEN"; echo
"#
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn readme_prints_the_same_session() {
        let readme = include_str!("../../../README.md");
        assert!(
            readme.contains(&super::text("http://127.0.0.1:8080/api/v1")),
            "README.md has another first order"
        );
    }
}
