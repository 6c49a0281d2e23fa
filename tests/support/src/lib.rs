//! What the tests of all crates share: real databases, each test with its own, a real broker, each test
//! with its own exchange and queue names, the real program, and a network that breaks when it is told to.
//! `make test` provides the servers.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot go on stops")]

pub mod audit;
mod broker;
pub mod certificates;
pub mod client;
pub mod collector;
mod database;
pub mod fake_broker;
pub mod http;
pub mod load;
mod node;
pub mod patience;
mod port;
mod process;
pub mod prometheus;
mod proxy;
mod rig;
mod server;
mod tool;

pub use self::{
    broker::TestBroker,
    database::{TestDatabase, session},
    fake_broker::FakeBroker,
    node::Node,
    process::{ALL_ROLES, Ended, Process, Program, Ran},
    proxy::{Proxy, Way},
    rig::{Rig, program},
    server::Server,
    tool::tool,
};

/// The value of an environment variable that `make test` sets.
pub fn provided(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests through `make test`"))
}

/// Runs each of these `async fn(TestDatabase)` once on SQLite and once on `PostgreSQL`.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod sqlite {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::TestDatabase::sqlite().await).await;
            })*
        }
        mod postgres {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::TestDatabase::postgres().await).await;
            })*
        }
    };
}
