//! How outbox and inbox grow while another session holds an old snapshot: with slots, and with one slot that
//! is never changed, which is what a plain table is. Prints a table and draws the curves.
//!
//! `cargo bench -p waybill-messaging --bench old_snapshot`, with `WAYBILL_BENCH_SECONDS` for each of the two
//! (120 unless it says otherwise) and `WAYBILL_BENCH_PLOT` for the picture's path.
//!
//! The slot that is never changed stands for rows that are deleted one by one: under an old snapshot a deleted
//! row takes the same space as one that is kept.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]
#![expect(clippy::cast_precision_loss, reason = "figures to look at")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several crates")]

mod plot;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod run;

use std::{path::PathBuf, time::Duration};

fn main() {
    let seconds = std::env::var("WAYBILL_BENCH_SECONDS").map_or(120, |s| s.parse().expect("whole seconds"));
    let plot = std::env::var_os("WAYBILL_BENCH_PLOT").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/old_snapshot.svg")),
        PathBuf::from,
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let time = Duration::from_secs(seconds);
    let slots = runtime.block_on(run::run("slots", 16 * 1_024 * 1_024, time / 8, time));
    let plain = runtime.block_on(run::run("one slot", usize::MAX >> 1, time * 100, time));
    println!("\n{:>8} {:>24} {:>24} {:>24}", "", "outbox, MB", "inbox, MB", "messages/s");
    println!(
        "{:>8} {:>12}{:>12} {:>12}{:>12} {:>12}{:>12}",
        "second", "slots", "one slot", "slots", "one slot", "slots", "one slot"
    );
    let step = (slots.len() / 12).max(1);
    for (a, b) in slots.iter().zip(&plain).step_by(step) {
        println!(
            "{:>8} {:>12.1}{:>12.1} {:>12.1}{:>12.1} {:>12.0}{:>12.0}",
            a.second, a.outbox, b.outbox, a.inbox, b.inbox, a.rate, b.rate
        );
    }
    plot::draw(&plot, &slots, &plain).expect("the picture can be drawn");
    println!("\n{}", plot.display());
}
