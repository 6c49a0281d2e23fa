//! What a run can be told, by flag or environment.

use std::{env, path::PathBuf, time::Duration};

use clap::Parser;

/// Runs Waybill as many processes under load, breaks whatever can break, lets everything heal, and checks that
/// every acknowledged dispatch has ended as it was asked for, once.
#[derive(Clone, Debug, Parser)]
#[command(name = "waybill-chaos", version)]
pub struct Settings {
    /// Decides faults and requests; the same seed repeats them. Default: a random one
    #[arg(long, env = "WAYBILL_CHAOS_SEED", default_value_t = random_seed(), hide_default_value = true)]
    pub seed: u64,
    /// How long faults happen
    #[arg(long, env = "WAYBILL_CHAOS_SECONDS", default_value_t = 300)]
    pub seconds: u64,
    /// New dispatches a second
    #[arg(long, env = "WAYBILL_CHAOS_RATE", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Calls under way at the same time, at most
    #[arg(long, env = "WAYBILL_CHAOS_IN_FLIGHT", default_value_t = 64)]
    pub in_flight: usize,
    /// A broker of one node instead of a cluster of three
    #[arg(long, env = "WAYBILL_CHAOS_SINGLE")]
    pub single: bool,
    /// Seconds that everything may take to end after the last fault has healed
    #[arg(long, env = "WAYBILL_CHAOS_SETTLE", default_value_t = 240)]
    pub settle: u64,
    /// The program under test. Default: `waybill` beside this program
    #[arg(long, env = "WAYBILL_CHAOS_PROGRAM", default_value_os_t = beside(), hide_default_value = true)]
    pub program: PathBuf,
}

fn random_seed() -> u64 {
    // Short enough to be typed.
    u64::from(rand::random::<u32>())
}

fn beside() -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name("waybill")
}

impl Settings {
    /// How long faults happen.
    pub fn faulty(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Nodes of the broker.
    pub(crate) fn nodes(&self) -> usize {
        if self.single { 1 } else { 3 }
    }

    /// Fewer faults than this prove nothing.
    pub fn least_faults(&self) -> u64 {
        self.seconds / 3
    }

    /// Fewer acknowledgements than this prove nothing.
    pub fn least_acknowledged(&self) -> u64 {
        self.seconds * u64::from(self.rate) / 4
    }

    /// The command that repeats this run.
    pub fn command(&self) -> String {
        let Self { seed, seconds, rate, in_flight, single, settle, program: _ } = self;
        format!(
            "make chaos WAYBILL_CHAOS_SEED={seed} WAYBILL_CHAOS_SECONDS={seconds} WAYBILL_CHAOS_RATE={rate} \
             WAYBILL_CHAOS_IN_FLIGHT={in_flight} WAYBILL_CHAOS_SINGLE={single} WAYBILL_CHAOS_SETTLE={settle}"
        )
    }
}
