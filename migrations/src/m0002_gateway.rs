//! Table of the gateway: `dispatches`.

pub(crate) const STATEMENTS: &[&str] = &[
    // `superseded_at`: the dispatch was cancelled and a newer one of the same order took its place.
    // `saga_started_at`: the gateway has seen that the saga began, and need not send the request again.
    "CREATE TABLE dispatches (
        dispatch_id {text} PRIMARY KEY,
        message_id {text} NOT NULL UNIQUE,
        order_id {text} NOT NULL,
        customer_id {text} NOT NULL,
        destination_code {text} NOT NULL,
        parcel_count {int} NOT NULL,
        currency_code {text} NOT NULL,
        minor_units {int} NOT NULL,
        requested_at {int} NOT NULL,
        accepted_at {int} NOT NULL,
        content_hash {blob} NOT NULL,
        traceparent {text} NOT NULL,
        tracestate {text} NOT NULL,
        superseded_at {int},
        saga_started_at {int}
    )",
    "CREATE UNIQUE INDEX dispatches_live_order ON dispatches (order_id) WHERE superseded_at IS NULL",
    "CREATE INDEX dispatches_order ON dispatches (order_id, dispatch_id)",
    "CREATE INDEX dispatches_customer ON dispatches (customer_id, dispatch_id)",
    "CREATE INDEX dispatches_waiting ON dispatches (dispatch_id) WHERE saga_started_at IS NULL",
];
