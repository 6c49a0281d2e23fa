//! The gateway over a real connection and on real databases, without any broker: what it promises stands
//! in the tables.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]

mod accept;
mod auth;
mod callers;
mod cancel;
mod connections;
mod edge;
mod events;
mod get;
mod hostile;
mod http1;
mod http_json;
mod jwt;
mod letters;
mod limits;
mod list;
mod listen;
mod operator;
mod overload;
mod reconcile;
mod rig;
mod saga;
mod shutdown;
mod steps;
mod stream;
mod watch;
mod web;
