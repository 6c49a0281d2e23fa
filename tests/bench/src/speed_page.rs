//! The page about speed: what the book says, as tables and curves.

use crate::{
    book::Book,
    goals,
    plot::{Chart, Curve},
    report::{Report, Section, maybe},
    site::Site,
    subject::{Metric, Subject},
};

/// Makes the page.
pub(crate) fn page(site: &Site, book: &Book, problems: Vec<String>, machine: &str) -> Report {
    let settings = &site.settings;
    let introduction = format!(
        "{machine}\n\nMade by `make bench ARGS=\"{}\"`: {} rounds, in each of which everything was measured in turn \
         for {} s. Figures are medians over the rounds, ratios medians of the ratios within a round. Everything is \
         durable: fsync on, quorum queues, persistent messages, confirms, manual acknowledgements. Every accepted \
         dispatch was checked to have ended as it should, or, where only accepts are measured, to be in the tables \
         with its message.",
        settings.flags(),
        settings.rounds,
        settings.seconds,
    );
    let mut sections = vec![yardsticks(book), sagas(book), accepts(book), costs(book)];
    sections.retain(|section| !section.rows.is_empty());
    let goals = goals::of(site, book);
    Report { name: "benchmarks", title: "Benchmarks", introduction, goals, sections, problems }
}

fn is_saga(subject: Subject) -> bool {
    matches!(subject, Subject::Reference | Subject::Sagas { .. } | Subject::Watched | Subject::Defaults)
}

fn is_accept(subject: Subject) -> bool {
    matches!(subject, Subject::ReferenceAccepts | Subject::Accepts { .. })
}

/// A row for each subject of a kind and each of its loads.
fn rows(
    book: &Book,
    fits: impl Fn(Subject) -> bool,
    cells: impl Fn(Subject, u32) -> Vec<String>,
) -> Vec<Vec<String>> {
    let subjects = book.subjects().into_iter().filter(|subject| fits(*subject));
    let measured =
        subjects.flat_map(|subject| book.loads(subject).into_iter().map(move |load| (subject, load)));
    measured
        .map(|(subject, load)| {
            let in_flight = if load == 0 { "–".to_owned() } else { load.to_string() };
            [subject.to_string(), in_flight].into_iter().chain(cells(subject, load)).collect()
        })
        .collect()
}

fn columns(names: &[&str]) -> Vec<String> {
    ["what", "in flight"].iter().chain(names).map(|name| (*name).to_owned()).collect()
}

fn yardsticks(book: &Book) -> Section {
    let raw = |subject| !is_saga(subject) && !is_accept(subject);
    let rate = |subject, load| vec![maybe(book.median((subject, load, Metric::Rate)))];
    Section {
        title: "Yardsticks",
        text: "What each stage allows when it is driven raw. Insert: a dispatch row and an outbox row of about 300 \
               bytes, 200 of each in a transaction over two connections (SQLite: over one). Broker: messages of 300 \
               bytes, a window of 500, prefetch 256, 32 acknowledged at once. Echo: calls with the messages of \
               `RequestDispatch` over bare tonic, client and server single-threaded."
            .to_owned(),
        columns: columns(&["per second"]),
        rows: rows(book, raw, rate),
        charts: Vec::new(),
    }
}

fn sagas(book: &Book) -> Section {
    let cells = |subject, load| {
        let figure = |metric| maybe(book.median((subject, load, metric)));
        let beside = book.ratio((subject, load, Metric::Rate), (Subject::Reference, load, Metric::Rate));
        vec![figure(Metric::Rate), figure(Metric::P50), figure(Metric::P99), maybe(beside)]
    };
    let chart = |name, title, metric| Chart {
        name,
        title,
        along: "sagas in flight",
        logarithmic: true,
        curves: curves(book, metric),
    };
    Section {
        title: "From request to end",
        text: "The reference path (`tests/bench/src/reference.rs` says what it is and lacks) and Waybill with version 1 \
               of the saga, four steps, are asked by the same load generator, `waybill bench --until ended`, which \
               lists ends, hundreds at a time; \"each watched\" has a `WatchDispatch` for each. \"Defaults\" \
               is Waybill as it comes, with a saga of five steps."
            .to_owned(),
        columns: columns(&["sagas/s", "p50, ms", "p99, ms", "× reference"]),
        rows: rows(book, is_saga, cells),
        charts: vec![
            chart("throughput", "Sagas a second against load", Metric::Rate),
            chart("latency", "Request to end against load, p50, ms", Metric::P50),
        ],
    }
}

fn curves(book: &Book, metric: Metric) -> Vec<Curve> {
    let subjects = book.subjects().into_iter().filter(|subject| is_saga(*subject));
    let curve = |subject: Subject| {
        let point = |load| Some((f64::from(load), book.median((subject, load, metric))?));
        Curve {
            name: subject.to_string(),
            points: book.loads(subject).into_iter().filter_map(point).collect(),
        }
    };
    subjects.map(curve).collect()
}

fn accepts(book: &Book) -> Section {
    let cells = |subject, load| {
        [Metric::Rate, Metric::P50, Metric::P99]
            .map(|metric| maybe(book.median((subject, load, metric))))
            .to_vec()
    };
    Section {
        title: "Accepts alone",
        text: "From request to receipt, while nothing is published: a process with role `gateway` whose broker is \
               away, the front of the reference path."
            .to_owned(),
        columns: columns(&["accepts/s", "p50, ms", "p99, ms"]),
        rows: rows(book, is_accept, cells),
        charts: Vec::new(),
    }
}

fn costs(book: &Book) -> Section {
    let cells =
        |subject, load| Metric::COSTS.map(|metric| maybe(book.median((subject, load, metric)))).to_vec();
    let costly = |subject| is_saga(subject) || matches!(subject, Subject::Accepts { .. });
    Section {
        title: "What a dispatch costs",
        text: "Counted from outside: CPU by `/proc`, WAL and messages by the servers, memory the most that was \
               resident so far. Statements are counted by Waybill itself, without begin and commit. `CPU` is that of Waybill (SQLite works inside it) or of the reference path, without the \
               load generator."
            .to_owned(),
        columns: columns(&Metric::COSTS.map(Metric::heading)),
        rows: rows(book, costly, cells),
        charts: Vec::new(),
    }
}
