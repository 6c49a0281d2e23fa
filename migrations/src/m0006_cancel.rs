//! A cancel request is kept with its dispatch until the saga has decided it.

pub(crate) const STATEMENTS: &[&str] = &[
    // `cancel_requested_at`: somebody wants it undone, and the gateway has not seen the saga decide yet.
    "ALTER TABLE dispatches ADD COLUMN cancel_requested_at {int}",
    "ALTER TABLE dispatches ADD COLUMN cancel_reason {text} NOT NULL DEFAULT ''",
    "CREATE INDEX dispatches_cancelling ON dispatches (dispatch_id) WHERE cancel_requested_at IS NOT NULL",
];
