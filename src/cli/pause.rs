//! `waybill pause`, `resume`, `pauses`: hold things up, let them go, and see what is held up.

use std::process::ExitCode;

use comfy_table::Cell;
use serde_json::json;
use waybill_proto::v1::{ListPausesRequest, PauseRequest, PauseStatus, ResumeRequest};

use super::{
    Failure,
    clean::clean,
    client::ClientArgs,
    json, out, time,
    why::{Why, rate},
};

/// Holds something up: nothing is sent for it, and what comes for it is kept, until it is resumed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill pause participant:payment --reason 'payment is being upgraded'
  waybill pause all --reason 'incident 42'
  waybill pause dispatch:0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --reason 'under investigation'

For a dispatch it holds at once, for all else within a second. What was sent before is not called back.")]
pub(crate) struct Pause {
    /// `all`, `saga:<name>`, `participant:<name>` or `dispatch:<id>`
    scope: String,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    client: ClientArgs,
}

/// Lets what was paused go on, at once or at a rate
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill resume participant:payment --reason 'payment is back'
  waybill resume all --rate 50/s --reason 'incident 42 is over'

Exit codes: 0 done, 5 it is not paused; see `waybill --help` for the others.")]
pub(crate) struct Resume {
    /// As `waybill pauses` shows it
    scope: String,
    /// What was held up is taken at this rate, such as 50/s; new messages are not held up
    #[arg(long, value_parser = rate, value_name = "RATE")]
    rate: Option<u32>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows what is paused, since when, by whom and why
#[derive(Debug, clap::Args)]
pub(crate) struct Pauses {
    #[command(flatten)]
    client: ClientArgs,
}

impl Pause {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let Why { reason, operator: name } = self.why;
        let request = PauseRequest { scope: self.scope, reason, operator: name };
        let paused = self.client.call(request, |request| operator.pause(request)).await?;
        show(&[paused], self.client.json)
    }
}

impl Resume {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let Why { reason, operator: name } = self.why;
        let rate = self.rate.unwrap_or_default();
        let request = ResumeRequest { scope: self.scope, reason, operator: name, rate };
        let resumed = self.client.call(request, |request| operator.resume(request)).await?;
        show(&[resumed], self.client.json)
    }
}

impl Pauses {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let listed = self.client.call(ListPausesRequest {}, |request| operator.list_pauses(request)).await?;
        show(&listed.pauses, self.client.json)
    }
}

fn show(pauses: &[PauseStatus], json: bool) -> Result<ExitCode, Failure> {
    if json {
        for pause in pauses {
            out::text(&line(pause))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = out::table(&["Scope", "State", "Since", "By", "Kept messages", "Reason"]);
    for pause in pauses {
        table.add_row([
            Cell::new(clean(&pause.scope)),
            Cell::new(standing(pause)),
            Cell::new(time::shown(pause.since.as_ref())),
            Cell::new(clean(&pause.operator)),
            Cell::new(pause.parked.to_string()),
            Cell::new(clean(&pause.reason)),
        ]);
    }
    let text = if table.is_empty() { "nothing is paused".to_owned() } else { table.trim_fmt() };
    out::text(&text).map(|()| ExitCode::SUCCESS)
}

fn standing(pause: &PauseStatus) -> String {
    match (pause.resuming, pause.rate) {
        (false, _) => "paused".to_owned(),
        (true, 0) => "resuming".to_owned(),
        (true, rate) => format!("resuming, {rate}/s"),
    }
}

fn line(pause: &PauseStatus) -> String {
    json::line(&json::filled(json!({
        "scope": pause.scope,
        "since": time::exact(pause.since.as_ref()),
        "operator": pause.operator,
        "reason": pause.reason,
        "parked": pause.parked,
        "resuming": pause.resuming,
        "rate": pause.rate,
    })))
}
