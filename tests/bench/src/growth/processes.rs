//! Speed against the number of processes on one database and one broker.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use super::{Findings, IN_FLIGHT, texts};
use crate::{
    book::median,
    load::{Load, Until},
    plot::{Chart, Curve},
    report::{Section, shown},
    running::{Running, Setup},
    site::Site,
    subject::Kind,
};

pub(super) async fn run(site: &Site, found: &mut Findings) -> Result<()> {
    let (counts, in_flight) = (&site.settings.processes, 4 * IN_FLIGHT);
    let mut rates = vec![Vec::new(); counts.len()];
    for round in 1..=site.settings.rounds {
        for (count, rates) in counts.iter().zip(&mut rates) {
            site.say(&format!("round {round}: {count} processes"));
            rates.push(measure(site, *count, in_flight, found).await?);
        }
    }
    let medians = counts.iter().zip(rates).map(|(count, rates)| Some((f64::from(*count), median(rates)?)));
    let points: Vec<_> = medians.collect::<Option<_>>().context("no rounds")?;
    let rows = counts.iter().zip(&points).map(|(count, (_, rate))| vec![count.to_string(), shown(*rate)]);
    let rows = rows.collect();
    let chart = Chart {
        name: "processes",
        title: "Sagas a second against the number of processes",
        along: "processes",
        logarithmic: false,
        curves: vec![Curve { name: "Waybill, PostgreSQL".to_owned(), points }],
    };
    found.sections.push(Section {
        title: "Against the number of processes",
        text: format!(
            "Each process with all roles, a load on each gateway at the same time, {in_flight} sagas in flight together. \
             All share the cores with the servers: this shows what more processes cost, not what more machines bring."
        ),
        columns: texts(["processes", "sagas/s"]),
        rows,
        charts: vec![chart],
    });
    Ok(())
}

async fn measure(site: &Site, count: u32, in_flight: u32, found: &mut Findings) -> Result<f64> {
    let setup = Setup { processes: count, ..Setup::new(site, Kind::Postgres, "processes") };
    let mut running = Running::start(site, &setup).await?;
    let load = |process| Load::new(site, running.endpoint(process), (in_flight / count).max(1), Until::Ended);
    let loads: Vec<Load> = (0..count as usize).map(load).collect();
    let measured = try_join_all(loads.iter().map(|load| load.run(site))).await?;
    let mut rate = 0.0;
    for measured in measured {
        running.owe(measured.accepted);
        rate += measured.rate;
        found.problems.extend(measured.wrong.map(|wrong| format!("{count} processes: {wrong}")));
    }
    found.problems.extend(running.audit().await.err().map(|error| format!("{count} processes: {error}")));
    running.end().await?;
    Ok(rate)
}
