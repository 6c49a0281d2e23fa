//! What telemetry costs: the same load while no trace is exported, while one in ten is, and while all are, turn
//! and turn about, and once more without, which shows how far two runs of the same differ.

mod sink;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, ensure};

use self::sink::Sink;
use crate::{
    book::median,
    load::{Load, Until},
    report::{Goal, Report, Section, Wanted, maybe},
    running::{Running, Setup},
    settings::Part,
    site::Site,
    subject::Kind,
    usage,
};

const IN_FLIGHT: u32 = 64;

/// What is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Traced {
    Nothing,
    NothingAgain,
    OneInTen,
    Everything,
}

impl Traced {
    const ALL: [Self; 4] = [Self::Nothing, Self::NothingAgain, Self::OneInTen, Self::Everything];

    /// The share that is sampled, where anything is exported.
    const fn share(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::NothingAgain => None,
            Self::OneInTen => Some("0.1"),
            Self::Everything => Some("1"),
        }
    }
}

impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no traces",
            Self::NothingAgain => "no traces, once more",
            Self::OneInTen => "10 % of the traces",
            Self::Everything => "every trace",
        })
    }
}

/// What was measured of one load.
#[derive(Clone, Copy, Debug)]
struct Figures {
    rate: f64,
    /// Of Waybill, ms a dispatch.
    cpu: f64,
    /// That came, a dispatch.
    spans: f64,
}

type Round = BTreeMap<Traced, Figures>;

/// Measures it where the settings ask for it.
pub(crate) async fn run(site: &Site, machine: &str) -> Result<Option<Report>> {
    if !site.settings.wants(Part::Telemetry) {
        return Ok(None);
    }
    let (mut rounds, mut problems) = (Vec::new(), Vec::new());
    for round in 0..site.settings.rounds {
        // Each of them comes first, second, … as often.
        let mut order = Traced::ALL;
        order.rotate_left(round as usize % Traced::ALL.len());
        let mut figures = Round::new();
        for traced in order {
            site.say(&format!("round {} of {}: {traced}", round + 1, site.settings.rounds));
            figures.insert(traced, measure(site, traced, &mut problems).await?);
        }
        rounds.push(figures);
    }
    let goal = Goal {
        what: format!("CPU of a dispatch, {} ÷ {}", Traced::OneInTen, Traced::Nothing),
        wanted: Wanted::AtMost(1.05),
        reached: median(ratios(&rounds, Traced::OneInTen, |figures| figures.cpu)),
    };
    let introduction = format!("{machine}\n\nMade by `make bench ARGS=\"{}\"`.", site.settings.flags());
    let (title, sections) = ("The cost of telemetry", vec![section(&rounds)]);
    Ok(Some(Report { name: "telemetry", title, introduction, goals: vec![goal], sections, problems }))
}

async fn measure(site: &Site, traced: Traced, problems: &mut Vec<String>) -> Result<Figures> {
    let sink = Sink::new().await?;
    let mut setup = Setup::new(site, Kind::Postgres, "telemetry");
    if let Some(share) = traced.share() {
        setup = setup
            .set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &sink.endpoint())
            .set("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .set("OTEL_TRACES_SAMPLER_ARG", share);
    }
    let mut running = Running::start(site, &setup).await?;
    let cpu = || usage::seconds(running.process()).context("Waybill is gone");
    let before = cpu()?;
    let measured = Load::new(site, running.endpoint(0), IN_FLIGHT, Until::Ended).run(site).await?;
    let cpu = (cpu()? - before) * 1e3 / measured.accepted as f64;
    running.owe(measured.accepted);
    problems.extend(measured.wrong.map(|wrong| format!("{traced}: {wrong}")));
    problems.extend(running.audit().await.err().map(|error| format!("{traced}: {error}")));
    // It sends its last spans before it ends.
    running.end().await?;
    let spans = sink.spans() as f64 / measured.accepted as f64;
    // A tenth of a few may be none.
    let expected = traced == Traced::OneInTen || (spans > 0.0) == (traced == Traced::Everything);
    ensure!(expected, "{traced}, and {spans} spans came for each dispatch");
    Ok(Figures { rate: measured.rate, cpu, spans })
}

/// To the load without traces of the same round.
fn ratios(rounds: &[Round], traced: Traced, of: impl Fn(&Figures) -> f64) -> Vec<f64> {
    let ratio = |round: &Round| Some(of(round.get(&traced)?) / of(round.get(&Traced::Nothing)?));
    rounds.iter().filter_map(ratio).collect()
}

/// The middle one, and how far they lie apart.
fn spread(ratios: Vec<f64>) -> String {
    let (least, most) = (ratios.iter().copied().reduce(f64::min), ratios.iter().copied().reduce(f64::max));
    let exact = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    format!("{} ({} to {})", exact(median(ratios)), exact(least), exact(most))
}

fn section(rounds: &[Round]) -> Section {
    let middle = |traced, of: fn(&Figures) -> f64| {
        maybe(median(rounds.iter().filter_map(|round| round.get(&traced)).map(of).collect()))
    };
    let row = |traced: Traced| {
        vec![
            traced.to_string(),
            middle(traced, |figures| figures.rate),
            middle(traced, |figures| figures.cpu),
            middle(traced, |figures| figures.spans),
            spread(ratios(rounds, traced, |figures| figures.rate)),
            spread(ratios(rounds, traced, |figures| figures.cpu)),
        ]
    };
    let columns = ["what is exported", "sagas/s", "CPU, ms", "spans", "rate ÷ no traces", "CPU ÷ no traces"];
    Section {
        title: "Traces",
        text: format!(
            "{IN_FLIGHT} sagas in flight on PostgreSQL, every setting at its default; traces go by OTLP to a receiver \
             that counts and drops them, on the same cores. CPU is Waybill's own, for each dispatch. Spans are those \
             that came: the exporter drops what it cannot keep up with, so that fewer than ten times those of 10 % \
             mean that its queue was full. Ratios are within a round: the middle one, the least and the most. The \
             second row is the same as the first: what it differs by is what chance does."
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows: Traced::ALL.map(row).to_vec(),
        charts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Round, Traced, ratios, spread};

    #[test]
    fn a_ratio_is_that_of_the_same_round() {
        let round = |nothing, tenth| {
            let figures = |cpu| Figures { rate: 1.0, cpu, spans: 0.0 };
            Round::from([(Traced::Nothing, figures(nothing)), (Traced::OneInTen, figures(tenth))])
        };
        let rounds = [round(1.0, 1.5), round(10.0, 10.0), round(2.0, 2.5)];
        let ratios = ratios(&rounds, Traced::OneInTen, |figures| figures.cpu);
        assert_eq!(spread(ratios), "1.250 (1.000 to 1.500)");
        assert_eq!(spread(Vec::new()), "– (– to –)");
    }
}
