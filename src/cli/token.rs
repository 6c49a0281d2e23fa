//! `waybill token`: credentials for a client, made where they are handed over. Nothing keeps the token; the
//! configuration gets its hash.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore as _, rngs::OsRng};
use serde_json::json;
use waybill_gateway::auth::{Scope, hash_of, is_name};

use super::{Failure, Task};

/// Marks a token as what it is, so that scanners for secrets find it.
const PREFIX: &str = "wbt_";
const BYTES: usize = 32;

/// Makes credentials for clients
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(New),
}

/// Prints a new token, once, and the lines for the file that `auth.clients_file` names
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill token new --client shop --scopes submit,read --own-only
  waybill token new --client ops --scopes operate --json

The client sends the token as `authorization: Bearer <token>`; the commands of this program read it from \
WAYBILL_TOKEN or --token-file. To replace a token without an outage, put the new hash beside the old one, hand \
the token over, and take the old hash away.")]
struct New {
    /// Name of the client, which every dispatch and every operator's action is kept with
    #[arg(long, value_name = "NAME", value_parser = name)]
    client: String,
    /// What it may do: submit, read, operate
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// It finds only what it requested itself
    #[arg(long)]
    own_only: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, &'static str> {
    if is_name(text) { Ok(text.to_owned()) } else { Err("must be 1 to 100 visible ASCII characters") }
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    text.parse().map_err(|()| "must be submit, read or operate")
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let Command::New(new) = self.command;
        new.print().map(Task::Print)
    }
}

impl New {
    fn print(&self) -> Result<String, Failure> {
        if self.own_only && self.scopes.contains(&Scope::Operate) {
            return Err(Failure::usage("--own-only: who has scope operate sees everything"));
        }
        let token = fresh()?;
        let hash = hex(&hash_of(&token));
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.name()).collect();
        if self.json {
            let entry = json!({ "name": self.client, "token_sha256": [hash], "scopes": scopes, "own_only": self.own_only });
            return Ok(json!({ "token": token, "client": entry }).to_string());
        }
        let own_only = if self.own_only { "own_only = true\n" } else { "" };
        // Visible ASCII; what TOML would read as its own is escaped.
        let name = self.client.replace('\\', "\\\\").replace('"', "\\\"");
        Ok(format!(
            "{token}\n\n[[client]]\nname = \"{name}\"\ntoken_sha256 = [\"{hash}\"]\nscopes = {scopes:?}\n{own_only}"
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn fresh() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::other(format!("the system gives no random bytes: {error}")))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(client: &str, own_only: bool) -> New {
        New { client: client.to_owned(), scopes: vec![Scope::Submit, Scope::Read], own_only, json: false }
    }

    #[test]
    fn what_is_printed_is_a_token_and_a_file_that_takes_it() {
        let printed = new(r#"a"b\c"#, true).print().unwrap();
        let (token, file) = printed.split_once("\n\n").unwrap();
        assert!(token.starts_with(PREFIX) && token.len() == 47, "{token}");
        let table: toml::Table = file.parse().unwrap();
        let client = &table["client"][0];
        assert_eq!(client["name"].as_str(), Some(r#"a"b\c"#));
        assert_eq!(client["own_only"].as_bool(), Some(true));
        let hash = hex(&hash_of(token));
        assert_eq!(client["token_sha256"][0].as_str(), Some(hash.as_str()));
    }

    #[test]
    fn no_two_tokens_are_alike() {
        assert_ne!(fresh().unwrap(), fresh().unwrap());
    }
}
