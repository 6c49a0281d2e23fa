//! The one binary. This file is a table of contents: arguments and configuration, telemetry, run, flush,
//! exit code.

#[cfg(feature = "fault-points")]
mod allocations;
mod cli;
mod config;
mod serve;
mod telemetry;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Failure, Task};

#[cfg(not(feature = "fault-points"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // Fails only when a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = Cli::parse().prepare().and_then(run);
    outcome.unwrap_or_else(|failure| failure.report())
}

fn run(task: Task) -> Result<ExitCode, Failure> {
    let runtime = runtime(task.threads())?;
    let outcome = runtime.block_on(async {
        let telemetry = telemetry::init(task.telemetry()).map_err(|error| Failure::environment(&error))?;
        #[cfg(feature = "fault-points")]
        allocations::show();
        let outcome = task.run(telemetry.metrics()).await;
        telemetry.shutdown(FLUSH).await;
        outcome
    });
    // A read of standard input that never returns must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

fn runtime(threads: Option<usize>) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(|error| Failure::other(format!("the runtime cannot start: {error}")))
}
