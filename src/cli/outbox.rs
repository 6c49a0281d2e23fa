//! `waybill outbox`: what waits in the outbox of every configured database, and parked rows made due again.

use std::{env, process::ExitCode};

use clap::Subcommand;
use comfy_table::Cell;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_messaging::{
    Timestamp,
    outbox::{
        self, Parked,
        desk::{Filter, Group, Row, State, groups, rows},
    },
};

use super::{
    Failure, Task,
    clean::clean,
    json,
    operate::{Database, age, shown},
    out::{self, Colour, Paint},
    settings::SettingArgs,
};
use crate::config::Config;

/// Shows what waits in the outbox of every configured database, or makes parked rows due again
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
States:
  ready       due, and waiting for a relay: the broker is away, or no process plays the role `relay`
  delayed     its moment has not come: a retry of a message that could not be handled
  leased      a relay is about to publish it
  unroutable  no queue takes it; goes out by itself when the binding is back
  rejected    the broker refused it too often, or it is too large; waits for `waybill outbox retry`

Examples:
  waybill outbox
  waybill outbox --list --state unroutable,rejected --routing-key order.command
  waybill outbox --json --database-url postgres://waybill@db/waybill
  waybill outbox retry --routing-key order.command")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Row by row, the oldest first, instead of by state and routing key
    #[arg(long)]
    list: bool,
    /// Only these states: ready, delayed, leased, unroutable, rejected
    #[arg(long, value_delimiter = ',')]
    state: Vec<State>,
    /// Only this routing key
    #[arg(long, value_name = "KEY")]
    routing_key: Option<String>,
    /// Rows of each database at most, with --list
    #[arg(long, default_value_t = 50, value_name = "COUNT", requires = "list")]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Retry(RetryArgs),
}

/// Makes parked rows (unroutable, rejected) due again: all of them, those of a routing key, or one
#[derive(Debug, clap::Args)]
struct RetryArgs {
    /// Only this routing key
    #[arg(long, value_name = "KEY", conflicts_with = "id")]
    routing_key: Option<String>,
    /// Only this row
    #[arg(long)]
    id: Option<Uuid>,
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
    Groups { filter: Filter, json: bool },
    Rows { filter: Filter, json: bool, most: u32 },
    Retry(Parked),
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let filter = Filter { states: self.state, routing_key: self.routing_key };
        let (settings, what) = match self.command {
            Some(Command::Retry(RetryArgs { routing_key, id, settings })) => {
                let which = match (id, routing_key) {
                    (Some(id), _) => Parked::Row(id),
                    (None, Some(key)) => Parked::RoutingKey(key),
                    (None, None) => Parked::All,
                };
                (settings, What::Retry(which))
            }
            None if self.list => (self.settings, What::Rows { filter, json: self.json, most: self.limit }),
            None => (self.settings, What::Groups { filter, json: self.json }),
        };
        Ok(Task::Outbox(Box::new(Work { config: settings.load()?.config, what })))
    }
}

impl Work {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let databases = Database::all(&self.config).await?;
        match &self.what {
            What::Groups { filter, json } => show_groups(&databases, filter, *json).await,
            What::Rows { filter, json, most } => show_rows(&databases, filter, *json, *most).await,
            What::Retry(which) => retry(&databases, which).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

async fn show_groups(databases: &[Database], filter: &Filter, as_json: bool) -> Result<(), Failure> {
    let header = ["Database", "State", "Routing key", "Rows", "Oldest", "Next due", "Last error"];
    let (mut table, paint) = (out::table(&header), Paint::of_stdout());
    for database in databases {
        let now = database.store.clock().now();
        let found = groups(&database.store, filter).await.map_err(|error| database.failure(&error))?;
        for group in &found {
            if as_json {
                out::text(&json::line(&group_json(database.name, group, now)))?;
                continue;
            }
            table.add_row([
                Cell::new(database.name),
                paint.cell(colour(group.state), group.state.name()),
                Cell::new(clean(&group.routing_key)),
                Cell::new(group.rows.to_string()),
                Cell::new(age(now.since(group.oldest))),
                Cell::new(next(group.next_due, now)),
                Cell::new(clean(&group.last_error)),
            ]);
        }
    }
    print(&table, as_json)
}

async fn show_rows(databases: &[Database], filter: &Filter, as_json: bool, most: u32) -> Result<(), Failure> {
    let header = ["Database", "Row", "State", "Routing key", "Message", "Written", "Next due", "Last error"];
    let (mut table, paint) = (out::table(&header), Paint::of_stdout());
    for database in databases {
        let now = database.store.clock().now();
        let found = rows(&database.store, filter, most).await.map_err(|error| database.failure(&error))?;
        for row in &found {
            if as_json {
                out::text(&json::line(&row_json(database.name, row)))?;
                continue;
            }
            table.add_row([
                Cell::new(database.name),
                Cell::new(row.id.to_string()),
                paint.cell(colour(row.state), row.state.name()),
                Cell::new(clean(&row.routing_key)),
                Cell::new(clean(&row.message_id)),
                Cell::new(shown(row.created_at)),
                Cell::new(next(row.due, now)),
                Cell::new(clean(&row.last_error)),
            ]);
        }
    }
    print(&table, as_json)
}

/// Every retry leaves a line in the log: who, where, which, how many.
async fn retry(databases: &[Database], which: &Parked) -> Result<(), Failure> {
    let by = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
    for database in databases {
        let retried =
            outbox::retry(&database.store, which).await.map_err(|error| database.failure(&error))?;
        tracing::info!(database = database.name, ?which, rows = retried, by, "parked rows made due again");
        out::text(&format!("{}: {retried} rows are due again", database.name))?;
    }
    Ok(())
}

fn print(table: &comfy_table::Table, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return Ok(());
    }
    let text = if table.is_empty() { "nothing waits".to_owned() } else { table.trim_fmt() };
    out::text(&text)
}

fn next(due: Option<Timestamp>, now: Timestamp) -> String {
    match due {
        None => "-".to_owned(),
        Some(due) if due <= now => "now".to_owned(),
        Some(due) => format!("in {}", age(due.since(now))),
    }
}

const fn colour(state: State) -> Colour {
    match state {
        State::Ready | State::Leased => Colour::Busy,
        State::Delayed => Colour::Dim,
        State::Unroutable => Colour::Warning,
        State::Rejected => Colour::Bad,
    }
}

fn group_json(database: &str, group: &Group, now: Timestamp) -> Value {
    json!({
        "database": database,
        "state": group.state.name(),
        "routing_key": group.routing_key,
        "rows": group.rows,
        "oldest_at": shown(group.oldest),
        "oldest_seconds": now.since(group.oldest).as_secs_f64(),
        "next_due_at": group.next_due.map(shown),
        "last_error": group.last_error,
    })
}

fn row_json(database: &str, row: &Row) -> Value {
    json!({
        "database": database,
        "id": row.id.to_string(),
        "state": row.state.name(),
        "message_id": row.message_id,
        "type": row.type_name,
        "dispatch_id": row.correlation_id,
        "routing_key": row.routing_key,
        "created_at": shown(row.created_at),
        "next_due_at": row.due.map(shown),
        "publish_attempts": row.publish_attempts,
        "last_error": row.last_error,
    })
}
