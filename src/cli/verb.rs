//! `waybill retry`, `skip`, `compensate`, `force-complete`: an operator's verbs, on dispatches by their ids or on
//! everything that is stuck.

mod many;

use std::process::ExitCode;

use tonic::Status;
use waybill_proto::v1::{
    CompensateDispatchRequest, Dispatch, ForceCompleteRequest, RetryStepRequest, SkipStepRequest, StepResult,
};

use super::{
    Failure,
    client::{ClientArgs, Operator},
    find::{By, find},
    json,
    out::{self, Paint},
    timeline,
    why::{Why, rate},
};

/// What a verb acts on, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Ids of dispatches, of their messages or of their orders
    #[arg(value_name = "ID", required_unless_present = "stuck")]
    ids: Vec<String>,
    /// What kind of ids they are; without this each is tried as each kind in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Only if the dispatch is at this version; without this, at the version that it has now
    #[arg(long)]
    version: Option<u64>,
    /// Everything that is stuck
    #[arg(long, conflicts_with_all = ["ids", "version"])]
    stuck: bool,
    /// With --stuck: only what is stuck at this step
    #[arg(long, requires = "stuck")]
    step: Option<String>,
    /// With --stuck: only what is stuck with this participant
    #[arg(long, requires = "stuck", value_name = "NAME")]
    participant: Option<String>,
    /// How many a second, at most, such as 50/s
    #[arg(long, value_parser = rate, value_name = "RATE")]
    rate: Option<u32>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    client: ClientArgs,
}

/// Sends what is out for a dispatch once more: its command or compensation, under a new id
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill retry order-4711 --reason 'payment is back'
  waybill retry --stuck --step complete_order --rate 50/s --reason 'order is back'

Exit codes: 0 done, 1 it has moved on meanwhile, 5 not found, 8 it does not fit the state, and why.")]
pub(crate) struct Retry {
    #[command(flatten)]
    target: Target,
}

/// Goes on as if the participant had answered: done, or refused for the reason given
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill skip order-4711 --as done --reason 'completed by hand'

Nobody asks the participant: see to its side by hand.")]
pub(crate) struct Skip {
    /// How it is to count
    #[arg(long = "as", value_enum, value_name = "RESULT")]
    result: SkipAs,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SkipAs {
    /// Done, or undone where a compensation is out
    Done,
    /// Refused: the dispatch is undone
    Refused,
}

/// Undoes a dispatch, also where it is stuck; possible until its pivot is done
#[derive(Debug, clap::Args)]
pub(crate) struct Compensate {
    #[command(flatten)]
    target: Target,
}

/// Ends a dispatch as completed that cannot be undone any more; what is out stays in doubt
#[derive(Debug, clap::Args)]
pub(crate) struct ForceComplete {
    #[command(flatten)]
    target: Target,
}

/// A verb as it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Retry,
    Skip(StepResult),
    Compensate,
    ForceComplete,
}

impl Verb {
    /// What has become of those on which it acted.
    const fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Skip(_) => "skipped",
            Self::Compensate => "being compensated",
            Self::ForceComplete => "forced complete",
        }
    }
}

impl Retry {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        self.target.run(Verb::Retry).await
    }
}

impl Skip {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let result = match self.result {
            SkipAs::Done => StepResult::Done,
            SkipAs::Refused => StepResult::Refused,
        };
        self.target.run(Verb::Skip(result)).await
    }
}

impl Compensate {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        self.target.run(Verb::Compensate).await
    }
}

impl ForceComplete {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        self.target.run(Verb::ForceComplete).await
    }
}

impl Target {
    async fn run(self, verb: Verb) -> Result<ExitCode, Failure> {
        if self.stuck || self.ids.len() > 1 {
            return self.many(verb).await;
        }
        let (mut gateway, operator) = self.client.connect_operator().await?;
        let Some(id) = self.ids.first() else { return Err(Failure::usage("no id was given")) };
        let dispatch = find(&self.client, &mut gateway, id, self.by).await?;
        let version = self.version.unwrap_or(dispatch.version);
        let dispatch = self.act(operator, verb, dispatch.dispatch_id, version).await?;
        let text = if self.client.json {
            json::line(&json::dispatch(&dispatch))
        } else {
            timeline::whole(&dispatch, Paint::of_stdout())
        };
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }

    /// Uses the verb on one dispatch.
    async fn act(
        &self,
        mut operator: Operator,
        verb: Verb,
        dispatch_id: String,
        version: u64,
    ) -> Result<Dispatch, Status> {
        let Why { reason, operator: name } = self.why.clone();
        match verb {
            Verb::Retry => {
                let message = RetryStepRequest { dispatch_id, version, reason, operator: name };
                self.client.call(message, |request| operator.retry_step(request)).await
            }
            Verb::Skip(result) => {
                let result = result.into();
                let message = SkipStepRequest { dispatch_id, version, reason, operator: name, result };
                self.client.call(message, |request| operator.skip_step(request)).await
            }
            Verb::Compensate => {
                let message = CompensateDispatchRequest { dispatch_id, version, reason, operator: name };
                self.client.call(message, |request| operator.compensate_dispatch(request)).await
            }
            Verb::ForceComplete => {
                let message = ForceCompleteRequest { dispatch_id, version, reason, operator: name };
                self.client.call(message, |request| operator.force_complete(request)).await
            }
        }
    }
}
