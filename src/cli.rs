//! The command line: what can be asked, and the way from there to a task that the runtime runs. One file
//! a command; everything a command needs is read and checked before anything is opened.

mod actions;
mod backoff;
mod bench;
mod broken;
mod cancel;
mod clean;
mod client;
mod config;
mod credentials;
mod dead_letters;
mod doctor;
#[cfg(test)]
mod documents;
mod exit;
mod explain;
#[cfg(test)]
mod fake;
mod find;
mod follow;
mod get;
mod health;
mod json;
mod latency;
mod list;
mod migrate;
mod operate;
mod operator;
mod out;
mod outbox;
mod pause;
mod pulse;
mod queues;
mod saga;
mod serve;
mod settings;
mod state;
mod status;
mod stuck;
mod submit;
mod time;
mod timeline;
mod tls;
mod token;
mod top;
mod topology;
mod verb;
mod watch;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::{Instrument as _, info_span};

pub(crate) use self::{clean::is_unsafe, exit::Failure};
use crate::{
    config::{Config, LogFormat},
    telemetry::{self, Metrics},
};

/// A gRPC dispatch gateway that commits, publishes and sees every order through its saga.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Migrate(migrate::Args),
    Config(config::Args),
    Health(health::Args),
    Saga(saga::Args),
    Token(token::Args),
    Submit(submit::Args),
    Get(get::Args),
    Watch(watch::Args),
    List(list::Args),
    Cancel(cancel::Args),
    Bench(bench::Args),
    #[command(flatten)]
    Operator(operator::Command),
    Outbox(outbox::Args),
    Queues(queues::Args),
    Topology(topology::Args),
    Doctor(doctor::Args),
    Top(top::Args),
}

/// A command with everything it needs, ready to run.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Box<Config>),
    Migrate(Box<Config>),
    /// Count what runs on each version of the saga.
    SagaVersions(Box<saga::Versions>),
    /// Look into the outboxes.
    Outbox(Box<outbox::Work>),
    /// Look at the queues.
    Queues(Box<queues::Work>),
    /// Ask a process on this machine how it is.
    Health(health::Question),
    /// Look at the topology, or declare it.
    Topology(Box<topology::Work>),
    /// Look at everything.
    Doctor(Box<doctor::Visit>),
    /// Show what is going on.
    Top(Box<top::Work>),
    /// Print this and end.
    Print(String),
    /// Talk to a server.
    Client(Box<Client>),
}

#[derive(Debug)]
pub(crate) enum Client {
    Submit(submit::Args),
    Get(get::Args),
    Watch(watch::Args),
    List(list::Args),
    Cancel(cancel::Args),
    Bench(bench::Bench),
    Operator(operator::Command),
}

impl Cli {
    /// Reads the configuration where the command has one. Nothing is opened or bound yet.
    pub(crate) fn prepare(self) -> Result<Task, Failure> {
        let client = match self.command {
            Command::Serve(args) => return args.prepare(),
            Command::Migrate(args) => return args.prepare(),
            Command::Config(args) => return args.prepare(),
            Command::Health(args) => return args.prepare(),
            Command::Saga(args) => return args.prepare(),
            Command::Token(args) => return args.prepare(),
            Command::Outbox(args) => return args.prepare(),
            Command::Queues(args) => return args.prepare(),
            Command::Topology(args) => return args.prepare(),
            Command::Doctor(args) => return args.prepare(),
            Command::Top(args) => return args.prepare(),
            Command::Submit(args) => Client::Submit(args),
            Command::Get(args) => Client::Get(args),
            Command::Watch(args) => Client::Watch(args),
            Command::List(args) => Client::List(args),
            Command::Cancel(args) => Client::Cancel(args),
            Command::Bench(args) => Client::Bench(args.prepare()?),
            Command::Operator(command) => Client::Operator(command),
        };
        Ok(Task::Client(Box::new(client)))
    }
}

impl Task {
    /// Worker threads of the runtime; `None` means one per core.
    pub(crate) fn threads(&self) -> Option<usize> {
        match self {
            Self::Serve(config) | Self::Migrate(config) => config.threads,
            Self::SagaVersions(_)
            | Self::Outbox(_)
            | Self::Queues(_)
            | Self::Health(_)
            | Self::Topology(_)
            | Self::Doctor(_)
            | Self::Top(_)
            | Self::Print(_)
            | Self::Client(_) => None,
        }
    }

    pub(crate) fn telemetry(&self) -> telemetry::Options {
        match self {
            Self::Serve(config) | Self::Migrate(config) => telemetry::Options {
                format: config.log_format,
                filter: "info",
                service: "waybill",
                measures: matches!(self, Self::Serve(_)),
            },
            // Whoever changes something leaves a line.
            Self::Outbox(_) | Self::Queues(_) | Self::Topology(_) => telemetry::Options {
                format: LogFormat::Text,
                filter: "info",
                service: "waybill-cli",
                measures: false,
            },
            // A line would fall across the screen.
            Self::Top(_) => telemetry::Options {
                format: LogFormat::Text,
                filter: "off",
                service: "waybill-cli",
                measures: false,
            },
            Self::SagaVersions(_) | Self::Health(_) | Self::Doctor(_) | Self::Print(_) | Self::Client(_) => {
                telemetry::Options {
                    format: LogFormat::Text,
                    filter: "warn",
                    service: "waybill-cli",
                    measures: false,
                }
            }
        }
    }

    /// `metrics`: what the process measures, for `serve` to show.
    pub(crate) async fn run(self, metrics: Metrics) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(config) => Ok(crate::serve::run(*config, metrics).await?),
            Self::Migrate(config) => Ok(crate::serve::migrate(*config).await?),
            Self::SagaVersions(versions) => versions.run().await,
            Self::Outbox(work) => work.run().await,
            Self::Queues(work) => work.run().await,
            Self::Health(question) => question.run().await,
            Self::Topology(work) => work.run().await,
            Self::Doctor(visit) => visit.run().await,
            Self::Top(work) => work.run().await,
            Self::Print(text) => out::text(&text).map(|()| ExitCode::SUCCESS),
            Self::Client(client) => {
                let span = info_span!("client.command", otel.name = client.name());
                client.run().instrument(span).await
            }
        }
    }
}

impl Client {
    fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "waybill submit",
            Self::Get(_) => "waybill get",
            Self::Watch(_) => "waybill watch",
            Self::List(_) => "waybill list",
            Self::Cancel(_) => "waybill cancel",
            Self::Bench(_) => "waybill bench",
            Self::Operator(command) => command.name(),
        }
    }

    async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Submit(args) => args.run().await,
            Self::Get(args) => args.run().await,
            Self::Watch(args) => args.run().await,
            Self::List(args) => args.run().await,
            Self::Cancel(args) => args.run().await,
            Self::Bench(bench) => bench.run().await,
            Self::Operator(command) => command.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
