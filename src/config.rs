//! The configuration: one table of settings, four layers (defaults, TOML file, environment, flags), one
//! typed result. Whatever is wrong stops the program before it binds or opens anything, with a message
//! that names the key, the value, its source and what is allowed.

mod auth;
pub(crate) mod clients;
#[cfg(test)]
mod deployed;
mod error;
mod exposure;
mod file;
mod horizon;
mod layers;
mod markdown;
mod model;
pub(crate) mod money;
mod nearest;
mod resolve;
mod role;
mod sample;
mod setting;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod typed;
mod url;
mod value;

pub(crate) use error::ConfigError;
pub(crate) use exposure::check as check_exposure;
pub(crate) use horizon::retry_horizon;
pub(crate) use layers::{Entry, Flag, Inputs};
pub(crate) use markdown::markdown;
pub(crate) use model::{Config, LogFormat, QueueType, Relay, has_authentication};
pub(crate) use money::Money;
pub(crate) use role::Role;
pub(crate) use sample::sample;
pub(crate) use url::SecretUrl;

/// A configuration and, for `waybill config`, where each of its values came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Every setting once, in the order of the table.
    pub(crate) entries: Vec<Entry>,
}

/// Reads the file if there is one, stacks the layers and checks everything.
pub(crate) fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let (entries, values) = layers::stack(inputs)?;
    let config = resolve::resolve(&values)?;
    Ok(Loaded { config, entries })
}
