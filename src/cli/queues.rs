//! `waybill queues`: every queue of the topology with its state, and the one that has no leader mended.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Cell;
use serde_json::json;
use waybill_messaging::{
    queues::{self, Found, State},
    topology::Difference,
};

use super::{
    Failure, Task,
    clean::clean,
    exit, json,
    out::{self, Colour, Paint},
    settings::SettingArgs,
};
use crate::{config::Config, serve};

const SAFE: &str = "Mending deletes the queue and declares it again. Nothing gets out of it any more, so nothing is \
     lost by that which is not lost already, and it is safe: the database is the truth. What was in it is sent \
     again (commands by their deadline, requests after 30 s), and no effect is doubled.";

/// Shows every queue of the topology and whether it answers, or mends one that has no leader
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
States:
  reachable          there, and somebody answers for it
  missing            not there; `waybill topology apply` declares it, and so does every process that connects
  no leader          there, but nothing gets in or out; `waybill queues mend` mends it
  arguments differ   declared otherwise than the configuration says; the last column says how and what to do
  refused            our user may not read it

Examples:
  waybill queues
  waybill queues --json --amqp-url amqp://guest:guest@mq/%2f
  waybill queues mend
  waybill queues mend dispatch --yes")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Mend(MendArgs),
}

/// Deletes a queue that has no leader, and declares it again; a healthy queue is never touched
#[derive(Debug, clap::Args)]
struct MendArgs {
    /// Name without the prefix, such as `order` or `order.dead`; without it every queue that has no leader
    #[arg(value_name = "QUEUE")]
    queue: Option<String>,
    /// Do it; without this it is only said what would be done
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

/// What to do, with everything it needs.
#[derive(Debug)]
pub(crate) struct Work {
    config: Config,
    what: What,
}

#[derive(Debug)]
enum What {
    Show { json: bool },
    Mend { queue: Option<String>, yes: bool },
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let (settings, what) = match self.command {
            Some(Command::Mend(MendArgs { queue, yes, settings })) => (settings, What::Mend { queue, yes }),
            None => (self.settings, What::Show { json: self.json }),
        };
        Ok(Task::Queues(Box::new(Work { config: settings.load()?.config, what })))
    }
}

