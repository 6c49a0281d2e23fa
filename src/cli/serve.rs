//! `waybill serve`: runs the roles.

use super::{Failure, Task, settings::SettingArgs};

/// Runs the roles of this process until it is told to stop
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill serve                                   everything in one process
  waybill serve --roles gateway,relay             only these; start others with the same settings
  waybill serve --config waybill.toml --set relay.window=1024

SIGTERM and SIGINT drain within the drain timeout; a second one stops at once.")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        Ok(Task::Serve(Box::new(self.settings.load()?.config)))
    }
}
