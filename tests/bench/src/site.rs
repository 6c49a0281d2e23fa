//! Where everything runs: the servers, the program under test, the folder for what is written.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use lapin::{Connection, ConnectionProperties, options::QueueDeleteOptions};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;
use waybill_test_support::Server;

use crate::{settings::Settings, usage};

/// What all measurements share.
pub(crate) struct Site {
    pub(crate) settings: Settings,
    /// Stands before the names of this run on the broker.
    pub(crate) prefix: String,
    /// Whether the program knows packing.
    pub(crate) packs: bool,
    begun: Instant,
    /// What is to be deleted at the end.
    queues: Mutex<BTreeSet<String>>,
    /// On a disk of the repository's: a temporary folder may be memory, where nothing is ever synced.
    folder: TempDir,
}

impl Site {
    /// Looks at the program, and makes a folder below `place`. Errors: the program cannot be run.
    pub(crate) async fn new(settings: Settings, place: &Path) -> Result<Self> {
        let program = &settings.program;
        let table = clean(program).args(["config", "--markdown"]).output().await;
        let table = table.with_context(|| format!("{} cannot be run", program.display()))?;
        ensure!(table.status.success(), "{} config --markdown: {}", program.display(), table.status);
        let packs = String::from_utf8_lossy(&table.stdout).contains("`relay.pack`");
        std::fs::create_dir_all(place)?;
        let folder = tempfile::Builder::new().prefix("yardsticks-").tempdir_in(place)?;
        let prefix = format!("y{}.", Uuid::now_v7().simple());
        Ok(Self { settings, prefix, packs, begun: Instant::now(), queues: Mutex::default(), folder })
    }

    /// Says what is being done.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("{:>6.0} s  {line}", self.begun.elapsed().as_secs_f64());
    }

    /// The full name of a queue of this run, which is [deleted](Self::sweep) at the end.
    pub(crate) fn queue(&self, name: &str) -> String {
        let name = format!("{}{name}", self.prefix);
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        name
    }

    /// The prefix of a Waybill of this run, whose queues are deleted at the end as well.
    pub(crate) fn waybill(&self, name: &str) -> String {
        for queue in ["saga", "order", "payment", "dispatch"] {
            self.queue(&format!("{name}.{queue}"));
            self.queue(&format!("{name}.{queue}.dead"));
        }
        format!("{}{name}.", self.prefix)
    }

    /// Deletes the queues of this run, one after the other. Exchanges cost nothing and stay.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let connection = Connection::connect(&self.settings.amqp, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let queues = std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        for queue in queues {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        Ok(connection.close(200, "done".into()).await?)
    }

    /// A file or folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program under test.
    pub(crate) fn command(&self) -> Command {
        clean(&self.settings.program)
    }

    /// CPU seconds of the broker so far.
    pub(crate) fn broker_seconds(&self) -> Option<f64> {
        let id = usage::server_in(self.settings.rabbitmq.as_deref()?)?;
        Some(usage::tree_seconds(id))
    }

    /// AMQP messages that the broker has been sent so far, by its own count.
    pub(crate) async fn broker_messages(&self) -> Option<f64> {
        const COUNT: &str = "maps:get(messages_received_total, \
             maps:get([{protocol, amqp091}], rabbit_global_counters:overview())).";
        let server = Server::rabbitmq(self.settings.rabbitmq.as_deref()?);
        server.run_with("ctl", &["eval", COUNT]).await.ok()?.lines().last()?.trim().parse().ok()
    }
}

/// A program, without what the environment tells it of another installation.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["WAYBILL_", "OTEL_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command.kill_on_drop(true);
    command
}
