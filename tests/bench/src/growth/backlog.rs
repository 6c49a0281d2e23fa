//! How a backlog drains that grew while the broker was away, and how much memory that takes.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};
use waybill_test_support::Proxy;

use super::{Findings, texts};
use crate::{
    load::{Amount, Load, Until},
    plot::{Chart, Curve},
    report::{Section, maybe, shown},
    running::{Running, Setup},
    site::Site,
    speed::streaming,
    subject::Kind,
};

/// Pause between two looks …
const LOOK: Duration = Duration::from_millis(500);
/// … and no less than this many times what the last one took: a million rows are not counted all the time.
const SPARING: u32 = 20;
/// Without any progress for so long it is stuck.
const PATIENCE: Duration = Duration::from_mins(2);

/// How one backlog drained.
struct Drained {
    size: u32,
    accepts: f64,
    seconds: f64,
    /// MB before the broker came back, and the most that it ever was.
    before: Option<f64>,
    peak: Option<f64>,
    /// What had not ended, against seconds.
    curve: Vec<(f64, f64)>,
}

pub(super) async fn run(site: &Site, found: &mut Findings) -> Result<()> {
    let mut all = Vec::new();
    for size in &site.settings.backlog {
        site.say(&format!("a backlog of {} grows and drains", shown(f64::from(*size))));
        all.push(drain(site, *size, found).await?);
    }
    let row = |drained: &Drained| {
        let Drained { size, accepts, seconds, before, peak, .. } = drained;
        let rate = f64::from(*size) / seconds;
        [f64::from(*size), *accepts, *seconds, rate]
            .map(shown)
            .into_iter()
            .chain([maybe(*before), maybe(*peak)])
            .collect()
    };
    let curves = all.iter().map(|drained| Curve {
        name: format!("{} waited", shown(f64::from(drained.size))),
        points: drained.curve.clone(),
    });
    let chart = Chart {
        name: "backlog",
        title: "Dispatches that have not ended, after the broker came back",
        along: "seconds",
        logarithmic: false,
        curves: curves.collect(),
    };
    found.sections.push(Section {
        title: "Against backlog",
        text: "A process with all roles accepts while its broker cannot be reached; then it can (by way of a proxy, \
               which takes some CPU of its own), and everything runs to its end."
            .to_owned(),
        columns: texts(["waiting", "accepts/s", "seconds to the end", "sagas/s", "memory before, MB", "peak, MB"]),
        rows: all.iter().map(row).collect(),
        charts: vec![chart],
    });
    Ok(())
}

async fn drain(site: &Site, count: u32, found: &mut Findings) -> Result<Drained> {
    let proxy = Proxy::for_url(&site.settings.amqp).await;
    proxy.close();
    let setup = Setup::new(site, Kind::Postgres, &format!("backlog-{count}"));
    let setup = Setup { amqp: proxy.url(&site.settings.amqp), ..setup };
    let mut running = Running::start(site, &setup).await?;
    let load = Load::new(site, running.endpoint(0), streaming(site), Until::Accepted);
    let load = Load { amount: Amount::Requests(count), streaming: true, ..load };
    let measured = load.run(site).await?;
    running.owe(measured.accepted);
    found.problems.extend(measured.wrong.map(|wrong| format!("backlog of {count}: {wrong}")));
    let before = running.memory().map(|(now, _)| now);
    proxy.open();
    let curve = watch(&running, i64::from(count)).await?;
    found.problems.extend(running.audit().await.err().map(|error| format!("backlog of {count}: {error}")));
    let peak = running.memory().map(|(_, peak)| peak);
    running.end().await?;
    let seconds = curve.last().map_or(0.0, |point| point.0);
    Ok(Drained { size: count, accepts: measured.rate, seconds, before, peak, curve })
}

/// Looks until all have ended.
async fn watch(running: &Running, size: i64) -> Result<Vec<(f64, f64)>> {
    let begun = Instant::now();
    let (mut curve, mut least, mut since) = (Vec::new(), i64::MAX, begun);
    loop {
        let completed = "SELECT count(*) FROM saga_instances WHERE state = 'COMPLETED'";
        let asked = Instant::now();
        let left = size - running.database.number(completed).await?;
        let pause = LOOK.max(asked.elapsed() * SPARING);
        curve.push((begun.elapsed().as_secs_f64(), left as f64));
        if left <= 0 {
            return Ok(curve);
        }
        if left < least {
            (least, since) = (left, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "a backlog does not drain: {left} of {size} are left");
        sleep(pause).await;
    }
}
