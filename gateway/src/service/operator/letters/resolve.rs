//! `ReplayDeadLetters`, `DiscardDeadLetters`: batch by batch, each told once it is committed.

use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::Instrument as _;
use uuid::Uuid;
use waybill_messaging::dead_letter::{
    Take,
    desk::{self, Filter, State},
};
use waybill_proto::v1;

use super::{Which, no_such, which};
use crate::{
    desk::{Database, Desk, How, Resolve},
    edge::Call,
    service::operator::{MAX_RATE, Operator, check_why},
    violations::Violations,
};

/// Letters in one transaction, at most.
const BATCH: u32 = 100;
/// Progress that waits for a slow reader.
const WINDOW: usize = 16;

pub(crate) type Progress = ReceiverStream<Result<v1::DeadLettersProgress, Status>>;

/// What is asked for, not checked yet.
pub(crate) struct Order {
    pub(crate) how: How,
    pub(crate) filter: Option<v1::DeadLetterFilter>,
    pub(crate) all: bool,
    pub(crate) reason: String,
    pub(crate) operator: String,
    pub(crate) dry_run: bool,
    pub(crate) rate: u32,
}

/// What is being done.
struct Work {
    desk: Desk,
    which: Which,
    how: How,
    reason: String,
    operator: String,
    dry_run: bool,
    rate: u32,
    stop: CancellationToken,
    call: Call,
    progress: mpsc::Sender<Result<v1::DeadLettersProgress, Status>>,
}

/// Starts the stream's own task, which outlives the call that opened it.
pub(crate) async fn open(operator: &Operator, call: Call, order: Order) -> Result<Progress, Status> {
    let desk = operator.desk.clone();
    let which = check(&desk, &order)?;
    let Order { how, reason, operator: by, dry_run, rate, .. } = order;
    let resolved_before = resolved_before(&which).await?;
    let (progress, outbound) = mpsc::channel(WINDOW);
    let (stop, span) = (operator.service.stop.clone(), call.span.clone());
    let work = Work { desk, which, how, reason, operator: by, dry_run, rate, stop, call, progress };
    tokio::spawn(async move { work.run(resolved_before).await }.instrument(span));
    Ok(ReceiverStream::new(outbound))
}

fn check(desk: &Desk, order: &Order) -> Result<Which, Status> {
    let mut wrong = Violations::default();
    check_why(&mut wrong, &order.reason, &order.operator);
    wrong.check(order.rate <= MAX_RATE, "rate", "must be 1 to 100000 a second, or 0 for all at once");
    let filter = order.filter.clone().unwrap_or_default();
    let is_empty = filter == v1::DeadLetterFilter::default();
    wrong.check(!is_empty || order.all, "filter", "must say which, or all must be set");
    wrong.check(is_empty || !order.all, "all", "must not be set together with a filter");
    let which = which(&mut wrong, desk, filter, vec![State::Dead]);
    wrong.or(which)
}

/// How many of the ids are dead no more. Errors: one is none.
async fn resolved_before(which: &Which) -> Result<u64, Status> {
    let filter = Filter { ids: which.filter.ids.clone(), ..Filter::default() };
    if filter.ids.is_empty() {
        return Ok(0);
    }
    let mut found = Vec::new();
    for database in &which.databases {
        let letters = desk::rows(&database.store, &filter, None, u32::MAX).await;
        found.extend(letters.map_err(|error| database.failed(&error))?);
    }
    let is_found = |id: &&Uuid| found.iter().any(|letter| letter.id == **id);
    if let Some(unknown) = filter.ids.iter().find(|id| !is_found(id)) {
        return Err(no_such(*unknown));
    }
    Ok(found.iter().filter(|letter| letter.state != State::Dead).count() as u64)
}

