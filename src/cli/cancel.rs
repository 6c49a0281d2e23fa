//! `waybill cancel`: asks for a dispatch to be undone.

use std::process::ExitCode;

use waybill_proto::v1::CancelDispatchRequest;

use super::{
    Failure,
    client::ClientArgs,
    find::{By, find},
    json,
    out::{self, Paint},
    timeline,
};

/// Asks for a dispatch to be undone; possible until it has been handed over for delivery
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill cancel order-4711 --reason 'customer withdrew'

Cancelling what is cancelled already succeeds.
Exit codes: 0 it is or will be undone, 5 not found, 8 too late; see `waybill --help` for the others.")]
pub(crate) struct Args {
    /// Id of the dispatch, of its message or of its order
    #[arg(value_name = "ID")]
    id: String,
    /// What kind of id it is; without this it is tried as each in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Why; kept in the history
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut client = self.client.connect().await?;
        let dispatch_id = find(&self.client, &mut client, &self.id, self.by).await?.dispatch_id;
        let request = CancelDispatchRequest { dispatch_id, reason: self.reason };
        let dispatch = self.client.call(request, |request| client.cancel_dispatch(request)).await?;
        let text = if self.client.json {
            json::line(&json::dispatch(&dispatch))
        } else {
            timeline::whole(&dispatch, Paint::of_stdout())
        };
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }
}
