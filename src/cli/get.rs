//! `waybill get`: one dispatch, whole.

use std::process::ExitCode;

use super::{
    Failure,
    client::ClientArgs,
    find::{By, find},
    json,
    out::{self, Paint},
    timeline,
};

/// Prints one dispatch: its card, its steps and its timeline
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill get 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f
  waybill get --by order order-4711
  waybill get order-4711 --json | jq .state

Exit codes: 0 found, 5 not found; see `waybill --help` for the others.")]
pub(crate) struct Args {
    /// Id of the dispatch, of its message or of its order
    #[arg(value_name = "ID")]
    id: String,
    /// What kind of id it is; without this it is tried as each in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut client = self.client.connect().await?;
        let dispatch = find(&self.client, &mut client, &self.id, self.by).await?;
        let text = if self.client.json {
            json::line(&json::dispatch(&dispatch))
        } else {
            timeline::whole(&dispatch, Paint::of_stdout())
        };
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }
}
