//! `make chaos`: real processes under load while a seeded schedule breaks processes, broker, database and
//! network; then everything heals, and an auditor compares what clients were told with the tables.
//!
//! The order of a run is in [`run`]. It is used by the program of this crate, for as long as one likes, and
//! by the test `chaos`, in short.

mod audit;
mod books;
mod fault;
mod fleet;
mod ledger;
mod load;
mod mix;
mod progress;
mod queues;
mod report;
mod schedule;
mod servers;
mod settings;
mod settle;
mod strike;

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use tokio::time::Instant;

pub use self::{
    audit::{Audit, Finding, Wrong},
    report::Report,
    settings::Settings,
};
use self::{
    books::Books,
    fleet::Fleet,
    ledger::Ledger,
    progress::Progress,
    queues::Queues,
    servers::Servers,
    strike::{Tally, Targets},
};

/// One run, from nothing to the report. All state is in a new folder below `place`; it is kept, with
/// the logs, when the run has not passed. Whatever runs is stopped when this returns or is dropped.
///
/// Errors: the run itself could not be carried out.
pub async fn run(settings: &Settings, place: &Path) -> Result<Report> {
    let program = &settings.program;
    program.metadata().with_context(|| format!("{} is not there", program.display()))?;
    let progress = Progress::new();
    progress.line(&format!("seed {}", settings.seed));
    fs::create_dir_all(place)?;
    let folder = tempfile::Builder::new().prefix(&format!("chaos-{}-", settings.seed)).tempdir_in(place)?;
    let mut servers = Servers::start(folder.path(), settings.nodes()).await?;
    let outcome = carry_out(settings, folder.path(), &servers, &progress).await;
    if !outcome.as_ref().is_ok_and(Report::passed) {
        servers.keep();
        let folder = folder.keep();
        progress.line(&format!("logs and data are kept in {}", folder.display()));
        progress.line(&format!("repeat it with: {}", settings.command()));
    }
    outcome
}

async fn carry_out(
    settings: &Settings,
    folder: &Path,
    servers: &Servers,
    progress: &Progress,
) -> Result<Report> {
    progress.line("broker and database are there");
    let fleet = Fleet::start(&settings.program, folder, servers).await;
    progress.line("all processes are ready");
    let (queues, ledger, tally) = (Queues::new(&servers.broker_urls), Arc::default(), Tally::default());
    break_it(settings, &Targets { servers, fleet: &fleet, queues: &queues, progress }, &ledger, &tally)
        .await?;
    progress.line("everything has healed");
    fleet.raise().await;
    let settled = settle::wait(settings, servers, &queues, progress).await;
    fleet.end().await;
    progress.line("all processes have stopped; the auditor reads");
    let books = Books::read(&servers.database_url).await.context("the auditor cannot read the tables")?;
    let (attempted, acknowledged) = ledger.counts();
    Ok(Report {
        settings: settings.clone(),
        faults: tally.counts(),
        attempted,
        acknowledged,
        settled,
        audit: audit::audit(&ledger.all(), &books),
        broken: fleet.broken(),
    })
}

/// Load and faults at the same time.
async fn break_it(
    settings: &Settings,
    targets: &Targets<'_>,
    ledger: &Arc<Ledger>,
    tally: &Tally,
) -> Result<()> {
    let end = Instant::now() + settings.faulty();
    let load = load::run(settings, targets.fleet.clients(), Arc::clone(ledger), end);
    let struck = async { tokio::join!(strike::run(targets, settings, tally, end), load).0 };
    tokio::select! {
        struck = struck => struck,
        () = targets.progress.watch(ledger) => Ok(()),
    }
}
