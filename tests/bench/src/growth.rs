//! What becomes of speed as something grows: history, backlog, requests, processes, or as a
//! snapshot grows old. On PostgreSQL, where
//! a database grows large.

mod backlog;
mod fill;
mod history;
mod payload;
mod processes;
mod reads;
mod retention;
mod snapshot;

use anyhow::{Context, Result};

use crate::{
    report::{Goal, Report, Section},
    settings::Part,
    site::Site,
};

/// Sagas in flight, where that is not what grows.
const IN_FLIGHT: u32 = 64;

/// What the parts find.
#[derive(Default)]
struct Findings {
    goals: Vec<Goal>,
    sections: Vec<Section>,
    problems: Vec<String>,
}

/// Measures what the settings ask for; nothing where they ask for none of it.
pub(crate) async fn run(site: &Site, machine: &str) -> Result<Option<Report>> {
    let mut found = Findings::default();
    let wants = |part| site.settings.wants(part);
    if wants(Part::History) {
        history::run(site, &mut found).await.context("history")?;
    }
    if wants(Part::Backlog) {
        backlog::run(site, &mut found).await.context("backlog")?;
    }
    if wants(Part::Payload) {
        payload::run(site, &mut found).await.context("payload")?;
    }
    if wants(Part::Processes) {
        processes::run(site, &mut found).await.context("processes")?;
    }
    if wants(Part::Snapshot) {
        snapshot::run(site, &mut found).await.context("old snapshot")?;
    }
    let Findings { goals, sections, problems } = found;
    let introduction = format!(
        "{machine}\n\nMade by `make bench ARGS=\"{}\"`; figures are medians over the rounds. On PostgreSQL, every \
         setting at its default, {IN_FLIGHT} sagas in flight where nothing else is said. How outbox and inbox would grow \
         under an old snapshot without slots is shown by `make growth`: [old_snapshot.svg](old_snapshot.svg).",
        site.settings.flags()
    );
    let report = Report { name: "growth", title: "Growth", introduction, goals, sections, problems };
    Ok((!report.sections.is_empty()).then_some(report))
}

fn texts<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}
