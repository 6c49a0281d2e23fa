//! Tables of the saga: `saga_instances`, `saga_history`.

pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE TABLE saga_instances (
        dispatch_id {text} PRIMARY KEY,
        definition {text} NOT NULL,
        definition_version {int} NOT NULL,
        definition_hash {text} NOT NULL,
        state {text} NOT NULL,
        steps {text} NOT NULL,
        current_step {text} NOT NULL,
        attempt {int} NOT NULL,
        version {int} NOT NULL,
        reason {text} NOT NULL,
        request {blob} NOT NULL,
        traceparent {text} NOT NULL,
        tracestate {text} NOT NULL,
        started_at {int} NOT NULL,
        updated_at {int} NOT NULL,
        ended_at {int} NOT NULL,
        deadline_at {int}
    )",
    "CREATE INDEX saga_instances_deadline ON saga_instances (deadline_at) WHERE deadline_at IS NOT NULL",
    "CREATE INDEX saga_instances_state ON saga_instances (state, dispatch_id)",
    "CREATE TABLE saga_history (
        dispatch_id {text} NOT NULL,
        version {int} NOT NULL,
        at {int} NOT NULL,
        state {text} NOT NULL,
        event {text} NOT NULL,
        step {text} NOT NULL,
        attempt {int} NOT NULL,
        reason {text} NOT NULL,
        cause_message_id {text} NOT NULL,
        PRIMARY KEY (dispatch_id, version)
    )",
];
