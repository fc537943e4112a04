//! Money: integer minor units and a currency, with arithmetic that cannot go wrong silently.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A currency by its three upper-case letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, example = "EUR", pattern = "^[A-Z]{3}$")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro, the currency of the seeded shop.
    pub const EUR: Self = Self(*b"EUR");

    /// The currency that `code` names.
    ///
    /// # Errors
    /// [`Error::Currency`] when `code` is anything but three upper-case ASCII letters.
    pub fn parse(code: &str) -> Result<Self, Error> {
        match code.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => Err(Error::Currency { given: code.chars().take(16).collect() }),
        }
    }

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Letters;
        impl serde::de::Visitor<'_> for Letters {
            type Value = Currency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a currency of three upper-case letters")
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Currency, E> {
                Currency::parse(value).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Letters)
    }
}

/// An amount of money. Never a float: `amount_minor` counts cents (or what the currency has instead).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// The amount in minor units.
    #[schema(example = 1250)]
    pub amount_minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why an amount was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two currencies met in one sum.
    #[error("{left} and {right} cannot be added")]
    Mixed {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// The result does not fit.
    #[error("the amount is out of range")]
    Overflow,
    /// Not a currency.
    #[error("`{given}` is not a currency of three upper-case letters")]
    Currency {
        /// What was given, cut to 16 characters.
        given: String,
    },
}

impl Money {
    /// `amount_minor` of `currency`.
    #[must_use]
    pub const fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Error::Mixed`] for two currencies, [`Error::Overflow`] when the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, Error> {
        self.combine(other, i64::checked_add)
    }

    /// The difference; it may be negative.
    ///
    /// # Errors
    /// As [`Money::plus`].
    pub fn minus(self, other: Self) -> Result<Self, Error> {
        self.combine(other, i64::checked_sub)
    }

    /// `quantity` times this amount.
    ///
    /// # Errors
    /// [`Error::Overflow`] when the product does not fit.
    pub fn times(self, quantity: u32) -> Result<Self, Error> {
        let amount_minor = self.amount_minor.checked_mul(i64::from(quantity)).ok_or(Error::Overflow)?;
        Ok(Self { amount_minor, ..self })
    }

    /// The sum of `amounts`; none at all has no currency and therefore no sum.
    ///
    /// # Errors
    /// As [`Money::plus`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Option<Self>, Error> {
        let mut amounts = amounts.into_iter();
        let Some(first) = amounts.next() else { return Ok(None) };
        amounts.try_fold(first, Self::plus).map(Some)
    }

    fn combine(self, other: Self, with: fn(i64, i64) -> Option<i64>) -> Result<Self, Error> {
        if self.currency != other.currency {
            return Err(Error::Mixed { left: self.currency, right: other.currency });
        }
        let amount_minor = with(self.amount_minor, other.amount_minor).ok_or(Error::Overflow)?;
        Ok(Self { amount_minor, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let minor = self.amount_minor.unsigned_abs();
        write!(f, "{sign}{}.{:02} {}", minor / 100, minor % 100, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::EUR)
    }

    #[test]
    fn sums_stay_in_one_currency_and_in_range() {
        let usd = Money::new(1, Currency::parse("USD").unwrap());
        assert_eq!(eur(2).plus(eur(3)), Ok(eur(5)));
        assert_eq!(eur(2).minus(eur(3)), Ok(eur(-1)));
        assert!(matches!(eur(2).plus(usd), Err(Error::Mixed { .. })));
        assert_eq!(eur(i64::MAX).plus(eur(1)), Err(Error::Overflow));
        assert_eq!(eur(i64::MAX).times(2), Err(Error::Overflow));
        assert_eq!(Money::sum([eur(1), eur(2), eur(3)]), Ok(Some(eur(6))));
        assert_eq!(Money::sum([]), Ok(None));
        assert!(Money::sum([eur(1), usd]).is_err());
    }

    #[test]
    fn a_currency_is_three_upper_case_letters() {
        for wrong in ["", "EU", "eur", "EURO", "E1R", "\u{20ac}"] {
            assert!(Currency::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Currency::parse("EUR"), Ok(Currency::EUR));
        assert!(serde_json::from_str::<Currency>("\"eur\"").is_err());
        assert_eq!(serde_json::from_str::<Currency>("\"CHF\"").unwrap().as_str(), "CHF");
    }

    #[test]
    fn it_reads_like_money() {
        assert_eq!(eur(1250).to_string(), "12.50 EUR");
        assert_eq!(eur(-5).to_string(), "-0.05 EUR");
    }
}
