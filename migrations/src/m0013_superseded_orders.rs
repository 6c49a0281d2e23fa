//! Dispatches of an order without an index that every request writes.

// Of an order at most one dispatch lives, and `dispatches_live_order` finds that one: this is for the others, which are
// few. A release that does not know it reads by order as before, and slowly.
pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE INDEX dispatches_superseded ON dispatches (order_id, dispatch_id) WHERE superseded_at IS NOT NULL",
    "DROP INDEX dispatches_order",
];
