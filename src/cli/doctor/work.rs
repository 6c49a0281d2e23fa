//! What waits in a database: the outbox, dead letters, sagas that are stuck, parked or paused.

use std::time::Duration;

use waybill_messaging::{
    StoreError,
    dead_letter::desk::{self, Filter, State},
    outbox,
};

use super::Findings;
use crate::cli::operate::{Database, age};

/// A row that is due for longer is not just passing through …
const SLOW: Duration = Duration::from_mins(1);
/// … and one that is due for longer than this nobody publishes.
const HELD_UP: Duration = Duration::from_mins(10);
/// Routing keys that are named at most.
const KEYS: u32 = 20;

pub(super) async fn look(
    database: &Database,
    about: &str,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    waiting(database, about, findings).await?;
    letters(database, about, findings).await?;
    if database.name == "common" {
        sagas(database, about, findings).await?;
    }
    Ok(())
}

async fn waiting(database: &Database, about: &str, findings: &mut Findings) -> Result<(), StoreError> {
    let depth = outbox::depth(&database.store).await?;
    let what = format!("the outbox holds {} messages, the oldest due for {}", depth.rows, age(depth.oldest));
    let mend =
        "`waybill outbox` shows them: see that the broker is there, and that a process plays role relay";
    match depth.oldest {
        oldest if oldest > HELD_UP => findings.bad(about, what, mend),
        oldest if oldest > SLOW => findings.warn(about, what, mend),
        _ => findings.ok(about, what),
    }
    for parked in outbox::parked_rows(&database.store, KEYS).await? {
        let (rows, key) = (parked.rows, &parked.routing_key);
        if parked.state == "UNROUTABLE" {
            findings.bad(
                about,
                format!(
                    "no queue takes {rows} messages with routing key {key}: its binding or queue is missing"
                ),
                "`waybill topology apply` declares what is missing; they then go out by themselves",
            );
        } else {
            findings.bad(
                about,
                format!("the broker refuses {rows} messages with routing key {key}"),
                format!(
                    "`waybill outbox --list --state rejected` says why; once that is gone, \
                     `waybill outbox retry --routing-key {key}`"
                ),
            );
        }
    }
    Ok(())
}

async fn letters(database: &Database, about: &str, findings: &mut Findings) -> Result<(), StoreError> {
    let filter = Filter { states: vec![State::Dead], ..Filter::default() };
    let dead: u64 = desk::groups(&database.store, &filter).await?.iter().map(|group| group.letters).sum();
    if dead == 0 {
        findings.ok(about, "no dead letters");
    } else {
        findings.warn(about, format!("{dead} dead letters"), "`waybill dead-letters` shows them by reason");
    }
    Ok(())
}

async fn sagas(database: &Database, about: &str, findings: &mut Findings) -> Result<(), StoreError> {
    let census = waybill_saga::census(&database.store).await?;
    let sum = |count: fn(&waybill_saga::Census) -> i64| census.values().map(count).sum::<i64>();
    let (open, stuck, parked) =
        (sum(waybill_saga::Census::open), sum(|one| one.stuck), sum(|one| one.parked));
    if stuck > 0 {
        findings.warn(
            about,
            format!("{stuck} of {open} open sagas are stuck"),
            "`waybill stuck` says at what, `waybill explain ID` why",
        );
    } else {
        findings.ok(about, format!("{open} open sagas, none stuck"));
    }
    if parked > 0 {
        findings.warn(
            about,
            format!("{parked} messages wait for a process that knows the version of their saga"),
            "`waybill saga versions` says which; run one with saga.versions that has it",
        );
    }
    for (pause, held) in waybill_saga::pause::pauses(&database.store).await? {
        findings.warn(
            about,
            format!("{} is paused, {held} messages wait for it", pause.describe()),
            "`waybill pauses` says since when and why, `waybill resume` lets it go",
        );
    }
    Ok(())
}
