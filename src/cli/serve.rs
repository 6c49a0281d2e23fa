//! `waybill serve`: runs the roles.

use super::{Failure, Task, settings::SettingArgs};
use crate::config::check_exposure;

/// Runs the roles of this process until it is told to stop
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill serve                                   everything in one process
  waybill serve --roles gateway,relay             only these; start others with the same settings
  waybill serve --paused                          after an incident: everything is accepted, no saga moves
  waybill serve --config waybill.toml --set relay.window=1024
  waybill serve --grpc-addr 0.0.0.0:50051 --set grpc.tls_certificate=server.pem --set grpc.tls_key=server.key \
    --set grpc.tls_client_ca=clients.pem

SIGTERM and SIGINT drain within the drain timeout; a second one stops at once.")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
    /// Pause all sagas before anything is consumed; `waybill resume all` lets them go
    #[arg(long)]
    paused: bool,
    /// Bind ports that other machines can reach without TLS and authentication
    #[arg(long)]
    insecure: bool,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let mut config = self.settings.load()?.config;
        config.paused = self.paused;
        config.insecure |= self.insecure;
        check_exposure(&config)?;
        Ok(Task::Serve(Box::new(config)))
    }
}
