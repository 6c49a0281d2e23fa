//! `waybill list`: dispatches, newest first, over as many pages as were asked for.

use std::process::ExitCode;

use comfy_table::{Cell, Table};
use prost_types::Timestamp;
use waybill_proto::v1::{Dispatch, DispatchState, ListDispatchesRequest};

use super::{
    Failure,
    clean::clean,
    client::{ClientArgs, Gateway},
    json,
    out::{self, Paint},
    state, time,
};

/// The largest page that the server gives.
const PAGE: usize = 1_000;

/// Lists dispatches, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill list
  waybill list --state stuck --state compensating
  waybill list --customer c-1 --since 2h --limit 1000 --json
  waybill list --since 2026-01-31T00:00:00Z --until 2026-02-01T00:00:00Z")]
pub(crate) struct Args {
    /// Only these states: accepted, in-progress, completed, compensating, cancelled, stuck
    #[arg(long, value_parser = state::parse, value_delimiter = ',')]
    state: Vec<DispatchState>,
    /// Only this order
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Only this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Accepted at this time or later: RFC 3339, or how long ago
    #[arg(long, value_parser = time::parse_or_ago, value_name = "WHEN")]
    since: Option<Timestamp>,
    /// Accepted before this time: RFC 3339, or how long ago
    #[arg(long, value_parser = time::parse_or_ago, value_name = "WHEN")]
    until: Option<Timestamp>,
    /// How many, at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut client = self.client.connect().await?;
        let mut table =
            out::table(&["Dispatch", "Order", "State", "Destination", "Parcels", "Accepted", "Reason"]);
        let paint = Paint::of_stdout();
        let mut left = self.limit;
        let mut token = String::new();
        while left > 0 {
            let (page, next) = self.page(&mut client, left, token).await?;
            left = left.saturating_sub(page.len());
            for dispatch in &page {
                if self.client.json {
                    out::text(&json::line(&json::dispatch(dispatch)))?;
                } else {
                    add_row(&mut table, dispatch, paint);
                }
            }
            if next.is_empty() {
                break;
            }
            token = next;
        }
        if !self.client.json {
            let text = if table.is_empty() { "no dispatch matches".to_owned() } else { table.trim_fmt() };
            out::text(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn page(
        &self,
        client: &mut Gateway,
        left: usize,
        page_token: String,
    ) -> Result<(Vec<Dispatch>, String), Failure> {
        let request = ListDispatchesRequest {
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX),
            page_token,
            states: self.state.iter().map(|state| i32::from(*state)).collect(),
            order_id: self.order.clone().unwrap_or_default(),
            customer_id: self.customer.clone().unwrap_or_default(),
            accepted_from: self.since,
            accepted_to: self.until,
        };
        let response = self.client.call(request, |request| client.list_dispatches(request)).await?;
        Ok((response.dispatches, response.next_page_token))
    }
}

fn add_row(table: &mut Table, dispatch: &Dispatch, paint: Paint) {
    let state = dispatch.state();
    table.add_row([
        Cell::new(clean(&dispatch.dispatch_id)),
        Cell::new(clean(&dispatch.order_id)),
        paint.cell(state::colour(state), state::name(state)),
        Cell::new(clean(&dispatch.destination_code)),
        Cell::new(dispatch.parcel_count.to_string()),
        Cell::new(time::shown(dispatch.accepted_at.as_ref())),
        Cell::new(clean(&dispatch.reason)),
    ]);
}
