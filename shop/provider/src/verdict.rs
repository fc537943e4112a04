//! What the provider decides: pure, from what it knows of an authorisation and what is asked of it.

use shop_contracts::Money;
use shop_contracts::provider::Verdict;

/// A token of a card that is always declined.
pub(crate) const TOKEN_DECLINED: &str = "tok_decline";
/// A token of a card whose issuer takes its time.
pub(crate) const TOKEN_SLOW: &str = "tok_slow";
/// A token of a card whose money is set aside and then not handed over.
pub(crate) const TOKEN_WITHOUT_CAPTURES: &str = "tok_nocapture";
/// A token of a card that takes no refunds.
pub(crate) const TOKEN_WITHOUT_REFUNDS: &str = "tok_norefund";

/// Where an authorisation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Money is set aside.
    Open,
    /// It was declined, or refused because a void had come before it.
    Nothing,
    /// It was given up.
    Voided,
    /// The money was taken.
    Captured,
}

impl Standing {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Nothing => "nothing",
            Self::Voided => "voided",
            Self::Captured => "captured",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Nothing, Self::Voided, Self::Captured].into_iter().find(|it| it.as_str() == text)
    }
}

/// An authorisation as the provider keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorisation {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) amount: Money,
    pub(crate) standing: Standing,
    pub(crate) refunded_minor: i64,
}

/// A verdict with its code; none for what is approved.
pub(crate) type Ruling = (Verdict, Option<&'static str>);

const APPROVED: Ruling = (Verdict::Approved, None);

const fn refused(code: &'static str) -> Ruling {
    (Verdict::Refused, Some(code))
}

/// Whether money is set aside. `voided` says that the key was voided before the authorisation came.
pub(crate) fn on_authorise(token: &str, voided: bool) -> Ruling {
    match (voided, token) {
        (true, _) => refused("voided"),
        (false, TOKEN_DECLINED) => (Verdict::Declined, Some("declined")),
        (false, _) => APPROVED,
    }
}

/// Whether money is taken.
pub(crate) fn on_capture(authorisation: Option<&Authorisation>, amount: Money) -> Ruling {
    let Some(authorisation) = authorisation else { return refused("unknown_authorisation") };
    match authorisation.standing {
        Standing::Nothing => refused("unknown_authorisation"),
        Standing::Voided => refused("voided"),
        Standing::Captured => refused("already_captured"),
        Standing::Open if authorisation.amount != amount => refused("amount"),
        // The authorisation stays as it is: whoever made it has to give it up.
        Standing::Open if authorisation.token == TOKEN_WITHOUT_CAPTURES => refused("capture_refused"),
        Standing::Open => APPROVED,
    }
}

/// Whether an authorisation is given up. One that does not exist yet is: it will be refused when it comes.
pub(crate) fn on_void(authorisation: Option<&Authorisation>) -> Ruling {
    match authorisation.map(|it| it.standing) {
        None | Some(Standing::Open | Standing::Nothing) => APPROVED,
        Some(Standing::Voided) => refused("already_voided"),
        Some(Standing::Captured) => refused("already_captured"),
    }
}

/// Whether money is given back.
pub(crate) fn on_refund(authorisation: Option<&Authorisation>, amount: Money, refuse_all: bool) -> Ruling {
    let Some(authorisation) = authorisation else { return refused("unknown_authorisation") };
    let left_minor = authorisation.amount.amount_minor.saturating_sub(authorisation.refunded_minor);
    match authorisation.standing {
        Standing::Open | Standing::Nothing | Standing::Voided => refused("not_captured"),
        Standing::Captured if refuse_all || authorisation.token == TOKEN_WITHOUT_REFUNDS => {
            refused("refund_refused")
        }
        Standing::Captured if amount.currency != authorisation.amount.currency => refused("amount"),
        Standing::Captured if amount.amount_minor <= 0 || amount.amount_minor > left_minor => {
            refused("amount")
        }
        Standing::Captured => APPROVED,
    }
}

#[cfg(test)]
mod tests {
    use shop_contracts::Currency;

    use super::*;

    const fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::EUR)
    }

    fn at(standing: Standing) -> Authorisation {
        Authorisation {
            id: "a".into(),
            token: "tok_visa".into(),
            amount: eur(100),
            standing,
            refunded_minor: 30,
        }
    }

    #[test]
    fn an_authorisation_after_its_void_is_refused() {
        assert_eq!(on_authorise("tok_visa", false), APPROVED);
        assert_eq!(on_authorise("tok_decline", false).0, Verdict::Declined);
        assert_eq!(on_authorise("tok_visa", true), refused("voided"));
    }

    #[test]
    fn money_is_taken_once_and_in_full() {
        let table = [
            (Standing::Open, 100, APPROVED),
            (Standing::Open, 99, refused("amount")),
            (Standing::Nothing, 100, refused("unknown_authorisation")),
            (Standing::Voided, 100, refused("voided")),
            (Standing::Captured, 100, refused("already_captured")),
        ];
        for (standing, amount, ruling) in table {
            assert_eq!(on_capture(Some(&at(standing)), eur(amount)), ruling, "{standing:?}");
        }
        assert_eq!(on_capture(None, eur(100)), refused("unknown_authorisation"));
        let stubborn = Authorisation { token: "tok_nocapture".into(), ..at(Standing::Open) };
        assert_eq!(on_capture(Some(&stubborn), eur(100)), refused("capture_refused"));
        assert_eq!(on_void(Some(&stubborn)), APPROVED, "what is not taken can be given up");
    }

    #[test]
    fn what_was_taken_cannot_be_voided() {
        assert_eq!(on_void(None), APPROVED);
        assert_eq!(on_void(Some(&at(Standing::Open))), APPROVED);
        assert_eq!(on_void(Some(&at(Standing::Nothing))), APPROVED);
        assert_eq!(on_void(Some(&at(Standing::Voided))), refused("already_voided"));
        assert_eq!(on_void(Some(&at(Standing::Captured))), refused("already_captured"));
    }

    #[test]
    fn no_more_is_given_back_than_was_taken() {
        let captured = at(Standing::Captured);
        assert_eq!(on_refund(Some(&captured), eur(70), false), APPROVED);
        assert_eq!(on_refund(Some(&captured), eur(71), false), refused("amount"));
        assert_eq!(on_refund(Some(&captured), eur(0), false), refused("amount"));
        assert_eq!(on_refund(Some(&captured), eur(70), true), refused("refund_refused"));
        let stubborn = Authorisation { token: "tok_norefund".into(), ..captured };
        assert_eq!(on_refund(Some(&stubborn), eur(1), false), refused("refund_refused"));
        assert_eq!(on_refund(Some(&at(Standing::Open)), eur(1), false), refused("not_captured"));
        assert_eq!(on_refund(None, eur(1), false), refused("unknown_authorisation"));
    }

    #[test]
    fn a_standing_survives_its_text() {
        for standing in [Standing::Open, Standing::Nothing, Standing::Voided, Standing::Captured] {
            assert_eq!(Standing::parse(standing.as_str()), Some(standing));
        }
        assert_eq!(Standing::parse("closed"), None);
    }
}
