//! `make chaos` in short: one node of the broker, a minute, a fixed seed.

use std::path::Path;

use waybill_chaos::{Settings, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_every_acknowledged_dispatch_ends_once_and_as_it_was_asked_for() {
    let program = env!("CARGO_BIN_EXE_waybill").into();
    let settings =
        Settings { seed: 2, seconds: 40, rate: 10, in_flight: 16, single: true, settle: 150, program };
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local");
    let report = run(&settings, &place).await.unwrap();
    println!("{report}");
    assert!(report.passed(), "{}", report.reasons().join("\n"));
}
