//! The one binary. This file is a table of contents: arguments and configuration, telemetry, run, flush,
//! exit code.

#[cfg(feature = "fault-points")]
mod allocations;
mod cli;
mod config;
mod serve;
mod telemetry;

use std::{num::NonZero, process::ExitCode, thread::available_parallelism, time::Duration};

use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Failure, Task};

#[cfg(not(feature = "fault-points"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    save_memory();
    // Fails only when a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = Cli::parse().prepare().and_then(run);
    outcome.unwrap_or_else(|failure| failure.report())
}

/// The allocator spreads what it hands out by size and by thread. With huge pages each such place, however little
/// is used of it, takes 2 MiB of memory: at rest three times what is needed. No gain in speed could be measured.
fn save_memory() {
    // A kernel without such pages has nothing to turn off.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
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

/// One thread for two cores, because the others' work is the database's and the broker's. Alone it wakes nobody: with
/// two threads on two cores a saga took a fifth more of our processor time.
fn runtime(threads: Option<usize>) -> Result<Runtime, Failure> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let mut builder = match threads.unwrap_or(cores.div_ceil(2)) {
        1 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build().map_err(|error| Failure::other(format!("the runtime cannot start: {error}")))
}
