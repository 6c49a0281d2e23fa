//! `waybill saga versions`: how many dispatches run on each version of the saga, and what keeps a version from
//! being retired. It reads the database, so it answers while no process runs.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use serde_json::json;
use waybill_messaging::{Clock, Store, StoreSettings, relay::HandOff};
use waybill_saga::{Census, Defaults, census, order_fulfilment};

use super::super::{Failure, out, settings::SettingArgs};
use crate::config::Config;

/// Shows how many dispatches run on each version, and what blocks its retirement
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill saga versions
  waybill saga versions --database-url postgres://waybill@db/waybill --json

A version can be retired once nothing blocks it: no new dispatch begins with it (saga.begin_version of
every process), every dispatch on it has ended, and no message waits for it.")]
pub(super) struct Args {
    /// Print JSON, one version a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

/// The same with its configuration read.
#[derive(Debug)]
pub(super) struct Ready {
    config: Config,
    json: bool,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Ready, Failure> {
        Ok(Ready { config: self.settings.load()?.config, json: self.json })
    }
}

impl Ready {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let settings = StoreSettings {
            url: self.config.database.url.expose().to_owned(),
            connections: 2,
            statement_timeout: Duration::from_secs(30),
            clock: Clock::system(),
        };
        let failed = |error: &dyn std::fmt::Display| Failure::other(error.to_string());
        let (store, _) = Store::open(settings, HandOff::none()).await.map_err(|error| failed(&error))?;
        let counted = census(&store).await.map_err(|error| failed(&error))?;
        store.close().await;
        let lines = lines(counted, self.config.saga.begin_version);
        out::text(&if self.json { as_json(&lines) } else { as_table(&lines) }).map(|()| ExitCode::SUCCESS)
    }
}

/// A version.
#[derive(Debug, PartialEq)]
struct Line {
    saga: String,
    hash: String,
    census: Census,
    /// What keeps it from being retired.
    blocks: Vec<String>,
}

/// The versions that this release knows, and those on which something is under way.
fn lines(mut counted: BTreeMap<(String, u32, String), Census>, begins: u32) -> Vec<Line> {
    let known = order_fulfilment(&Defaults::default());
    let known: Vec<_> = known.iter().map(|d| (d.name.to_owned(), d.version, d.hash())).collect();
    for pinned in &known {
        counted.entry(pinned.clone()).or_default();
    }
    let line = |(pinned, census): ((String, u32, String), Census)| {
        let mut blocks = Vec::new();
        let is_known = known.contains(&pinned);
        let (name, version, hash) = pinned;
        if !is_known {
            blocks.push("this release does not know it".to_owned());
        }
        if is_known && version == begins {
            blocks.push("new dispatches begin with it".to_owned());
        }
        if census.open() > 0 {
            blocks.push(format!("{} not ended, the oldest {}", census.open(), census.oldest));
        }
        if census.parked > 0 {
            blocks.push(format!("{} messages wait for a process that knows it", census.parked));
        }
        Line { saga: format!("{name}/{version}"), hash, census, blocks }
    };
    counted.into_iter().map(line).collect()
}

fn as_table(lines: &[Line]) -> String {
    let header = ["Saga", "Hash", "Running", "Compensating", "Stuck", "Parked", "Retirement"];
    let mut table = out::table(&header);
    for Line { saga, hash, census, blocks } in lines {
        let blocks = if blocks.is_empty() { "nothing blocks it".to_owned() } else { blocks.join("; ") };
        let Census { running, compensating, stuck, parked, .. } = census;
        let counts = [running, compensating, stuck, parked].map(ToString::to_string);
        let mut row = vec![saga.clone(), hash.clone()];
        row.extend(counts);
        row.push(blocks);
        table.add_row(row);
    }
    table.trim_fmt()
}

fn as_json(lines: &[Line]) -> String {
    let line = |Line { saga, hash, census, blocks }: &Line| {
        json!({
            "saga": saga, "hash": hash, "running": census.running, "compensating": census.compensating,
            "stuck": census.stuck, "parked": census.parked, "oldest_dispatch_id": census.oldest, "blocks": blocks,
        })
        .to_string()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_a_version_is_said_one_by_one() {
        let pinned = ("order_fulfilment".to_owned(), 99, "beef".to_owned());
        let census =
            Census { running: 2, stuck: 1, parked: 4, oldest: "d-1".to_owned(), ..Census::default() };
        let lines = lines([(pinned, census)].into(), 1);
        let said: Vec<_> = lines.iter().map(|line| (line.saga.as_str(), line.blocks.clone())).collect();
        assert_eq!(said[0], ("order_fulfilment/1", vec!["new dispatches begin with it".to_owned()]));
        let blocks = [
            "this release does not know it",
            "3 not ended, the oldest d-1",
            "4 messages wait for a process that knows it",
        ];
        assert_eq!(said.last(), Some(&("order_fulfilment/99", blocks.map(str::to_owned).to_vec())));
    }

    #[test]
    fn a_version_on_which_nothing_runs_can_be_retired() {
        let text = as_table(&lines(BTreeMap::new(), 1_000));
        assert!(text.contains("order_fulfilment/1  ") && text.contains("nothing blocks it"), "{text}");
    }
}
