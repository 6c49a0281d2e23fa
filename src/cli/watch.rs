//! `waybill watch`: the timeline of one dispatch as it happens.

use std::process::ExitCode;

use super::{
    Failure,
    clean::clean,
    client::ClientArgs,
    find::{By, find},
    follow::follow,
    json,
    out::{self, Paint},
    state,
    timeline::Timeline,
};

/// Prints the timeline of one dispatch as it happens, until its end state: how long each step took, what remains
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill watch order-4711
  waybill watch 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --json

A lost connection is resumed where it broke, as long as the server comes back within the time-out.
Exit codes: 0 ended COMPLETED, 10 CANCELLED, 11 STUCK, 5 not found; see `waybill --help` for the others.")]
pub(crate) struct Args {
    /// Id of the dispatch, of its message or of its order
    #[arg(value_name = "ID")]
    id: String,
    /// What kind of id it is; without this it is tried as each in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Leave out transitions up to this version
    #[arg(long, default_value_t = 0, value_name = "VERSION")]
    after: u64,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut client = self.client.connect().await?;
        let dispatch = find(&self.client, &mut client, &self.id, self.by).await?;
        let mut timeline = Timeline::new(Paint::of_stdout(), dispatch.accepted_at);
        let json = self.client.json;
        if !json && !dispatch.steps_note.is_empty() {
            out::text(&clean(&dispatch.steps_note))?;
        }
        let end = follow(&self.client, client, &dispatch.dispatch_id, self.after, |transition| {
            out::text(&if json {
                json::line(&json::transition(transition))
            } else {
                timeline.line(transition)
            })
        });
        let state = end.await?.state();
        Ok(ExitCode::from(state::exit_code(state)))
    }
}
