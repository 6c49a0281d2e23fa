//! `waybill saga`: what there is to know about the saga itself, rather than about one dispatch.

mod graph;
mod versions;

use std::process::ExitCode;

use super::{Failure, Task};

/// Shows the saga itself: its definition and its versions
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Graph(graph::Args),
    Versions(versions::Args),
}

/// What has to be looked up.
#[derive(Debug)]
pub(crate) struct Versions(versions::Ready);

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        match self.command {
            Command::Graph(args) => args.prepare(),
            Command::Versions(args) => Ok(Task::SagaVersions(Box::new(Versions(args.prepare()?)))),
        }
    }
}

impl Versions {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        self.0.run().await
    }
}