impl Work {
    async fn run(self, resolved_before: u64) {
        let end = tokio::select! {
            end = self.work(resolved_before) => end,
            () = self.stop.cancelled() => {
                Err(Status::unavailable("shutting down: what was told is done, ask again for the rest"))
            }
            () = self.call.expired() => Err(Status::deadline_exceeded(
                "deadline passed: what was told is done, ask again for the rest",
            )),
            () = self.progress.closed() => Err(Status::cancelled("the client is gone")),
        };
        let code = end.as_ref().err().map_or(Code::Ok, Status::code);
        if let Err(status) = end {
            // A reader so slow that nothing fits any more learns from the end of the stream alone.
            let _ = self.progress.try_send(Err(status));
        }
        self.call.ended(code);
    }

    async fn work(&self, resolved_before: u64) -> Result<(), Status> {
        let mut told = v1::DeadLettersProgress { resolved_before, ..v1::DeadLettersProgress::default() };
        let mut ends = Vec::new();
        for database in &self.which.databases {
            let early = self.desk.early(database.store.clock().now());
            let matched = desk::count(&database.store, &self.which.filter, early).await;
            let matched = matched.map_err(|error| database.failed(&error))?;
            told.matched += matched.letters;
            if self.dry_run {
                told.recorded += matched.recorded;
                told.past_inbox_window += matched.early;
            }
            ends.extend(matched.last.map(|last| (database, last)));
        }
        self.tell(&mut told).await?;
        let begun = Instant::now();
        for (database, upto) in ends.into_iter().filter(|_| !self.dry_run) {
            let mut after = Uuid::nil();
            while let Some(last) = self.batch(database, after, upto, &mut told).await? {
                after = last;
                self.tell(&mut told).await?;
                if let Some(pause) = pause(told.taken, self.rate) {
                    sleep_until(begun + pause).await;
                }
            }
        }
        tracing::info!(
            how = ?self.how,
            matched = told.matched,
            taken = told.taken,
            dry_run = self.dry_run,
            operator = self.operator,
            reason = self.reason,
            "an operator has acted on dead letters"
        );
        Ok(())
    }

    /// One transaction; where the next one begins. `None`: there was nothing left.
    async fn batch(
        &self,
        database: &Database,
        after: Uuid,
        upto: Uuid,
        told: &mut v1::DeadLettersProgress,
    ) -> Result<Option<Uuid>, Status> {
        let most = if self.rate == 0 { BATCH } else { self.rate.div_ceil(10).min(BATCH) };
        let resolve = Resolve {
            take: Take { filter: self.which.filter.clone(), after, upto, most },
            how: self.how,
            operator: self.operator.clone(),
            reason: self.reason.clone(),
        };
        let taken = database.store.run(resolve).await.map_err(|error| database.not_committed(&error))?;
        let early = self.desk.early(database.store.clock().now());
        told.taken += taken.len() as u64;
        told.recorded += taken.iter().filter(|taken| taken.recorded).count() as u64;
        told.past_inbox_window += taken.iter().filter(|taken| taken.first_at < early).count() as u64;
        Ok(taken.last().map(|taken| taken.id))
    }

    async fn tell(&self, told: &mut v1::DeadLettersProgress) -> Result<(), Status> {
        told.warnings = self.warnings(told);
        let sent = self.progress.send(Ok(told.clone())).await;
        sent.map_err(|_| Status::cancelled("the client is gone"))
    }

    fn warnings(&self, told: &v1::DeadLettersProgress) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.how == How::Discard {
            return warnings;
        }
        if told.recorded > 0 {
            let text = "were handled before: they are answered again, and nothing is done twice";
            warnings.push(format!("{} {text}", told.recorded));
        }
        if told.past_inbox_window > 0 {
            warnings.push(format!(
                "{} died longer ago than the inbox remembers ({} s): should a copy have been handled since, only the \
                 participant's own rows keep it from being done twice",
                told.past_inbox_window,
                self.desk.inbox_retention.as_secs()
            ));
        }
        warnings
    }
}

/// From the beginning until so many may have been taken.
fn pause(taken: u64, rate: u32) -> Option<Duration> {
    (rate > 0).then(|| Duration::from_secs(1) * u32::try_from(taken).unwrap_or(u32::MAX) / rate)
}
