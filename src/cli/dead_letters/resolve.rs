//! Dead letters sent again or given up: one, a group, or all.

use std::{
    io::{IsTerminal as _, stderr},
    process::ExitCode,
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::{Instant, timeout};
use tonic::{Response, Status, Streaming};
use waybill_proto::v1::{
    DeadLetterFilter, DeadLettersProgress, DiscardDeadLettersRequest, ReplayDeadLettersRequest,
};

use super::filter::FilterArgs;
use crate::cli::{
    Failure,
    clean::clean,
    client::ClientArgs,
    json, out,
    why::{Why, rate},
};

/// Between two lines of progress where nobody watches a bar.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
struct Target {
    /// Ids of dead letters
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every dead letter
    #[arg(long, conflicts_with_all = ["ids", "database", "queue", "type_name", "kind", "letter_reason", "dispatch"])]
    all: bool,
    /// Only says how many it would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    client: ClientArgs,
}

/// Sends dead letters again, under their own message ids: what had been handled is not done twice
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill dead-letters replay 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --reason 'payment is mended'
  waybill dead-letters replay --queue payment --kind exhausted --rate 50/s --reason 'payment is back'
  waybill dead-letters replay --all --dry-run --reason 'how many?'

What is not dead any more is left alone: doing it twice does nothing twice.")]
pub(super) struct Replay {
    #[command(flatten)]
    target: Target,
    /// How many a second, at most, such as 50/s
    #[arg(long, value_parser = rate, value_name = "RATE")]
    rate: Option<u32>,
}

/// Gives dead letters up; they are kept, with the reason
#[derive(Debug, clap::Args)]
pub(super) struct Discard {
    #[command(flatten)]
    target: Target,
}

/// What every such request has.
struct Asked {
    filter: Option<DeadLetterFilter>,
    all: bool,
    reason: String,
    operator: String,
    dry_run: bool,
    client: ClientArgs,
}

impl Target {
    fn asked(self) -> Asked {
        let Self { ids, filter, all, dry_run, why: Why { reason, operator }, client } = self;
        Asked { filter: Some(filter.wire(ids)), all, reason, operator, dry_run, client }
    }
}

impl Replay {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let rate = self.rate.unwrap_or_default();
        let Asked { filter, all, reason, operator, dry_run, client } = self.target.asked();
        let (_, mut server) = client.connect_operator().await?;
        let request = ReplayDeadLettersRequest { filter, all, reason, operator, dry_run, rate };
        follow(&client, server.replay_dead_letters(request), "replayed", dry_run).await
    }
}

impl Discard {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Asked { filter, all, reason, operator, dry_run, client } = self.target.asked();
        let (_, mut server) = client.connect_operator().await?;
        let request = DiscardDeadLettersRequest { filter, all, reason, operator, dry_run };
        follow(&client, server.discard_dead_letters(request), "discarded", dry_run).await
    }
}

/// Shows progress until the stream ends, and then what has come of it.
async fn follow(
    client: &ClientArgs,
    opening: impl Future<Output = Result<Response<Streaming<DeadLettersProgress>>, Status>>,
    done: &str,
    dry_run: bool,
) -> Result<ExitCode, Failure> {
    let mut stream = news(client, opening).await?.into_inner();
    let mut board = Board::new();
    let mut told = DeadLettersProgress::default();
    let end = loop {
        match news(client, stream.message()).await {
            Ok(Some(progress)) => told = progress,
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
        board.show(&told);
    };
    board.clear();
    for warning in &told.warnings {
        eprintln!("warning: {}", clean(warning));
    }
    if let Err(status) = end {
        let mut failure = Failure::from(status);
        failure.details.push(format!("{} of {} {done} before", told.taken, told.matched));
        return Err(failure);
    }
    out::text(&if client.json { line(&told, done, dry_run) } else { sentence(&told, done, dry_run) })
        .map(|()| ExitCode::SUCCESS)
}

/// Waits for an answer no longer than the time-out.
async fn news<T>(client: &ClientArgs, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let silence = || format!("no news within {}", humantime::format_duration(client.timeout));
    timeout(client.timeout, answer).await.unwrap_or_else(|_| Err(Status::deadline_exceeded(silence())))
}

fn sentence(told: &DeadLettersProgress, done: &str, dry_run: bool) -> String {
    let mut text = if dry_run {
        format!("{} would be {done}", told.matched)
    } else {
        format!("{} of {} {done}", told.taken, told.matched)
    };
    if told.resolved_before > 0 {
        text = format!("{text}, {} not dead any more", told.resolved_before);
    }
    text
}

fn line(told: &DeadLettersProgress, done: &str, dry_run: bool) -> String {
    json::line(&json!({
        "dry_run": dry_run,
        "matched": told.matched,
        done: told.taken,
        "recorded": told.recorded,
        "past_inbox_window": told.past_inbox_window,
        "resolved_before": told.resolved_before,
        "warnings": told.warnings,
    }))
}

/// Progress on standard error: a bar for people, a line now and then for logs.
struct Board {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Board {
    fn new() -> Self {
        Self { bar: stderr().is_terminal().then(|| ProgressBar::new(0)), told: Instant::now() }
    }

    fn show(&mut self, told: &DeadLettersProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(told.matched);
            bar.set_position(told.taken);
        } else if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            eprintln!("{} of {}", told.taken, told.matched);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
