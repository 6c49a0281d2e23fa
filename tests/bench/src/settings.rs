//! What a run can be told, by flag or environment.

use std::{env, fmt::Write, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What database, broker and gRPC allow when they are driven raw
    Yardsticks,
    /// One transaction per request and per message, a relay that polls
    Reference,
    /// Waybill, from request to end
    Sagas,
    /// Waybill's gateway alone, while nothing is published
    Accepts,
    /// Speed and reading against the number of dispatches that have ended
    History,
    /// How a backlog drains that grew while the broker was away
    Backlog,
    /// Speed against the size of a request
    Payload,
    /// Speed against the number of processes
    Processes,
    /// Speed while another session holds an old snapshot
    Snapshot,
    /// History, backlog, payload, processes and snapshot
    Growth,
    /// What traces cost
    Telemetry,
    /// Speed against settings of consumers and relay
    Tuning,
}

/// A setting to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Knob {
    /// `consumer.batch`
    Batch,
    /// `consumer.prefetch`
    Prefetch,
    /// `relay.window`
    Window,
}

impl Knob {
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Batch => "consumer.batch",
            Self::Prefetch => "consumer.prefetch",
            Self::Window => "relay.window",
        }
    }

    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Batch => "WAYBILL_CONSUMER_BATCH",
            Self::Prefetch => "WAYBILL_CONSUMER_PREFETCH",
            Self::Window => "WAYBILL_RELAY_WINDOW",
        }
    }

    /// What it is turned to.
    pub(crate) const fn values(self) -> [u32; 5] {
        match self {
            Self::Batch => [1, 8, 32, 128, 512],
            Self::Prefetch => [8, 32, 128, 512, 2_048],
            Self::Window => [2, 8, 32, 128, 512],
        }
    }
}

impl Part {
    const SPEED: [Self; 4] = [Self::Yardsticks, Self::Reference, Self::Sagas, Self::Accepts];
    const GROWTH: [Self; 5] = [Self::History, Self::Backlog, Self::Payload, Self::Processes, Self::Snapshot];
}

/// Measures Waybill beside raw yardsticks and a reference path, turn and turn about in one run, and verifies
/// that every dispatch ended as it should.
#[derive(Clone, Debug, Parser)]
#[command(name = "waybill-yardsticks", version)]
pub struct Settings {
    /// How often everything is measured; the figures are medians
    #[arg(long, env = "WAYBILL_YARDSTICKS_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds of each measurement
    #[arg(long, env = "WAYBILL_YARDSTICKS_SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Seconds of load before each, which do not count
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=60))]
    pub warm_up: u64,
    /// Only these parts [default: yardsticks,reference,sagas,accepts]
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Sagas in flight
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "1,64,256,1024", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub loads: Vec<u32>,
    /// Requests in flight where only accepts are measured
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub accepting: u32,
    /// Ended dispatches in the tables, for part `history`
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "10000,1000000", value_parser = clap::value_parser!(u32).range(1..))]
    pub history: Vec<u32>,
    /// Dispatches that wait when the broker comes back, for part `backlog`
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "10000,100000,1000000", value_parser = clap::value_parser!(u32).range(1..))]
    pub backlog: Vec<u32>,
    /// Processes, for part `processes`
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u32).range(1..=32))]
    pub processes: Vec<u32>,
    /// For how long an old snapshot is held, for part `snapshot`
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub held: u64,
    /// Settings to turn, for part `tuning`
    #[arg(long, value_name = "SETTING,…", value_delimiter = ',', default_value = "batch,prefetch,window")]
    pub turn: Vec<Knob>,
    /// Write the report and its plots to this folder
    #[arg(long, value_name = "FOLDER")]
    pub report: Option<PathBuf>,
    /// The program under test. Default: `waybill` beside this program
    #[arg(long, default_value_os_t = beside(), hide_default_value = true)]
    pub program: PathBuf,
    /// Where databases of their own are made; `make bench` starts one
    #[arg(long, env = "WAYBILL_TEST_POSTGRES_URL", value_name = "URL", hide_env_values = true)]
    pub postgres: String,
    /// The broker; `make bench` starts one
    #[arg(long, env = "WAYBILL_TEST_AMQP_URL", value_name = "URL", hide_env_values = true)]
    pub amqp: String,
    /// Folder of the broker that deploy/scripts/rabbitmq.sh runs; without it nothing is said of its CPU and messages
    #[arg(long, env = "WAYBILL_TEST_RABBITMQ_DIR", value_name = "FOLDER")]
    pub rabbitmq: Option<PathBuf>,
}

fn beside() -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name("waybill")
}

impl Settings {
    /// How long one measurement takes.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What comes before it and does not count.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// Whether this part was asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        let group = if Part::GROWTH.contains(&part) { Part::Growth } else { part };
        if self.only.is_empty() {
            Part::SPEED.contains(&part)
        } else {
            self.only.contains(&part) || self.only.contains(&group)
        }
    }

    /// Whether any part of the first four was asked for; the others are reported by themselves.
    pub(crate) fn wants_speed(&self) -> bool {
        Part::SPEED.iter().any(|part| self.wants(*part))
    }

    /// The flags that make the same run.
    pub(crate) fn flags(&self) -> String {
        let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut flags =
            format!("--rounds {} --seconds {} --warm-up {}", self.rounds, self.seconds, self.warm_up);
        if self.wants_speed() {
            let _ = write!(flags, " --loads {} --accepting {}", list(&self.loads), self.accepting);
        }
        for (part, flag, numbers) in [
            (Part::History, "history", &self.history),
            (Part::Backlog, "backlog", &self.backlog),
            (Part::Processes, "processes", &self.processes),
        ] {
            if self.wants(part) {
                let _ = write!(flags, " --{flag} {}", list(numbers));
            }
        }
        if self.wants(Part::Snapshot) {
            let _ = write!(flags, " --held {}", self.held);
        }
        let names = self.only.iter().filter_map(ValueEnum::to_possible_value);
        let only = names.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(",");
        if only.is_empty() { flags } else { format!("{flags} --only {only}") }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Part, Settings};

    fn settings(flags: &str) -> Settings {
        let servers = ["yardsticks", "--postgres", "postgres://x", "--amqp", "amqp://x"];
        Settings::try_parse_from(servers.into_iter().chain(flags.split_whitespace())).unwrap()
    }

    #[test]
    fn growth_is_measured_only_where_it_is_asked_for() {
        let usual = settings("");
        assert!(usual.wants(Part::Sagas) && usual.wants_speed() && !usual.wants(Part::History));
        let growth = settings("--only growth");
        assert!(growth.wants(Part::History) && growth.wants(Part::Snapshot) && !growth.wants_speed());
        let some = settings("--only backlog,reference");
        assert!(some.wants(Part::Backlog) && some.wants(Part::Reference) && !some.wants(Part::Sagas));
        assert!(!some.wants(Part::History));
        let telemetry = settings("--only telemetry");
        assert!(
            telemetry.wants(Part::Telemetry) && !telemetry.wants_speed() && !telemetry.wants(Part::History)
        );
        assert!(!usual.wants(Part::Telemetry) && !growth.wants(Part::Telemetry));
    }

    #[test]
    fn the_flags_of_a_run_make_the_same_run() {
        for flags in [
            "--rounds 2 --seconds 1 --warm-up 0 --history 10,20 --only history",
            "--rounds 1 --seconds 9 --warm-up 1 --held 60 --only snapshot",
        ] {
            assert_eq!(settings(flags).flags(), flags);
        }
        assert_eq!(settings(&settings("").flags()).flags(), settings("").flags());
    }
}
