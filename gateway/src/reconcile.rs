//! Should the broker lose everything it holds, every accepted dispatch still begins, and every cancel
//! request is decided: what was sent a while ago and has not arrived is sent again.
//!
//! Sending again is harmless, the message is the same one. It is still done sparingly, because the usual
//! reason for what has not arrived is that much is waiting: not while the message is in the outbox,
//! a bounded number at a time, and for one dispatch at growing intervals.

mod look;
mod pace;

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_messaging::{
    Column, Frontier, Outgoing, Rows, Store, StoreError, Timestamp, Transaction, Tx, classify,
    health::Health, outbox,
};

pub use self::pace::RECONCILE_HORIZON;
use self::{
    look::{Found, look},
    pace::Pace,
};
use crate::{id, readiness};

/// Pause between two runs …
const INTERVAL: Duration = Duration::from_secs(5);
/// … and no less than this many times what the last one took to find that dispatches still wait: a backlog of a million
/// is not read all the time, which would only make it last longer;
const SPARING: u32 = 20;
/// and no more than this.
const LONGEST: Duration = Duration::from_mins(5);
/// A request that took longer to be committed is found when the next look begins at the beginning.
const MARGIN: Duration = Duration::from_mins(1);
/// Messages of one kind sent again in one run, at most.
const MAX_SENT: usize = 500;

/// What may have been lost on its way to the saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The request that starts it.
    Request,
    /// The request to undo it.
    Cancel,
}

impl Kind {
    /// Notes that those of the set `v` have arrived; `$1` is now.
    const fn mark(self) -> &'static str {
        match self {
            Self::Request => {
                "UPDATE dispatches SET saga_started_at = $1 \
                 WHERE saga_started_at IS NULL AND dispatch_id IN (SELECT id FROM v)"
            }
            Self::Cancel => {
                "UPDATE dispatches SET cancel_requested_at = NULL \
                 WHERE cancel_requested_at <= $1 AND dispatch_id IN (SELECT id FROM v)"
            }
        }
    }

    /// Where the next look may begin after one of all that was sent `until` then, if nothing was missing: ids sort by the
    /// moment of the request. A request to undo may concern any dispatch, however old.
    fn beyond(self, until: Timestamp) -> String {
        match self {
            Self::Request => id::floor(until.minus(MARGIN)),
            Self::Cancel => String::new(),
        }
    }

    fn warn(self, sent: usize) {
        match self {
            Self::Request => tracing::warn!(sent, "dispatches without a saga were sent again"),
            Self::Cancel => tracing::warn!(sent, "cancel requests without a decision were sent again"),
        }
    }
}

/// The loop.
pub(crate) struct Reconcile {
    store: Store,
    health: Health,
    paces: [(Kind, Pace, Frontier<String>); 2],
}

impl Reconcile {
    pub(crate) fn new(store: Store, health: Health) -> Self {
        let paces = [Kind::Request, Kind::Cancel];
        Self { store, health, paces: paces.map(|kind| (kind, Pace::default(), Frontier::new(SPARING))) }
    }

    /// Runs at once and then at intervals, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let mut in_vain = Duration::ZERO;
            for (kind, pace, frontier) in &mut self.paces {
                let outcome = run_once(&self.store, *kind, pace, frontier).await;
                readiness::report(&self.health, outcome.as_ref().err());
                match outcome {
                    Ok(run) => {
                        in_vain += run.in_vain;
                        if run.sent > 0 {
                            kind.warn(run.sent);
                        }
                    }
                    Err(error) => tracing::warn!(%error, ?kind, "what was lost was not looked for"),
                }
            }
            let pause = (in_vain * SPARING).clamp(INTERVAL, LONGEST);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}

/// What a run has done.
#[derive(Debug, Default)]
struct Run {
    /// How many were sent again.
    sent: usize,
    /// Time spent on pages of which nothing had arrived.
    in_vain: Duration,
}

/// Looks at everything of that kind that waits beyond the frontier, oldest first.
async fn run_once(
    store: &Store,
    kind: Kind,
    pace: &mut Pace,
    frontier: &mut Frontier<String>,
) -> Result<Run, StoreError> {
    let start = Instant::now();
    let from = frontier.begin(start);
    let mut reached = kind.beyond(store.clock().now().minus(pace::PATIENCE));
    let mut after = from.clone().unwrap_or_default();
    let mut run = Run::default();
    let mut waiting = HashSet::new();
    loop {
        let (begun, now) = (Instant::now(), store.clock().now());
        let rows = look(store, kind, &after, now.minus(pace::PATIENCE)).await?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.dispatch_id);
        let (arrived, missing): (Vec<_>, Vec<_>) = rows.into_iter().partition(|found| found.has_arrived);
        if let Some(oldest) = missing.first() {
            reached = reached.min(just_before(&oldest.dispatch_id));
        }
        waiting.extend(
            missing
                .iter()
                .filter(|found| pace.knows(&found.dispatch_id))
                .map(|found| found.dispatch_id.clone()),
        );
        if arrived.is_empty() {
            run.in_vain += begun.elapsed();
        }
        let again = due(pace, missing, now, MAX_SENT - run.sent);
        let work = Settle {
            kind,
            arrived: arrived.into_iter().map(|found| found.dispatch_id).collect(),
            again: again.iter().filter_map(|found| found.message.clone()).collect(),
        };
        if !work.arrived.is_empty() || !work.again.is_empty() {
            run.sent += store.run(work).await?;
        }
        for found in again {
            waiting.insert(found.dispatch_id.clone());
            pace.note(found.dispatch_id, now);
        }
    }
    pace.keep(&waiting);
    frontier.advance(from.as_ref(), start, Instant::now(), reached);
    Ok(run)
}

/// What sorts before this id, and after those before it.
fn just_before(dispatch_id: &str) -> String {
    let mut before = dispatch_id.to_owned();
    before.pop();
    before
}

/// Those of `lost` whose turn it is, at most `most`.
fn due(pace: &Pace, mut lost: Vec<Found>, now: Timestamp, most: usize) -> Vec<Found> {
    lost.retain(|found| pace.is_due(&found.dispatch_id, now));
    lost.truncate(most);
    lost
}

/// Marks what has arrived and sends the rest again.
struct Settle {
    kind: Kind,
    arrived: Vec<String>,
    again: Vec<Outgoing>,
}

impl Transaction for Settle {
    const NAME: &'static str = "gateway.reconcile";
    /// How many were sent.
    type Output = usize;

    async fn run(&self, tx: &Tx) -> Result<usize, StoreError> {
        let arrived = Rows::ids(self.arrived.iter().map(String::as_str));
        tx.execute_rows(&arrived, self.kind.mark(), vec![tx.now().micros().into()]).await?;
        let lost = not_waiting(tx, &self.again).await?;
        let sent = lost.len();
        outbox::append(tx, lost);
        Ok(sent)
    }
}

/// Those that do not wait in the outbox under this very id.
pub(crate) async fn not_waiting(tx: &Tx, messages: &[Outgoing]) -> Result<Vec<Outgoing>, StoreError> {
    let mut ids = Rows::new(&[("id", Column::Uuid)]);
    for message in messages {
        ids.push(vec![message.id.into()]);
    }
    let found = tx.query_rows(&ids, "SELECT o.id FROM outbox o JOIN v ON o.id = v.id", Vec::new()).await?;
    let waiting: HashSet<Uuid> = found
        .iter()
        .map(|row| row.try_get_by_index(0).map_err(|e| classify(&e)))
        .collect::<Result<_, _>>()?;
    Ok(messages.iter().filter(|message| !waiting.contains(&message.id)).cloned().collect())
}
