//! `make bench`: Waybill beside what the machine allows and beside a reference path, turn and turn about in
//! one run; and how it fares as history, backlog, requests and processes grow.
//!
//! The order of a run is in [`run`]. It is used by the program of this crate, for as long as one likes, and by
//! the test `yardsticks`, in short.
#![expect(clippy::cast_precision_loss, reason = "figures to look at")]

mod book;
mod cost;
mod database;
mod front;
mod goals;
mod growth;
mod load;
mod machine;
mod plot;
mod reference;
mod report;
mod running;
mod settings;
mod site;
mod speed;
mod speed_page;
mod stage;
mod subject;
mod telemetry;
mod tuning;
mod usage;

use std::path::Path;

use anyhow::Result;

use self::site::Site;
pub use self::{
    report::{Goal, Report},
    settings::{Knob, Part, Settings},
};

/// One run, from nothing to its reports. What it writes meanwhile is in a new folder below `place`, which has to
/// be on a disk. Whatever runs is stopped when this returns or is dropped.
///
/// Errors: the run itself could not be carried out. What did not end as it should is in the reports.
pub async fn run(settings: Settings, place: &Path) -> Result<Vec<Report>> {
    let site = Site::new(settings, place).await?;
    let machine = machine::describe(&site).await;
    site.say(&machine);
    if !site.packs {
        site.say("this program knows no setting relay.pack: nothing is measured with packing");
    }
    let mut reports = Vec::new();
    if site.settings.wants_speed() {
        let mut problems = Vec::new();
        let book = speed::run(&site, &mut problems).await?;
        reports.push(speed_page::page(&site, &book, problems, &machine));
    }
    reports.extend(growth::run(&site, &machine).await?);
    reports.extend(telemetry::run(&site, &machine).await?);
    reports.extend(tuning::run(&site, &machine).await?);
    site.sweep().await?;
    if let Some(folder) = &site.settings.report {
        reports.iter().try_for_each(|report| report.write(folder))?;
    }
    Ok(reports)
}
