//! Broker, database and processes go away, forget and come back while dispatches are under way. Whatever
//! happens: what has a receipt ends, and has its effect once.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod broker;
mod cancel;
mod database;
mod process;

use waybill_proto::v1::DispatchRequested;
use waybill_test_support::client::{refused_by_dispatch, request};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const IN_FLIGHT: usize = 32;

/// So many requests, of which each fifth is to be compensated.
fn requests(count: usize) -> Vec<DispatchRequested> {
    let numbered = |number: usize| {
        let id = format!("m-{number}");
        if number % 5 == 4 { refused_by_dispatch(&id) } else { request(&id) }
    };
    (0..count).map(numbered).collect()
}
