//! Counts the memory that the process asks for, under the feature `fault-points` only: so that a test can hold
//! what a dispatch costs of it.

use mimalloc::MiMalloc;
use stats_alloc::StatsAlloc;
use waybill_messaging::metrics::meter;

#[global_allocator]
static ALLOCATOR: StatsAlloc<MiMalloc> = StatsAlloc::new(MiMalloc);

/// Shows the counts as metrics.
pub(crate) fn show() {
    let meter = meter();
    // Gauges, because every counter of ours is 0 before anything has happened.
    let pieces = meter.u64_observable_gauge("waybill.test.allocations");
    pieces
        .with_description("Pieces of memory asked for so far")
        .with_callback(|shown| shown.observe(asked_for(), &[]))
        .build();
    let bytes = meter.u64_observable_gauge("waybill.test.allocated_bytes");
    bytes
        .with_description("Bytes of memory asked for so far")
        .with_callback(|shown| shown.observe(ALLOCATOR.stats().bytes_allocated as u64, &[]))
        .build();
}

/// One that grows is one more.
fn asked_for() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}
