//! The options of `waybill bench`, and the plan that they make together.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::{
    Bench,
    mix::{Mix, Outcome},
    plot::Format,
    request::Requests,
    schedule::{Limit, Schedule},
};
use crate::cli::{
    Failure,
    client::{self, ClientArgs},
    tls::TlsArgs,
};

const CLOSED_IN_FLIGHT: u32 = 64;
const OPEN_IN_FLIGHT: u32 = 4_096;
/// Between two looks for ends; shorter where a place waits for them.
const POLL: Duration = Duration::from_millis(50);
const SHORT_POLL: Duration = Duration::from_millis(10);

/// When a request gives its place to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Until {
    /// When its receipt is there
    Accepted,
    /// When its dispatch has ended
    Ended,
}

/// How the end of a dispatch is learnt of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Ends {
    /// `ListDispatches`, hundreds at a time
    Listed,
    /// `WatchDispatch` for each, as by a client who waits for it
    Watched,
}

/// Measures a server under load, and verifies that every accepted dispatch ends as it should
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill bench --in-flight 256 --duration 30s --warm-up 5s
  waybill bench --rate 500 --duration 1m --plot latency.svg
  waybill bench --streaming --requests 100000 --json report.json
  waybill bench --in-flight 64 --until ended --mix completed=90,refused-by-payment=10

Every run makes dispatches of its own, with new ids, and leaves them in the database. They name no customer \
and one parcel. A mix gives weights to outcomes:
  completed            everybody agrees (--destination must be one that is taken)
  rejected             not accepted: INVALID_ARGUMENT
  refused-by-order     the customer is blocked (--blocked-customer, see order.blocked_customers)
  refused-by-payment   the amount is beyond every credit limit
  refused-by-dispatch  the destination is refused (--refused-destination, see dispatch.refused_destinations)
  cancelled            everybody agrees, and we cancel it as soon as it is accepted; where the answer to that says \
that it came too late, the dispatch must have completed
Participants of your own must decide alike, or the run fails.

Loops. Without --rate the loop is closed: so many in flight, the next when one is done (and cancelled, where the mix says so). With --rate it is open: \
requests are due at a fixed rate whatever the server does, and every latency counts from when a request was due, \
also where it went out late. In flight is then only a bound; what found no place before the end is counted as \
not sent.

Ends are looked for with ListDispatches, a page of hundreds at a time and every --poll, which costs the server \
least; those that lists do not bring up are asked for one by one, 64 a second. The latency of an end does not \
depend on --poll: it is the time to the receipt plus the time from acceptance to the end as the server dates \
them, to the microsecond, at the beginning of the transactions that commit them. So it is too long by at most the \
time that the commit and the receipt took, too short by the time that the commit of the end took, and off by what \
the clocks of the servers differ by; it is never longer than until the look that saw the end. With --until ended, \
a place is free only after such a look: throughput at few in flight is then bounded by --poll.

With --ends watched every dispatch is watched (WatchDispatch) from its receipt on, as by a client who waits for it. The \
latency of an end is then what that client sees, by its own clock alone, and the server pays for the watching.

Rates count what happened from the end of the warm-up until the last of it, the ends that came after the load \
included. Counts include the warm-up; latencies are of requests that were due after it.

Once the load is over, requests whose outcome is unknown are looked up, the ends that are still out are awaited, and \
each refusal and cancellation is checked for who caused it. Ctrl-C ends the load early; a second one ends the run at once; what \
was measured is reported.

Exit codes: 0 when every accepted dispatch ended as the mix says; 1 when one did not, or nothing was accepted; \
see `waybill --help` for the others.")]
pub(crate) struct Args {
    /// How many requests, after the warm-up
    #[arg(long, value_name = "COUNT", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to send, after the warm-up [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long to send before anything is measured
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Requests in flight, at most [default: 64, with --rate 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: Option<u32>,
    /// When a request is no longer in flight
    #[arg(long, value_enum, default_value = "accepted")]
    until: Until,
    /// Requests a second, in an open loop
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Connections, taken in turn
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Send through a stream for each connection (`RequestDispatches`) instead of a call for each request
    #[arg(long)]
    streaming: bool,
    /// Outcomes and their weights
    #[arg(long, value_name = "OUTCOME=WEIGHT,…", default_value = "completed=100")]
    mix: Mix,
    /// Where the orders go
    #[arg(long, value_name = "CODE", default_value = "DEHAM")]
    destination: String,
    /// Where `refused-by-dispatch` goes
    #[arg(long, value_name = "CODE", default_value = "ZZ9")]
    refused_destination: String,
    /// Who orders what is `refused-by-order`
    #[arg(long, value_name = "ID")]
    blocked_customer: Option<String>,
    /// How ends are learnt of
    #[arg(long, value_enum, default_value = "listed")]
    ends: Ends,
    /// Time between two looks for ends [default: 50ms, with --until ended 10ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    poll: Option<Duration>,
    /// How long to wait for the ends that are out when the load is over
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    /// Write the report as JSON, to a file or with - to standard output in place of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw latencies and throughput, as SVG or PNG by the ending of the name
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Server
    #[arg(long, env = "WAYBILL_ENDPOINT", default_value = client::DEFAULT, value_name = "URL", help_heading = "Connection")]
    endpoint: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// File that holds the token to send; without it `WAYBILL_TOKEN` may hold one
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(
        long,
        default_value = "30s",
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        help_heading = "Connection"
    )]
    timeout: Duration,
}

