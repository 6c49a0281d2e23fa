//! Carries out the schedule: each lane strikes, waits, heals, and goes on, until the time is up.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    fault::{Binding, Fault, QUEUES},
    fleet::Fleet,
    progress::Progress,
    queues::Queues,
    schedule::{Lane, Step, Steps},
    servers::Servers,
    settings::Settings,
};

/// What can be struck.
pub(crate) struct Targets<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) fleet: &'a Fleet,
    pub(crate) queues: &'a Queues,
    pub(crate) progress: &'a Progress,
}

/// How many faults of each kind there were.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    fn add(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(fault.kind()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Strikes until `end`; then everything has healed. Errors: something cannot be healed.
pub(crate) async fn run(
    targets: &Targets<'_>,
    settings: &Settings,
    tally: &Tally,
    end: Instant,
) -> Result<()> {
    let lanes = Lane::ALL.map(async |lane| {
        for step in Steps::new(settings.seed, lane, settings.nodes()) {
            if Instant::now() + step.pause >= end {
                break;
            }
            sleep(step.pause).await;
            if targets.strike(step, end).await? {
                tally.add(step.fault);
            }
        }
        Ok(())
    });
    try_join_all(lanes).await.map(drop)
}

impl Targets<'_> {
    /// One fault and its healing. `false` when it could not be brought about: the broker was away already.
    async fn strike(&self, step: Step, end: Instant) -> Result<bool> {
        let Step { fault, lasts, pause: _ } = step;
        let until = (Instant::now() + lasts).min(end);
        self.progress.line(&format!("{fault}, {:.1} s", lasts.as_secs_f64()));
        match fault {
            Fault::Kill(member) => self.fleet.kill(member, until).await,
            Fault::Pause(member) => self.fleet.pause(member, until).await,
            Fault::Restart(member) => self.fleet.restart(member, until).await,
            Fault::KillNode(node) => self.node(node, "kill", until).await?,
            Fault::RestartNode(node) => self.node(node, "stop", until).await?,
            Fault::KillBroker => {
                self.servers.broker("kill").await?;
                sleep_until(until).await;
                self.servers.broker("start").await?;
            }
            Fault::KillDatabase => self.database("kill", until).await?,
            Fault::RestartDatabase => self.database("stop", until).await?,
            Fault::Network(failure, peer, member) => self.fleet.network(failure, peer, member, until).await,
            Fault::Unbind(binding) => return self.unbind(binding, until).await,
            Fault::Purge(Some(queue)) => return Ok(self.purge(&[queue], until).await),
            Fault::Purge(None) => return Ok(self.purge(&QUEUES, until).await),
        }
        Ok(true)
    }

    async fn node(&self, node: usize, action: &str, until: Instant) -> Result<()> {
        self.servers.node(node, action).await?;
        sleep_until(until).await;
        self.servers.node(node, "start").await
    }

    async fn database(&self, action: &str, until: Instant) -> Result<()> {
        self.servers.database(action).await?;
        sleep_until(until).await;
        self.servers.database("start").await
    }

    async fn unbind(&self, binding: Binding, until: Instant) -> Result<bool> {
        if let Err(error) = self.queues.unbind(binding).await {
            self.progress.line(&format!("  not possible now: {error:#}"));
            return Ok(false);
        }
        sleep_until(until).await;
        // The broker may have gone meanwhile, and the lane that took it away brings it back.
        let latest = Instant::now() + Duration::from_mins(3);
        while let Err(error) = self.queues.bind(binding).await {
            if Instant::now() > latest {
                return Err(error);
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(true)
    }

    /// Empties queues that have filled, because nobody takes anything for a while.
    async fn purge(&self, queues: &[&str], until: Instant) -> bool {
        self.fleet.shut_out(queues);
        sleep_until(until).await;
        let purged = self.queues.purge(queues).await;
        self.fleet.let_in(queues);
        match &purged {
            Ok(messages) => self.progress.line(&format!("  {messages} messages were lost")),
            Err(error) => self.progress.line(&format!("  not possible now: {error:#}")),
        }
        purged.is_ok()
    }
}
