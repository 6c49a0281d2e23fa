//! Speed while another session holds an old snapshot, as a long report, a dump or a forgotten transaction does: VACUUM
//! may then remove nothing that has died since.

use std::time::Duration;

use anyhow::Result;
use sqlx::Connection as _;
use tokio::time::Instant;

use super::{Findings, IN_FLIGHT, texts};
use crate::{
    load::{Amount, Load, Measured, Until},
    plot::{Chart, Curve},
    report::{Section, maybe, shown},
    running::{Running, Setup},
    site::Site,
    subject::Kind,
};

/// Dispatches a second between two measurements, so that as much dies in each minute.
const STEADY: u32 = 200;
/// Measurements: one in so much time, within these.
const EACH: Duration = Duration::from_mins(1);
const FEWEST: u32 = 2;
const MOST: u32 = 12;

/// What one measurement found.
struct Found {
    /// Since the snapshot was taken.
    minutes: f64,
    sagas: f64,
    /// Milliseconds of PostgreSQL's CPU for one saga of the steady load before it.
    cpu: Option<f64>,
    /// MB of outbox, inbox and all other tables, with their indexes.
    sizes: [f64; 3],
}

pub(super) async fn run(site: &Site, found: &mut Findings) -> Result<()> {
    let held = Duration::from_secs(site.settings.held);
    let spans = u32::try_from(held.as_secs() / EACH.as_secs()).unwrap_or(MOST).clamp(FEWEST, MOST);
    let mut running = Running::start(site, &Setup::new(site, Kind::Postgres, "snapshot")).await?;
    let mut all = vec![look(site, &mut running, found).await?];
    let mut holder = sqlx::PgConnection::connect(&running.database.url).await?;
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut holder).await?;
    sqlx::query("SELECT pg_current_snapshot()").execute(&mut holder).await?;
    let begun = Instant::now();
    for span in 1..=spans {
        site.say(&format!("an old snapshot, {span} of {spans}"));
        let until = begun + held * span / spans;
        let time = until.saturating_duration_since(Instant::now() + site.settings.time());
        let cpu = steady(site, &mut running, time.max(Duration::from_secs(1)), found).await?;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        all.push(Found { minutes, cpu, ..look(site, &mut running, found).await? });
    }
    // It must have been held to the last: else there was nothing old.
    sqlx::query("COMMIT").execute(&mut holder).await?;
    holder.close().await?;
    found.problems.extend(running.audit().await.err().map(|error| format!("old snapshot: {error}")));
    running.end().await?;
    found.sections.push(section(&all));
    Ok(())
}

/// Keeps the system busy for so long, and returns what a saga cost PostgreSQL meanwhile.
async fn steady(
    site: &Site,
    running: &mut Running,
    time: Duration,
    found: &mut Findings,
) -> Result<Option<f64>> {
    let before = running.database.seconds();
    let load = Load::new(site, running.endpoint(0), IN_FLIGHT, Until::Ended);
    let amount = Amount::Time { warm_up: Duration::ZERO, time };
    let measured = load_on(running, &Load { rate: Some(STEADY), amount, ..load }, site, found).await?;
    let spent = running.database.seconds().zip(before).map(|(after, before)| after - before);
    Ok(spent.map(|seconds| seconds * 1e3 / measured.accepted as f64))
}

/// Measures speed and sizes; the rest says who asks.
async fn look(site: &Site, running: &mut Running, found: &mut Findings) -> Result<Found> {
    let load = Load::new(site, running.endpoint(0), IN_FLIGHT, Until::Ended);
    let sagas = load_on(running, &load, site, found).await?.rate;
    let mut sizes = [0.0; 3];
    for (size, which) in sizes.iter_mut().zip([
        "relname LIKE 'outbox%'",
        "relname LIKE 'inbox%'",
        "relname NOT LIKE 'outbox%' AND relname NOT LIKE 'inbox%'",
    ]) {
        let sql = format!(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND {which}"
        );
        *size = running.database.number(&sql).await? as f64 / 1e6;
    }
    Ok(Found { minutes: 0.0, sagas, cpu: None, sizes })
}

async fn load_on(running: &mut Running, load: &Load, site: &Site, found: &mut Findings) -> Result<Measured> {
    let measured = load.run(site).await?;
    running.owe(measured.accepted);
    found.problems.extend(measured.wrong.as_ref().map(|wrong| format!("old snapshot: {wrong}")));
    Ok(measured)
}

fn section(all: &[Found]) -> Section {
    let row = |found: &Found| {
        let figures = [Some(found.minutes), Some(found.sagas), found.cpu].map(maybe);
        figures.into_iter().chain(found.sizes.map(shown)).collect()
    };
    let points = all.iter().map(|found| (found.minutes, found.sagas)).collect();
    let sagas = Chart {
        name: "snapshot",
        title: "Sagas a second while another session holds an old snapshot",
        along: "minutes",
        logarithmic: false,
        curves: vec![Curve { name: "sagas/s".to_owned(), points }],
    };
    let curve = |(index, name): (usize, &str)| {
        let points = all.iter().map(|found| (found.minutes, found.sizes[index])).collect();
        Curve { name: name.to_owned(), points }
    };
    let sizes = Chart {
        name: "snapshot_sizes",
        title: "MB on disk while another session holds an old snapshot",
        along: "minutes",
        logarithmic: false,
        curves: ["outbox", "inbox", "all other tables"].into_iter().enumerate().map(curve).collect(),
    };
    Section {
        title: "Under an old snapshot",
        text: format!(
            "Another session takes a snapshot after the first row and holds it. {STEADY} dispatches a second all the time, \
             and in between as many as go, {IN_FLIGHT} in flight. PostgreSQL's CPU is that of the steady load before the \
             measurement. Inbox and other tables keep all that comes, for as long as their retention says; only in the outbox \
             nothing is to stay."
        ),
        columns: texts([
            "minutes",
            "sagas/s",
            "PostgreSQL, ms of CPU a saga",
            "outbox, MB",
            "inbox, MB",
            "other tables, MB",
        ]),
        rows: all.iter().map(row).collect(),
        charts: vec![sagas, sizes],
    }
}
