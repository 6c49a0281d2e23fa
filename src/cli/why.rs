//! What every operator's command has to say: why, and who.

use std::env;

/// Kept in the audit with what was done.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Why {
    /// Why; kept in the history and the audit
    #[arg(long)]
    pub(super) reason: String,
    /// Who asks; kept with the reason
    #[arg(long, env = "WAYBILL_OPERATOR", default_value_t = login(), value_name = "NAME")]
    pub(super) operator: String,
}

fn login() -> String {
    let name = |key| env::var(key).ok().filter(|name| !name.is_empty());
    name("USER").or_else(|| name("LOGNAME")).unwrap_or_else(|| "unknown".to_owned())
}

/// Reads how many a second, such as `50/s`.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse().ok().filter(|rate| *rate > 0);
    rate.ok_or_else(|| "is no rate, such as 50/s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!((rate("50/s"), rate("7")), (Ok(50), Ok(7)));
        assert!(rate("0/s").is_err() && rate("fast").is_err() && rate("5/m").is_err());
    }
}
