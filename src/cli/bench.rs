//! `waybill bench`: a load over the public API, measured and verified.

mod cancel;
mod driver;
mod ledger;
mod load;
mod mix;
mod options;
mod plot;
mod progress;
mod report;
mod request;
mod run;
mod schedule;
mod series;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod tickets;
mod unary;
mod verify;
mod watcher;

pub(super) use self::{options::Args, run::Bench};
