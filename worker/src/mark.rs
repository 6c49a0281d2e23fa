//! How a compensation that came before its command is remembered, and told apart from one that undid
//! something: the late command must be refused in both cases, but only in the first did nothing happen.
//!
//! The mark is the beginning of the row's reason, where an operator reads it too. Reasons that come with
//! messages are kept from beginning like it.

const MARK: &str = "compensated before its command";

/// The reason of a row that a compensation left although there was nothing to undo.
pub(crate) fn mark(reason: &str) -> String {
    if reason.is_empty() { MARK.to_owned() } else { format!("{MARK}: {reason}") }
}

/// Whether `reason` is that of such a row.
pub(crate) fn is_mark(reason: &str) -> bool {
    reason.starts_with(MARK)
}

/// The reason of a row that a compensation did undo.
pub(crate) fn undone(reason: &str) -> String {
    if is_mark(reason) { format!("undone: {reason}") } else { reason.to_owned() }
}

/// Why a command is refused whose row a compensation has closed with `reason`.
pub(crate) fn too_late(reason: &str) -> String {
    if is_mark(reason) {
        format!("came too late: {reason}")
    } else if reason.is_empty() {
        "came too late: already undone".to_owned()
    } else {
        format!("came too late: already undone: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_can_forge_a_mark() {
        assert!(is_mark(&mark("")) && is_mark(&mark("cancelled")));
        assert!(!is_mark(&undone(&mark("cancelled"))));
        assert!(!is_mark(&too_late(&mark("cancelled"))));
    }
}
