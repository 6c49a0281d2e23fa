//! What the commands share that go to databases and broker themselves, without a server: configuration,
//! connections, and what is said when one cannot be had.

use std::{path::Path, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use waybill_messaging::{Clock, Store, StoreError, StoreSettings, Timestamp, relay::HandOff};

use super::{Failure, exit};
use crate::config::{Config, SecretUrl};

/// A database that a command works on.
pub(super) struct Database {
    /// Its name in the output: `common`, or the participant that has it to itself.
    pub(super) name: &'static str,
    /// Where it is, without its password.
    pub(super) shown: String,
    pub(super) store: Store,
}

impl Database {
    /// Every configured one, opened. Errors: one cannot be opened; what it is is said.
    pub(super) async fn all(config: &Config) -> Result<Vec<Self>, Failure> {
        let mut databases = Vec::new();
        for (name, url) in config.databases() {
            databases.push(Self::open(name, url).await?);
        }
        Ok(databases)
    }

    /// One of them. Errors: as above.
    pub(super) async fn open(name: &'static str, url: &SecretUrl) -> Result<Self, Failure> {
        let shown = url.to_string();
        let path = url.expose().strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
        let path = path.map(|path| path.split('?').next().unwrap_or_default());
        if path.is_some_and(|path| !Path::new(path).exists()) {
            // Opening it would make an empty one.
            let message = format!("database {name} ({shown}): there is no such file");
            return Err(Failure::new(exit::NOT_FOUND, message));
        }
        let settings = StoreSettings {
            url: url.expose().to_owned(),
            connections: 1,
            statement_timeout: Duration::from_mins(1),
            clock: Clock::system(),
        };
        let (store, _) = Store::open(settings, HandOff::none())
            .await
            .map_err(|error| Failure::other(format!("database {name} ({shown}): {error}")))?;
        Ok(Self { name, shown, store })
    }

    /// What is said when it does not do what it was asked.
    pub(super) fn failure(&self, error: &StoreError) -> Failure {
        let (name, shown) = (self.name, &self.shown);
        let code = if error.is_outage() { exit::UNREACHABLE } else { exit::OTHER };
        let mut failure = Failure::new(code, format!("database {name} ({shown}): {error}"));
        let text = error.to_string();
        if text.contains("no such table") || text.contains("42P01") || text.contains("does not exist") {
            failure.details = vec!["`waybill migrate` makes the tables".to_owned()];
        }
        failure
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn shown(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_micros(at.micros())
        .map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// How long ago, or how long until, in the two largest units.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}.{} s", seconds, age.subsec_millis() / 100),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::age;

    #[test]
    fn an_age_is_shown_in_its_two_largest_units() {
        let shown =
            [340, 4_000, 62_000, 3_661_000, 90_061_000].map(|millis| age(Duration::from_millis(millis)));
        assert_eq!(shown, ["0.3 s", "4.0 s", "1 min 2 s", "1 h 1 min", "1 d 1 h"]);
    }
}
