//! Amounts in whole minor units, written and read the way people do: `1000.00 EUR`.

use std::{fmt, str::FromStr};

use waybill_proto::v1;

/// An amount in the minor unit of its currency: cents for EUR, yen for JPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// ISO 4217: three upper-case letters.
    pub currency_code: String,
    /// Whole minor units.
    pub minor_units: i64,
}

impl Money {
    /// That many minor units of that currency.
    pub fn new(currency_code: impl Into<String>, minor_units: i64) -> Self {
        Self { currency_code: currency_code.into(), minor_units }
    }

    /// The same currency, another amount.
    pub(crate) fn of(&self, minor_units: i64) -> Self {
        Self::new(self.currency_code.clone(), minor_units)
    }

    /// Whether `code` is written like one of ISO 4217.
    pub(crate) fn is_currency(code: &str) -> bool {
        code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
    }
}

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency_code, minor_units: money.minor_units }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor_units < 0 { "-" } else { "" };
        let (units, digits) = (self.minor_units.unsigned_abs(), exponent(&self.currency_code));
        if digits == 0 {
            return write!(f, "{sign}{units} {}", self.currency_code);
        }
        let scale = 10_u64.pow(digits);
        let width = digits as usize;
        write!(f, "{sign}{}.{:0width$} {}", units / scale, units % scale, self.currency_code)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount with its currency, such as `1000.00 EUR`")]
pub struct ParseMoneyError(String);

impl FromStr for Money {
    type Err = ParseMoneyError;

    /// Reads what `Display` writes; final zeros after the point may be left out.
    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        parse(text).ok_or_else(|| ParseMoneyError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Money> {
    let (amount, code) = text.trim().split_once(char::is_whitespace)?;
    let code = code.trim_start();
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits = exponent(code);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = fraction.trim_end_matches('0').len() <= digits as usize;
    if !Money::is_currency(code) || !is_number(whole) || !is_number(fraction) || !fits {
        return None;
    }
    let fraction: String = fraction.chars().chain("0000".chars()).take(digits as usize).collect();
    // All digits stand in one number now, and an overflow shows as one.
    let minor_units = format!("{whole}{fraction}").parse().ok()?;
    Some(Money::new(code, minor_units))
}

/// How many decimal places the minor unit has. Source: ISO 4217, list one; what is not listed has two.
fn exponent(currency_code: &str) -> u32 {
    match currency_code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (text, units) in
            [("1000.00 EUR", 100_000), ("0.05 EUR", 5), ("7 JPY", 7), ("1.234 KWD", 1_234), ("0.0001 CLF", 1)]
        {
            let money: Money = text.parse().unwrap();
            assert_eq!((money.minor_units, money.to_string().as_str()), (units, text));
        }
    }

    #[test]
    fn final_zeros_may_be_left_out_or_added() {
        for text in ["4.9 EUR", "4.90 EUR", "4.900  EUR", " 4.9 EUR "] {
            assert_eq!(text.parse(), Ok(Money::new("EUR", 490)));
        }
        assert_eq!("12 EUR".parse(), Ok(Money::new("EUR", 1_200)));
    }

    #[test]
    fn what_is_not_an_amount_is_named() {
        for text in [
            "",
            "1000",
            "EUR",
            "1000 eur",
            "1.001 EUR",
            "1.5 JPY",
            "-1 EUR",
            ". EUR",
            "1. EUR",
            "+1 EUR",
            "99999999999999999999 EUR",
        ] {
            assert_eq!(text.parse::<Money>(), Err(ParseMoneyError(text.to_owned())));
        }
    }

    #[test]
    fn the_smallest_amount_has_a_text() {
        assert_eq!(Money::new("EUR", i64::MIN).to_string(), "-92233720368547758.08 EUR");
    }
}
