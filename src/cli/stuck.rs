//! `waybill stuck`: what is stuck, and why.

use std::process::ExitCode;

use comfy_table::{Cell, Table};
use serde_json::json;
use waybill_proto::v1::{ListStuckRequest, StuckDispatch};

use super::{Failure, clean::clean, client::ClientArgs, json, out, time};

/// The largest page that the server gives.
const PAGE: usize = 1_000;

/// Lists what is stuck, in the order of acceptance, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill stuck
  waybill stuck --participant order --json
  waybill explain order-4711                        why, and what you can type
  waybill retry --stuck --step complete_order --rate 50/s --reason 'order is back'")]
pub(crate) struct Args {
    /// Only what is stuck at this step
    #[arg(long)]
    step: Option<String>,
    /// Only what is stuck with this participant
    #[arg(long, value_name = "NAME")]
    participant: Option<String>,
    /// How many, at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let mut table =
            out::table(&["Dispatch", "Order", "Step", "Since", "Version", "Asks again", "Reason"]);
        let (mut left, mut page_token) = (self.limit, String::new());
        while left > 0 {
            let request = ListStuckRequest {
                page_size: i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX),
                page_token,
                step: self.step.clone().unwrap_or_default(),
                participant: self.participant.clone().unwrap_or_default(),
            };
            let page = self.client.call(request, |request| operator.list_stuck(request)).await?;
            left = left.saturating_sub(page.dispatches.len());
            for stuck in &page.dispatches {
                if self.client.json {
                    out::text(&line(stuck))?;
                } else {
                    add_row(&mut table, stuck);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if self.client.json {
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = if table.is_empty() { "nothing is stuck".to_owned() } else { table.trim_fmt() };
        if !page_token.is_empty() {
            text.push_str("\nthere are more: --limit");
        }
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn line(stuck: &StuckDispatch) -> String {
    json::line(&json::filled(json!({
        "dispatch_id": stuck.dispatch_id,
        "order_id": stuck.order_id,
        "step": stuck.step,
        "participant": stuck.participant,
        "compensating": stuck.compensating,
        "reason": stuck.reason,
        "since": time::exact(stuck.since.as_ref()),
        "attempt": stuck.attempt,
        "version": stuck.version,
        "asks_again_at": time::exact(stuck.asks_again_at.as_ref()),
    })))
}

fn add_row(table: &mut Table, stuck: &StuckDispatch) {
    let step = if stuck.compensating { format!("{} (undoing)", stuck.step) } else { stuck.step.clone() };
    table.add_row([
        Cell::new(clean(&stuck.dispatch_id)),
        Cell::new(clean(&stuck.order_id)),
        Cell::new(clean(&step)),
        Cell::new(time::shown(stuck.since.as_ref())),
        Cell::new(stuck.version.to_string()),
        Cell::new(time::shown(stuck.asks_again_at.as_ref())),
        Cell::new(clean(&stuck.reason)),
    ]);
}
