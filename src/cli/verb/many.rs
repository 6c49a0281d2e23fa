//! A verb on many dispatches, at a given rate: progress on the way, and a summary at the end.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stderr},
    process::ExitCode,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};
use waybill_proto::v1::{DispatchState, GetDispatchRequest, ListStuckRequest, get_dispatch_request::Key};

use super::{Target, Verb};
use crate::cli::{
    Failure,
    client::{Gateway, Operator},
    find::find,
    json, out, status,
};

/// Calls in flight.
const AT_ONCE: usize = 16;
/// The largest page that the server gives.
const PAGE: i32 = 1_000;
/// Between two lines of progress where nobody watches a bar.
const EVERY: Duration = Duration::from_secs(5);
/// Kinds of refusal that are shown in full.
const SHOWN: usize = 10;

/// What became of one dispatch.
enum Outcome {
    Done,
    /// It was stuck when the list was made, and is no more.
    Free,
    Failed(Status),
}

impl Target {
    pub(super) async fn many(&self, verb: Verb) -> Result<ExitCode, Failure> {
        let (mut gateway, mut operator) = self.client.connect_operator().await?;
        let targets =
            if self.stuck { self.list(&mut operator).await? } else { self.named(&mut gateway).await? };
        let total = targets.len();
        let begun = Instant::now();
        let paced = stream::iter(targets.into_iter().enumerate()).then(|(number, target)| async move {
            if let Some(rate) = self.rate {
                sleep_until(
                    begun + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate,
                )
                .await;
            }
            target
        });
        let mut outcomes = std::pin::pin!(
            paced
                .map(|(id, version)| {
                    let (gateway, operator) = (gateway.clone(), operator.clone());
                    async move { (id.clone(), self.one(gateway, operator, verb, id, version).await) }
                })
                .buffer_unordered(AT_ONCE)
        );
        let mut tally = Tally::new(total);
        while let Some((id, outcome)) = outcomes.next().await {
            if self.client.json {
                out::text(&line(&id, &outcome))?;
            }
            tally.add(outcome);
        }
        tally.end(verb, self.client.json)
    }

    /// All that is stuck, as it stands before anything is done.
    async fn list(&self, operator: &mut Operator) -> Result<Vec<(String, u64)>, Failure> {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListStuckRequest {
                page_size: PAGE,
                page_token,
                step: self.step.clone().unwrap_or_default(),
                participant: self.participant.clone().unwrap_or_default(),
            };
            let page = self.client.call(request, |request| operator.list_stuck(request)).await?;
            found.extend(page.dispatches.into_iter().map(|stuck| (stuck.dispatch_id, stuck.version)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }

    async fn named(&self, gateway: &mut Gateway) -> Result<Vec<(String, u64)>, Failure> {
        let mut found = Vec::new();
        for id in &self.ids {
            let dispatch = find(&self.client, gateway, id, self.by).await?;
            found.push((dispatch.dispatch_id, self.version.unwrap_or(dispatch.version)));
        }
        Ok(found)
    }

    /// What is stuck asks again now and then, which is a new version of the same: then once more with that.
    async fn one(
        &self,
        mut gateway: Gateway,
        operator: Operator,
        verb: Verb,
        id: String,
        version: u64,
    ) -> Outcome {
        let moved = match self.act(operator.clone(), verb, id.clone(), version).await {
            Ok(_) => return Outcome::Done,
            Err(status) if status.code() == Code::Aborted && self.stuck => status,
            Err(status) => return Outcome::Failed(status),
        };
        let request = GetDispatchRequest { key: Some(Key::DispatchId(id.clone())) };
        match self.client.call(request, |request| gateway.get_dispatch(request)).await {
            Ok(now) if now.state() != DispatchState::Stuck => Outcome::Free,
            Ok(now) => match self.act(operator, verb, id, now.version).await {
                Ok(_) => Outcome::Done,
                Err(status) => Outcome::Failed(status),
            },
            Err(_) => Outcome::Failed(moved),
        }
    }
}

fn line(id: &str, outcome: &Outcome) -> String {
    let value = match outcome {
        Outcome::Done => json!({ "dispatch_id": id, "outcome": "done" }),
        Outcome::Free => json!({ "dispatch_id": id, "outcome": "not_stuck_any_more" }),
        Outcome::Failed(status) => json!({
            "dispatch_id": id,
            "outcome": "failed",
            "code": status::code_name(status.code()),
            "message": status.message(),
        }),
    };
    json::line(&value)
}

/// What became of them so far.
struct Tally {
    bar: Option<ProgressBar>,
    told: Instant,
    total: usize,
    done: usize,
    free: usize,
    /// By what was said.
    failed: BTreeMap<String, usize>,
    first: Option<Status>,
}

impl Tally {
    fn new(total: usize) -> Self {
        let bar = stderr().is_terminal().then(|| ProgressBar::new(total as u64));
        let (told, failed) = (Instant::now(), BTreeMap::new());
        Self { bar, told, total, done: 0, free: 0, failed, first: None }
    }

    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Free => self.free += 1,
            Outcome::Failed(status) => {
                let said = format!("{}: {}", status::code_name(status.code()), status.message());
                *self.failed.entry(said).or_default() += 1;
                self.first.get_or_insert(status);
            }
        }
        let seen = self.done + self.free + self.failed.values().sum::<usize>();
        if let Some(bar) = &self.bar {
            bar.set_position(seen as u64);
        } else if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            eprintln!("{seen} of {}", self.total);
        }
    }

    fn end(self, verb: Verb, json: bool) -> Result<ExitCode, Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let failed: usize = self.failed.values().sum();
        let mut text = format!("{} of {} {}", self.done, self.total, verb.done());
        if self.free > 0 {
            text = format!("{text}, {} not stuck any more", self.free);
        }
        if failed > 0 {
            text = format!("{text}, {failed} failed");
        }
        // Lines of JSON are for programs; the summary is not one of them.
        if json {
            eprintln!("{text}");
        } else {
            out::text(&text)?;
        }
        let Some(first) = self.first else { return Ok(ExitCode::SUCCESS) };
        let mut failure = Failure::from(first);
        let kinds = self.failed.len();
        failure.details =
            self.failed.into_iter().take(SHOWN).map(|(said, n)| format!("{n}x {said}")).collect();
        if kinds > SHOWN {
            failure.details.push(format!("and {} kinds more", kinds - SHOWN));
        }
        failure.message = format!("{failed} failed");
        Err(failure)
    }
}