impl Work {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let found = self.inspect().await?;
        match &self.what {
            What::Show { json } => show(&found, *json)?,
            What::Mend { queue, yes } => self.mend(&found, queue.as_deref(), *yes).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn inspect(&self) -> Result<Vec<Found>, Failure> {
        let topology = serve::topology(&self.config);
        let (url, server) = (&self.config.amqp.url, serve::server(&self.config));
        let found = queues::inspect(&server, &topology).await;
        found.map_err(|error| Failure::new(exit::UNREACHABLE, format!("broker {url}: {error}")))
    }

    async fn mend(&self, found: &[Found], queue: Option<&str>, yes: bool) -> Result<(), Failure> {
        let names = to_mend(found, queue)?;
        if names.is_empty() {
            return out::text("every queue that is there has a leader: nothing was done");
        }
        out::text(&format!("without a leader: {}\n{SAFE}", names.join(", ")))?;
        if !yes {
            return Err(Failure::new(exit::PRECONDITION, "nothing was done yet; with --yes it is"));
        }
        let (server, topology) = (serve::server(&self.config), serve::topology(&self.config));
        for name in names {
            let mended = queues::mend(&server, &topology, &name).await;
            let state = mended.map_err(|error| Failure::other(format!("queue {name}: {error}")))?;
            if state == State::NoLeader {
                return Err(Failure::other(format!("queue {name} still has no leader")));
            }
            tracing::info!(queue = name, "a queue without a leader was deleted and declared again");
            out::text(&format!("{name}: mended"))?;
        }
        Ok(())
    }
}

/// The queues to be mended. Errors: the one that was asked for is unknown, or needs no mending.
fn to_mend(found: &[Found], queue: Option<&str>) -> Result<Vec<String>, Failure> {
    if let Some(name) = queue {
        let Some(asked) = found.iter().find(|found| found.name == name) else {
            let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
            let message = format!("{name} is no queue of the topology; those are {}", names.join(", "));
            return Err(Failure::new(exit::NOT_FOUND, message));
        };
        if asked.state != State::NoLeader {
            let message = format!("queue {name} is left alone: {}", word(&asked.state));
            return Err(Failure::new(exit::PRECONDITION, message));
        }
    }
    let leaderless = found.iter().filter(|found| found.state == State::NoLeader);
    let leaderless = leaderless.filter(|found| queue.is_none_or(|name| name == found.name));
    Ok(leaderless.map(|found| found.name.clone()).collect())
}

fn show(found: &[Found], as_json: bool) -> Result<(), Failure> {
    let (mut table, paint) =
        (out::table(&["Queue", "State", "Ready", "Consumers", "What to do"]), Paint::of_stdout());
    for Found { name, full_name, state } in found {
        let (ready, consumers) = match state {
            State::Reachable { ready, consumers } => (Some(ready), Some(consumers)),
            State::Missing | State::NoLeader | State::Differs(_) | State::Refused(_) => (None, None),
        };
        if as_json {
            let value = json!({
                "queue": full_name,
                "name": name,
                "state": word(state),
                "ready": ready,
                "consumers": consumers,
                "advice": advice(name, state),
            });
            out::text(&json::line(&value))?;
            continue;
        }
        let number = |count: Option<&u32>| count.map_or_else(|| "-".to_owned(), u32::to_string);
        table.add_row([
            Cell::new(clean(full_name)),
            paint.cell(colour(state), word(state)),
            Cell::new(number(ready)),
            Cell::new(number(consumers)),
            Cell::new(clean(&advice(name, state))),
        ]);
    }
    if as_json { Ok(()) } else { out::text(&table.trim_fmt()) }
}

const fn word(state: &State) -> &'static str {
    match state {
        State::Reachable { .. } => "reachable",
        State::Missing => "missing",
        State::NoLeader => "no leader",
        State::Differs(_) => "arguments differ",
        State::Refused(_) => "refused",
    }
}

const fn colour(state: &State) -> Colour {
    match state {
        State::Reachable { .. } => Colour::Good,
        State::Missing => Colour::Warning,
        State::NoLeader | State::Differs(_) | State::Refused(_) => Colour::Bad,
    }
}

fn advice(name: &str, state: &State) -> String {
    match state {
        State::Reachable { .. } => String::new(),
        State::Missing => {
            "waybill topology apply, or nothing: with amqp.declare the next process that connects \
                           declares it"
                .to_owned()
        }
        State::NoLeader => format!("if it stays so: waybill queues mend {name} --yes"),
        State::Differs(how) => how.to_string(),
        State::Refused(said) => Difference::Refused(said.clone()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, state: State) -> Found {
        Found { name: name.to_owned(), full_name: format!("w.{name}"), state }
    }

    fn some() -> Vec<Found> {
        let healthy = State::Reachable { ready: 0, consumers: 1 };
        vec![found("saga", healthy), found("order", State::NoLeader), found("payment", State::NoLeader)]
    }

    #[test]
    fn a_healthy_queue_is_never_mended() {
        let failure = to_mend(&some(), Some("saga")).unwrap_err();
        assert_eq!((failure.code, &*failure.message), (8, "queue saga is left alone: reachable"));
        assert_eq!(to_mend(&some(), Some("order")).unwrap(), ["order"]);
        assert_eq!(to_mend(&some(), None).unwrap(), ["order", "payment"]);
        assert!(to_mend(&some()[..1], None).unwrap().is_empty());
    }

    #[test]
    fn a_queue_that_is_not_ours_is_not_touched() {
        let failure = to_mend(&some(), Some("theirs")).unwrap_err();
        assert_eq!(failure.code, 5);
        assert!(failure.message.ends_with("those are saga, order, payment"), "{}", failure.message);
    }
}
