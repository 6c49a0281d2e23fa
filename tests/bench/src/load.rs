//! `waybill bench` as the load generator: the same for Waybill and for the reference path.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::site::Site;

/// When a request gives its place to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Nothing ends meanwhile.
    Accepted,
    Ended,
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Time { warm_up: Duration, time: Duration },
    Requests(u32),
}

/// A load on the server at `endpoint`.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) endpoint: String,
    pub(crate) in_flight: u32,
    pub(crate) connections: u16,
    pub(crate) streaming: bool,
    pub(crate) until: Until,
    /// Each end is watched for, and not listed with others.
    pub(crate) watched: bool,
    /// Requests a second, whatever becomes of them; else as many as find a place.
    pub(crate) rate: Option<u32>,
    pub(crate) amount: Amount,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// All, with those of the warm-up.
    pub(crate) accepted: u64,
    /// Accepts a second, or ends where the load waited for those.
    pub(crate) rate: f64,
    /// Request to receipt, or to end; ms. None where nothing was both sent and answered after the warm-up.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// What should not have been, in words.
    pub(crate) wrong: Option<String>,
}

impl Load {
    /// Calls over two connections, for as long as the settings say.
    pub(crate) fn new(site: &Site, endpoint: String, in_flight: u32, until: Until) -> Self {
        let amount = Amount::Time { warm_up: site.settings.warm_up(), time: site.settings.time() };
        Self {
            endpoint,
            in_flight,
            connections: 2,
            streaming: false,
            until,
            watched: false,
            rate: None,
            amount,
        }
    }

    /// Runs it to its end. Errors: it could not be run; what it found is in [`Measured::wrong`].
    pub(crate) async fn run(&self, site: &Site) -> Result<Measured> {
        let mut command = site.command();
        command.args(["bench", "--json", "-"]).args(self.flags());
        let output = command.stdin(Stdio::null()).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("waybill bench {}: {said}", self.flags().join(" ")))?;
        self.read(&report).with_context(|| format!("in the report of waybill bench: {report}"))
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = vec![
            "--endpoint".to_owned(),
            self.endpoint.clone(),
            format!("--connections={}", self.connections),
        ];
        match self.amount {
            Amount::Time { warm_up, time } => flags.extend([
                format!("--warm-up={}ms", warm_up.as_millis()),
                format!("--duration={}ms", time.as_millis()),
            ]),
            Amount::Requests(requests) => flags.push(format!("--requests={requests}")),
        }
        match self.rate {
            Some(rate) => flags.push(format!("--rate={rate}")),
            None => flags.push(format!("--in-flight={}", self.in_flight)),
        }
        if self.streaming {
            flags.push("--streaming".to_owned());
        }
        if self.watched {
            flags.push("--ends=watched".to_owned());
        }
        flags.push(match self.until {
            Until::Ended => "--until=ended".to_owned(),
            Until::Accepted => "--drain-timeout=0s".to_owned(),
        });
        flags
    }

    fn read(&self, report: &Value) -> Result<Measured> {
        let count = |key: &str| report[key].as_u64().with_context(|| format!("no count {key}"));
        let (rate, latency) = match self.until {
            Until::Accepted => ("accepted_per_second", &report["accept_seconds"]),
            Until::Ended => ("ended_per_second", &report["end_seconds"]),
        };
        let ms = |key: &str| latency[key].as_f64().map(|s| s * 1e3);
        let accepted = count("accepted")?;
        ensure!(accepted > 0, "nothing was accepted");
        let unfinished = if self.until == Until::Ended { count("unfinished")? } else { 0 };
        let wrong = count("wrong")? + unfinished;
        let errors = report["errors"].as_object().filter(|errors| !errors.is_empty());
        let wrong = (wrong > 0 || errors.is_some()).then(|| {
            format!("{wrong} of {accepted} did not end as they should; errors: {}", report["errors"])
        });
        let rate = report[rate].as_f64().with_context(|| format!("no {rate}"))?;
        Ok(Measured { accepted, rate, p50: ms("p50"), p99: ms("p99"), wrong })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Amount, Load, Until};

    fn load(until: Until) -> Load {
        let (endpoint, amount) = (String::new(), Amount::Requests(9));
        let (streaming, watched) = (false, false);
        Load { endpoint, in_flight: 1, connections: 1, streaming, until, watched, rate: None, amount }
    }

    #[test]
    fn a_dispatch_that_did_not_end_right_is_told() {
        let latency = json!({ "p50": 0.002, "p99": 0.004 });
        let mut report = json!({
            "accepted": 9, "wrong": 0, "unfinished": 0, "errors": {}, "accepted_per_second": 10.0,
            "ended_per_second": 8.0, "accept_seconds": latency, "end_seconds": latency,
        });
        let measured = load(Until::Ended).read(&report).unwrap();
        assert_eq!((measured.accepted, measured.rate, measured.p50), (9, 8.0, Some(2.0)));
        assert_eq!(measured.wrong, None);
        report["unfinished"] = 2.into();
        assert_eq!(load(Until::Accepted).read(&report).unwrap().wrong, None);
        assert!(load(Until::Ended).read(&report).unwrap().wrong.unwrap().starts_with("2 of 9"));
        report["wrong"] = 1.into();
        assert!(load(Until::Accepted).read(&report).unwrap().wrong.is_some());
        report["accepted"] = 0.into();
        assert!(load(Until::Ended).read(&report).is_err());
    }
}
