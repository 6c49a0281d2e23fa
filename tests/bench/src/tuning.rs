//! Speed against the settings that an operator may turn: what each brings, and where that ends.

use anyhow::{Context, Result};

use crate::{
    book::median,
    load::{Load, Measured, Until},
    plot::{Chart, Curve},
    report::{Report, Section, maybe, shown},
    running::{Running, Setup},
    settings::{Knob, Part},
    site::Site,
    subject::Kind,
};

/// Sagas in flight: enough to fill what is turned.
const IN_FLIGHT: u32 = 256;

/// What one value of a setting gave in all rounds.
struct Given {
    value: u32,
    rates: Vec<f64>,
    p50s: Vec<f64>,
}

/// Measures it where the settings ask for it.
pub(crate) async fn run(site: &Site, machine: &str) -> Result<Option<Report>> {
    if !site.settings.wants(Part::Tuning) {
        return Ok(None);
    }
    let turn = &site.settings.turn;
    let given = |value: &u32| Given { value: *value, rates: Vec::new(), p50s: Vec::new() };
    let mut all: Vec<Vec<Given>> =
        turn.iter().map(|knob| knob.values().iter().map(given).collect()).collect();
    let mut problems = Vec::new();
    for round in 1..=site.settings.rounds {
        for (knob, values) in turn.iter().zip(&mut all) {
            for given in values {
                site.say(&format!("round {round}: {} {}", knob.setting(), given.value));
                let measured = measure(site, *knob, given.value, &mut problems).await?;
                given.rates.push(measured.rate);
                given.p50s.extend(measured.p50);
            }
        }
    }
    let (mut rows, mut curves) = (Vec::new(), Vec::new());
    for (knob, values) in turn.iter().zip(all) {
        let mut points = Vec::new();
        for Given { value, rates, p50s } in values {
            let rate = median(rates).context("no rounds")?;
            rows.push(vec![knob.setting().to_owned(), value.to_string(), shown(rate), maybe(median(p50s))]);
            points.push((f64::from(value), rate));
        }
        curves.push(Curve { name: knob.setting().to_owned(), points });
    }
    let chart = Chart {
        name: "settings",
        title: "Sagas a second against one setting, every other at its default",
        along: "value",
        logarithmic: true,
        curves,
    };
    let section = Section {
        title: "Against settings",
        text: format!(
            "{IN_FLIGHT} sagas in flight on PostgreSQL, one message in each AMQP message (`relay.pack` 1; with packs, which \
             are handled whole, these settings hardly matter), one setting turned and every other at its default."
        ),
        columns: ["setting", "value", "sagas/s", "request to end, p50, ms"].map(str::to_owned).to_vec(),
        rows,
        charts: vec![chart],
    };
    let introduction = format!(
        "{machine}\n\nMade by `make bench ARGS=\"{}\"`; figures are medians over the rounds.",
        site.settings.flags()
    );
    let (title, sections) = ("What settings bring", vec![section]);
    Ok(Some(Report { name: "tuning", title, introduction, goals: Vec::new(), sections, problems }))
}

async fn measure(site: &Site, knob: Knob, value: u32, problems: &mut Vec<String>) -> Result<Measured> {
    let what = format!("{} {value}", knob.setting());
    let setup = Setup::new(site, Kind::Postgres, "tuning").set(knob.variable(), &value.to_string());
    let setup = if site.packs { setup.set("WAYBILL_RELAY_PACK", "1") } else { setup };
    let mut running = Running::start(site, &setup).await?;
    let mut measured = Load::new(site, running.endpoint(0), IN_FLIGHT, Until::Ended).run(site).await?;
    running.owe(measured.accepted);
    problems.extend(measured.wrong.take().map(|wrong| format!("{what}: {wrong}")));
    problems.extend(running.audit().await.err().map(|error| format!("{what}: {error}")));
    running.end().await?;
    Ok(measured)
}
