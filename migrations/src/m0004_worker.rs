//! Tables of the participants: `orders`, `payment_accounts`, `payment_reservations`, `deliveries`.

pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE TABLE orders (
        dispatch_id {text} PRIMARY KEY,
        order_id {text} NOT NULL,
        customer_id {text} NOT NULL,
        state {text} NOT NULL,
        reason {text} NOT NULL,
        created_at {int} NOT NULL,
        updated_at {int} NOT NULL
    )",
    // The last guard of the rule that an order is open once: the handler decides, this index holds.
    "CREATE UNIQUE INDEX orders_open ON orders (order_id) WHERE state IN ('ACCEPTED', 'COMPLETED')",
    "CREATE TABLE payment_accounts (
        customer_id {text} PRIMARY KEY,
        currency_code {text} NOT NULL,
        reserved_minor_units {int} NOT NULL CHECK (reserved_minor_units >= 0),
        updated_at {int} NOT NULL
    )",
    "CREATE TABLE payment_reservations (
        dispatch_id {text} PRIMARY KEY,
        order_id {text} NOT NULL,
        customer_id {text} NOT NULL,
        currency_code {text} NOT NULL,
        minor_units {int} NOT NULL,
        state {text} NOT NULL,
        reason {text} NOT NULL,
        created_at {int} NOT NULL,
        updated_at {int} NOT NULL
    )",
    "CREATE TABLE deliveries (
        dispatch_id {text} PRIMARY KEY,
        order_id {text} NOT NULL,
        destination_code {text} NOT NULL,
        parcel_count {int} NOT NULL,
        state {text} NOT NULL,
        reason {text} NOT NULL,
        created_at {int} NOT NULL,
        updated_at {int} NOT NULL
    )",
    "CREATE INDEX deliveries_open ON deliveries (destination_code) WHERE state = 'CREATED'",
];
