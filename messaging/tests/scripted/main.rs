//! The relay and the consumer against a broker that does what these tests say: what a real one will not do
//! on demand.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

mod consuming;
mod lanes;
mod publishing;
#[path = "../rig/mod.rs"]
mod rig;
mod stage;
