//! `waybill actions`: what operators have done.

use std::process::ExitCode;

use comfy_table::Cell;
use serde_json::json;
use waybill_proto::v1::{ListOperatorActionsRequest, OperatorAction};

use super::{
    Failure,
    clean::clean,
    client::ClientArgs,
    find::{By, find},
    json, out, time,
};

/// Shows what operators have done, newest first: who, what, when and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill actions
  waybill actions order-4711 --json")]
pub(crate) struct Args {
    /// Only on this dispatch: its id, or that of its message or order
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// What kind of id it is; without this it is tried as each in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    /// How many, at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    limit: i32,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (mut gateway, mut operator) = self.client.connect_operator().await?;
        let dispatch_id = match &self.id {
            Some(id) => find(&self.client, &mut gateway, id, self.by).await?.dispatch_id,
            None => String::new(),
        };
        let request =
            ListOperatorActionsRequest { page_size: self.limit, page_token: String::new(), dispatch_id };
        let page = self.client.call(request, |request| operator.list_operator_actions(request)).await?;
        if self.client.json {
            page.actions.iter().try_for_each(|action| out::text(&line(action)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = out::table(&["When", "Who", "What", "On", "Version", "Reason"]);
        for action in &page.actions {
            table.add_row([
                Cell::new(time::shown(action.at.as_ref())),
                Cell::new(clean(&action.operator)),
                Cell::new(clean(&action.verb)),
                Cell::new(clean(&action.scope)),
                Cell::new(action.version.to_string()),
                Cell::new(clean(&action.reason)),
            ]);
        }
        let text = if table.is_empty() { "nothing was done".to_owned() } else { table.trim_fmt() };
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn line(action: &OperatorAction) -> String {
    json::line(&json::filled(json!({
        "action_id": action.action_id,
        "at": time::exact(action.at.as_ref()),
        "scope": action.scope,
        "verb": action.verb,
        "version": action.version,
        "operator": action.operator,
        "reason": action.reason,
        "dead_letter_id": action.dead_letter_id,
    })))
}