/// What a run does. Checked.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) limit: Limit,
    pub(super) warm_up: Duration,
    pub(super) rate: Option<f64>,
    pub(super) in_flight: usize,
    pub(super) until: Until,
    pub(super) connections: usize,
    pub(super) streaming: bool,
    pub(super) requests: Requests,
    pub(super) ends: Ends,
    pub(super) poll: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) json: Option<PathBuf>,
    pub(super) plot: Option<PathBuf>,
}

impl Plan {
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(self.rate, self.warm_up, self.limit)
    }
}

impl Args {
    /// Errors: options that do not fit together.
    pub(crate) fn prepare(self) -> Result<Bench, Failure> {
        self.check()?;
        let duration = self.duration.unwrap_or(Duration::from_secs(10));
        let in_flight = if self.rate.is_some() { OPEN_IN_FLIGHT } else { CLOSED_IN_FLIGHT };
        let poll = if self.until == Until::Ended { SHORT_POLL } else { POLL };
        let plan = Plan {
            limit: self.requests.map_or(Limit::Duration(duration), Limit::Requests),
            warm_up: self.warm_up,
            rate: self.rate,
            in_flight: usize::try_from(self.in_flight.unwrap_or(in_flight)).unwrap_or(usize::MAX),
            until: self.until,
            connections: self.connections.into(),
            streaming: self.streaming,
            requests: Requests {
                run: Requests::new_run(),
                mix: self.mix,
                destination: self.destination,
                refused_destination: self.refused_destination,
                blocked_customer: self.blocked_customer,
            },
            ends: self.ends,
            poll: self.poll.unwrap_or(poll),
            drain_timeout: self.drain_timeout,
            json: self.json,
            plot: self.plot,
        };
        let client = ClientArgs::new(self.endpoint, self.tls, self.token_file, self.timeout);
        Ok(Bench { plan, client })
    }

    fn check(&self) -> Result<(), Failure> {
        if self.mix.contains(Outcome::RefusedByOrder) && self.blocked_customer.is_none() {
            return Err(Failure::usage(
                "--mix names refused-by-order: --blocked-customer has to name a customer whom participant \
                 `order` blocks (order.blocked_customers)",
            ));
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            return Err(Failure::usage("--duration must not be 0"));
        }
        if self.poll.is_some_and(|poll| poll < Duration::from_millis(1)) {
            return Err(Failure::usage("--poll must be 1ms or longer"));
        }
        if self.poll.is_some() && self.ends == Ends::Watched {
            return Err(Failure::usage(
                "--poll is for ends that are listed; with --ends watched nothing is polled",
            ));
        }
        if self.plot.as_deref().is_some_and(|path| Format::of(path).is_none()) {
            return Err(Failure::usage("--plot: name a file that ends in .svg or .png"));
        }
        Ok(())
    }
}

/// So many a second: `500` or `500/s`, from one an hour.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse::<f64>().ok();
    rate.filter(|rate| (1.0 / 3_600.0..=1e6).contains(rate))
        .ok_or_else(|| "is no rate a second, such as 500, from 0.0003 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{Args, Limit, Plan, Until};

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn plan(flags: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(flags.split_whitespace());
        let args = Command::try_parse_from(words).map_err(|error| error.to_string())?.args;
        args.prepare().map(|bench| bench.plan).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_loop_is_closed_unless_there_is_a_rate() {
        let closed = plan("").unwrap();
        assert_eq!((closed.rate, closed.in_flight, closed.connections), (None, 64, 2));
        assert_eq!(closed.limit, Limit::Duration(Duration::from_secs(10)));
        assert_eq!((closed.until, closed.poll), (Until::Accepted, Duration::from_millis(50)));
        let open = plan("--rate 250.5/s --requests 7 --warm-up 2s").unwrap();
        assert_eq!((open.rate, open.in_flight), (Some(250.5), 4_096));
        assert_eq!((open.limit, open.warm_up), (Limit::Requests(7), Duration::from_secs(2)));
        assert_eq!(plan("--rate 1 --in-flight 9").unwrap().in_flight, 9);
        assert_eq!(plan("--until ended").unwrap().poll, Duration::from_millis(10));
    }

    #[test]
    fn what_cannot_be_is_said_before_anything_is_sent() {
        for (flags, expected) in [
            ("--requests 0", "0 is not in 1.."),
            ("--requests 5 --duration 5s", "cannot be used with"),
            ("--duration 0s", "--duration must not be 0"),
            ("--rate 0", "is no rate a second"),
            ("--rate fast", "is no rate a second"),
            ("--in-flight 0", "0 is not in 1.."),
            ("--connections 0", "0 is not in 1.."),
            ("--poll 0s", "--poll must be 1ms or longer"),
            ("--ends watched --poll 5ms", "nothing is polled"),
            ("--mix completed=50,lost=50", "`lost` is no outcome"),
            ("--mix refused-by-order=1", "--blocked-customer has to name"),
            ("--plot curve.gif", "ends in .svg or .png"),
            ("--plot curve", "ends in .svg or .png"),
        ] {
            let error = plan(flags).expect_err(flags);
            assert!(error.contains(expected), "{flags}: {error}");
        }
        assert!(plan("--mix refused-by-order=1 --blocked-customer c --plot x.SVG").is_ok());
        assert!(plan("--plot x.Png").is_ok());
    }
}
