//! `waybill dead-letters`: what could not be handled, why, and what becomes of it.

mod edit;
mod filter;
mod list;
mod resolve;
mod show;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;

/// Shows what could not be handled, by queue, type and reason; sends it again, or gives it up
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Kinds:
  permanent   it can never be handled: malformed, of an unknown type, invalid
  exhausted   it was tried as often as `consumer.max_attempts` says
  broker      the broker gave it up, at its delivery limit

Examples:
  waybill dead-letters
  waybill dead-letters --list --queue payment
  waybill dead-letters show 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f
  waybill dead-letters replay --queue payment --dry-run --reason 'payment is mended'
  waybill dead-letters replay --queue payment --rate 50/s --reason 'payment is mended'
  waybill dead-letters edit 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --body new.json --reason 'currency'
  waybill dead-letters discard --kind permanent --queue order --reason 'from a load test'

The server shows every database that its own configuration names.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    look: list::Look,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Show),
    Replay(resolve::Replay),
    Edit(edit::Edit),
    Discard(resolve::Discard),
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            None => self.look.run().await,
            Some(Command::Show(show)) => show.run().await,
            Some(Command::Replay(replay)) => replay.run().await,
            Some(Command::Edit(edit)) => edit.run().await,
            Some(Command::Discard(discard)) => discard.run().await,
        }
    }
}
