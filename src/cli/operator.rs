//! The commands of operators that talk to a server, in one place.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, actions, dead_letters, explain, pause, stuck, verb};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Explain(explain::Args),
    Stuck(stuck::Args),
    Retry(verb::Retry),
    Skip(verb::Skip),
    Compensate(verb::Compensate),
    ForceComplete(verb::ForceComplete),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Pauses(pause::Pauses),
    Actions(actions::Args),
    DeadLetters(Box<dead_letters::Args>),
}

impl Command {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Explain(_) => "waybill explain",
            Self::Stuck(_) => "waybill stuck",
            Self::Retry(_) => "waybill retry",
            Self::Skip(_) => "waybill skip",
            Self::Compensate(_) => "waybill compensate",
            Self::ForceComplete(_) => "waybill force-complete",
            Self::Pause(_) => "waybill pause",
            Self::Resume(_) => "waybill resume",
            Self::Pauses(_) => "waybill pauses",
            Self::Actions(_) => "waybill actions",
            Self::DeadLetters(_) => "waybill dead-letters",
        }
    }

    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Explain(args) => args.run().await,
            Self::Stuck(args) => args.run().await,
            Self::Retry(args) => args.run().await,
            Self::Skip(args) => args.run().await,
            Self::Compensate(args) => args.run().await,
            Self::ForceComplete(args) => args.run().await,
            Self::Pause(args) => args.run().await,
            Self::Resume(args) => args.run().await,
            Self::Pauses(args) => args.run().await,
            Self::Actions(args) => args.run().await,
            Self::DeadLetters(args) => args.run().await,
        }
    }
}
