//! `waybill saga graph`: the definition as a picture.

use waybill_saga::{Defaults, VERSIONS, dot, mermaid, order_fulfilment};

use super::super::{Failure, Task};

/// Prints the definition of the saga as a picture
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill saga graph
  waybill saga graph --version 1 --format dot | dot -Tsvg > saga.svg")]
pub(super) struct Args {
    /// Language of the picture
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    /// Version of the saga; the newest when absent
    #[arg(long, value_name = "NUMBER")]
    version: Option<u32>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// As GitHub shows it
    Mermaid,
    /// For Graphviz
    Dot,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let all = order_fulfilment(&Defaults::default());
        let wanted = self.version.or(VERSIONS.last().copied());
        let Some(definition) = all.iter().find(|definition| Some(definition.version) == wanted) else {
            return Err(Failure::usage(format!("there is no such version; this release knows {VERSIONS:?}")));
        };
        Ok(Task::Print(match self.format {
            Format::Mermaid => mermaid(definition),
            Format::Dot => dot(definition),
        }))
    }
}
