//! Everything turn and turn about, round after round, so that a machine that drifts drifts for all.

use anyhow::{Context, Result};
use waybill_test_support::Proxy;

use crate::{
    book::Book,
    cost::Of,
    load::{Load, Until},
    reference::Reference,
    running::{Running, Setup},
    settings::Part,
    site::Site,
    stage,
    subject::{Kind, Metric, Subject, Way},
};

/// Connections of the bare echo, and of unary accepts.
pub(crate) const CONNECTIONS: [u16; 2] = [1, 4];

/// Measures what the settings ask for. What did not end as it should is added to `problems`.
pub(crate) async fn run(site: &Site, problems: &mut Vec<String>) -> Result<Book> {
    let mut book = Book::default();
    let (mut subjects, rounds) = (subjects(site), site.settings.rounds);
    for round in 1..=rounds {
        // To and fro, so that nobody always comes after somebody else.
        if round > 1 {
            subjects.reverse();
        }
        for subject in &subjects {
            site.say(&format!("round {round} of {rounds}: {subject}"));
            let measured = measure(site, *subject, round, &mut book).await;
            problems.extend(measured.with_context(|| subject.to_string())?);
        }
    }
    Ok(book)
}

fn subjects(site: &Site) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let wants = |part| site.settings.wants(part);
    if wants(Part::Yardsticks) {
        subjects.extend(Kind::ALL.map(Subject::Insert));
        subjects.push(Subject::Broker);
        subjects.extend(CONNECTIONS.map(|connections| Subject::Echo { connections }));
    }
    if wants(Part::Reference) {
        subjects.extend([Subject::Reference, Subject::ReferenceAccepts]);
    }
    let ways = CONNECTIONS.map(|connections| Way::Unary { connections });
    for database in Kind::ALL {
        if wants(Part::Accepts) {
            let ways = ways.into_iter().chain([Way::Streaming]);
            subjects.extend(ways.map(|way| Subject::Accepts { database, way }));
        }
        if wants(Part::Sagas) {
            subjects.push(Subject::Sagas { database, packed: false });
            subjects.extend(site.packs.then_some(Subject::Sagas { database, packed: true }));
        }
    }
    if wants(Part::Sagas) {
        subjects.extend(site.packs.then_some(Subject::Watched));
        subjects.push(Subject::Defaults);
    }
    subjects
}

/// The figures of one subject go into the book; what is wrong with them is returned.
async fn measure(site: &Site, subject: Subject, round: u32, book: &mut Book) -> Result<Vec<String>> {
    let mut rate = |load, rate| book.add((subject, load, Metric::Rate), round, rate);
    match subject {
        Subject::Insert(kind) => rate(0, stage::insert::units(site, kind).await?),
        Subject::Broker => rate(0, stage::broker::messages(site).await?),
        Subject::Echo { connections } => {
            for load in echo_loads(site) {
                rate(load, stage::echo::calls(site, connections, load).await?);
            }
        }
        Subject::Reference => return reference(site, subject, round, book).await,
        Subject::ReferenceAccepts => return reference_accepts(site, subject, round, book).await,
        Subject::Sagas { .. } | Subject::Watched | Subject::Defaults => {
            return sagas(site, subject, round, book).await;
        }
        Subject::Accepts { database, way } => return accepts(site, (database, way), round, book).await,
    }
    Ok(Vec::new())
}

/// All loads that anything is held against.
fn echo_loads(site: &Site) -> Vec<u32> {
    let mut loads = site.settings.loads.clone();
    loads.push(site.settings.accepting);
    loads.sort_unstable();
    loads.dedup();
    loads
}

async fn reference(site: &Site, subject: Subject, round: u32, book: &mut Book) -> Result<Vec<String>> {
    let reference = Reference::start(site, false).await?;
    let (mut problems, mut accepted, mut messages) = (Vec::new(), 0, None);
    for load in &site.settings.loads {
        let load = Load::new(site, reference.endpoint(), *load, Until::Ended);
        let process = std::process::id();
        let of = Of { site, process, database: &reference.database, metrics: None, publishes: true };
        let before = of.before(messages).await;
        let measured = load.run(site).await?;
        let after = of.after().await;
        messages = after.messages();
        let costs = after.each_since(&before, measured.accepted);
        for (metric, value) in costs.into_iter().chain(measured.figures()) {
            book.add((subject, load.in_flight, metric), round, value);
        }
        accepted += i64::try_from(measured.accepted)?;
        problems.extend(measured.wrong.map(|wrong| format!("{subject}: {wrong}")));
    }
    let completed = reference.completed().await?;
    if completed != accepted {
        problems.push(format!("{subject}: {completed} have completed, {accepted} were accepted"));
    }
    reference.end().await?;
    Ok(problems)
}

