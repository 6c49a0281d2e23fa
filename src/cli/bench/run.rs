//! The order of a run: connect, load, look up what is unknown, wait for the ends, verify, report.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    driver::Driver,
    ledger::Ledger,
    load::Load,
    options::{Plan, Until},
    plot,
    progress::Progress,
    report::{self, Report},
    tally::Tally,
    tickets::Tickets,
    verify,
    watcher::Watcher,
};
use crate::cli::{
    Failure,
    client::{ClientArgs, Gateway},
    exit, json, out,
};

/// A run with everything it needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(super) plan: Plan,
    pub(super) client: ClientArgs,
}

/// How a run is ended early.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    /// Send no more.
    pub(super) stop: CancellationToken,
    /// Wait for nothing any more.
    abandon: CancellationToken,
}

impl Bench {
    /// Errors: usage, no server, or something that did not end as the mix says.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let files = [&self.plan.json, &self.plan.plot].into_iter().flatten();
        files.filter(|path| !is_stdout(path)).try_for_each(writable)?;
        let clients = self.connect().await?;
        let interrupt = Interrupt::listen()?;
        let start = Instant::now();
        let until_end = self.plan.until == Until::Ended;
        let ledger = Arc::new(Ledger::new(start, Tally::new(self.plan.warm_up)?, until_end));
        let looked_up = self.measure(&clients, start, &ledger, &interrupt).await;
        self.report(&ledger, &interrupt)?;
        looked_up?;
        verdict(&ledger)
    }

    pub(super) async fn connect(&self) -> Result<Vec<Gateway>, Failure> {
        let mut clients = Vec::with_capacity(self.plan.connections);
        for _ in 0..self.plan.connections {
            clients.push(self.client.connect().await?);
        }
        Ok(clients)
    }

    /// Sends the load, and goes on until everything is known or the time for it is over.
    pub(super) async fn measure(
        &self,
        clients: &[Gateway],
        start: Instant,
        ledger: &Arc<Ledger>,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let client = clients[0].clone();
        let done = CancellationToken::new();
        let _done = done.clone().drop_guard();
        let watcher = Watcher {
            args: self.client.clone(),
            client: client.clone(),
            ledger: Arc::clone(ledger),
            ends: self.plan.ends,
            poll: self.plan.poll,
        };
        tokio::spawn(watcher.run(done.clone()));
        let progress = tokio::spawn(Progress::new(&self.plan, Arc::clone(ledger)).run(done.clone()));
        let load = self.load(clients, start, ledger)?;
        let all = async {
            load.run(interrupt.stop.clone()).await;
            let looked_up = verify::find_lost(&self.client, &client, ledger).await;
            self.drain(ledger).await;
            verify::check_doubtful(&self.client, &client, ledger).await;
            looked_up
        };
        let looked_up = interrupt.abandon.run_until_cancelled(all).await.unwrap_or(Ok(()));
        done.cancel();
        // A bar that panicked is no bar; there is nothing to learn from it.
        let _ = progress.await;
        ledger.books().give_up();
        looked_up
    }

    fn load(&self, clients: &[Gateway], start: Instant, ledger: &Arc<Ledger>) -> Result<Load, Failure> {
        let plan = &self.plan;
        let (args, clients, books) = (self.client.clone(), clients.to_vec(), Arc::clone(ledger));
        let patient = plan.rate.is_none();
        let driver = if plan.streaming {
            Driver::streaming(args, clients, books, patient, plan.in_flight)
        } else {
            Driver::unary(args, clients, books, patient)
        };
        let schedule = plan.schedule();
        Ok(Load {
            end: schedule.end(),
            tickets: Tickets::start(schedule, plan.rate.is_some(), start)?,
            requests: plan.requests.clone(),
            ledger: Arc::clone(ledger),
            driver,
            in_flight: plan.in_flight,
        })
    }

    /// Waits until nothing is open, as long as the drain time-out allows.
    async fn drain(&self, ledger: &Ledger) {
        let quiet = async {
            while !ledger.books().open.is_empty() {
                ledger.quiet.notified().await;
            }
        };
        // What is still open then is reported.
        let _ = timeout(self.plan.drain_timeout, quiet).await;
    }

    fn report(&self, ledger: &Ledger, interrupt: &Interrupt) -> Result<(), Failure> {
        let books = ledger.books();
        let report =
            Report { plan: &self.plan, tally: &books.tally, interrupted: interrupt.stop.is_cancelled() };
        match &self.plan.json {
            Some(path) if is_stdout(path) => out::text(&json::line(&report::value(&report)))?,
            Some(path) => {
                let text = json::line(&report::value(&report));
                std::fs::write(path, text).map_err(|error| unwritable(path, &error))?;
                out::text(&report::text(&report))?;
            }
            None => out::text(&report::text(&report))?,
        }
        match &self.plan.plot {
            Some(path) => plot::draw(path, &report)
                .map_err(|error| Failure::other(format!("{}: {error}", path.display()))),
            None => Ok(()),
        }
    }
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let mut interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::other(format!("cannot listen for SIGINT: {error}")))?;
        let interrupt = Self::default();
        let told = interrupt.clone();
        tokio::spawn(async move {
            for token in [told.stop, told.abandon] {
                interrupts.recv().await;
                token.cancel();
            }
        });
        Ok(interrupt)
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Found out before the load, not after it.
fn writable(path: &PathBuf) -> Result<(), Failure> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be written: {error}", path.display()))
}

/// Success when everything that was accepted ended as the mix says.
fn verdict(ledger: &Ledger) -> Result<ExitCode, Failure> {
    let books = ledger.books();
    let tally = &books.tally;
    let failed = tally.wrong + tally.unfinished;
    if failed > 0 {
        let message = format!("{failed} of {} accepted did not end as the mix says", tally.accepted);
        let mut failure = Failure::new(exit::OTHER, message);
        failure.details = tally.listed.iter().map(ToString::to_string).collect();
        let unlisted = failed.saturating_sub(tally.listed.len() as u64);
        if unlisted > 0 {
            failure.details.push(format!("and {unlisted} more"));
        }
        return Err(failure);
    }
    if tally.accepted == 0 && tally.error_count() > 0 {
        return Err(Failure::new(exit::OTHER, "nothing was accepted"));
    }
    Ok(ExitCode::SUCCESS)
}
