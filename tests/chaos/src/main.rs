//! `waybill-chaos`: one run as asked for, and an exit code: 0 passed, 1 not passed, 2 could not be run,
//! 130 interrupted.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use waybill_chaos::{Report, Settings, run};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let place = local();
    let outcome = tokio::select! {
        outcome = run(&settings, &place) => outcome,
        () = interrupted() => {
            eprintln!("interrupted: everything has been stopped");
            return ExitCode::from(130);
        }
    };
    match outcome {
        Ok(report) => verdict(&report),
        Err(error) => {
            eprintln!("the run could not be carried out: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Where all scripts of this repository have their state.
fn local() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local")
}

fn verdict(report: &Report) -> ExitCode {
    println!("{report}");
    for reason in report.reasons() {
        println!("{reason}");
    }
    if report.passed() {
        println!("passed");
        return ExitCode::SUCCESS;
    }
    println!("NOT passed; repeat it with: {}", report.settings.command());
    ExitCode::FAILURE
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
