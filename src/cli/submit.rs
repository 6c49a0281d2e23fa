//! `waybill submit`: one dispatch from flags, or many from a file or standard input.

mod board;
#[cfg(test)]
mod fuzz;
mod item;
mod many;
mod one;
mod pending;
mod progress;
mod session;
mod source;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod wait;

use std::{path::PathBuf, process::ExitCode};

use prost_types::Timestamp;
use uuid::Uuid;
use waybill_proto::v1::DispatchRequested;

use super::{Failure, client::ClientArgs, time};
use crate::config::Money;

/// Requests dispatches and, with --wait, sees them to their end
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill submit --order-id order-4711 --destination DEHAM --parcels 3 --wait
  waybill submit --order-id o-1 --destination NLRTM --parcels 1 --customer c-1 --amount '12.50 EUR'
  waybill submit --file orders.jsonl --wait
  generate-orders | waybill submit --file - --json

A file holds one JSON object a line, with the field names of the contract:
  {\"message_id\": \"m-1\", \"order_id\": \"o-1\", \"destination_code\": \"DEHAM\", \"parcel_count\": 3,
   \"customer_id\": \"c-1\", \"amount\": {\"currency_code\": \"EUR\", \"minor_units\": 1250},
   \"requested_at\": \"2026-01-31T12:00:00Z\"}
order_id, destination_code and parcel_count are required. A line without message_id gets a new one; \
with one, sending the file again is harmless. A file is checked whole before anything is sent.

Exit codes, one dispatch: 0 accepted, with --wait COMPLETED; 10 CANCELLED; 11 STUCK. Many: 0 \
when every line was accepted, now or before, and with --wait has ended, whatever the outcome; otherwise the \
code of the rejections, or 1 where they differ; 6 when some did not end. See `waybill --help` for the others.")]
pub(crate) struct Args {
    /// Identity of the request; a new UUID when absent
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    message_id: Option<String>,
    /// Order
    #[arg(long, value_name = "ID", required_unless_present = "file", conflicts_with = "file")]
    order_id: Option<String>,
    /// Where to
    #[arg(long, value_name = "CODE", required_unless_present = "file", conflicts_with = "file")]
    destination: Option<String>,
    /// How many parcels
    #[arg(long, value_name = "COUNT", required_unless_present = "file", conflicts_with = "file")]
    parcels: Option<i32>,
    /// Account that the payment is reserved on
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    customer: Option<String>,
    /// What to reserve, for example '12.50 EUR'; the tariff per parcel when absent
    #[arg(long, conflicts_with = "file")]
    amount: Option<Money>,
    /// When it was asked for, as RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time::parse, conflicts_with = "file")]
    requested_at: Option<Timestamp>,
    /// JSON Lines, or - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Requests on their way at once, at most
    #[arg(long, default_value_t = 256, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Wait for the end state
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match &self.file {
            Some(file) => {
                let source = source::open(file).await?;
                many::run(&self, source).await
            }
            None => one::run(&self.client, self.request(), self.wait).await,
        }
    }

    /// The request that the flags describe; clap has seen to it that the required ones are there.
    fn request(&self) -> DispatchRequested {
        DispatchRequested {
            message_id: self.message_id.clone().unwrap_or_else(new_message_id),
            order_id: self.order_id.clone().unwrap_or_default(),
            destination_code: self.destination.clone().unwrap_or_default(),
            parcel_count: self.parcels.unwrap_or_default(),
            requested_at: self.requested_at,
            customer_id: self.customer.clone().unwrap_or_default(),
            amount: self.amount.clone().map(Into::into),
        }
    }
}

fn new_message_id() -> String {
    Uuid::now_v7().to_string()
}
