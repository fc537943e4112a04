//! What a request means for a payment that is already in the book: pure, so that every overtaking can be laid out in a
//! table.

use shop_contracts::payments::{AuthoriseRequest, PaymentStatus};

use crate::book::Record;

/// What to do with an authorisation whose key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authorise {
    /// It was begun and its outcome is not known: ask the provider.
    Resume,
    /// Its outcome is known and good.
    Answer,
    /// The provider declined.
    Declined,
    /// A void came first.
    Voided,
    /// The key stands for another request.
    KeyReused,
}

/// What to do with an authorisation whose key stands for `record`.
pub(crate) fn authorise(record: &Record, request: &AuthoriseRequest) -> Authorise {
    use PaymentStatus as S;
    // A void that came before its authorisation knows no token.
    let token_differs = !record.payment_token.is_empty() && record.payment_token != request.payment_token;
    let differs = record.order_id != request.order_id
        || record.user_id != request.user_id
        || record.amount != request.amount
        || token_differs;
    match record.status {
        _ if differs => Authorise::KeyReused,
        S::Authorising => Authorise::Resume,
        S::Authorised | S::Capturing | S::Captured => Authorise::Answer,
        S::Declined => Authorise::Declined,
        S::Voiding | S::Voided => Authorise::Voided,
    }
}

/// What to do with a capture of a payment that is not merely authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// It was begun under this key and its outcome is not known.
    Resume,
    /// It was carried out under this key.
    Answer,
    /// The payment's status does not allow it, or another key began it.
    Conflict,
}

/// What to do with a capture under `key` of `record`.
pub(crate) fn capture(record: &Record, key: &str) -> Capture {
    use PaymentStatus as S;
    let same = record.capture_key.as_deref() == Some(key);
    match record.status {
        S::Capturing if same => Capture::Resume,
        S::Captured if same => Capture::Answer,
        S::Authorising
        | S::Authorised
        | S::Declined
        | S::Capturing
        | S::Captured
        | S::Voiding
        | S::Voided => Capture::Conflict,
    }
}

/// What to do with a void of a payment that could not be moved to voiding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Void {
    /// It was begun and its outcome is not known.
    Resume,
    /// There is nothing to give up any more.
    Answer,
    /// The money is taken, or being taken.
    Conflict,
}

/// What to do with a void of a payment in `status`.
pub(crate) const fn void(status: PaymentStatus) -> Void {
    use PaymentStatus as S;
    match status {
        S::Authorising | S::Authorised | S::Voiding => Void::Resume,
        S::Declined | S::Voided => Void::Answer,
        S::Capturing | S::Captured => Void::Conflict,
    }
}

/// Why a refund is refused without asking the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRefund {
    /// No payment of this order was captured.
    NoPayment,
    /// More than is left of what was captured, or another currency.
    ExceedsCaptured,
}

impl NoRefund {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NoPayment => "no_payment",
            Self::ExceedsCaptured => "exceeds_captured",
        }
    }
}

/// Whether `amount` may be given back of `captured`, of which `reserved_minor` is given back or about to be.
pub(crate) fn refund(captured: Option<&Record>, amount: shop_contracts::Money) -> Result<&Record, NoRefund> {
    let record = captured.ok_or(NoRefund::NoPayment)?;
    let left_minor = record.amount.amount_minor.saturating_sub(record.refund_reserved_minor);
    let fits = amount.currency == record.amount.currency && (1..=left_minor).contains(&amount.amount_minor);
    if fits { Ok(record) } else { Err(NoRefund::ExceedsCaptured) }
}

#[cfg(test)]
mod tests {
    use shop_contracts::{Currency, Money};

    use super::*;

    const fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::EUR)
    }

    fn record(status: PaymentStatus) -> Record {
        Record {
            payment_id: "pay".into(),
            authorisation_key: "k".into(),
            capture_key: Some("c".into()),
            order_id: "o".into(),
            user_id: "u".into(),
            amount: eur(100),
            payment_token: "tok_visa".into(),
            status,
            authorisation: None,
            decline_code: None,
            invoice_number: None,
            refund_reserved_minor: 30,
            refunded_minor: 0,
            created_at_ms: 0,
            updated_at_ms: 0,
        }
    }

    fn request() -> AuthoriseRequest {
        AuthoriseRequest {
            order_id: "o".into(),
            user_id: "u".into(),
            amount: eur(100),
            payment_token: "tok_visa".into(),
        }
    }

    #[test]
    fn the_same_key_means_the_same_authorisation() {
        use PaymentStatus as S;
        let table = [
            (S::Authorising, Authorise::Resume),
            (S::Authorised, Authorise::Answer),
            (S::Capturing, Authorise::Answer),
            (S::Captured, Authorise::Answer),
            (S::Declined, Authorise::Declined),
            (S::Voiding, Authorise::Voided),
            (S::Voided, Authorise::Voided),
        ];
        for (status, expected) in table {
            assert_eq!(authorise(&record(status), &request()), expected, "{status:?}");
            for other in [
                AuthoriseRequest { order_id: "o2".into(), ..request() },
                AuthoriseRequest { user_id: "u2".into(), ..request() },
                AuthoriseRequest { amount: eur(101), ..request() },
                AuthoriseRequest { payment_token: "tok_other".into(), ..request() },
            ] {
                assert_eq!(authorise(&record(status), &other), Authorise::KeyReused);
            }
        }
        let tombstone = Record { payment_token: String::new(), ..record(S::Voided) };
        assert_eq!(
            authorise(&tombstone, &request()),
            Authorise::Voided,
            "a tombstone refuses whatever the token"
        );
    }

    #[test]
    fn captures_and_voids_exclude_each_other() {
        use PaymentStatus as S;
        let table = [
            (S::Authorising, Capture::Conflict, Void::Resume),
            (S::Authorised, Capture::Conflict, Void::Resume),
            (S::Capturing, Capture::Resume, Void::Conflict),
            (S::Captured, Capture::Answer, Void::Conflict),
            (S::Voiding, Capture::Conflict, Void::Resume),
            (S::Voided, Capture::Conflict, Void::Answer),
            (S::Declined, Capture::Conflict, Void::Answer),
        ];
        for (status, on_capture, on_void) in table {
            assert_eq!(capture(&record(status), "c"), on_capture, "{status:?}");
            assert_eq!(capture(&record(status), "other"), Capture::Conflict, "{status:?}");
            assert_eq!(void(status), on_void, "{status:?}");
        }
    }

    #[test]
    fn refunds_stay_within_what_was_captured() {
        let captured = record(PaymentStatus::Captured);
        assert!(refund(Some(&captured), eur(70)).is_ok());
        for wrong in [eur(71), eur(0), eur(-1), Money::new(1, Currency::parse("USD").unwrap())] {
            assert_eq!(refund(Some(&captured), wrong), Err(NoRefund::ExceedsCaptured), "{wrong}");
        }
        assert_eq!(refund(None, eur(1)), Err(NoRefund::NoPayment));
    }
}
