//! Where the news of many dispatches come together: counted, shown, printed and, on request, followed up.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use waybill_proto::v1::DispatchReceipt;

use super::{
    item::Item,
    progress::Progress,
    tally::Tally,
    wait::{Ended, Waiting},
};
use crate::cli::{
    Failure,
    clean::clean,
    client::{ClientArgs, Gateway},
    json, out,
    pulse::Pulse,
    state, time,
};

/// Dispatches that are waited for at once; past it no more are sent until some have ended.
const BACKLOG: usize = 16_384;
/// Rejections that are printed one by one.
const NAMED: u64 = 20;

pub(super) struct Board<'a> {
    args: &'a ClientArgs,
    wait: bool,
    pub(super) tally: Tally,
    pub(super) waiting: Waiting,
    /// Beats with every news of any dispatch.
    pub(super) pulse: Pulse,
    progress: Progress,
}

impl<'a> Board<'a> {
    pub(super) fn new(
        args: &'a ClientArgs,
        client: Gateway,
        total: Option<usize>,
        wait: bool,
    ) -> Result<Self, Failure> {
        let pulse = Pulse::new();
        let waiting = Waiting::new(args.clone(), client, pulse.clone());
        Ok(Self { args, wait, tally: Tally::new()?, waiting, pulse, progress: Progress::new(total, wait) })
    }

    /// Whether another item may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < BACKLOG
    }

    pub(super) fn sent(&mut self) {
        self.tally.sent(Instant::now());
    }

    pub(super) fn retried(&mut self) {
        self.tally.retried += 1;
        self.progress.show(&self.tally);
    }

    pub(super) fn accepted(&mut self, receipt: &DispatchReceipt, latency: Duration) -> Result<(), Failure> {
        self.tally.accepted(receipt.duplicate, latency, Instant::now());
        if self.wait {
            self.waiting.begin(receipt);
        }
        self.print(|| json::receipt(receipt))
    }

    pub(super) fn rejected(&mut self, item: &Item, error: &Status) -> Result<(), Failure> {
        self.tally.rejected(error.code());
        if !self.args.json {
            self.name(item, error);
        }
        self.print(|| json::rejection(&item.request.message_id, error))
    }

    /// A dispatch has ended, or was given up on.
    pub(super) fn ended(&mut self, ended: Ended) -> Result<(), Failure> {
        let end = match ended.end {
            Ok(end) => end,
            Err(failure) => {
                self.tally.unfinished += 1;
                self.progress.note(&format!("dispatch {}: {failure}", clean(&ended.dispatch_id)));
                return Ok(());
            }
        };
        // A duplicate ended on its own time, not on that of this run.
        let latency = time::between(ended.accepted_at.as_ref(), end.at.as_ref()).filter(|_| !ended.duplicate);
        self.tally.ended(state::name(end.state()), &clean(&end.reason), latency, Instant::now());
        self.print(|| json::transition(&end))
    }

    /// Waits for the dispatches that have not ended, as long as there is news of any.
    pub(super) async fn wait_for_rest(&mut self) -> Result<(), Failure> {
        self.pulse.beat();
        while self.waiting.len() > 0 {
            tokio::select! {
                ended = self.waiting.next() => match ended {
                    Some(ended) => self.ended(ended)?,
                    None => break,
                },
                () = self.pulse.silence(self.args.timeout) => break,
            }
        }
        self.give_up();
        Ok(())
    }

    /// What is still waited for counts as not ended.
    pub(super) fn give_up(&mut self) {
        if self.wait {
            let accepted = self.tally.accepted + self.tally.duplicates;
            self.tally.unfinished = accepted.saturating_sub(self.tally.ends());
        }
        self.progress.clear();
    }

    fn name(&self, item: &Item, error: &Status) {
        let count = self.tally.rejections();
        if count <= NAMED {
            let failure = Failure::from(error.clone());
            let what = [vec![failure.message], failure.details].concat().join("; ");
            let text = format!("line {} ({}): {what}", item.line, item.request.message_id);
            self.progress.note(&clean(&text));
        } else if count == NAMED + 1 {
            self.progress.note("further rejections are only counted");
        }
    }

    fn print(&mut self, value: impl FnOnce() -> serde_json::Value) -> Result<(), Failure> {
        self.progress.show(&self.tally);
        if self.args.json { self.progress.aside(|| out::text(&json::line(&value()))) } else { Ok(()) }
    }
}
