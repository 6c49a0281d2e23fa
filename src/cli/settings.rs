//! The flags that set the configuration, shared by every command that has one.

use std::{env, path::PathBuf};

use super::Failure;
use crate::config::{Flag, Inputs, Loaded, load};

/// Where the configuration comes from, beside the environment.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct SettingArgs {
    /// TOML file; its nested tables are dotted keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting, by its key; may be given many times. `waybill config` lists them
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Database, as sqlite:, postgres: or postgresql: URL
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Broker, as amqp: or amqps: URL
    #[arg(long, value_name = "URL")]
    amqp_url: Option<String>,
    /// Address of the gRPC services
    #[arg(long, value_name = "IP:PORT")]
    grpc_addr: Option<String>,
    /// Address of the health endpoints and of /metrics
    #[arg(long, value_name = "IP:PORT")]
    http_addr: Option<String>,
    /// Roles of this process, separated by commas
    #[arg(long, value_name = "LIST")]
    roles: Option<String>,
    /// How long stopping may take, with its unit
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("is not of the form key=value".to_owned()),
    }
}

impl SettingArgs {
    /// Loads the configuration from every layer. A flag with a name of its own wins over `--set`.
    pub(super) fn load(self) -> Result<Loaded, Failure> {
        Ok(load(&self.inputs())?)
    }

    fn inputs(self) -> Inputs {
        let named = [
            ("--database-url", "database.url", self.database_url),
            ("--amqp-url", "amqp.url", self.amqp_url),
            ("--grpc-addr", "grpc.addr", self.grpc_addr),
            ("--http-addr", "http.addr", self.http_addr),
            ("--roles", "roles", self.roles),
            ("--drain-timeout", "drain_timeout", self.drain_timeout),
        ];
        let set = self.set.into_iter().map(|(key, text)| Flag { name: "--set", key, text });
        let named = named
            .into_iter()
            .filter_map(|(name, key, text)| text.map(|text| Flag { name, key: key.to_owned(), text }));
        Inputs { file: self.config, environment: env::vars_os().collect(), flags: set.chain(named).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn an_assignment_is_split_at_its_first_equals_sign() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert_eq!(assignment("a="), Ok(("a".to_owned(), String::new())));
        assert!(assignment("a").is_err());
        assert!(assignment("=a").is_err());
    }
}
