//! `waybill topology`: what stands on the broker by the configuration, printed, checked, and declared.

mod print;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use waybill_messaging::{
    broker::Server,
    topology::{self, Checked, Difference, Look, Topology},
};

use super::{Failure, Task, clean::clean, exit, json, out, settings::SettingArgs};
use crate::{config::Config, serve};

/// Prints, checks or declares exchanges, queues and bindings
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every process declares them when it connects, unless amqp.declare is false: then others do, with `waybill topology apply`
or from the definitions that `waybill topology print --format json` writes, and processes only look.

Examples:
  waybill topology print
  waybill topology print --format json > definitions.json && rabbitmqctl import_definitions definitions.json
  waybill topology check --set amqp.management_url=http://mq:15672
  waybill topology apply
  waybill topology apply --recreate waybill.saga --yes")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Print(PrintArgs),
    Check(CheckArgs),
    Apply(ApplyArgs),
}

/// Prints them, as a table or as RabbitMQ definitions
#[derive(Debug, clap::Args)]
struct PrintArgs {
    /// `table` for people, `json` for `rabbitmqctl import_definitions`
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Compares the broker with them, and changes nothing; exit code 8 where it differs
#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// `json`: one object
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Declares what is missing; exit code 8 where something else is there
#[derive(Debug, clap::Args)]
struct ApplyArgs {
    /// Delete this exchange or queue first and declare it anew, for arguments that cannot be changed
    #[arg(long, value_name = "NAME")]
    recreate: Vec<String>,
    /// With --recreate: also where it holds messages
    #[arg(long, requires = "recreate")]
    yes: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What to do, with everything it needs.
#[derive(Debug)]
pub(crate) struct Work {
    config: Config,
    what: What,
}

#[derive(Debug)]
enum What {
    Check(Format),
    Apply { recreate: Vec<String>, yes: bool },
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let (settings, what) = match self.command {
            Command::Print(PrintArgs { format, settings }) => {
                let config = settings.load()?.config;
                let topology = serve::topology(&config);
                let text = match format {
                    Format::Table => print::as_table(&topology),
                    Format::Json => print::as_definitions(&topology, config.amqp.url.expose())?,
                };
                return Ok(Task::Print(text));
            }
            Command::Check(CheckArgs { format, settings }) => (settings, What::Check(format)),
            Command::Apply(ApplyArgs { recreate, yes, settings }) => {
                (settings, What::Apply { recreate, yes })
            }
        };
        Ok(Task::Topology(Box::new(Work { config: settings.load()?.config, what })))
    }
}

impl Work {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let topology = serve::topology(&self.config);
        match &self.what {
            What::Check(format) => {
                let checked = self.check(&topology).await?;
                show(&checked, *format)?;
                Ok(code(&checked.differences))
            }
            What::Apply { recreate, yes } => self.apply(&topology, recreate, *yes).await,
        }
    }

    async fn check(&self, topology: &Topology) -> Result<Checked, Failure> {
        let management = serve::management(&self.config)?;
        let look = Look { declaring: self.config.amqp.declare, management: management.as_ref() };
        topology::check(&self.server(), topology, look).await.map_err(|error| self.failure(&error))
    }

    async fn apply(&self, topology: &Topology, recreate: &[String], yes: bool) -> Result<ExitCode, Failure> {
        // All of them are looked at before the first is deleted.
        for name in recreate {
            let messages = topology::messages(&self.server(), topology, name).await;
            let messages = messages.map_err(|error| self.failure(&error))?.unwrap_or_default();
            if messages > 0 && !yes {
                let mut failure =
                    Failure::new(exit::PRECONDITION, format!("{name} holds {messages} messages"));
                failure.details = vec![
                    "nothing was done; with --yes they are deleted with it, and what is still needed is sent again \
                     (commands by their deadline, requests after 30 s)"
                        .to_owned(),
                ];
                return Err(failure);
            }
        }
        for name in recreate {
            let deleted = topology::delete(&self.server(), topology, name).await;
            deleted.map_err(|error| self.failure(&error))?;
            tracing::info!(name, "deleted, to be declared anew");
        }
        let differences =
            topology::apply(&self.server(), topology).await.map_err(|error| self.failure(&error))?;
        for difference in &differences {
            out::text(&clean(&difference.to_string()))?;
        }
        if differences.is_empty() {
            out::text("every exchange, queue and binding is declared")?;
        }
        Ok(code(&differences))
    }

    fn server(&self) -> Server {
        serve::server(&self.config)
    }

    fn failure(&self, error: &str) -> Failure {
        Failure::new(exit::UNREACHABLE, format!("broker {}: {error}", self.config.amqp.url))
    }
}

fn code(differences: &[Difference]) -> ExitCode {
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::PRECONDITION) }
}

fn show(checked: &Checked, format: Format) -> Result<(), Failure> {
    let Checked { differences, unseen } = checked;
    if format == Format::Json {
        let said =
            |difference: &Difference| json!({ "what": difference.what(), "advice": difference.remedy() });
        let differences: Vec<_> = differences.iter().map(said).collect();
        return out::text(&json::line(&json!({ "differences": differences, "unseen": unseen })));
    }
    for difference in differences {
        out::text(&clean(&difference.to_string()))?;
    }
    for unseen in unseen {
        out::text(&format!("not looked at: {unseen}"))?;
    }
    if differences.is_empty() {
        out::text("the broker is as the configuration says, as far as was looked at")?;
    }
    Ok(())
}
