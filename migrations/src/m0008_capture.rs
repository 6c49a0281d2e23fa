//! A payment that was reserved can be captured.

// The state of a captured reservation stays `RESERVED`; 0 means that it is not captured.
pub(crate) const STATEMENTS: &[&str] =
    &["ALTER TABLE payment_reservations ADD COLUMN captured_at {int} NOT NULL DEFAULT 0"];
