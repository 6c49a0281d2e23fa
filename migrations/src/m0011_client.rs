//! Who asked for a dispatch.

pub(crate) const STATEMENTS: &[&str] = &[
    // Empty where nobody had to say who they are.
    "ALTER TABLE dispatches ADD COLUMN client {text} NOT NULL DEFAULT ''",
    // For clients who see only their own; the others cost it nothing.
    "CREATE INDEX dispatches_client ON dispatches (client, dispatch_id) WHERE client <> ''",
];