async fn reference_accepts(
    site: &Site,
    subject: Subject,
    round: u32,
    book: &mut Book,
) -> Result<Vec<String>> {
    let reference = Reference::start(site, true).await?;
    let load = Load::new(site, reference.endpoint(), site.settings.accepting, Until::Accepted);
    let measured = load.run(site).await?;
    for (metric, value) in measured.figures() {
        book.add((subject, load.in_flight, metric), round, value);
    }
    let rows = reference.database.number("SELECT count(*) FROM outbox").await?;
    let accepted = i64::try_from(measured.accepted)?;
    let lost = (rows != accepted).then(|| format!("{subject}: {rows} rows of {accepted} accepted"));
    reference.end().await?;
    Ok(measured.wrong.map(|wrong| format!("{subject}: {wrong}")).into_iter().chain(lost).collect())
}

async fn sagas(site: &Site, subject: Subject, round: u32, book: &mut Book) -> Result<Vec<String>> {
    let mut running = Running::start(site, &setup(site, subject)).await?;
    if let Some((idle, _)) = running.memory() {
        book.add((subject, 0, Metric::Idle), round, idle);
    }
    let mut problems = Vec::new();
    for load in &site.settings.loads {
        let load = Load {
            watched: subject == Subject::Watched,
            ..Load::new(site, running.endpoint(0), *load, Until::Ended)
        };
        let measured = running.measure(site, &load, (subject, round), book).await?;
        problems.extend(measured.wrong.map(|wrong| format!("{subject}: {wrong}")));
    }
    problems.extend(running.audit().await.err().map(|error| format!("{subject}: {error}")));
    running.end().await?;
    Ok(problems)
}

/// The steps of the reference path, or everything as it is by default.
fn setup<'a>(site: &Site, subject: Subject) -> Setup<'a> {
    let (database, packed, name) = match subject {
        Subject::Sagas { database, packed } => {
            (database, packed, format!("{database:?}-{packed}").to_lowercase())
        }
        Subject::Watched => (Kind::Postgres, true, "watched".to_owned()),
        _ => return Setup::new(site, Kind::Postgres, "defaults"),
    };
    let setup = Setup::new(site, database, &name);
    let setup = setup.set("WAYBILL_SAGA_BEGIN_VERSION", "1");
    if site.packs && !packed { setup.set("WAYBILL_RELAY_PACK", "1") } else { setup }
}

async fn accepts(
    site: &Site,
    (database, way): (Kind, Way),
    round: u32,
    book: &mut Book,
) -> Result<Vec<String>> {
    let subject = Subject::Accepts { database, way };
    // Every process publishes what it commits: only without a broker everything waits.
    let nowhere = Proxy::for_url(&site.settings.amqp).await;
    nowhere.close();
    let setup = Setup::new(site, database, "accepts").roles("gateway");
    let setup = Setup { amqp: nowhere.url(&site.settings.amqp), ..setup };
    let mut running = Running::start(site, &setup).await?;
    let load = Load::new(site, running.endpoint(0), site.settings.accepting, Until::Accepted);
    let load = match way {
        Way::Unary { connections } => Load { connections, ..load },
        Way::Streaming => Load { in_flight: streaming(site), streaming: true, ..load },
    };
    let measured = running.measure(site, &load, (subject, round), book).await?;
    let lost = running.audit_accepts().await.err().map(|error| format!("{subject}: {error}"));
    running.end().await?;
    Ok(measured.wrong.map(|wrong| format!("{subject}: {wrong}")).into_iter().chain(lost).collect())
}

/// Requests in flight in streams, where each costs less.
pub(crate) fn streaming(site: &Site) -> u32 {
    site.settings.accepting * 8
}
