//! The participants against real databases, SQLite and PostgreSQL.
//!
//! The messages come here without an inbox before them, so what holds here holds when the inbox has
//! forgotten a message, too.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod dispatch;
mod fuzz;
mod order;
mod parse;
mod payment;
#[path = "../support/mod.rs"]
mod support;
