//! `waybill-yardsticks`: one run as asked for, and an exit code: 0 measured, 1 measured but not everything
//! ended as it should, 2 could not be run, 130 interrupted.

use std::{path::Path, process::ExitCode};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use waybill_yardsticks::{Report, Settings, run};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    // Where all scripts of this repository have their state.
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local");
    let outcome = tokio::select! {
        outcome = run(settings, &place) => outcome,
        () = interrupted() => {
            eprintln!("interrupted: everything has been stopped");
            return ExitCode::from(130);
        }
    };
    match outcome {
        Ok(reports) => verdict(&reports),
        Err(error) => {
            eprintln!("the run could not be carried out: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn verdict(reports: &[Report]) -> ExitCode {
    for report in reports {
        println!("{}", report.text());
    }
    if reports.iter().all(|report| report.problems.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Ctrl-C, or to be told to stop. What runs is stopped as soon as the run is dropped.
async fn interrupted() {
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}
