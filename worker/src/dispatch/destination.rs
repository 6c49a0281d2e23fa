//! Destinations as the operator writes them down: one code, or all that begin alike.

use std::{fmt, str::FromStr};

/// `BER` means that destination alone, `ZZ*` every one that begins with `ZZ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a destination code or the beginning of one followed by `*`")]
pub struct ParseDestinationPatternError(String);

impl DestinationPattern {
    /// Reads a pattern: an asterisk may stand at the end and nowhere else.
    pub fn parse(text: &str) -> Result<Self, ParseDestinationPatternError> {
        let (code, is_prefix) = text.strip_suffix('*').map_or((text, false), |code| (code, true));
        let is_wrong = |c: char| c == '*' || c.is_whitespace() || c.is_control();
        if text.is_empty() || code.contains(is_wrong) {
            return Err(ParseDestinationPatternError(text.to_owned()));
        }
        let code = code.to_owned();
        Ok(Self(if is_prefix { Pattern::Prefix(code) } else { Pattern::Exact(code) }))
    }

    /// Whether it means that destination. Codes are compared byte by byte.
    pub fn matches(&self, destination_code: &str) -> bool {
        match &self.0 {
            Pattern::Exact(code) => code == destination_code,
            Pattern::Prefix(code) => destination_code.starts_with(code.as_str()),
        }
    }
}

impl FromStr for DestinationPattern {
    type Err = ParseDestinationPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for DestinationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Exact(code) => write!(f, "{code}"),
            Pattern::Prefix(code) => write!(f, "{code}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_itself_and_an_asterisk_what_begins_like_it() {
        for (pattern, code, expected) in [
            ("BER", "BER", true),
            ("BER", "BER1", false),
            ("BER", "ber", false),
            ("ZZ*", "ZZ", true),
            ("ZZ*", "ZZTOP", true),
            ("ZZ*", "Z", false),
            ("*", "anything", true),
        ] {
            let pattern = DestinationPattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(code), expected, "{pattern} and {code}");
        }
    }

    #[test]
    fn an_asterisk_elsewhere_is_refused() {
        for text in ["", "Z*Z", "**", "*ZZ", "B ER", " "] {
            assert!(DestinationPattern::parse(text).is_err(), "{text:?}");
        }
    }
}
