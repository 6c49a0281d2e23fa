//! Speed and reading against the number of dispatches that have ended.

use anyhow::{Context, Result};
use waybill_proto::v1::dispatch_gateway_client::DispatchGatewayClient;

use super::{
    Findings, IN_FLIGHT, fill,
    reads::{self, Reader},
    retention,
};
use crate::{
    book::median,
    load::{Amount, Load, Until},
    plot::{Chart, Curve},
    report::{Goal, Section, Wanted, maybe, shown},
    running::{Running, Setup},
    site::Site,
    subject::Kind,
};

/// A Waybill with a history.
pub(super) struct Grown {
    pub(super) size: u32,
    pub(super) running: Running,
    reader: Reader,
    sagas: Vec<f64>,
}

pub(super) async fn run(site: &Site, found: &mut Findings) -> Result<()> {
    let mut all = Vec::new();
    for size in &site.settings.history {
        site.say(&format!("a history of {} dispatches is made", shown(f64::from(*size))));
        let setup = Setup::new(site, Kind::Postgres, &format!("history-{size}"));
        all.push(Grown::new(site, &setup, *size).await?);
    }
    for round in 1..=site.settings.rounds {
        for grown in &mut all {
            site.say(&format!(
                "round {round}: sagas beside {} that have ended",
                shown(f64::from(grown.size))
            ));
            let load = Load::new(site, grown.running.endpoint(0), IN_FLIGHT, Until::Ended);
            let measured = load.run(site).await?;
            grown.running.owe(measured.accepted);
            grown.sagas.push(measured.rate);
            found.problems.extend(measured.wrong.map(|wrong| format!("history of {}: {wrong}", grown.size)));
        }
    }
    let mut rows = vec![sagas(&all, &mut found.goals)];
    let (mut worst, mut times_of_all) = (None, Vec::new());
    for (name, read) in reads::all() {
        site.say(&name);
        let mut times = Vec::new();
        for grown in &mut all {
            times.push(grown.reader.time(&read).await.with_context(|| name.clone())?);
        }
        let ratio = growth(&times);
        worst = worst.max_by(ratio);
        rows.push(row(format!("{name}, p50, ms"), &times, ratio));
        times_of_all.push((name, times));
    }
    let what = "reading beside the largest history ÷ beside the smallest, the worst of all reads".to_owned();
    found.goals.push(Goal { what, wanted: Wanted::AtMost(2.0), reached: worst });
    found.sections.push(section(&all, rows, &times_of_all));
    if let Some(largest) = all.last_mut() {
        retention::run(site, largest, found).await.context("retention")?;
    }
    for grown in all {
        grown.end(found).await?;
    }
    Ok(())
}

impl Grown {
    /// Starts one, has one dispatch run to its end, and makes a history of it.
    pub(super) async fn new(site: &Site, setup: &Setup<'_>, count: u32) -> Result<Self> {
        let mut running = Running::start(site, setup).await?;
        let load = Load::new(site, running.endpoint(0), 1, Until::Ended);
        let measured = Load { amount: Amount::Requests(1), ..load }.run(site).await?;
        running.owe(measured.accepted);
        running.audit().await?;
        fill::fill(&running.database, count).await?;
        let client = DispatchGatewayClient::connect(running.endpoint(0)).await?;
        Ok(Self { size: count, running, reader: Reader { client, size: count }, sagas: Vec::new() })
    }

    /// Looks whether everything has ended, and stops it.
    pub(super) async fn end(self, found: &mut Findings) -> Result<()> {
        let counted = self.running.audit_beside(self.size).await;
        found.problems.extend(counted.err().map(|error| format!("history of {}: {error}", self.size)));
        self.running.end().await
    }
}

fn sagas(all: &[Grown], goals: &mut Vec<Goal>) -> Vec<String> {
    let rates: Vec<f64> = all.iter().filter_map(|grown| median(grown.sagas.clone())).collect();
    let ratio = growth(&rates);
    let what = format!("sagas/s, {IN_FLIGHT} in flight, beside the largest history ÷ beside the smallest");
    goals.push(Goal { what, wanted: Wanted::AtLeast(0.9), reached: ratio });
    row(format!("sagas/s, {IN_FLIGHT} in flight"), &rates, ratio)
}

/// The last by the first, where there is more than one.
fn growth(values: &[f64]) -> Option<f64> {
    let (first, rest) = values.split_first()?;
    Some(rest.last()? / first)
}

fn row(name: String, values: &[f64], ratio: Option<f64>) -> Vec<String> {
    let values = values.iter().map(|value| shown(*value));
    std::iter::once(name).chain(values).chain([maybe(ratio)]).collect()
}

fn section(all: &[Grown], rows: Vec<Vec<String>>, times: &[(String, Vec<f64>)]) -> Section {
    let sizes = all.iter().map(|grown| format!("{} ended", shown(f64::from(grown.size))));
    let columns = std::iter::once("what".to_owned()).chain(sizes).chain(["ratio".to_owned()]).collect();
    let curve = |(name, times): &(String, Vec<f64>)| {
        let points = all.iter().zip(times).map(|(grown, time)| (f64::from(grown.size), *time)).collect();
        Curve { name: name.clone(), points }
    };
    // The dearest reads: the others lie on each other.
    let mut dearest: Vec<_> = times.iter().collect();
    dearest.sort_by(|a, b| b.1.last().unwrap_or(&0.0).total_cmp(a.1.last().unwrap_or(&0.0)));
    let chart = Chart {
        name: "history",
        title: "The slowest reads against dispatches that have ended, p50, ms",
        along: "dispatches that have ended",
        logarithmic: true,
        curves: dearest.into_iter().take(6).map(curve).collect(),
    };
    Section {
        title: "Against history",
        text: "The tables are filled with copies of a dispatch that has ended, one in a hundred cancelled, spread over \
               twenty days and a hundred customers. Pages have 50 dispatches; a deep page is the one half way through all \
               that match."
            .to_owned(),
        columns,
        rows,
        charts: vec![chart],
    }
}

trait Worst {
    fn max_by(self, other: Self) -> Self;
}

impl Worst for Option<f64> {
    fn max_by(self, other: Self) -> Self {
        self.into_iter().chain(other).reduce(f64::max)
    }
}
