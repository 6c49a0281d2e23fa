//! `waybill migrate`: brings the databases up to date without serving.

use super::{Failure, Task, settings::SettingArgs};

/// Brings the configured databases up to date, then ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill migrate
  waybill migrate --database-url postgres://waybill@db/waybill")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        Ok(Task::Migrate(Box::new(self.settings.load()?.config)))
    }
}
