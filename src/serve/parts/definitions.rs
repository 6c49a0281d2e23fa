//! The definitions of the saga that this process runs: its orchestrator moves instances of them on, its gateway
//! lets operators act on them.

use waybill_saga::{Defaults, Definitions, order_fulfilment};

use crate::config::Config;

/// As configured.
pub(super) fn of(config: &Config) -> anyhow::Result<Definitions> {
    let config = &config.saga;
    let defaults = Defaults {
        step_timeout: config.step_timeout,
        step_attempts: config.step_attempts,
        saga_timeout: config.timeout,
    };
    Ok(Definitions::new(order_fulfilment(&defaults), &config.versions, config.begin_version)?)
}
