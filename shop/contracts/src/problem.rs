//! The stable codes of the shop's problem documents. The kit and the gateway have codes of their own (no identity,
//! body too large, breaker open); these are the ones whose cause is in the shop.

macro_rules! codes {
    ($($(#[doc = $text:literal])+ $name:ident = $code:literal, $status:literal;)*) => {
        $($(#[doc = $text])+ pub const $name: &str = $code;)*

        /// Every code with the HTTP status that it comes with and what it means.
        pub const ALL: &[(&str, u16, &str)] = &[$(($code, $status, concat!($($text),+))),*];
    };
}

codes! {
    /// A field of the request is missing or out of its range; `errors` lists each one.
    INVALID = "invalid", 422;
    /// There is no such thing, or it belongs to somebody else.
    NOT_FOUND = "not_found", 404;
    /// The request has no Idempotency-Key header, and must have one.
    IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required", 400;
    /// The Idempotency-Key was used for a different request.
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422;
    /// A request with this Idempotency-Key is still being worked on.
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight", 409;
    /// The cart has no lines.
    CART_EMPTY = "cart_empty", 409;
    /// The cart holds as many different products as it may.
    CART_FULL = "cart_full", 409;
    /// Prices differ from those that the client saw; `quote` has the ones in force.
    PRICE_CHANGED = "price_changed", 409;
    /// A product of the cart is no longer sold; `quote` names it.
    PRODUCT_UNAVAILABLE = "product_unavailable", 409;
    /// The products of one order must share a currency.
    MIXED_CURRENCIES = "mixed_currencies", 409;
    /// There is not enough stock for a line.
    OUT_OF_STOCK = "out_of_stock", 409;
    /// The provider declined the payment.
    CARD_DECLINED = "card_declined", 402;
    /// The authorisation was voided before, so that this late request is refused.
    AUTHORISATION_VOIDED = "authorisation_voided", 409;
    /// The payment is in a status that does not allow this operation.
    PAYMENT_STATUS = "payment_status", 409;
    /// The provider does not take the money although it was set aside.
    CAPTURE_REFUSED = "capture_refused", 409;
    /// The provider could not be reached; nothing was done.
    PROVIDER_UNAVAILABLE = "provider_unavailable", 503;
    /// The provider did not answer, or its answer could not be kept; ask again with the same key.
    PROVIDER_UNKNOWN = "provider_unknown", 504;
    /// The order is in a status that does not allow this operation.
    ORDER_STATUS = "order_status", 409;
    /// These goods are already part of a return.
    RETURN_EXISTS = "return_exists", 409;
    /// The account exists already.
    ACCOUNT_EXISTS = "account_exists", 409;
    /// E-mail address or password is wrong.
    CREDENTIALS_WRONG = "credentials_wrong", 401;
    /// Too many failed logins for this account; wait as Retry-After says.
    LOGIN_THROTTLED = "login_throttled", 429;
    /// The refresh token is unknown, used or expired.
    REFRESH_REFUSED = "refresh_refused", 401;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_their_statuses_are_errors() {
        let codes: std::collections::BTreeSet<_> = ALL.iter().map(|(code, ..)| code).collect();
        assert_eq!(codes.len(), ALL.len());
        assert!(ALL.iter().all(|(_, status, meaning)| (400..600).contains(status) && !meaning.is_empty()));
    }
}
