//! Amounts of money as people write them, `1000.00 EUR`, and as the program counts them: whole minor
//! units. The conversion is exact decimal arithmetic; nothing here is ever rounded.

use std::{fmt, str::FromStr};

use waybill_proto::v1;

/// Currencies whose minor unit is not a hundredth, with the number of decimal places.
/// Source: ISO 4217, list one.
const EXPONENTS: [(&str, u32); 26] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// An amount; not negative where it was read from text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Money {
    currency: String,
    minor_units: i64,
}

impl Money {
    /// Three upper-case letters.
    pub(crate) fn currency_code(&self) -> &str {
        &self.currency
    }

    /// Whole minor units: cents for EUR, yen for JPY.
    pub(crate) fn minor_units(&self) -> i64 {
        self.minor_units
    }
}

/// Why text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MoneyError {
    #[error("has no currency")]
    NoCurrency,
    #[error("has the currency `{0}`, which is not three upper-case letters")]
    Currency(String),
    #[error("is not a plain decimal number followed by a currency")]
    Number,
    #[error("has more decimal places than {currency}, which has {exponent}")]
    Places { currency: String, exponent: u32 },
    #[error("is too large")]
    TooLarge,
}

/// How many decimal places a currency has.
pub(crate) fn exponent(currency: &str) -> u32 {
    EXPONENTS.iter().find(|(code, _)| *code == currency).map_or(2, |(_, exponent)| *exponent)
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (number, currency) = text.trim().split_once(char::is_whitespace).ok_or(MoneyError::NoCurrency)?;
        let currency = currency.trim_start();
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(MoneyError::Currency(currency.to_owned()));
        }
        let minor_units = minor_units(number, currency)?;
        Ok(Self { currency: currency.to_owned(), minor_units })
    }
}

fn minor_units(number: &str, currency: &str) -> Result<i64, MoneyError> {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|part| !digits(part)) {
        return Err(MoneyError::Number);
    }
    let fraction = fraction.unwrap_or_default();
    let exponent = exponent(currency);
    let width = exponent as usize;
    if fraction.len() > width {
        return Err(MoneyError::Places { currency: currency.to_owned(), exponent });
    }
    format!("{whole}{fraction:0<width$}").parse().map_err(|_| MoneyError::TooLarge)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor_units < 0 { "-" } else { "" };
        let units = self.minor_units.unsigned_abs();
        match exponent(&self.currency) {
            0 => write!(f, "{sign}{units} {}", self.currency),
            places => {
                let scale = 10_u64.pow(places);
                let width = places as usize;
                write!(f, "{sign}{}.{:0width$} {}", units / scale, units % scale, self.currency)
            }
        }
    }
}

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency, minor_units: money.minor_units }
    }
}

impl From<v1::Money> for Money {
    fn from(money: v1::Money) -> Self {
        Self { currency: money.currency_code, minor_units: money.minor_units }
    }
}

#[cfg(test)]
mod tests {
    use super::{Money, MoneyError};

    fn units(text: &str) -> Result<i64, MoneyError> {
        text.parse::<Money>().map(|money| money.minor_units)
    }

    #[test]
    fn the_minor_unit_is_that_of_the_currency() {
        assert_eq!(units("1000.00 EUR"), Ok(100_000));
        assert_eq!(units("4.9 EUR"), Ok(490));
        assert_eq!(units("4 EUR"), Ok(400));
        assert_eq!(units("1500 JPY"), Ok(1500));
        assert_eq!(units("1.234 KWD"), Ok(1234));
        assert_eq!(units("0.0001 CLF"), Ok(1));
        assert_eq!(units(" 0.00  USD "), Ok(0));
    }

    #[test]
    fn the_largest_amount_is_exact_and_one_more_is_refused() {
        assert_eq!(units("92233720368547758.07 EUR"), Ok(i64::MAX));
        assert_eq!(units("92233720368547758.08 EUR"), Err(MoneyError::TooLarge));
    }

    #[test]
    fn what_is_not_money_is_told_apart() {
        assert_eq!(units("12.50"), Err(MoneyError::NoCurrency));
        assert_eq!(units(""), Err(MoneyError::NoCurrency));
        assert_eq!(units("12.50 eur"), Err(MoneyError::Currency("eur".to_owned())));
        for number in ["-1", "+1", "1,000.00", "1.", ".5", "1e3", "1.2.3", "NaN", "٣"] {
            assert_eq!(units(&format!("{number} EUR")), Err(MoneyError::Number), "{number}");
        }
        assert_eq!(units("1.5 JPY"), Err(MoneyError::Places { currency: "JPY".to_owned(), exponent: 0 }));
        assert_eq!(units("1.005 EUR"), Err(MoneyError::Places { currency: "EUR".to_owned(), exponent: 2 }));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["1000.00 EUR", "0.05 EUR", "1500 JPY", "1.234 KWD", "0.0001 CLF"] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), text);
        }
        let minimum = Money { currency: "EUR".to_owned(), minor_units: i64::MIN };
        assert_eq!(minimum.to_string(), "-92233720368547758.08 EUR");
    }
}
