//! For how long one and the same message can come again, by the settings. The inbox must not forget sooner.

use std::time::Duration;

use waybill_gateway::RECONCILE_HORIZON;
use waybill_messaging::Backoff;
use waybill_saga::{Defaults, order_fulfilment};

use super::{
    error::Problem,
    model::{Config, Consumer, Saga},
};

/// What the horizon follows from.
const KEYS: &str = "saga.step_timeout, saga.step_attempts, consumer.max_attempts, consumer.retry_delay, \
                    consumer.retry_max_delay and consumer.handler_timeout";

/// Refuses an inbox that would take a late copy of a message for a new one.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    let (retention, needed) = (config.inbox_retention, retry_horizon(config));
    if retention >= needed {
        return Ok(());
    }
    let [needed, retention] = [needed, retention].map(humantime::format_duration);
    let what = format!("must be at least {needed}, and is {retention}");
    Err(Problem::Conflict { first: "inbox.retention", second: KEYS, what })
}

/// For how long one and the same message can come again.
pub(crate) fn retry_horizon(config: &Config) -> Duration {
    horizon(&config.saga, &config.consumer)
}

/// The longest time between the first handling of a message and the last attempt at a copy of it:
///
/// `max(resending, reconciling) + retrying`, where
/// - resending is how long the saga sends one command again: over its most patient step or compensation, the
///   sum of all waits, `step_timeout × 2^(n − 1)` up to 20 times `step_timeout`, for twice `step_attempts`, each
///   a tenth longer by jitter;
/// - reconciling is how long the gateway sends a request again at doubling intervals, from 30 s to 30 min;
/// - retrying is what a consumer takes for the last copy: all delays of `consumer.max_attempts` attempts, at
///   their longest, and as many times `consumer.handler_timeout`.
///
/// How long the broker is away comes on top, how long a stuck saga goes on asking, and how late messages are in a
/// backlog; no setting bounds these. They can bring back a message that was forgotten. The participants' own rows answer it then.
fn horizon(saga: &Saga, consumer: &Consumer) -> Duration {
    let Saga { step_timeout, step_attempts, timeout: saga_timeout, .. } = *saga;
    let definitions = order_fulfilment(&Defaults { step_timeout, step_attempts, saga_timeout });
    let horizons = definitions.iter().map(waybill_saga::Definition::resend_horizon);
    let resending = horizons.max().unwrap_or_default();
    let delays = Backoff { first: consumer.retry_delay, most: consumer.retry_max_delay };
    let handling = consumer.handler_timeout.saturating_mul(consumer.max_attempts);
    let retrying = delays.total(consumer.max_attempts).saturating_add(handling);
    resending.max(RECONCILE_HORIZON).saturating_add(retrying)
}
