//! `waybill serve`: runs the roles.

use super::{Failure, Task, settings::SettingArgs};

/// Runs the roles of this process until it is told to stop
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill serve                                   everything in one process
  waybill serve --roles gateway,relay             only these; start others with the same settings
  waybill serve --paused                          after an incident: everything is accepted, no saga moves
  waybill serve --config waybill.toml --set relay.window=1024

SIGTERM and SIGINT drain within the drain timeout; a second one stops at once.")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
    /// Pause all sagas before anything is consumed; `waybill resume all` lets them go
    #[arg(long)]
    paused: bool,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let mut config = self.settings.load()?.config;
        config.paused = self.paused;
        Ok(Task::Serve(Box::new(config)))
    }
}
