//! Several versions of a saga at a time: messages for instances that a process does not know are parked,
//! and deadlines are found by version.

pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE TABLE saga_parked (
        dispatch_id {text} NOT NULL,
        message_id {text} NOT NULL,
        type {text} NOT NULL,
        body {blob} NOT NULL,
        traceparent {text} NOT NULL,
        tracestate {text} NOT NULL,
        definition {text} NOT NULL,
        definition_version {int} NOT NULL,
        definition_hash {text} NOT NULL,
        parked_at {int} NOT NULL,
        PRIMARY KEY (dispatch_id, message_id)
    )",
    "CREATE INDEX saga_parked_version ON saga_parked (definition_version, parked_at)",
    // A process asks for the versions that it knows; what waits for another release costs it nothing.
    "CREATE INDEX saga_instances_due ON saga_instances (definition_version, deadline_at) \
     WHERE deadline_at IS NOT NULL",
    "DROP INDEX saga_instances_deadline",
];
