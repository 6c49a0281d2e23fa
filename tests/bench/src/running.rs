//! Waybill as processes under measure, on a database of their own.

use anyhow::{Context, Result, ensure};
use tokio::time::{Duration, Instant, sleep};
use waybill_test_support::{ALL_ROLES, Process, Program};

use crate::{
    book::Book,
    cost::Of,
    database::Database,
    load::{Load, Measured},
    site::Site,
    subject::{Kind, Metric, Subject},
    usage,
};

/// What is to be running.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) database: Kind,
    /// Part of the names on the broker.
    pub(crate) name: String,
    pub(crate) roles: &'a str,
    pub(crate) processes: u32,
    /// Where the broker is.
    pub(crate) amqp: String,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl<'a> Setup<'a> {
    /// One process with all roles and every setting at its default.
    pub(crate) fn new(site: &Site, database: Kind, name: &str) -> Self {
        let (amqp, environment) = (site.settings.amqp.clone(), Vec::new());
        Self { database, name: name.to_owned(), roles: ALL_ROLES, processes: 1, amqp, environment }
    }

    /// The same with one variable of the environment set.
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The same with these roles.
    pub(crate) fn roles(self, roles: &'a str) -> Self {
        Self { roles, ..self }
    }
}

/// Processes at work. They have to be [ended](Self::end).
pub(crate) struct Running {
    pub(crate) database: Database,
    programs: Vec<Program>,
    processes: Vec<Process>,
    accepted: u64,
    /// Whether one of its roles publishes.
    publishes: bool,
    /// Messages that the broker had got after the last load.
    messages: Option<f64>,
}

impl Running {
    /// Starts them on a new database, and returns when all are at work.
    pub(crate) async fn start(site: &Site, setup: &Setup<'_>) -> Result<Self> {
        let database = Database::new(site, setup.database).await?;
        let prefix = site.waybill(&setup.name);
        let first = Program::new(&site.settings.program, &database.url, &setup.amqp, &prefix);
        let set = |program: Program, (name, value): &(&str, String)| program.set(name, value);
        let first = setup.environment.iter().fold(first.roles(setup.roles), set);
        let others = (1..setup.processes).map(|_| first.beside()).collect::<Vec<_>>();
        let programs: Vec<_> = std::iter::once(first).chain(others).collect();
        let whole = setup.roles == ALL_ROLES && setup.amqp == site.settings.amqp;
        let mut processes = Vec::new();
        for program in &programs {
            processes.push(if whole { program.start_whole().await } else { program.start().await });
        }
        Ok(Self {
            database,
            programs,
            processes,
            accepted: 0,
            publishes: setup.roles == ALL_ROLES,
            messages: None,
        })
    }

    /// Where a gateway listens.
    pub(crate) fn endpoint(&self, process: usize) -> String {
        self.programs[process].endpoint()
    }

    /// The id of the first.
    pub(crate) fn process(&self) -> u32 {
        self.processes[0].id()
    }

    /// How the first was started.
    pub(crate) fn program(&self) -> &Program {
        &self.programs[0]
    }

    /// Resident memory of the first: now, and the most that ever was; MB.
    pub(crate) fn memory(&self) -> Option<(f64, f64)> {
        usage::memory(self.processes[0].id())
    }

    /// Notes that so many more must have ended when all is over.
    pub(crate) fn owe(&mut self, accepted: u64) {
        self.accepted += accepted;
    }

    /// How many must have ended when all is over.
    pub(crate) fn owed(&self) -> i64 {
        i64::try_from(self.accepted).unwrap_or(i64::MAX)
    }

    /// Runs a load on the first of them, and writes down what it reached and what it cost.
    pub(crate) async fn measure(
        &mut self,
        site: &Site,
        load: &Load,
        (subject, round): (Subject, u32),
        book: &mut Book,
    ) -> Result<Measured> {
        let process = &self.processes[0];
        let (id, database) = (process.id(), &self.database);
        let of = Of { site, process: id, database, metrics: Some(process), publishes: self.publishes };
        let before = of.before(self.messages).await;
        let measured = load.run(site).await?;
        let after = of.after().await;
        let mut add = |metric, value| book.add((subject, load.in_flight, metric), round, value);
        for (metric, value) in after.each_since(&before, measured.accepted) {
            add(metric, value);
        }
        after.peak().into_iter().for_each(|peak| add(Metric::Memory, peak));
        measured.figures().for_each(|(metric, value)| add(metric, value));
        self.messages = after.messages();
        self.owe(measured.accepted);
        Ok(measured)
    }

    /// Waits until everything that was accepted has ended, as the tables say, and nothing is left to be sent.
    /// Errors: it does not, or the tables say more or less.
    pub(crate) async fn audit(&self) -> Result<()> {
        self.audit_beside(0).await
    }

    /// The same, where so many dispatches of the tables were never requested.
    pub(crate) async fn audit_beside(&self, others: u32) -> Result<()> {
        let (mut left, mut since) = (i64::MAX, Instant::now());
        loop {
            let completed = "SELECT count(*) FROM saga_instances WHERE state IN ('COMPLETED', 'COMPENSATED')";
            let completed = self.database.number(completed).await? - i64::from(others);
            let waiting = self.database.number("SELECT count(*) FROM outbox").await?;
            let owed = self.owed();
            ensure!(completed <= owed, "{completed} have completed, {owed} were accepted");
            let now = owed - completed + waiting;
            if now == 0 {
                return Ok(());
            }
            if now < left {
                (left, since) = (now, Instant::now());
            }
            let patience = Duration::from_mins(1);
            ensure!(since.elapsed() < patience, "{completed} of {owed} completed, {waiting} wait to be sent");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Checks that what was accepted is durable with its message, where nobody publishes.
    pub(crate) async fn audit_accepts(&self) -> Result<()> {
        for table in ["dispatches", "outbox"] {
            let rows = self.database.number(&format!("SELECT count(*) FROM {table}")).await?;
            let owed = self.owed();
            ensure!(rows == owed, "{rows} rows in {table}, {owed} dispatches were accepted");
        }
        Ok(())
    }

    /// Stops them in order and removes their database.
    pub(crate) async fn end(self) -> Result<()> {
        for process in self.processes {
            let ended = process.terminate().await;
            let log = || ended.log[ended.log.len().saturating_sub(20)..].join("\n");
            ensure!(ended.status.success(), "waybill ended with {}:\n{}", ended.status, log());
        }
        self.database.drop().await.context("its database cannot be removed")
    }
}

impl Measured {
    /// What the book wants to know.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (Metric, f64)> {
        let figures = [(Metric::Rate, Some(self.rate)), (Metric::P50, self.p50), (Metric::P99, self.p99)];
        figures.into_iter().filter_map(|(metric, value)| Some((metric, value?)))
    }
}
