//! The tables of the reference path.

use anyhow::Result;
use sqlx::PgPool;

const STATEMENTS: [&str; 9] = [
    "CREATE TABLE dispatches (
        dispatch_id text PRIMARY KEY,
        message_id text NOT NULL UNIQUE,
        order_id text NOT NULL UNIQUE,
        request bytea NOT NULL,
        accepted_at bigint NOT NULL
    )",
    "CREATE TABLE sagas (
        dispatch_id text PRIMARY KEY,
        step int NOT NULL,
        state text NOT NULL,
        ended_at bigint
    )",
    "CREATE INDEX sagas_state ON sagas (state, dispatch_id)",
    "CREATE TABLE saga_history (
        dispatch_id text NOT NULL,
        step int NOT NULL,
        event text NOT NULL,
        at bigint NOT NULL,
        PRIMARY KEY (dispatch_id, step)
    )",
    "CREATE TABLE orders (dispatch_id text PRIMARY KEY, order_id text NOT NULL UNIQUE, state text NOT NULL)",
    "CREATE TABLE payments (dispatch_id text PRIMARY KEY, minor_units bigint NOT NULL)",
    "CREATE TABLE deliveries (
        dispatch_id text PRIMARY KEY,
        destination_code text NOT NULL,
        parcel_count int NOT NULL
    )",
    "CREATE TABLE inbox (
        consumer text NOT NULL,
        message_id text NOT NULL,
        received_at bigint NOT NULL,
        PRIMARY KEY (consumer, message_id)
    )",
    "CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        message_id text NOT NULL,
        routing_key text NOT NULL,
        type text NOT NULL,
        dispatch_id text NOT NULL,
        body bytea NOT NULL
    )",
];

/// Makes them.
pub(super) async fn create(pool: &PgPool) -> Result<()> {
    for statement in STATEMENTS {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

/// Now, in microseconds.
pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
