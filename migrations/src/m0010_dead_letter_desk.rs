//! The dead-letter desk: what was done about a letter, the bodies that were edited, and the audit of both.

pub(crate) const STATEMENTS: &[&str] = &[
    // `DEAD`, `REPLAYED` or `DISCARDED`; since when, by whom and why it is dead no more.
    "ALTER TABLE dead_letters ADD COLUMN state {text} NOT NULL DEFAULT 'DEAD'",
    "ALTER TABLE dead_letters ADD COLUMN resolved_at {int} NOT NULL DEFAULT 0",
    "ALTER TABLE dead_letters ADD COLUMN resolved_by {text} NOT NULL DEFAULT ''",
    "ALTER TABLE dead_letters ADD COLUMN resolution {text} NOT NULL DEFAULT ''",
    "CREATE INDEX dead_letters_dead ON dead_letters (id) WHERE state = 'DEAD'",
    // A body that an operator has replaced, as it was until then.
    "CREATE TABLE dead_letter_bodies (
        id {uuid} PRIMARY KEY,
        letter_id {uuid} NOT NULL,
        at {int} NOT NULL,
        operator {text} NOT NULL,
        reason {text} NOT NULL,
        body {blob} NOT NULL
    )",
    "CREATE INDEX dead_letter_bodies_letter ON dead_letter_bodies (letter_id)",
    // Id of the dead letter that an action concerned.
    "ALTER TABLE operator_actions ADD COLUMN dead_letter {text} NOT NULL DEFAULT ''",
];
