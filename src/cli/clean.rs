//! Makes text from elsewhere safe for a terminal. A server, or whoever filled in an order, could
//! otherwise move the cursor, change the title or turn the reading direction of what is printed.

use std::borrow::Cow;

/// The text with every control and direction character replaced by U+FFFD.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().map(|letter| if is_unsafe(letter) { '\u{fffd}' } else { letter }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a letter does something to a terminal, or to the order of what is read.
pub(crate) fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_could_steer_a_terminal_is_replaced() {
        assert_eq!(
            clean("a\u{1b}]0;x\u{7}b\nc\r\u{9b}31m"),
            "a\u{fffd}]0;x\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}31m"
        );
        assert_eq!(clean("\u{202e}gpj.exe"), "\u{fffd}gpj.exe");
        assert_eq!(clean("Grüße 東京"), "Grüße 東京");
    }
}
