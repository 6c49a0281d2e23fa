//! What it costs to forget: speed while the history of dispatches that ended long ago is deleted.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, timeout};

use super::{Findings, IN_FLIGHT, history::Grown, texts};
use crate::{
    book::median,
    load::{Load, Until},
    report::{Section, maybe, shown},
    running::Setup,
    site::Site,
    subject::Kind,
};

/// Half of the copies ended earlier.
const KEPT: &str = "10d";
/// Waybill looks once a minute whether there is something to forget.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures one that forgets beside `keeps`, which has the same history and does not.
pub(super) async fn run(site: &Site, keeps: &mut Grown, found: &mut Findings) -> Result<()> {
    let count = keeps.size;
    site.say(&format!("a history of {} dispatches is made, half of it to be forgotten", shown(count.into())));
    let setup = Setup::new(site, Kind::Postgres, "retention").set("WAYBILL_SAGA_HISTORY_RETENTION", KEPT);
    let mut forgets = Grown::new(site, &setup, count).await?;
    let before = deleted(&forgets).await?;
    let begins = async {
        while deleted(&forgets).await? == before {
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, begins).await.context("nothing is forgotten")??;
    let (mut rates, mut speeds) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 1..=site.settings.rounds {
        for (is_forgetting, grown) in [&mut *keeps, &mut forgets].into_iter().enumerate() {
            let what = if is_forgetting == 1 { "while history is forgotten" } else { "while nothing is" };
            site.say(&format!("round {round}: sagas {what}"));
            let (before, begun) = (deleted(grown).await?, Instant::now());
            let load = Load::new(site, grown.running.endpoint(0), IN_FLIGHT, Until::Ended);
            let measured = load.run(site).await?;
            grown.running.owe(measured.accepted);
            rates[is_forgetting].push(measured.rate);
            found.problems.extend(measured.wrong.map(|wrong| format!("retention: {wrong}")));
            if is_forgetting == 1 {
                let rows = deleted(grown).await? - before;
                speeds.push(rows as f64 / begun.elapsed().as_secs_f64());
            }
        }
    }
    let [kept, forgotten] = rates.map(median);
    let ratio = forgotten.zip(kept).map(|(forgotten, kept)| forgotten / kept);
    found.sections.push(Section {
        title: "While history is forgotten",
        text: format!(
            "Beside {} dispatches that have ended, with `saga.history_retention` at its default, and at {KEPT}, so that \
             the older half is being deleted during the measurement, in turn. 0 rows/s would say that all of it was gone before.",
            shown(count.into())
        ),
        columns: texts(["sagas/s, nothing to forget", "sagas/s while forgetting", "ratio", "rows forgotten/s"]),
        rows: vec![[kept, forgotten, ratio, median(speeds)].map(maybe).to_vec()],
        charts: Vec::new(),
    });
    forgets.end(found).await
}

/// Rows of the history that have been deleted so far, as PostgreSQL counts them.
async fn deleted(grown: &Grown) -> Result<i64> {
    let sql = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'saga_history'";
    grown.running.database.number(sql).await
}
