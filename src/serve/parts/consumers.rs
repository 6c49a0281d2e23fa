//! Which consumers the roles of this process need: one for the queue of each role, and one that takes the
//! dead letters of that queue into the table.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Backoff, Handler, Store,
    broker::Broker,
    consumer::{self, BuryBrokerLetters, Consumer},
    health::Health,
    topology::{self, Queue},
};
use waybill_saga::{Orchestrator, Versions, deadline};
use waybill_worker::{dispatch, order, payment};

use super::{Stores, definitions};
use crate::config::{self, Config, Role};

/// A consumer that its broker has forgotten is silent for so long at most. A saga's step waits longer
/// (`saga.step_timeout`) before it is sent again.
const IDLE: Duration = Duration::from_secs(20);

/// Starts them.
pub(super) fn start(
    config: &Config,
    stores: &Stores,
    broker: &Broker,
    versions: &Arc<Versions>,
    health: &Health,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut start = Start { config, broker, versions, health, tasks, stop };
    for role in &config.roles {
        match role {
            Role::Gateway | Role::Relay => {}
            Role::Saga => start.saga(stores.get(&config.database.url)?)?,
            Role::Order => {
                let blocked_customers = config.order.blocked_customers.iter().cloned().collect();
                let handler = order::Order::new(order::Rules { blocked_customers });
                start.role("order", topology::ORDER, stores.get(&config.order.database_url)?, handler);
            }
            Role::Payment => {
                let rules = payment::Rules {
                    credit_limit: money(&config.payment.credit_limit),
                    tariff: money(&config.payment.tariff),
                };
                let store = stores.get(&config.payment.database_url)?;
                start.role("payment", topology::PAYMENT, store, payment::Payment::new(rules));
            }
            Role::Dispatch => {
                let patterns = config.dispatch.refused_destinations.iter();
                let refused_destinations = patterns
                    .map(|text| dispatch::DestinationPattern::parse(text))
                    .collect::<Result<_, _>>()?;
                let rules = dispatch::Rules { refused_destinations, capacity: config.dispatch.capacity };
                let store = stores.get(&config.dispatch.database_url)?;
                start.role("dispatch", topology::DISPATCH, store, dispatch::Dispatch::new(rules));
            }
        }
    }
    Ok(())
}

struct Start<'a> {
    config: &'a Config,
    broker: &'a Broker,
    versions: &'a Arc<Versions>,
    health: &'a Health,
    tasks: &'a mut JoinSet<&'static str>,
    stop: &'a CancellationToken,
}

impl Start<'_> {
    fn saga(&mut self, store: Store) -> anyhow::Result<()> {
        let orchestrator =
            Orchestrator::new(definitions::of(self.config)?).telling(Arc::clone(self.versions));
        let interval = self.config.saga.timer_interval;
        let waking = deadline::run(store.clone(), orchestrator.clone(), interval, self.stop.clone());
        self.tasks.spawn(async move {
            waking.await;
            "deadlines"
        });
        self.role("saga", topology::SAGA, store, orchestrator);
        Ok(())
    }

    fn role<H: Handler>(&mut self, part: &'static str, queue: Queue, store: Store, handler: H) {
        let settings = self.settings(part, queue, false);
        self.spawn(
            part,
            Consumer::new(settings, self.broker.clone(), store.clone(), handler, self.health.clone()),
        );
        let dead_part = dead_letters_of(queue);
        let dead = self.settings(dead_part, queue, true);
        let bury = BuryBrokerLetters { queue };
        self.spawn(dead_part, Consumer::new(dead, self.broker.clone(), store, bury, self.health.clone()));
    }

    fn spawn<H: Handler>(&mut self, part: &'static str, consumer: Consumer<H>) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            consumer.run(stop).await;
            part
        });
    }

    fn settings(&self, part: &'static str, queue: Queue, dead: bool) -> consumer::Settings {
        let config = &self.config.consumer;
        consumer::Settings {
            part,
            queue,
            dead,
            prefetch: config.prefetch,
            batch: config.batch,
            handler_timeout: config.handler_timeout,
            max_attempts: config.max_attempts,
            retry: Backoff { first: config.retry_delay, most: config.retry_max_delay },
            idle: IDLE,
        }
    }
}

fn money(amount: &config::Money) -> waybill_worker::Money {
    waybill_worker::Money {
        currency_code: amount.currency_code().to_owned(),
        minor_units: amount.minor_units(),
    }
}

/// Name of the part that takes the dead letters of a queue.
fn dead_letters_of(queue: Queue) -> &'static str {
    match queue {
        topology::SAGA => "saga-dead-letters",
        topology::ORDER => "order-dead-letters",
        topology::PAYMENT => "payment-dead-letters",
        _ => "dispatch-dead-letters",
    }
}
