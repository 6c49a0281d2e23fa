//! Speed against the size of a request, within what the contract allows.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use prost::Message;
use tokio::time::{Instant, sleep};
use waybill_proto::v1::DispatchRequested;
use waybill_test_support::load::Load;

use super::{Findings, IN_FLIGHT, texts};
use crate::{
    book::median,
    plot::{Chart, Curve},
    report::{Section, shown},
    running::{Running, Setup},
    site::Site,
    subject::Kind,
};

/// Characters of each id; the last is the longest that is taken.
const WIDTHS: [usize; 3] = [16, 64, 128];
/// Dispatches for every second that another measurement takes.
const PER_SECOND: u64 = 400;

pub(super) async fn run(site: &Site, found: &mut Findings) -> Result<()> {
    let mut rates: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let count = u32::try_from(site.settings.seconds * PER_SECOND)?;
    let setup = Setup::new(site, Kind::Postgres, "payload");
    let mut running = Running::start(site, &setup).await?;
    for round in 1..=site.settings.rounds {
        for width in WIDTHS {
            let bytes = request(width, round, 0).encoded_len();
            site.say(&format!("round {round}: requests of {bytes} bytes"));
            let requests = (0..count).map(|n| request(width, round, n)).collect();
            let begun = Instant::now();
            let receipts =
                Load::start(&running.program().client(), requests, IN_FLIGHT as usize).receipts().await;
            running.owe(receipts.len() as u64);
            ended(&running, running.owed()).await?;
            rates.entry(bytes).or_default().push(f64::from(count) / begun.elapsed().as_secs_f64());
        }
    }
    found.problems.extend(running.audit().await.err().map(|error| format!("payload: {error}")));
    running.end().await?;
    let medians = rates.into_iter().map(|(bytes, rates)| Some((bytes as f64, median(rates)?)));
    let points: Vec<_> = medians.collect::<Option<_>>().context("no rounds")?;
    let rows = points.iter().map(|(bytes, rate)| vec![shown(*bytes), shown(*rate)]).collect();
    let chart = Chart {
        name: "payload",
        title: "Sagas a second against the size of a request",
        along: "bytes",
        logarithmic: false,
        curves: vec![Curve { name: "Waybill, PostgreSQL".to_owned(), points }],
    };
    found.sections.push(Section {
        title: "Against payload size",
        text: format!(
            "Requests whose ids are as long as the contract allows, or shorter: {count} of each size, from the first \
             request to the last end, so that the rate counts its beginning and its end as well."
        ),
        columns: texts(["bytes of a request", "sagas/s"]),
        rows,
        charts: vec![chart],
    });
    Ok(())
}

fn request(width: usize, round: u32, n: u32) -> DispatchRequested {
    let id = |kind: char| {
        let id = format!("{kind}{width}-{round}-{n}-");
        format!("{id:x<width$}")
    };
    DispatchRequested {
        message_id: id('m'),
        order_id: id('o'),
        destination_code: "DEHAM".to_owned(),
        parcel_count: 1,
        customer_id: id('c'),
        ..DispatchRequested::default()
    }
}

async fn ended(running: &Running, count: i64) -> Result<()> {
    let completed = "SELECT count(*) FROM saga_instances WHERE state = 'COMPLETED'";
    let all = async {
        while running.database.number(completed).await? < count {
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_mins(5), all).await.context("some never end")?
}
