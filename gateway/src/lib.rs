//! Waybill's gRPC edge.
//!
//! A request flows: `edge` (span, `auth`, admission, deadline) → `service` (one file per RPC) → `request`
//! (parsed, or refused with every violation) → `accept` (group commit: row and outbox message in one
//! transaction) → receipt. What comes as HTTP and JSON (`http_json`) or from a browser (`web`) is made a call first and
//! flows the same way. Everything else only reads: `found`, from its own `row` and `waybill_saga::read`, as
//! `view` shows it. `reconcile` sends again what the broker may have lost.

mod accept;
pub mod auth;
mod cancel;
mod content;
mod desk;
mod edge;
mod found;
#[cfg(test)]
mod fuzz;
mod http_json;
mod id;
mod json;
pub mod listen;
mod metrics;
mod page_token;
mod port;
mod readiness;
mod reconcile;
mod refresh;
mod request;
mod row;
mod server;
mod service;
mod settings;
mod status;
mod time;
mod together;
mod view;
mod violations;
mod web;

pub use self::{
    http_json::openapi, reconcile::RECONCILE_HORIZON, refresh::Refresh, server::Gateway, settings::Settings,
};
