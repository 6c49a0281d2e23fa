//! What an operator does: the audit, what is paused, and what that holds up.

pub(crate) const STATEMENTS: &[&str] = &[
    // `scope`: `dispatch:<id>`, or what was paused. Ids sort by time.
    "CREATE TABLE operator_actions (
        id {text} PRIMARY KEY,
        at {int} NOT NULL,
        scope {text} NOT NULL,
        verb {text} NOT NULL,
        version {int} NOT NULL,
        operator {text} NOT NULL,
        reason {text} NOT NULL
    )",
    "CREATE INDEX operator_actions_scope ON operator_actions (scope, id)",
    // `resuming`: it is let go, at `rate` a second where that is not 0; `paced_at` is how far that has come.
    "CREATE TABLE saga_pauses (
        scope {text} PRIMARY KEY,
        since {int} NOT NULL,
        operator {text} NOT NULL,
        reason {text} NOT NULL,
        resuming {int} NOT NULL,
        rate {int} NOT NULL,
        paced_at {int} NOT NULL
    )",
    // The pause that a message waits for; empty where it waits for a release that knows its version.
    "ALTER TABLE saga_parked ADD COLUMN held_by {text} NOT NULL DEFAULT ''",
    "CREATE INDEX saga_parked_held ON saga_parked (held_by, parked_at)",
    "ALTER TABLE saga_instances ADD COLUMN paused {int} NOT NULL DEFAULT 0",
    // Why a dispatch does not go on is asked by its id.
    "CREATE INDEX dead_letters_conversation ON dead_letters (correlation_id)",
    // The version at which an operator had what is out sent anew.
    "ALTER TABLE saga_instances ADD COLUMN sent_anew {int} NOT NULL DEFAULT 0",
];
