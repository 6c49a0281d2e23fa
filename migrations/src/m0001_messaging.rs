//! Tables of the reliable-messaging core: `outbox`, `inbox`, `dead_letters`.

pub(crate) const STATEMENTS: &[&str] = &[
    // A row lives from the commit that wrote it until its publication is confirmed. `lease_until` is the
    // moment from which a sweep may take it: the end of a lease, of a delay or of a parked pause.
    "CREATE TABLE outbox (
        id {uuid} PRIMARY KEY,
        message_id {text} NOT NULL,
        type {text} NOT NULL,
        exchange {text} NOT NULL,
        routing_key {text} NOT NULL,
        correlation_id {text} NOT NULL,
        causation_id {text} NOT NULL,
        reply_to {text} NOT NULL,
        traceparent {text} NOT NULL,
        tracestate {text} NOT NULL,
        attempt {int} NOT NULL,
        body {blob} NOT NULL,
        created_at {int} NOT NULL,
        available_at {int} NOT NULL,
        state {text} NOT NULL,
        lease_owner {text} NOT NULL,
        lease_until {int} NOT NULL,
        publish_attempts {int} NOT NULL,
        last_error {text} NOT NULL
    )",
    "CREATE INDEX outbox_lease_until ON outbox (lease_until)",
    "CREATE INDEX outbox_parked ON outbox (state, routing_key) WHERE state <> 'READY'",
    "CREATE TABLE inbox (
        consumer {text} NOT NULL,
        message_id {text} NOT NULL,
        received_at {int} NOT NULL,
        reply_type {text} NOT NULL,
        reply_body {blob} NOT NULL,
        PRIMARY KEY (consumer, message_id)
    )",
    "CREATE INDEX inbox_received_at ON inbox (received_at)",
    "CREATE TABLE dead_letters (
        id {uuid} PRIMARY KEY,
        queue {text} NOT NULL,
        message_id {text} NOT NULL,
        type {text} NOT NULL,
        routing_key {text} NOT NULL,
        correlation_id {text} NOT NULL,
        causation_id {text} NOT NULL,
        reply_to {text} NOT NULL,
        traceparent {text} NOT NULL,
        tracestate {text} NOT NULL,
        attempt {int} NOT NULL,
        body {blob} NOT NULL,
        kind {text} NOT NULL,
        reason {text} NOT NULL,
        times {int} NOT NULL,
        first_at {int} NOT NULL,
        dead_at {int} NOT NULL
    )",
    "CREATE UNIQUE INDEX dead_letters_message ON dead_letters (queue, message_id)",
];
